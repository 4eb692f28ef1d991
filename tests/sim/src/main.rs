//! Runs seeds: `run --seeds N [--seed-from S] [--twice]`, or `replay SEED`, or `replay FILE` for what
//! the fuzzer of worlds has found; `corpus DIR` writes the inputs that the fuzzers begin with.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use yroom_sim::{Outcome, Scenario, Telling, from_bytes, run, scenario, shrink};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    match args.first().map(String::as_str) {
        Some("run") => {
            let plan = Plan {
                from: number("--seed-from").unwrap_or(0),
                seeds: number("--seeds").unwrap_or(1_000),
                threads: number("--threads").unwrap_or(2).clamp(1, 64),
                twice: args.iter().any(|arg| arg == "--twice"),
                tell: args.iter().any(|arg| arg == "--tell"),
                shrink: args.iter().all(|arg| arg != "--no-shrink"),
                stop_after: number("--stop-after").unwrap_or(5),
            };
            plan.run()
        }
        Some("replay") => match args.get(1).and_then(|what| scenario_of(what)) {
            Some(told) if args.iter().any(|arg| arg == "--shrink") => replay(&shrink(&told, 600).0),
            Some(told) => replay(&told),
            None => usage(),
        },
        Some("corpus") => match args.get(1) {
            Some(dir) => corpus(std::path::Path::new(dir)),
            None => usage(),
        },
        Some(_) | None => usage(),
    }
}

fn corpus(dir: &std::path::Path) -> ExitCode {
    for (target, name, bytes) in yroom_sim::targets::seeds() {
        let dir = dir.join(target);
        let written = std::fs::create_dir_all(&dir)
            .and_then(|()| std::fs::write(dir.join(format!("seed-{name}")), bytes));
        if let Err(error) = written {
            eprintln!("{}: {error}", dir.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!(
        "run --seeds N [--seed-from S] [--threads T] [--twice] [--stop-after F] [--tell] [--no-shrink]"
    );
    eprintln!("replay SEED|FILE [--shrink]");
    eprintln!("corpus DIR");
    ExitCode::from(2)
}

struct Plan {
    from: u64,
    seeds: u64,
    threads: u64,
    twice: bool,
    stop_after: u64,
    tell: bool,
    shrink: bool,
}

#[derive(Default)]
struct Sums {
    seeds: AtomicU64,
    failures: AtomicU64,
    events: AtomicU64,
    simulated_seconds: AtomicU64,
}

impl Plan {
    fn run(&self) -> ExitCode {
        let sums = Sums::default();
        let next = AtomicU64::new(0);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        let failed = sums.failures.load(Ordering::Relaxed);
                        if seed >= self.seeds || failed >= self.stop_after {
                            break;
                        }
                        self.one(self.from + seed, &sums);
                    }
                });
            }
        });
        let get = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let failures = get(&sums.failures);
        let hours = get(&sums.simulated_seconds) / 3_600;
        println!("took {:.1} s", started.elapsed().as_secs_f64());
        println!(
            "seeds={} failures={failures} events={} simulated_hours={hours}",
            get(&sums.seeds),
            get(&sums.events),
        );
        if failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn one(&self, seed: u64, sums: &Sums) {
        let telling = if self.twice { Telling::Everything } else { Telling::Nothing };
        let started = Instant::now();
        let Outcome { mut broken, events, simulated, told } = run(&scenario(seed), telling);
        if started.elapsed() > Duration::from_secs(10) {
            println!("seed {seed} took {:?}", started.elapsed());
        }
        if self.twice && run(&scenario(seed), telling).told != told {
            broken.get_or_insert_with(|| "two runs of one seed differ".to_owned());
        }
        sums.seeds.fetch_add(1, Ordering::Relaxed);
        sums.events.fetch_add(events, Ordering::Relaxed);
        sums.simulated_seconds.fetch_add(simulated.as_secs(), Ordering::Relaxed);
        if let Some(broken) = broken {
            sums.failures.fetch_add(1, Ordering::Relaxed);
            if self.shrink {
                report(seed, &broken, self.tell);
            } else {
                println!("SEED={seed} {broken}");
            }
        }
    }
}

fn report(seed: u64, broken: &str, tell: bool) {
    let (small, why) = shrink(&scenario(seed), 600);
    println!("SEED={seed} {broken}\nshrunk to {} ops: {why}\n{}", small.ops.len(), small.as_rust());
    if tell {
        println!("{}", run(&small, Telling::Everything).told);
    }
}

/// A seed's scenario, or that of a file that a fuzzer has written.
fn scenario_of(what: &str) -> Option<Scenario> {
    match what.parse() {
        Ok(seed) => Some(scenario(seed)),
        Err(_) => std::fs::read(what).ok().map(|bytes| from_bytes(&bytes)),
    }
}

fn replay(told: &Scenario) -> ExitCode {
    println!("{}", told.as_rust());
    let outcome = run(told, Telling::Everything);
    print!("{}", outcome.told);
    match outcome.broken {
        Some(broken) => {
            println!("BROKEN {broken}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

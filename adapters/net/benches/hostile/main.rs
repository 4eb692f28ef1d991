//! What hostile peers cost the others: the neighbours' p99 without and with each attack, in turns, in
//! one run (on Linux, with `chrt`, `nice` and `taskset`).
//!
//! ```text
//! cargo bench -p yroom-net --no-default-features --features tokio --bench hostile -- [ATTACK…]
//!     [--rounds N] [--seconds S]
//! ```
//!
//! Three kinds of processes, so that nobody's cost is taken for another's:
//!
//! * the **server** has one thread and the first processor. One thread, so that attackers and
//!   neighbours share it: with more, neighbours in other shards would hide what an attack costs. It
//!   has the memory store and its default limits, but for those that an attack is about;
//! * the **neighbours**, in this process, on the second processor: four rooms of two, in each of which
//!   one says a word every 5 ms and the time is taken until the other has heard it. A word that is late
//!   because the one before was not heard yet counts from when it was due, so that a stall is not
//!   one bad word but all that fell into it;
//! * the **attackers**, a process that is started and killed in each round, on the second processor as
//!   well and ten steps nicer than the neighbours, so that they take what those leave.
//!
//! A round is so many seconds without the attack and so many with it. The p99s that stand in the
//! table are the medians of the rounds'; a machine that does something else meanwhile does it to both.
//! On one that does much else, start the program that cargo has built by `chrt --rr 1`: server and
//! neighbours then come before all the rest, the attackers do not.
//! The server's processor time is of the seconds with the attack; its memory (RSS) is that before the
//! first round, the largest of all, and that a second after the last.
#![allow(missing_docs, reason = "no library")]

mod attacks;
mod neighbours;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/mod.rs"]
mod peer;
mod processes;

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => processes::serve(&args[1]),
        Some("attack") => attacks::run(&args[1], args[2].parse().expect("an address")),
        Some(_) if args.iter().any(|arg| arg == "--bench") => {
            args.retain(|arg| arg != "--bench");
            conductor::conduct(&args);
        }
        // A run of all targets as tests is not meant.
        Some(_) | None => println!("this measures: run it with cargo bench"),
    }
}

mod conductor {
    use crate::attacks::{ATTACKS, Attack};
    use crate::neighbours::Neighbourhood;
    use crate::processes::{Attackers, ServerProcess, pin_this};
    use std::thread;
    use std::time::Duration;

    /// What one attack came to.
    struct Row {
        name: &'static str,
        rounds: Vec<(Duration, Duration)>,
        processor: f64,
        memory: [usize; 3],
    }

    pub(crate) fn conduct(args: &[String]) {
        let number = |name: &str| {
            let at = args.iter().position(|arg| arg == name)?;
            args.get(at + 1)?.parse::<u32>().ok()
        };
        let rounds = number("--rounds").unwrap_or(5);
        let span = Duration::from_secs(number("--seconds").unwrap_or(4).into());
        let is_wanted = |attack: &Attack| {
            let named = |arg: &String| ATTACKS.iter().any(|attack| attack.name == arg);
            !args.iter().any(named) || args.iter().any(|arg| arg == attack.name)
        };
        pin_this();
        println!("{rounds} rounds of {span:?} without and {span:?} with each attack");
        let rows: Vec<Row> = ATTACKS
            .iter()
            .filter(|attack| is_wanted(attack))
            .map(|attack| measure(attack, rounds, span))
            .collect();
        print(&rows);
    }

    fn measure(attack: &Attack, rounds: u32, span: Duration) -> Row {
        println!("\n{}: {}", attack.name, attack.about);
        let server = ServerProcess::start(attack.name);
        let mut neighbours = Neighbourhood::of(server.addr());
        // Whatever is done once is done.
        let _ = neighbours.talk(Duration::from_millis(500));
        let before = server.resident();
        let (mut measured, mut busy, mut peak) = (Vec::new(), Vec::new(), before);
        for round in 1..=rounds {
            let without = neighbours.talk(span);
            let attackers = Attackers::start(attack.name, server.addr());
            let spent = server.processor_time();
            let (with, largest) = thread::scope(|scope| {
                let talking = scope.spawn(|| neighbours.talk(span));
                let mut largest = 0;
                while !talking.is_finished() {
                    largest = server.resident().max(largest);
                    thread::sleep(Duration::from_millis(20));
                }
                (talking.join().expect("they talk to the end"), largest)
            });
            let used = server.processor_time().saturating_sub(spent);
            busy.push(used.as_secs_f64() / span.as_secs_f64());
            let said = attackers.end();
            peak = peak.max(largest);
            println!(
                "  {round}: without {without}; with {with}; {:.0} % of a processor, {} MiB; {said}",
                busy.last().unwrap_or(&0.0) * 100.0,
                largest >> 20
            );
            measured.push((without.p99, with.p99));
            // What the killed attackers leave behind is the server's to clear away.
            thread::sleep(Duration::from_millis(500));
        }
        thread::sleep(Duration::from_secs(1));
        let memory = [before, peak, server.resident()];
        let processor = busy.iter().sum::<f64>() / f64::from(rounds);
        Row { name: attack.name, rounds: measured, processor, memory }
    }

    fn print(rows: &[Row]) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "\n| attack | p99 without | p99 with | ratio | processor | MiB before, peak, after |"
        );
        println!("|---|---|---|---|---|---|");
        for row in rows {
            let median = |which: fn(&(Duration, Duration)) -> Duration| {
                let mut times: Vec<Duration> = row.rounds.iter().map(which).collect();
                times.sort();
                times[times.len() / 2]
            };
            let (without, with) = (median(|(without, _)| *without), median(|(_, with)| *with));
            let [before, peak, after] = row.memory.map(|bytes| bytes >> 20);
            println!(
                "| {} | {:.2} ms | {:.2} ms | {:.2} | {:.0} % | {before}, {peak}, {after} |",
                row.name,
                ms(without),
                ms(with),
                ms(with) / ms(without),
                row.processor * 100.0
            );
        }
    }
}

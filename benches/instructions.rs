//! What the hot paths cost in instructions, counted by callgrind: a number that other work on the
//! machine does not change.
//!
//! ```text
//! cargo bench --bench instructions             compares with benches/instructions.md
//! cargo bench --bench instructions -- --write  replaces the table there
//! ```
//!
//! Only what happens inside [`hot`] is counted, so that starting up, setting the scene and making up
//! what is typed fall out. More than 10 % over the table is a failure (beyond
//! [`SLACK`], as the smallest are some hundred).
#![allow(missing_docs, unreachable_pub, dead_code, reason = "no library")]
#![allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "it starts processes")]
#![allow(clippy::disallowed_methods, reason = "and reads files")]

mod stage;

use stage::{Network, Stage, Writer, presence};
use std::env;
use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use yroom::update::{ScanLimits, merge, scan};
use yroom::wire::{encode, messages};

/// Something that is counted.
struct Course {
    /// What one of it is.
    name: &'static str,
    /// How often it is done.
    times: usize,
    /// How many of it are in one time.
    each: usize,
    run: fn(usize),
}

const COURSES: &[Course] = &[
    Course { name: "an update, to 1 other", times: 2_000, each: 1, run: |n| typing(2, n) },
    Course { name: "an update, to 49 others", times: 2_000, each: 1, run: |n| typing(50, n) },
    Course { name: "an update in a burst of 100, to 49 others", times: 50, each: 100, run: bursts },
    Course { name: "a presence, to 49 others", times: 1_000, each: 1, run: moving },
    Course { name: "a join and a leave among 49 others", times: 500, each: 1, run: visits },
    Course { name: "an update scanned", times: 5_000, each: 1, run: |n| scans(1, n) },
    Course {
        name: "an update of 2,000 characters scanned",
        times: 1_000,
        each: 1,
        run: |n| scans(2_000, n),
    },
    Course { name: "an update merged with 999 others", times: 5, each: 1_000, run: merges },
    Course { name: "an update message, written and read", times: 5_000, each: 1, run: codec },
];

/// The row that is made of two others: what one more receiver costs.
const DELIVERY: &str = "a further delivery";

/// Per cent that compilers and libraries may add to a number; beyond it, it was us.
const TOLERANCE: u64 = 10;

/// And what one call more costs, where the compiler has changed its mind about inlining.
const SLACK: u64 = 64;

/// What callgrind counts.
#[inline(never)]
fn hot<T>(work: impl FnOnce() -> T) {
    black_box(work());
}

fn typing(peers: usize, times: usize) {
    let (mut stage, mut writer) = (Stage::new(peers, None), Writer::new(0));
    for _ in 0..times {
        let frame = writer.frame();
        hot(|| {
            stage.frame(stage.conns[0], frame);
            stage.drain(Network::Takes)
        });
    }
}

fn bursts(times: usize) {
    let mut stage = Stage::new(50, None);
    let mut writers: Vec<Writer> = (0..10).map(Writer::new).collect();
    for _ in 0..times {
        let frames: Vec<_> =
            (0..100).map(|number| (number % 10, writers[number % 10].frame())).collect();
        hot(|| {
            for (slot, frame) in frames {
                stage.frame(stage.conns[slot], frame);
            }
            stage.drain(Network::Takes)
        });
    }
}

fn moving(times: usize) {
    let mut stage = Stage::new(50, None);
    for clock in 0..times {
        let frame = presence(7, clock as u64);
        hot(|| {
            stage.frame(stage.conns[0], frame);
            stage.drain(Network::Takes)
        });
    }
}

fn visits(times: usize) {
    let (mut stage, mut writer) = (Stage::new(50, None), Writer::new(0));
    stage.frame(stage.conns[0], encode::update(&writer.paste(10_000)));
    stage.drain(Network::Takes);
    for _ in 0..times {
        hot(|| {
            let conn = stage.join();
            stage.leave(conn);
        });
    }
}

fn scans(length: usize, times: usize) {
    let (mut writer, limits) = (Writer::new(0), ScanLimits::default());
    for _ in 0..times {
        let update = writer.paste(length);
        hot(|| scan(&update, &limits).is_ok());
    }
}

fn merges(times: usize) {
    let mut writer = Writer::new(0);
    let updates: Vec<Vec<u8>> = (0..1_000).map(|_| writer.update()).collect();
    let updates: Vec<&[u8]> = updates.iter().map(Vec::as_slice).collect();
    for _ in 0..times {
        hot(|| merge(&updates).is_ok());
    }
}

fn codec(times: usize) {
    let update = Writer::new(0).paste(10);
    for _ in 0..times {
        hot(|| messages(black_box(&encode::update(&update))).flatten().count());
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, name] = &args[..]
        && flag == "--run"
    {
        let course = COURSES.iter().find(|course| course.name == name).expect("it is there");
        (course.run)(course.times);
        return ExitCode::SUCCESS;
    }
    let counted = match count_all() {
        Ok(counted) => counted,
        Err(why) => {
            println!("SKIPPED: instructions are not counted: {why}");
            return ExitCode::SUCCESS;
        }
    };
    if args.iter().any(|arg| arg == "--write") {
        write_table(&counted);
        return ExitCode::SUCCESS;
    }
    compare(&counted)
}

fn count_all() -> Result<Vec<(&'static str, u64)>, String> {
    let mut counted = Vec::new();
    for course in COURSES {
        counted.push((course.name, count(course)? / (course.times * course.each) as u64));
        if let [(_, one), (_, many)] = counted[..] {
            counted.push((DELIVERY, (many - one) / 48));
        }
    }
    Ok(counted)
}

/// All instructions of a process in [`hot`].
fn count(course: &Course) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=instructions::hot*")
        .arg(program)
        .args(["--run", course.name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed: {said}", course.name);
    said.lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, number)| number.trim().parse().ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("callgrind did not say what it counted: {said}"))
}

fn table() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.md")
}

fn write_table(counted: &[(&str, u64)]) {
    let text = fs::read_to_string(table()).expect("the table is there");
    let mut lines: Vec<String> =
        text.lines().filter(|line| row(line).is_none()).map(str::to_owned).collect();
    lines.extend(counted.iter().map(|(name, number)| format!("| {name} | {number} |")));
    fs::write(table(), lines.join("\n") + "\n").expect("the table can be written");
}

/// A line of the table that has a number.
fn row(line: &str) -> Option<(&str, u64)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    Some((cells.next()?, cells.next()?.parse().ok()?))
}

fn compare(counted: &[(&str, u64)]) -> ExitCode {
    let text = fs::read_to_string(table()).expect("the table is there");
    let mut failed = 0;
    for &(name, number) in counted {
        let Some((_, before)) = text.lines().filter_map(row).find(|(row, _)| *row == name) else {
            println!("{name}: {number}, and not in the table: `--write` puts it there");
            failed += 1;
            continue;
        };
        let too_much = number > before + before * TOLERANCE / 100 + SLACK;
        let verdict = if too_much { "TOO MUCH" } else { "" };
        println!("{name:44} {number:>7}, was {before:>7}  {verdict}");
        failed += u32::from(too_much);
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{failed} of {} cost more than the table says, or are not in it", counted.len());
    ExitCode::FAILURE
}

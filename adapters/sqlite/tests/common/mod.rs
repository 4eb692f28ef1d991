//! The process dies while it writes: at any moment, and at every system call that writes.
//!
//! The process is a test of the same program, `writer`, which writes a fixed script and says what is
//! acknowledged. What is found after its death has to hold that.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use yroom_net::store::conformance::{check_script, write_script};
use yroom_net::store::{BlockingStore, Browse, check};

const DIR: &str = "YROOM_TEST_WRITER_DIR";
const ACKNOWLEDGED: &str = "YROOM_TEST_ACKNOWLEDGED";

/// In the writer: writes the script, unless nobody started it as such, and ends without tidying up.
pub(crate) fn write<S: BlockingStore>(open: impl FnOnce(&Path) -> S) {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let acknowledge = |room: &str, place: u64| {
        // One line, written at once.
        let line = format!("ack {room} {place}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
    };
    write_script(&mut open(Path::new(&dir)), acknowledge).expect("the disk is fine");
    std::process::exit(0);
}

/// In what looks at a disk after its power failed, see `tests/power_loss`.
pub(crate) fn look_after_power_failure<S: BlockingStore + Browse>(open: impl FnOnce(&Path) -> S) {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let path = std::env::var_os(ACKNOWLEDGED).expect("a file's name");
    let output = std::fs::read_to_string(path).expect("the writer's output");
    let whole = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    look(open(Path::new(&dir)), &whole.filter_map(parse).collect(), "after a power failure");
}

/// Kills the writer after so many acknowledgements, as the clock has it.
pub(crate) fn die_at_any_moment<S: BlockingStore + Browse>(open: fn(&Path) -> S) {
    for round in 0..20 {
        survive(open, Death::AfterAcknowledgements(1 + round * 17));
    }
}

/// Kills the writer at each of its calls; there are `least` at least.
pub(crate) fn die_at_any_call<S: BlockingStore + Browse>(open: fn(&Path) -> S, least: usize) {
    let mut at = 1;
    while survive(open, Death::AtCall(at)) {
        at += 1;
    }
    assert!(at > least, "only {at} calls: is this the script?");
}

/// Has these calls of the writer fail, and one or two after them.
pub(crate) fn fail_at_calls<S: BlockingStore + Browse>(
    open: fn(&Path) -> S,
    calls: impl Iterator<Item = usize>,
) {
    for at in calls {
        assert!(!survive(open, Death::Errors { at, count: 1 + at % 3 }));
    }
}

/// Whether the writer was killed before it was done.
fn survive<S: BlockingStore + Browse>(open: fn(&Path) -> S, death: Death) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    let outcome = run_writer(dir.path(), death);
    look(open(dir.path()), &outcome.acknowledged, &format!("{death:?}"));
    outcome.killed
}

fn look(mut store: impl BlockingStore + Browse, acknowledged: &BTreeMap<String, u64>, when: &str) {
    eprintln!("{when}");
    check_script(&mut store, acknowledged);
    let summary = check(&mut store, |_| {}).expect("it can be read");
    assert!(summary.is_sound(), "{when}: {summary:?}");
}

/// When the writer is killed (with SIGKILL).
#[derive(Clone, Copy, Debug)]
enum Death {
    /// When it has acknowledged so many.
    AfterAcknowledgements(usize),
    /// At the so-manieth system call that changes a file.
    AtCall(usize),
    /// Not at all: but from the so-manieth such call on, so many fail with an I/O error.
    Errors { at: usize, count: usize },
}

struct Outcome {
    acknowledged: BTreeMap<String, u64>,
    killed: bool,
}

fn run_writer(dir: &Path, death: Death) -> Outcome {
    let exe = std::env::current_exe().expect("this test");
    let mut command = match death {
        Death::AfterAcknowledgements(_) => Command::new(exe),
        Death::AtCall(_) | Death::Errors { .. } => {
            let mut strace = Command::new("strace");
            let (calls, what) = injection(death);
            strace.args(["-f", "-qqq", "-o", "/dev/null"]);
            strace.args(["-e".to_owned(), format!("trace={calls}")]);
            strace.args(["-e".to_owned(), format!("inject={calls}:{what}")]);
            strace.arg(exe);
            strace
        }
    };
    command.args(["writer", "--exact", "--ignored", "--nocapture"]).env(DIR, dir);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the writer starts");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut acknowledged = BTreeMap::new();
    let mut count = 0;
    for line in stdout.lines().map_while(Result::ok) {
        let Some((room, place)) = parse(&line) else { continue };
        acknowledged.insert(room, place);
        count += 1;
        if matches!(death, Death::AfterAcknowledgements(limit) if count == limit) {
            child.kill().expect("it can be killed");
        }
    }
    let status = child.wait().expect("it ended");
    // strace dies of what its child died of. Anything else would be a test of nothing.
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(killed || status.success(), "the writer ended by itself: {status}");
    Outcome { acknowledged, killed }
}

/// What strace does to which calls. A store's writes are not `write`, which the acknowledgements
/// are: an error there would be the test's.
fn injection(death: Death) -> (&'static str, String) {
    match death {
        Death::AfterAcknowledgements(_) => ("", String::new()),
        Death::AtCall(at) => {
            let calls = "pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename";
            (calls, format!("signal=SIGKILL:when={at}"))
        }
        Death::Errors { at, count } => {
            let calls = "pwrite64,fdatasync,fsync,ftruncate,unlink,rename";
            (calls, format!("error=EIO:when={at}..{}", at + count - 1))
        }
    }
}

/// The line that [`write`] wrote, whatever the test harness has put before it.
fn parse(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "ack").skip(1);
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

//! A process that writes and says what is acknowledged, and how it dies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIR: &str = "YROOM_TEST_WRITER_DIR";
const ACKNOWLEDGED: &str = "YROOM_TEST_ACKNOWLEDGED";

/// When the writer is killed (with SIGKILL).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Death {
    /// When it has acknowledged so many.
    AfterAcknowledgements(usize),
    /// At the so-manieth system call that changes a file.
    AtCall(usize),
    /// Not at all: but from the so-manieth such call on, so many fail with an I/O error.
    Errors { at: usize, count: usize },
}

pub(crate) struct Outcome {
    pub(crate) acknowledged: BTreeMap<String, u64>,
    pub(crate) killed: bool,
}

/// In the writer: where it is to write. `None` if nobody started it as such.
pub(crate) fn writer_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// In the writer: one line, written at once.
pub(crate) fn acknowledge(room: &str, place: u64) {
    let line = format!("ack {room} {place}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
}

/// In the writer: ends without tidying up.
pub(crate) fn finish() {
    std::process::exit(0);
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

/// In the survivor: what the writer's output, in a file, acknowledges.
pub(crate) fn acknowledged() -> BTreeMap<String, u64> {
    let path = std::env::var_os(ACKNOWLEDGED).expect("a file's name");
    let output = std::fs::read_to_string(path).expect("the writer's output");
    output.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(parse).collect()
}

/// The line that [`acknowledge`] wrote, whatever the test harness has put before it.
fn parse(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "ack").skip(1);
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

pub(crate) fn run_writer(dir: &Path, death: Death) -> Outcome {
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

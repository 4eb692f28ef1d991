//! The server and the attackers as processes of their own, each on its processor.

use crate::attacks;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use yroom_net::Server;
use yroom_net::runtime::Tokio;

const SERVERS_PROCESSOR: &str = "0";
const OTHERS_PROCESSOR: &str = "1";

/// Binds this process to the others' processor.
pub(crate) fn pin_this() {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", OTHERS_PROCESSOR, &pid]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("not bound to a processor: what the attackers cost may count as the server's");
    }
}

/// The server's process: says where it listens, and serves until its input ends.
pub(crate) fn serve(attack: &str) -> ! {
    let (config, net) = attacks::limits(attack);
    let server = Server::<Tokio>::new(config).threads(1).net_limits(net);
    let running = server.bind("127.0.0.1:0").expect("it listens");
    println!("{}", running.local_addr());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0)
}

/// A server that is measured.
pub(crate) struct ServerProcess {
    child: Child,
    addr: SocketAddr,
    _stdin: ChildStdin,
    _stdout: ChildStdout,
}

impl ServerProcess {
    pub(crate) fn start(attack: &str) -> Self {
        let args = ["taskset", "-c", SERVERS_PROCESSOR];
        let mut child = this_program(&args, &["serve", attack]);
        let stdin = child.stdin.take().expect("it was piped");
        let mut stdout = child.stdout.take().expect("it was piped");
        let addr = first_line(&mut stdout).parse().expect("where it listens");
        Self { child, addr, _stdin: stdin, _stdout: stdout }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its memory.
    pub(crate) fn resident(&self) -> usize {
        let statm = self.read("statm");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
    }

    /// What it has had of processors so far.
    pub(crate) fn processor_time(&self) -> Duration {
        // After the name in brackets and the state, user and system time are the 11th and 12th.
        let stat = self.read("stat");
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let fields = fields.split(' ').skip(12).take(2);
        // In hundredths of a second everywhere on Linux.
        let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(hundredths * 10)
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).expect("the server lives")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An attack that goes on.
pub(crate) struct Attackers {
    child: Child,
    stdout: ChildStdout,
}

impl Attackers {
    /// Starts it; it has begun when this returns.
    pub(crate) fn start(attack: &str, addr: SocketAddr) -> Self {
        // Whatever the others' priority is.
        let nice = ["chrt", "--other", "0", "nice", "-n", "10"];
        let args = [&nice[..], &["taskset", "-c", OTHERS_PROCESSOR]].concat();
        let mut child = this_program(&args, &["attack", attack, &addr.to_string()]);
        let mut stdout = child.stdout.take().expect("it was piped");
        first_line(&mut stdout);
        Self { child, stdout }
    }

    /// Ends it; says what it says it did.
    pub(crate) fn end(mut self) -> String {
        let ended = self.child.try_wait();
        // It tells when it is asked.
        let _ = self.child.stdin.as_mut().map(|stdin| stdin.write_all(b"\n"));
        let said = first_line(&mut self.stdout);
        let _ = self.child.kill();
        let _ = self.child.wait();
        match ended {
            Ok(None) => said,
            Ok(Some(_)) | Err(_) => format!("the attackers ended before: {said}"),
        }
    }
}

/// This program once more, in another part, started by other programs.
fn this_program(by: &[&str], args: &[&str]) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).arg(program).args(args);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("chrt, nice and taskset are there")
}

fn first_line(stdout: &mut ChildStdout) -> String {
    let mut line = String::new();
    // A line at a time is written, and the next is not yet asked for.
    let _ = BufReader::new(stdout).read_line(&mut line);
    line.trim().to_owned()
}

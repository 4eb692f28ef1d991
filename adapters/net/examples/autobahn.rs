//! An echo for the Autobahn cases, on a runtime and at an end of choice; `tests/autobahn/run` starts it.
//!
//! ```sh
//! autobahn smol|tokio|async-std server 127.0.0.1:9001
//! autobahn smol|tokio|async-std session|chain ws://127.0.0.1:9001
//! ```

use std::net::TcpListener;
use std::process::ExitCode;
use std::{env, io};
use yroom_net::autobahn::{Client, serve, visit};
use yroom_net::{Runtime, runtime};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [on, end, address] = &args[..] else {
        eprintln!("usage: autobahn smol|tokio|async-std server|session|chain ADDRESS");
        return ExitCode::from(2);
    };
    let done = match on.as_str() {
        "smol" => run::<runtime::Smol>(end, address),
        "tokio" => run::<runtime::Tokio>(end, address),
        "async-std" => run::<runtime::AsyncStd>(end, address),
        other => Err(io::Error::other(format!("there is no runtime {other}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autobahn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run<R: Runtime>(end: &str, address: &str) -> io::Result<()> {
    match end {
        "server" => serve::<R>(TcpListener::bind(address)?),
        "session" => visit::<R>(address, &format!("{}-session", R::NAME), Client::Session),
        "chain" => visit::<R>(address, &format!("{}-chain", R::NAME), Client::Chain),
        other => Err(io::Error::other(format!("there is no end {other}"))),
    }
}

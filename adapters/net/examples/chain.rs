//! A server of whose rooms one follows the room of another server. Start both, and type in two programs:
//!
//! ```sh
//! cargo run --release -- --store memory &
//! cargo run -p yroom-net --example chain -- 127.0.0.1:1235 notes ws://127.0.0.1:1234/notes &
//! cargo run -p yroom-net --example notes -- ws://127.0.0.1:1234/notes Ann
//! cargo run -p yroom-net --example notes -- ws://127.0.0.1:1235/notes Bob
//! ```
//!
//! The rooms are kept in memory. It ends with its standard input.

use std::error::Error;
use std::{env, io};
use yroom::{Config, RoomName};
use yroom_net::chain::ChainOptions;
use yroom_net::runtime::Smol;
use yroom_net::{Notice, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [listen, room, url] = &args[..] else {
        return Err("usage: chain ADDR:PORT ROOM URL".into());
    };
    let server = Server::<Smol>::new(Config::default()).threads(1).observe(|notice| {
        if let Notice::Upstream { room, status } = notice {
            let trouble = status.trouble.as_deref().unwrap_or("well");
            println!("{room} {:?}: {trouble}", status.phase);
        }
    });
    let running = server.bind(listen.as_str())?;
    println!("listens on {}", running.local_addr());
    let chain = running.chain(RoomName::new(room)?, url, ChainOptions::default())?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    drop(chain);
    if running.shutdown().is_clean() { Ok(()) } else { Err("not everything is stored".into()) }
}

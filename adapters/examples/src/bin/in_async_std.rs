//! Rooms in an async-std program, which has not moved to smol yet.
//!
//! ```sh
//! cargo run -p yroom-examples --features async-std --bin in_async_std 127.0.0.1:3000
//! ```
//!
//! async-std is discontinued (RUSTSEC-2025-0052): nothing new should be begun on it.

use async_std::io;
use async_std::task;
use std::error::Error;
use yroom::Config;
use yroom_net::{Server, runtime::AsyncStd};

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".to_owned());
    let rooms = Server::<AsyncStd>::new(Config::default()).bind(addr)?;
    println!("listening on {}", rooms.local_addr());
    io::stdin().read_line(&mut String::new()).await?;
    let farewell = task::spawn_blocking(|| rooms.shutdown()).await;
    println!("{farewell:?}");
    if farewell.is_clean() { Ok(()) } else { Err("not everything is stored".into()) }
}

//! Rooms in a smol program. They have their threads; the program goes on with what it does, and ends
//! them when its user presses Enter.
//!
//! ```sh
//! cargo run -p yroom-examples --bin in_smol 127.0.0.1:3000     # ws://127.0.0.1:3000/<room>?token=writer
//! ```

use smol::io::{AsyncBufReadExt, BufReader};
use std::error::Error;
use yroom::{Access, Config, Event};
use yroom_net::{Notice, Refusal, Server, runtime::Smol};

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".to_owned());
    // Observers run in the middle of a room's work: what takes time is done elsewhere.
    let (tell, told) = smol::channel::bounded(1024);
    let rooms = Server::<Smol>::new(Config::default())
        .admit(|arrival| match arrival.parameter("token") {
            Some("writer") => Ok(Access::FULL),
            Some("reader") => Ok(Access::READ_ONLY),
            Some(_) | None => Err(Refusal::new(401, "who are you?")),
        })
        .observe(move |notice| {
            if let Notice::Engine(event @ (Event::PeerJoined { .. } | Event::PeerLeft { .. })) =
                notice
            {
                // If nobody keeps up with printing, some is not printed.
                let _ = tell.try_send(format!("{event:?}"));
            }
        })
        .bind(addr)?;
    println!("listening on {}", rooms.local_addr());
    smol::block_on(async {
        let printing = smol::spawn(async move {
            while let Ok(event) = told.recv().await {
                println!("{event}");
            }
        });
        let mut line = String::new();
        BufReader::new(smol::Unblock::new(std::io::stdin())).read_line(&mut line).await?;
        // It blocks until everything is stored.
        let farewell = smol::unblock(|| rooms.shutdown()).await;
        printing.cancel().await;
        println!("{farewell:?}");
        if farewell.is_clean() { Ok(()) } else { Err("not everything is stored".into()) }
    })
}

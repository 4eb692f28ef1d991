//! Rooms in a smol program. They have their threads; the program goes on with what it does. Here it
//! writes what its user types into the room `minutes`, and shows what is in it; an empty line ends it.
//!
//! ```sh
//! cargo run -p yroom-examples --bin in_smol 127.0.0.1:3000     # ws://127.0.0.1:3000/minutes?token=writer
//! ```

use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::StreamExt;
use std::error::Error;
use yroom::{Access, Config, RoomName};
use yroom_net::app::{Events, News, Rooms};
use yroom_net::{Refusal, Server, runtime::Smol};
use yrs::{GetString, Text, Transact, WriteTxn};

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".to_owned());
    let running = Server::<Smol>::new(Config::default())
        .admit(|arrival| match arrival.parameter("token") {
            Some("writer") => Ok(Access::FULL),
            Some("reader") => Ok(Access::READ_ONLY),
            Some(_) | None => Err(Refusal::new(401, "who are you?")),
        })
        .bind(addr)?;
    // From here on, or the first who come would not be told of.
    let events = running.rooms().events();
    println!("listening on {}", running.local_addr());
    smol::block_on(async {
        smol::spawn(tell(events)).detach();
        take_minutes(&running.rooms()).await?;
        // It blocks until everything is stored.
        let farewell = smol::unblock(|| running.shutdown()).await;
        println!("{farewell:?}");
        if farewell.is_clean() { Ok(()) } else { Err("not everything is stored".into()) }
    })
}

/// Each line becomes one edit, seen by whoever is in the room.
async fn take_minutes(rooms: &Rooms) -> Result<(), Box<dyn Error>> {
    let minutes = rooms.get(&RoomName::new("minutes")?).await?;
    let mut lines = BufReader::new(smol::Unblock::new(std::io::stdin())).lines();
    while let Some(line) = lines.next().await {
        let line = line? + "\n";
        if line == "\n" {
            break;
        }
        minutes.edit(move |txn| txn.get_or_insert_text("text").push(txn, &line)).await?;
        let read = minutes.read(|doc| doc.get_or_insert_text("text").get_string(&doc.transact()));
        println!("minutes: {:?}", read.await?);
    }
    Ok(())
}

/// Prints what happens, until the server ends.
async fn tell(mut events: Events) {
    while let Some(news) = events.next().await {
        match news {
            News::Happened(it) => println!("{}: {:?}", it.room, it.event),
            News::Lost(count) => println!("too fast to tell: {count}"),
        }
    }
}

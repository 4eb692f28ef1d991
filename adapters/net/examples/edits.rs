//! An application that edits the room `page` itself, while whoever likes edits it too: as many edits
//! at once as each line of its input says.
//!
//! ```sh
//! cargo run -p yroom-net --example edits -- 127.0.0.1:1234
//! ```

use std::error::Error;
use std::{env, io};
use yroom::{Config, RoomName};
use yroom_net::app::Room;
use yroom_net::{Server, runtime::Smol};
use yrs::{Map, Text, WriteTxn};

fn main() -> Result<(), Box<dyn Error>> {
    let addr = env::args().nth(1).unwrap_or("127.0.0.1:1234".to_owned());
    let running = Server::<Smol>::new(Config::default()).bind(addr)?;
    println!("listening on {}", running.local_addr());
    let page = smol::block_on(running.rooms().get(&RoomName::new("page")?))?;
    for line in io::stdin().lines() {
        let edits: u32 = line?.trim().parse()?;
        smol::block_on(edit(&page, edits))?;
        println!("done {edits}");
    }
    drop(page);
    if running.shutdown().is_clean() { Ok(()) } else { Err("not everything is stored".into()) }
}

/// Begins all edits, then waits for all to be durable: each writes a line and counts itself.
async fn edit(page: &Room, edits: u32) -> Result<(), Box<dyn Error>> {
    let begun: Vec<_> = (0..edits)
        .map(|nth| {
            let page = page.clone();
            smol::spawn(async move {
                page.edit(move |txn| {
                    txn.get_or_insert_text("text").push(txn, &format!("edit {nth}\n"));
                    let map = txn.get_or_insert_map("map");
                    let count = map.get(txn, "edits").and_then(|count| count.cast::<f64>().ok());
                    map.insert(txn, "edits", count.unwrap_or(0.0) + 1.0);
                })
                .await
            })
        })
        .collect();
    for edit in begun {
        edit.await?;
    }
    Ok(())
}

//! A program that has another count: it writes a number into a map, and the other, written in whatever
//! language, answers with the next.
//!
//! ```sh
//! cargo run -p yroom-net --example counter -- ws://127.0.0.1:1234/numbers 10
//! ```
//!
//! Whose turn it is says `clock` in the map `_test`, which only rises: ypy-websocket's test with a
//! JavaScript client went like that.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, thread};
use yroom_net::client::Options;
use yrs::{Doc, Map, MapRef, Transact};

/// How long the other may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().ok_or("usage: counter URL [TURNS]")?;
    let turns: u32 = args.next().map_or(Ok(10), |turns| turns.parse())?;
    let doc = Doc::new();
    let (numbers, test) = (doc.get_or_insert_map("map"), doc.get_or_insert_map("_test"));
    let session = yroom_net::connect(&url, &doc, Options::default())?;
    smol::block_on(session.synced())?;
    let mut turn = 0.0;
    for input in 0..turns {
        numbers.insert(&mut doc.transact_mut(), "in", input);
        test.insert(&mut doc.transact_mut(), "clock", turn);
        let asked = Instant::now();
        while number(&doc, &test, "clock").is_none_or(|clock| clock <= turn) {
            if asked.elapsed() > PATIENCE {
                return Err(format!("nobody answers {input}").into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        turn = number(&doc, &test, "clock").ok_or("the clock is gone")? + 1.0;
        let answer = number(&doc, &numbers, "out").ok_or("there is no answer")?;
        println!("{input} -> {answer}");
        if (answer - f64::from(input + 1)).abs() > f64::EPSILON {
            return Err(format!("{answer} does not follow {input}").into());
        }
    }
    smol::block_on(session.flush())?;
    smol::block_on(session.close());
    Ok(())
}

fn number(doc: &Doc, map: &MapRef, key: &str) -> Option<f64> {
    map.get(&doc.transact(), key)?.cast().ok()
}

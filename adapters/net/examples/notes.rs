//! Two programs edit one text. Start a server and this twice, and type.
//!
//! ```sh
//! cargo run --release -- --store memory &
//! cargo run -p yroom-net --example notes -- ws://127.0.0.1:1234/notes Ann
//! cargo run -p yroom-net --example notes -- ws://127.0.0.1:1234/notes Bob
//! ```
//!
//! A line is added to the end of the text. `/show` prints the text, `/who` who is here, `/set KEY
//! VALUE` writes into a map and `/get KEY` reads from it, `/flush` waits until the server has
//! everything, `/quit` leaves.

use futures_util::StreamExt;
use std::error::Error;
use std::io::BufRead;
use std::{env, io, thread};
use yroom_net::client::{Options, Session};
use yrs::{Any, Doc, GetString, Map, Text, Transact};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let url = args.next().ok_or("usage: notes URL [NAME]")?;
    let name = args.next().unwrap_or_else(|| "somebody".to_owned());
    let doc = Doc::new();
    let session = yroom_net::connect(&url, &doc, Options::default())?;
    session.awareness().set(Some(&format!(r#"{{"name":{}}}"#, json(&name))))?;
    tell_changes(&session);
    for line in io::stdin().lock().lines() {
        if obey(&line?, &doc, &session)? == Next::Quit {
            break;
        }
    }
    smol::block_on(session.close());
    Ok(())
}

#[derive(PartialEq)]
enum Next {
    Line,
    Quit,
}

fn obey(line: &str, doc: &Doc, session: &Session) -> Result<Next, Box<dyn Error>> {
    let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("/quit"), None, None) => return Ok(Next::Quit),
        (Some("/show"), None, None) => println!("text {}", json(&text.get_string(&doc.transact()))),
        (Some("/who"), None, None) => {
            for (client, state) in session.awareness().others() {
                println!("here {client} {state}");
            }
            println!("that is all");
        }
        (Some("/set"), Some(key), Some(value)) => {
            map.insert(&mut doc.transact_mut(), key, value);
        }
        (Some("/get"), Some(key), None) => {
            let value = map.get_as::<_, Option<String>>(&doc.transact(), key)?;
            println!("value {}", json(value.as_deref().unwrap_or_default()));
        }
        (Some("/flush"), None, None) => {
            println!("flushed {:?}", smol::block_on(session.flush())?);
        }
        _ => text.push(&mut doc.transact_mut(), &format!("{line}\n")),
    }
    Ok(Next::Line)
}

/// Prints how the connection stands, whenever that changes.
fn tell_changes(session: &Session) {
    let mut statuses = session.statuses();
    thread::spawn(move || {
        smol::block_on(async {
            let mut told = None;
            while let Some(status) = statuses.next().await {
                if told.replace(status.phase) != Some(status.phase) {
                    println!("phase {:?} {}", status.phase, status.trouble.unwrap_or_default());
                }
            }
        });
    });
}

fn json(text: &str) -> String {
    let mut out = String::new();
    Any::from(text).to_json(&mut out);
    out
}

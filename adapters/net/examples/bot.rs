//! A bot in a room: it answers every line of the text that begins with `@bot`.
//!
//! ```sh
//! cargo run --release -- --store memory &
//! cargo run -p yroom-net --example bot -- ws://127.0.0.1:1234/notes &
//! cargo run -p yroom-net --example notes -- ws://127.0.0.1:1234/notes Ann
//! @bot 12 + 30
//! /show
//! ```

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use std::error::Error;
use std::{env, pin::pin};
use yroom_net::client::Options;
use yrs::{Doc, GetString, Observable, Text, TextRef, Transact};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: bot URL")?;
    let doc = Doc::new();
    let text = doc.get_or_insert_text("text");
    let session = yroom_net::connect(&url, &doc, Options::default())?;
    session.awareness().set(Some(r#"{"name":"bot"}"#))?;
    // An observer runs inside of a transaction, so the answering is done elsewhere.
    let (changed, changes) = smol::channel::bounded(1);
    text.observe("bot", move |_, _| {
        // If it is full, the bot is about to look anyway.
        let _ = changed.try_send(());
    });
    smol::block_on(async {
        session.synced().await?;
        println!("listening");
        let mut statuses = session.statuses();
        loop {
            answer(&doc, &text);
            match select(pin!(changes.recv()), statuses.next()).await {
                Either::Left((Ok(()), _)) | Either::Right((Some(_), _)) => {}
                Either::Left((Err(_), _)) | Either::Right((None, _)) => break,
            }
        }
        Ok(())
    })
}

/// Answers the first question that is not answered yet, if there is one, below it.
fn answer(doc: &Doc, text: &TextRef) {
    let content = text.get_string(&doc.transact());
    // Positions of yrs are bytes unless its options say otherwise.
    let mut at = 0;
    let mut lines = content.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        at += line.len();
        let Some(question) = line.strip_suffix('\n').and_then(|line| line.strip_prefix("@bot"))
        else {
            continue;
        };
        if lines.peek().is_none_or(|next| !next.starts_with("bot: ")) {
            let answer = format!("bot: {}\n", reply(question.trim()));
            println!("{} -> {}", question.trim(), answer.trim_end());
            text.insert(&mut doc.transact_mut(), at as u32, &answer);
            return;
        }
    }
}

fn reply(question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    let number = |word: &str| word.parse::<i64>().ok();
    let result = match words[..] {
        [a, "+", b] => number(a).zip(number(b)).and_then(|(a, b)| a.checked_add(b)),
        [a, "-", b] => number(a).zip(number(b)).and_then(|(a, b)| a.checked_sub(b)),
        [a, "*", b] => number(a).zip(number(b)).and_then(|(a, b)| a.checked_mul(b)),
        _ => None,
    };
    result.map_or_else(|| "I can add, subtract and multiply".to_owned(), |n| n.to_string())
}

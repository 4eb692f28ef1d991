//! The engine alone: a hub and two providers in one thread, without sockets, runtime or disk.
//!
//! ```sh
//! cargo run --example both_sides
//! ```

#![allow(clippy::disallowed_macros, reason = "an example shows what it does")]

use std::error::Error;
use yroom::provider::{self, LinkId, Provider};
use yroom::{Access, Config, ConnId, Hub, Input, Output, RoomName, StoreOp, Stored, Timestamp};
use yrs::{Doc, GetString, Text, Transact};

/// A program: a document, its provider, and its end of a "cable" to the hub.
struct Program {
    doc: Doc,
    provider: Provider,
    cable: Option<(LinkId, ConnId)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let room = RoomName::new("minutes")?;
    let mut hub = Hub::new(Config::default());
    let mut programs = Vec::new();
    for _ in 0..2 {
        let doc = Doc::new();
        let mut provider = Provider::new(provider::Config::default(), &doc, || ())?;
        provider.connect(now());
        programs.push(Program { doc, provider, cable: None });
    }
    settle(&mut hub, &mut programs, &room)?;

    for (program, words) in programs.iter_mut().zip(["from Ann, ", "from Bob"]) {
        let text = program.doc.get_or_insert_text("text");
        text.push(&mut program.doc.transact_mut(), words);
        program.provider.handle(now(), provider::Input::Edited);
    }
    settle(&mut hub, &mut programs, &room)?;

    let texts: Vec<String> = programs.iter().map(Program::text).collect();
    assert_eq!(texts[0], texts[1]);
    println!("both have: {}", texts[0]);
    Ok(())
}

impl Program {
    fn text(&self) -> String {
        self.doc.get_or_insert_text("text").get_string(&self.doc.transact())
    }
}

/// Carries everything from where it comes out to where it goes in, until nothing moves.
fn settle(hub: &mut Hub, programs: &mut [Program], room: &RoomName) -> Result<(), Box<dyn Error>> {
    let mut moved = true;
    while moved {
        moved = false;
        for program in &mut *programs {
            while let Some(output) = program.provider.poll_output() {
                moved = true;
                from_provider(hub, program, room, output)?;
            }
        }
        while let Some(output) = hub.poll_output() {
            moved = true;
            from_hub(hub, programs, output);
        }
    }
    Ok(())
}

fn from_provider(
    hub: &mut Hub,
    program: &mut Program,
    room: &RoomName,
    output: provider::Output,
) -> Result<(), Box<dyn Error>> {
    match output {
        provider::Output::Connect { link } => {
            program.cable = Some((link, hub.open(now(), room, Access::FULL)?));
            program.provider.handle(now(), provider::Input::Connected { link });
        }
        provider::Output::Send { link, frame } => {
            let bytes = frame.len();
            if let Some((_, conn)) = program.cable {
                hub.handle(now(), Input::Frame { conn, frame });
            }
            program.provider.handle(now(), provider::Input::Flushed { link, bytes });
        }
        provider::Output::Close { .. } => {
            if let Some((_, conn)) = program.cable.take() {
                hub.handle(now(), Input::Closed { conn });
            }
        }
        provider::Output::Event(event) => println!("{event:?}"),
        // Nothing here is ever slow, and no copy is kept.
        provider::Output::Pause { .. } | provider::Output::Resume { .. } => {}
        provider::Output::Store(_) => {}
    }
    Ok(())
}

fn from_hub(hub: &mut Hub, programs: &mut [Program], output: Output) {
    let cable =
        |conn: ConnId| move |program: &&mut Program| program.cable.is_some_and(|(_, c)| c == conn);
    match output {
        Output::Send { conn, frame } => {
            hub.handle(now(), Input::Flushed { conn, bytes: frame.len() });
            if let Some(program) = programs.iter_mut().find(cable(conn))
                && let Some((link, _)) = program.cable
            {
                program.provider.handle(now(), provider::Input::Frame { link, frame });
            }
        }
        Output::Close { conn, code, reason } => {
            hub.handle(now(), Input::Closed { conn });
            if let Some(program) = programs.iter_mut().find(cable(conn))
                && let Some((link, _)) = program.cable.take()
            {
                let code = Some(code);
                program.provider.handle(now(), provider::Input::Closed { link, code, reason });
            }
        }
        // A disk that forgets: all is "durable" at once.
        Output::Store(StoreOp::Load { room, .. }) => {
            hub.handle(now(), Input::Loaded { room, result: Ok(Stored::default()) });
        }
        Output::Store(StoreOp::Append(append)) => {
            let (room, upto) = (append.room, append.batch.last());
            hub.handle(now(), Input::Durable { room, upto });
        }
        Output::Store(StoreOp::Compact { room, upto, .. }) => {
            hub.handle(now(), Input::Compacted { room, upto, result: Ok(()) });
        }
        Output::Store(StoreOp::Delete { room, .. }) => {
            hub.handle(now(), Input::Deleted { room, result: Ok(()) });
        }
        Output::Store(StoreOp::Release { .. }) => {}
        Output::Pause { .. }
        | Output::Resume { .. }
        | Output::Application(_)
        | Output::Event(_) => {}
    }
}

/// Time stands still here; a driver takes it from a monotonic clock.
const fn now() -> Timestamp {
    Timestamp::ZERO
}

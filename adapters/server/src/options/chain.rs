//! Which other servers rooms are followed at.

use clap::Args;
use std::path::PathBuf;
use yroom::RoomName;

/// Rooms that follow those of another server, and the other way round.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Other servers")]
pub(crate) struct ChainFlags {
    /// Has a room follow the room at this URL (ws:// or wss://) from the start on, edits and presence,
    /// in both directions; may be given several times.
    #[arg(long, env = "YROOM_CHAIN", value_name = "ROOM=URL", value_delimiter = ' ', value_parser = link)]
    pub(crate) chain: Vec<Link>,

    /// Has every room follow the room of its name under this URL while somebody is in it here, and
    /// for --unload-after beyond that.
    #[arg(long, env = "YROOM_CHAIN_ALL", value_name = "URL", conflicts_with = "chain")]
    pub(crate) chain_all: Option<String>,

    /// The token to show there, in a file. For a yroom server one with "awareness": "relay". SIGHUP
    /// reads it anew.
    #[arg(long, env = "YROOM_CHAIN_TOKEN", value_name = "FILE")]
    pub(crate) chain_token: Option<PathBuf>,
}

/// One room, and the one that it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) room: RoomName,
    pub(crate) url: String,
}

/// Names may have `=` in them, too.
fn link(text: &str) -> Result<Link, String> {
    let cut = ["=ws://", "=wss://"].iter().filter_map(|mark| text.find(mark)).min();
    let Some(cut) = cut else {
        return Err("a room and a URL are wanted: notes=wss://example.org/notes".to_owned());
    };
    let room = crate::commands::room_name(&text[..cut])?;
    Ok(Link { room, url: text[cut + 1..].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_room_and_a_url() {
        let is = |text: &str, room: &str, url: &str| {
            let found = link(text).unwrap();
            assert_eq!((found.room.as_str(), &found.url[..]), (room, url), "{text}");
        };
        is("notes=ws://h:1/notes", "notes", "ws://h:1/notes");
        is("/a/b=wss://h/x?y=ws://z", "a/b", "wss://h/x?y=ws://z");
        is("a=b=ws://h/a=b", "a=b", "ws://h/a=b");
        for text in ["", "notes", "=ws://h/x", "notes=http://h/x", "notes:ws://h/x"] {
            assert!(link(text).is_err(), "{text}");
        }
    }
}

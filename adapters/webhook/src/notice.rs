//! What is told, and how it is written.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;
use std::time::SystemTime;
use yroom::{RoomName, Seq};

/// What a notice may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A room's document has changed.
    Change,
    /// A room was opened: its load has begun.
    Open,
    /// A room was closed: it is unloaded, or could not be loaded.
    Close,
    /// The store has forgotten a room.
    Delete,
    /// A connection came into a room.
    Join,
    /// A connection has left a room.
    Leave,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Change, Self::Open, Self::Close, Self::Delete, Self::Join, Self::Leave];

    /// Its name, as it stands in a notice.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Open => "open",
            Self::Close => "close",
            Self::Delete => "delete",
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(name: &str) -> Result<Self, UnknownTopic> {
        Self::ALL.into_iter().find(|topic| topic.name() == name).ok_or(UnknownTopic)
    }
}

/// A name that is no [`Topic`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTopic;

impl fmt::Display for UnknownTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of change, open, close, delete, join, leave")
    }
}

impl std::error::Error for UnknownTopic {}

/// One thing to tell about a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) topic: Topic,
    /// When it happened, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) detail: Detail,
}

/// What there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    Nothing,
    /// The last place that is shown.
    Upto(Seq),
    /// Which connection.
    Peer(String),
}

/// The content of a room in a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Nobody asked for it.
    None,
    /// As JSON.
    Json(String),
    /// There is none, and why.
    Omitted(String),
}

impl Notice {
    pub(crate) fn now(topic: Topic, detail: Detail) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { topic, at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX), detail }
    }

    /// The body of a request.
    pub(crate) fn body(&self, room: &RoomName, lost: u64, data: &Data) -> String {
        let Self { topic, at_ms, detail } = self;
        let mut body =
            format!(r#"{{"event":"{topic}","room":{},"at":{at_ms}"#, string(room.as_str()));
        // Writing to a string does not fail.
        let _ = match detail {
            Detail::Nothing => Ok(()),
            Detail::Upto(Seq(upto)) => write!(body, r#","sequence":{upto}"#),
            Detail::Peer(peer) => write!(body, r#","peer":{}"#, string(peer)),
        };
        if lost > 0 {
            let _ = write!(body, r#","lost":{lost}"#);
        }
        let _ = match data {
            Data::None => Ok(()),
            Data::Json(data) => write!(body, r#","data":{data}"#),
            Data::Omitted(why) => write!(body, r#","omitted":{}"#, string(why)),
        };
        body.push('}');
        body
    }
}

/// A string of JSON.
pub(crate) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_body_is_json_whatever_the_names_are() {
        let room = RoomName::new("a\"b\\c é").unwrap();
        let read = |body: String| serde_json::from_str::<Value>(&body).unwrap();
        let notice = Notice { topic: Topic::Change, at_ms: 17, detail: Detail::Upto(Seq(3)) };
        assert_eq!(
            read(notice.body(&room, 2, &Data::Json(r#"{"t":1}"#.to_owned()))),
            json!({"event": "change", "room": "a\"b\\c é", "at": 17, "sequence": 3, "lost": 2,
                "data": {"t": 1}})
        );
        let omitted = Data::Omitted("too \"large\"".to_owned());
        assert_eq!(read(notice.body(&room, 0, &omitted))["omitted"], json!("too \"large\""));
        let notice = Notice { topic: Topic::Join, at_ms: 1, detail: Detail::Peer("0-7".into()) };
        assert_eq!(
            read(notice.body(&room, 0, &Data::None)),
            json!({"event": "join", "room": "a\"b\\c é", "at": 1, "peer": "0-7"})
        );
    }

    #[test]
    fn topics_are_read_by_their_names() {
        for topic in Topic::ALL {
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        assert_eq!("changed".parse::<Topic>(), Err(UnknownTopic));
    }
}

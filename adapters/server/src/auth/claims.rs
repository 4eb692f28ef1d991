//! What a token says.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use yroom::update::ClientId;
use yroom::{Access, Identity, InvalidIdentity, Presence, RoomName};

/// The claims that count here; others are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    /// From when on it is no good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<Moment>,
    /// Before when it is no good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<Moment>,
    /// For whom it is.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) aud: Names,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    /// Rooms, each by its whole name, as it stands in the URL.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) rooms: Names,
    /// Beginnings of rooms' names.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) prefixes: Names,
    /// What may be done with the document.
    #[serde(default)]
    pub(crate) access: Level,
    /// How its bearer appears to others.
    #[serde(default, skip_serializing_if = "Appearance::is_default")]
    pub(crate) awareness: Appearance,
}

/// Rights on the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Sees it.
    #[default]
    Read,
    /// Sees and changes it.
    Write,
}

/// Rights on awareness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Appearance {
    /// Whether it may be seen.
    Seen(bool),
    /// It speaks for others.
    For(Others),
    /// It may, like this.
    As(Appear),
}

/// For whom somebody speaks beside themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Others {
    /// For all of a server that is linked with this one, and trusted.
    Relay,
}

/// How somebody is seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Appear {
    /// The awareness ids that may be used, and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ids: Option<Vec<u64>>,
    /// Fields that stand in each state, whatever the client says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fields: Option<serde_json::Map<String, Value>>,
}

impl Default for Appearance {
    fn default() -> Self {
        Self::Seen(true)
    }
}

impl Appearance {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Claims {
    /// Whether they are about a room. Names are compared as they are: no percent-encoding is undone,
    /// no case or form of Unicode is like another.
    pub(crate) fn admit_to(&self, room: &RoomName) -> bool {
        let room = room.as_str();
        let below = |prefix: &String| {
            room.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty() && stays(rest))
        };
        self.rooms.0.iter().any(|name| name == room) || self.prefixes.0.iter().any(below)
    }

    /// What its bearer may do; when that ends stands elsewhere.
    pub(crate) fn access(&self) -> Result<Access, InvalidIdentity> {
        let mut access = match self.access {
            Level::Read => Access::READ_ONLY,
            Level::Write => Access::FULL,
        };
        let mut identity = Identity::new();
        if let Some(user) = &self.sub {
            identity = identity.user(user)?;
        }
        match &self.awareness {
            Appearance::Seen(true) => {}
            Appearance::Seen(false) => access.presence = Presence::Observe,
            Appearance::For(Others::Relay) => access.presence = Presence::Relay,
            Appearance::As(appear) => {
                if let Some(ids) = &appear.ids {
                    identity = identity.ids(ids.iter().copied().map(ClientId))?;
                }
                if let Some(fields) = &appear.fields {
                    let json = serde_json::to_string(fields);
                    identity = identity.stamp(&json.unwrap_or_default())?;
                }
            }
        }
        access.identity = (identity != Identity::new()).then(|| identity.into());
        Ok(access)
    }
}

/// Whether a path that goes on like this stays below where it began, also for somebody who undoes
/// percent-encoding, once or several times, and takes `\` for `/`.
fn stays(rest: &str) -> bool {
    let mut bytes = rest.as_bytes().to_vec();
    loop {
        let mut segments = bytes.split(|&byte| byte == b'/' || byte == b'\\');
        if segments.any(|segment| matches!(segment, b"." | b"..")) {
            return false;
        }
        let decoded = super::percent_decode(&bytes);
        if decoded == bytes {
            return true;
        }
        bytes = decoded;
    }
}

/// One or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        Ok(match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(name) => Self(vec![name]),
            OneOrMore::More(names) => Self(names),
        })
    }
}

/// A time as tokens have it: seconds since 1970, perhaps with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Moment(f64);

impl Moment {
    /// Beyond this a double does not tell every second; it is 35,000 years.
    const LAST: f64 = 1_099_511_627_776.0;

    /// A time, without its fraction.
    pub(crate) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs_f64().trunc())
    }

    pub(crate) fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(self.0)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not every program that reads tokens expects a fraction.
        serializer.serialize_u64(
            self.time().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        )
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if (0.0..=Self::LAST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(D::Error::custom("no time"))
        }
    }
}

//! Who asks to come into a room: the request, as whoever decides about it sees it.

use bytes::Bytes;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use yroom::{RoomName, Timestamp};

/// Somebody who asks to come into a room, before the WebSocket is one, or is asked about again; see
/// [`Authorize`](crate::Authorize).
///
/// It owns what it tells, in the bytes that came: a clone is cheap, and may go to another thread.
#[derive(Clone)]
pub struct Arrival {
    pub(crate) room: RoomName,
    pub(crate) query: Option<Box<str>>,
    pub(crate) headers: Box<[(Bytes, Bytes)]>,
    pub(crate) peer: SocketAddr,
    pub(crate) client: IpAddr,
    pub(crate) now: Timestamp,
    pub(crate) occasion: Occasion,
}

/// Why somebody is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// They want to come in.
    Join,
    /// They are in, and the grant said to ask [again](crate::Grant::recheck).
    Recheck,
}

impl Arrival {
    /// Which room. Its name is valid; it is the path of the URL as it is, percent signs and dots
    /// included.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// What stands after the target's `?`, as it is.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// A parameter of the query, as it is: a token that is not percent-encoded, for instance. None if
    /// it is there twice, as it is not clear then which one counts.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('='));
        only(pairs.filter(|(found, _)| *found == name).map(|(_, value)| value))
    }

    /// The value of a header, whose name's case does not matter; none if it is there twice, as it is
    /// not clear then which one counts.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        only(self.values(name))
    }

    /// The subprotocols that are offered, in the client's order: `new WebSocket(url, protocols)`.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        self.values("sec-websocket-protocol")
            .filter_map(|value| str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|name| is_token(name))
    }

    /// From where the connection comes: the client, or a proxy.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Who the client is, as far as the proxies that stand between are [trusted](crate::Proxies).
    pub fn client_addr(&self) -> IpAddr {
        self.client
    }

    /// The server's clock, for [`Access::expires_at`](yroom::Access::expires_at).
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether they want to come in, or are in.
    pub fn occasion(&self) -> Occasion {
        self.occasion
    }

    /// The same one, asked about later.
    pub(crate) fn again(&self, now: Timestamp) -> Self {
        Self { now, occasion: Occasion::Recheck, ..self.clone() }
    }

    /// All values of a header, in the order of the request.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| &value[..])
    }
}

/// Without the query and the headers, in which there may be secrets.
impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("room", &self.room)
            .field("peer", &self.peer)
            .field("client", &self.client)
            .field("occasion", &self.occasion)
            .finish_non_exhaustive()
    }
}

/// Whether it can be a subprotocol's name (RFC 6455 §4.1: an HTTP token).
pub(crate) fn is_token(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_char)
}

fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(query: &str, headers: &[(&'static str, &'static str)]) -> Arrival {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        Arrival {
            room: RoomName::new("r").unwrap(),
            query: Some(query.into()),
            headers: headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            peer,
            client: peer.ip(),
            now: Timestamp::ZERO,
            occasion: Occasion::Join,
        }
    }

    #[test]
    fn what_is_there_twice_has_no_value() {
        let found = arrival("a=1&b=2&b=3&c", &[("A", "1"), ("B", "2"), ("b", "3")]);
        assert_eq!(found.header("a"), Some(&b"1"[..]));
        assert_eq!(found.header("b"), None);
        assert_eq!(found.header("c"), None);
        assert_eq!(found.parameter("a"), Some("1"));
        assert_eq!(found.parameter("b"), None);
        assert_eq!(found.parameter("c"), None);
    }

    #[test]
    fn subprotocols_come_in_their_order_and_only_if_they_can_be_names() {
        let header = "Sec-WebSocket-Protocol";
        let found = arrival("", &[(header, "yroom, jwt.a-b_c"), (header, " x,,a b, \"q\"")]);
        assert_eq!(found.subprotocols().collect::<Vec<_>>(), ["yroom", "jwt.a-b_c", "x"]);
    }

    #[test]
    fn no_secret_is_printed() {
        let found = arrival("token=secret", &[("Authorization", "secret"), ("Cookie", "secret")]);
        assert!(!format!("{found:?}").contains("secret"));
    }
}

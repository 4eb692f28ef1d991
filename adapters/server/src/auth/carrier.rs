//! Where in a request a token is.

use super::{Denied, SUBPROTOCOL, percent_decode};
use std::borrow::Cow;
use yroom_net::Arrival;

/// Before a token in a subprotocol's name, for who cannot set headers and would not put it into a
/// URL: browsers.
const TOKEN_SUBPROTOCOL: &str = "yroom.token.";

/// The one token that a request carries.
///
/// Several, even the same several times, are refused: whoever looked at the request before may have
/// looked at another one.
pub(super) fn token(arrival: &Arrival) -> Result<Cow<'_, str>, Denied> {
    let query = arrival.query().unwrap_or_default();
    let subprotocols = arrival
        .subprotocols()
        .filter_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL))
        .map(|token| Ok(Cow::Borrowed(token)));
    let mut found = in_query(query).chain(subprotocols).chain(in_headers(arrival));
    let token = found.next().ok_or(Denied::Missing)?;
    if found.next().is_some() { Err(Denied::Several) } else { token }
}

/// The subprotocol to speak, if it was offered.
pub(super) fn spoken(arrival: &Arrival) -> Option<String> {
    arrival.subprotocols().find(|name| *name == SUBPROTOCOL).map(str::to_owned)
}

fn in_headers(arrival: &Arrival) -> impl Iterator<Item = Result<Cow<'_, str>, Denied>> {
    arrival.values("authorization").filter_map(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| {
            str::from_utf8(token.trim_ascii()).map(Cow::Borrowed).map_err(|_| Denied::Malformed)
        })
    })
}

fn in_query(query: &str) -> impl Iterator<Item = Result<Cow<'_, str>, Denied>> {
    query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name.as_bytes()) == b"token").then(|| {
            let token = String::from_utf8(percent_decode(value.as_bytes()));
            token.map(Cow::Owned).map_err(|_| Denied::Malformed)
        })
    })
}

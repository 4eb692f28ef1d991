//! Who the client is when proxies stand between: only what a trusted one says counts.

use crate::arrival::Arrival;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The proxies that say truly from whom a request comes. Default: none, and no header counts.
///
/// Anybody can send `X-Forwarded-For`, so it is read only when the connection comes from one of these
/// addresses; and then from its end, which the nearest proxy wrote: the client is the last address in
/// it that is no trusted proxy. What stands before that, the client may have made up.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    trusted: Vec<IpPrefix>,
    header: ForwardedIn,
}

/// Which header the trusted proxies write. One, as a proxy that writes one of them may pass on the
/// other as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedIn {
    /// `X-Forwarded-For: client, proxy`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

impl Proxies {
    /// Trusts these.
    pub fn new(trusted: impl IntoIterator<Item = IpPrefix>) -> Self {
        Self { trusted: trusted.into_iter().collect(), header: ForwardedIn::default() }
    }

    /// Reads this header of theirs.
    #[must_use]
    pub fn header(mut self, header: ForwardedIn) -> Self {
        self.header = header;
        self
    }

    /// Whether this is one of them.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|prefix| prefix.contains(address))
    }

    /// The client of a request: the nearest hop that is not trusted, as far as the header tells.
    pub(crate) fn client(&self, arrival: &Arrival) -> IpAddr {
        let mut nearest = arrival.peer_addr().ip().to_canonical();
        if !self.trust(nearest) {
            return nearest;
        }
        let name = match self.header {
            ForwardedIn::XForwardedFor => "x-forwarded-for",
            ForwardedIn::Forwarded => "forwarded",
        };
        // Several headers of the name are one list.
        let lines: Vec<_> = arrival.values(name).collect();
        let hops: Vec<_> = lines.iter().flat_map(|line| split(line, b',')).collect();
        for hop in hops.iter().rev() {
            let written = match self.header {
                ForwardedIn::XForwardedFor => Some(*hop),
                ForwardedIn::Forwarded => forwarded_for(hop),
            };
            // Behind what cannot be read nothing can be trusted.
            let Some(address) = written.and_then(parse_hop) else { break };
            nearest = address;
            if !self.trust(nearest) {
                break;
            }
        }
        nearest
    }
}

/// An address, or all that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`, `127.0.0.1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    address: IpAddr,
    bits: u32,
}

impl IpPrefix {
    /// Whether an address begins with it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl From<IpAddr> for IpPrefix {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// What is no [`IpPrefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPrefix;

impl FromStr for IpPrefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidPrefix)?;
        let whole = Self { address, bits: if address.is_ipv4() { 32 } else { 128 } };
        let Some(bits) = bits else { return Ok(Self::from(address)) };
        let bits: u32 = bits.parse().map_err(|_| InvalidPrefix)?;
        if bits > whole.bits {
            return Err(InvalidPrefix);
        }
        Ok(Self { bits, ..whole })
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address or prefix: it looks like 10.0.0.0/8 or 2001:db8::1")
    }
}

impl std::error::Error for InvalidPrefix {}

/// The parts between separators that stand outside of quotes.
fn split(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == separator && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// The `for` parameter of an element of `Forwarded`, without its quotes.
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    split(element, b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        name.eq_ignore_ascii_case(b"for").then_some(unquoted.unwrap_or(value))
    })
}

/// An address, which may have a port, and brackets if it is one of IPv6.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => hop.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Request, judge};
    use yroom::Timestamp;

    fn client(proxies: &Proxies, peer: &str, headers: &str) -> String {
        let head = format!(
            "GET /r HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let peer = SocketAddr::new(peer.parse().unwrap(), 9);
        let Ok(Request::Join(upgrade)) = judge(head.into_bytes(), peer, Timestamp::ZERO) else {
            panic!("{headers}")
        };
        proxies.client(&upgrade.arrival).to_string()
    }

    fn behind(trusted: &[&str], header: ForwardedIn) -> Proxies {
        Proxies::new(trusted.iter().map(|prefix| prefix.parse().unwrap())).header(header)
    }

    #[test]
    fn a_header_of_somebody_who_is_not_trusted_counts_for_nothing() {
        let proxies = behind(&["10.0.0.0/8"], ForwardedIn::XForwardedFor);
        let header = "X-Forwarded-For: 1.2.3.4\r\n";
        assert_eq!(client(&proxies, "9.9.9.9", header), "9.9.9.9");
        assert_eq!(client(&Proxies::default(), "10.0.0.1", header), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", header), "1.2.3.4");
        assert_eq!(client(&proxies, "::ffff:10.0.0.1", header), "1.2.3.4");
        assert_eq!(client(&proxies, "10.0.0.1", "Forwarded: for=1.2.3.4\r\n"), "10.0.0.1");
        assert_eq!(client(&proxies, "10.0.0.1", ""), "10.0.0.1");
    }

    #[test]
    fn the_last_hop_that_is_not_trusted_is_the_client() {
        let proxies = behind(&["10.0.0.0/8", "2001:db8::/32"], ForwardedIn::XForwardedFor);
        let of = |header: &str| client(&proxies, "10.0.0.1", header);
        assert_eq!(of("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1,10.2.2.2\r\n"), "1.2.3.4");
        let several = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 1.2.3.4, 2001:db8::7\r\n";
        assert_eq!(of(several), "1.2.3.4");
        assert_eq!(of("X-Forwarded-For: 10.3.3.3\r\n"), "10.3.3.3", "all of them are proxies");
        assert_eq!(of("X-Forwarded-For: 1.2.3.4, nonsense, 10.2.2.2\r\n"), "10.2.2.2");
        assert_eq!(of("X-Forwarded-For: 1.2.3.4:5678\r\n"), "1.2.3.4");
        assert_eq!(of("X-Forwarded-For: [2001:db9::1]:443\r\n"), "2001:db9::1");
        assert_eq!(of("X-Forwarded-For: 2001:db9::1\r\n"), "2001:db9::1");
        assert_eq!(of("X-Forwarded-For: ::ffff:1.2.3.4\r\n"), "1.2.3.4");
        assert_eq!(of("X-Forwarded-For: 1.2.3.4,\r\n"), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        let proxies = behind(&["10.0.0.1"], ForwardedIn::Forwarded);
        let of = |header: &str| client(&proxies, "10.0.0.1", header);
        assert_eq!(
            of("Forwarded: for=6.6.6.6, proto=https;For=1.2.3.4;by=10.0.0.1\r\n"),
            "1.2.3.4"
        );
        assert_eq!(of("Forwarded: for=\"[2001:db8::1]:4711\"\r\n"), "2001:db8::1");
        assert_eq!(of("Forwarded: for=1.2.3.4;host=\"a, for=6.6.6.6\"\r\n"), "1.2.3.4");
        assert_eq!(of("Forwarded: for=_hidden\r\n"), "10.0.0.1");
        assert_eq!(of("Forwarded: for=unknown, by=10.0.0.1\r\n"), "10.0.0.1");
        assert_eq!(of("X-Forwarded-For: 6.6.6.6\r\n"), "10.0.0.1");
    }

    #[test]
    fn a_prefix_has_the_addresses_that_begin_with_it() {
        let contains = |prefix: &str, address: &str| {
            prefix.parse::<IpPrefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "255.1.1.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "2001:db8::1") && contains("::1", "::1"));
        assert!(contains("192.168.1.128/25", "192.168.1.129"));
        assert!(!contains("192.168.1.128/25", "192.168.1.127"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "x"] {
            assert_eq!(bad.parse::<IpPrefix>(), Err(InvalidPrefix), "{bad}");
        }
    }
}

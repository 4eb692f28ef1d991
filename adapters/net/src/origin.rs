//! Which web pages may connect: a browser says in `Origin` whose page it is, and no page can forge it.

use crate::arrival::Arrival;
use crate::refusal::Refusal;
use std::fmt;

/// The origins whose pages may connect. Default: [same host](Self::same_host).
///
/// A WebSocket is not held back by the browser's same-origin policy: any page that a user visits can
/// open one to any server that the user can reach, with the user's cookies, and on a machine or
/// network that the page's author cannot reach. Only the server can refuse that, with 403 here.
///
/// A request without `Origin` is let through unless [`always_sent`](Self::always_sent) says otherwise:
/// it comes from a program, not from a page, and a program could write there what it likes.
#[derive(Clone, Debug)]
pub struct Origins {
    rule: Rule,
    listed: Vec<Box<str>>,
    missing: Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    SameHost,
    Listed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Missing {
    Allowed,
    Refused,
}

impl Origins {
    /// Pages from anywhere: for what everybody may use, or where a token decides that pages of others
    /// cannot have.
    pub fn any() -> Self {
        Self { rule: Rule::Any, listed: Vec::new(), missing: Missing::Allowed }
    }

    /// Pages of the host that the request's `Host` header names, whatever the port and scheme. Behind
    /// a proxy this asks that it passes `Host` on.
    pub fn same_host() -> Self {
        Self { rule: Rule::SameHost, ..Self::any() }
    }

    /// No pages but those [added](Self::and).
    pub fn listed() -> Self {
        Self { rule: Rule::Listed, ..Self::any() }
    }

    /// And pages of exactly this origin: `https://app.example.org`, `http://localhost:5173`, or `null`
    /// for those that have none (files, sandboxes). Fails if it is no origin: a path or a user has no
    /// place in one.
    pub fn and(mut self, origin: &str) -> Result<Self, InvalidOrigin> {
        self.listed.push(normal(origin).ok_or(InvalidOrigin)?);
        Ok(self)
    }

    /// And nobody who does not say, which shuts out every program but browsers.
    #[must_use]
    pub fn always_sent(mut self) -> Self {
        self.missing = Missing::Refused;
        self
    }

    /// Refuses a page that may not connect.
    pub(crate) fn check(&self, arrival: &Arrival) -> Result<(), Refusal> {
        let mut sent = arrival.values("origin");
        let origin = match (sent.next(), sent.next()) {
            (None, _) if self.missing == Missing::Allowed => return Ok(()),
            (None, _) => return Err(refused("a request without Origin is not served here")),
            (Some(_), Some(_)) => return Err(refused("the request has more than one Origin")),
            (Some(origin), None) => origin,
        };
        let origin = str::from_utf8(origin).ok().and_then(normal);
        let allowed = origin.is_some_and(|origin| match self.rule {
            Rule::Any => true,
            Rule::SameHost => is_same_host(&origin, arrival) || self.listed.contains(&origin),
            Rule::Listed => self.listed.contains(&origin),
        });
        // What cannot be read as an origin is nobody's page.
        if allowed || self.rule == Rule::Any {
            return Ok(());
        }
        Err(refused("pages of this origin may not connect here"))
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::same_host()
    }
}

/// What is no origin: one is a scheme, a host and perhaps a port, and no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an origin: it looks like https://example.org or http://localhost:5173")
    }
}

impl std::error::Error for InvalidOrigin {}

fn refused(sentence: &'static str) -> Refusal {
    Refusal::new(403, sentence)
}

/// An origin as browsers write it (RFC 6454 §6.2): lower case, without its scheme's own port.
fn normal(origin: &str) -> Option<Box<str>> {
    let origin = origin.trim().to_ascii_lowercase();
    if origin == "null" {
        return Some(origin.into());
    }
    let (scheme, rest) = origin.split_once("://")?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = split_port(authority);
    let is_strange = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\,".contains(c);
    if scheme.is_empty() || host.is_empty() || authority.contains(is_strange) {
        return None;
    }
    let port = match (scheme, port) {
        ("http" | "ws", Some("80")) | ("https" | "wss", Some("443")) | (_, None) => None,
        (_, Some(port)) => Some(port.parse::<u16>().ok()?),
    };
    Some(match port {
        Some(port) => format!("{scheme}://{host}:{port}").into(),
        None => format!("{scheme}://{host}").into(),
    })
}

fn is_same_host(origin: &str, arrival: &Arrival) -> bool {
    let sent = arrival.header("host").and_then(|host| str::from_utf8(host).ok());
    let page = origin.split_once("://").map(|(_, authority)| split_port(authority).0);
    match (page, sent) {
        (Some(page), Some(host)) => page.eq_ignore_ascii_case(split_port(host.trim()).0),
        (None, _) | (_, None) => false,
    }
}

/// A host, in brackets if it is an IPv6 address, and the port behind it.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Request, judge};
    use std::net::SocketAddr;
    use yroom::Timestamp;

    /// The status for a request with these headers.
    fn status(origins: &Origins, headers: &str) -> u16 {
        let head = format!(
            "GET /r HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let Ok(Request::Join(upgrade)) = judge(head.into_bytes(), peer, Timestamp::ZERO) else {
            panic!("{headers}")
        };
        origins.check(&upgrade.arrival).map_or_else(|refusal| refusal.status(), |()| 101)
    }

    fn page(origins: &Origins, origin: &str) -> u16 {
        status(origins, &format!("Host: Example.org:1234\r\nOrigin: {origin}\r\n"))
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_whatever_its_port() {
        let origins = Origins::default();
        for good in ["http://example.org:1234", "https://example.org", "HTTPS://EXAMPLE.ORG:99"] {
            assert_eq!(page(&origins, good), 101, "{good}");
        }
        let bad = [
            "https://evil.org",
            "https://example.org.evil.org",
            "https://evil-example.org",
            "https://sub.example.org",
            "https://evil.org/example.org",
            "https://evil.org@example.org",
            "https://example.org@evil.org",
            "https://evil.org:1234",
            "https://evil.org, https://example.org",
            "null",
            "example.org",
            "",
            "://example.org",
        ];
        for bad in bad {
            assert_eq!(page(&origins, bad), 403, "{bad}");
        }
        let v6 = "Host: [::1]:1234\r\nOrigin: http://[::1]:5173\r\n";
        assert_eq!(status(&origins, v6), 101);
        assert_eq!(status(&origins, &v6.replace("http://[::1]", "http://[::2]")), 403);
    }

    #[test]
    fn a_listed_origin_is_compared_as_a_whole() {
        let origins = Origins::listed().and("https://App.example.org/").unwrap();
        let origins = origins.and("http://localhost:5173").unwrap();
        assert_eq!(page(&origins, "https://app.example.org"), 101);
        assert_eq!(page(&origins, "https://app.example.org:443"), 101);
        assert_eq!(page(&origins, "http://localhost:5173"), 101);
        assert_eq!(page(&origins, "http://localhost"), 403);
        assert_eq!(page(&origins, "http://app.example.org"), 403);
        assert_eq!(page(&origins, "https://example.org:1234"), 403, "the same host is not listed");
        assert_eq!(page(&Origins::same_host().and("null").unwrap(), "null"), 101);
    }

    #[test]
    fn what_says_no_origin_is_no_page_and_two_are_nobodys() {
        let host = "Host: example.org\r\n";
        assert_eq!(status(&Origins::default(), host), 101);
        assert_eq!(status(&Origins::default().always_sent(), host), 403);
        let twice = format!("{host}Origin: http://example.org\r\norigin: http://example.org\r\n");
        assert_eq!(status(&Origins::any(), &twice), 403);
        let hosts = format!("{host}Host: evil.org\r\nOrigin: http://evil.org\r\n");
        assert_eq!(status(&Origins::default(), &hosts), 403);
        assert_eq!(page(&Origins::any(), "https://evil.org"), 101);
    }

    #[test]
    fn what_is_no_origin_cannot_be_listed() {
        for bad in ["", "example.org", "https://", "https://a/b", "https://a:x", "https://a b"] {
            assert_eq!(Origins::listed().and(bad).unwrap_err(), InvalidOrigin, "{bad}");
        }
    }
}

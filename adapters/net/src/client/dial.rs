//! From a URL to an open WebSocket.

use super::options::{Credentials, Options};
use super::socket::Socket;
use crate::link::Duplex;
use crate::mailbox::Mailbox;
use crate::runtime::Runtime;
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::error::Error;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};
use std::fmt;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;
use yroom::Limits;
use yroom::provider::Outlook;

/// A URL that cannot be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl InvalidAddress {
    pub(crate) fn new(url: &str, why: &str) -> Self {
        Self(format!("{url:?}: {why}"))
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAddress {}

/// Where a room is.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    url: String,
    host: String,
    port: u16,
    transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) outlook: Outlook,
}

impl Failure {
    pub(crate) fn transient(what: &str, error: impl fmt::Display) -> Self {
        Self { reason: format!("{what}: {error}"), outlook: Outlook::Transient }
    }

    pub(crate) fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), outlook: Outlook::Permanent }
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidAddress> {
        let invalid = |why: &dyn fmt::Display| InvalidAddress(format!("{url:?}: {why}"));
        let uri: Uri = url.parse().map_err(|error| invalid(&error))?;
        let (transport, port) = match uri.scheme_str() {
            Some("ws") => (Transport::Plain, 80),
            Some("wss") if cfg!(feature = "tls") => (Transport::Tls, 443),
            Some("wss") => return Err(invalid(&"wss needs the feature `tls`")),
            Some(_) | None => return Err(invalid(&"begins neither with ws:// nor with wss://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| invalid(&"no host"))?;
        if uri.path().len() < 2 {
            return Err(invalid(&"no room: the path is empty"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(port);
        Ok(Self { url: url.to_owned(), host, port, transport })
    }

    fn request(&self, credentials: &Credentials) -> Result<Request, Failure> {
        let mut url = self.url.clone();
        for (name, value) in &credentials.query {
            url.push(if url.contains('?') { '&' } else { '?' });
            push_encoded(&mut url, name);
            url.push('=');
            push_encoded(&mut url, value);
        }
        let bad = |what: &str| Failure::permanent(format!("the credentials have a bad {what}"));
        let mut request = url.into_client_request().map_err(|_| bad("parameter"))?;
        for (name, value) in &credentials.headers {
            let name = HeaderName::try_from(name).map_err(|_| bad("header name"))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| bad("header"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

/// Connects, with fresh credentials.
pub(super) async fn dial<R: Runtime>(
    runtime: R,
    address: Address,
    options: Options,
    limits: Limits,
) -> Result<Socket, Failure> {
    let (stream, request) = approach(&runtime, &address, &options).await?;
    Socket::open(stream, request, &limits).await.map_err(refusal)
}

/// A connection to the server, encrypted if it is to be, and what to ask for on it.
pub(crate) async fn approach<R: Runtime>(
    runtime: &R,
    address: &Address,
    options: &Options,
) -> Result<(Box<dyn Duplex>, Request), Failure> {
    let credentials = match &options.credentials {
        Some(provide) => {
            provide().await.map_err(|error| Failure::transient("no credentials", error))?
        }
        None => Credentials::default(),
    };
    let request = address.request(&credentials)?;
    let stream = reach(runtime, address).await?;
    // A socket that cannot be told works all the same.
    let _ = R::tune(&stream);
    let stream: Box<dyn Duplex> = match address.transport {
        Transport::Plain => Box::new(stream),
        #[cfg(feature = "tls")]
        Transport::Tls => super::tls::wrap(Box::new(stream), &address.host, options).await?,
        #[cfg(not(feature = "tls"))]
        Transport::Tls => return Err(Failure::permanent("wss needs the feature `tls`")),
    };
    Ok((stream, request))
}

/// A connection to the first of the host's addresses that answers.
async fn reach<R: Runtime>(runtime: &R, address: &Address) -> Result<R::Stream, Failure> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let addrs = resolve(&address.host, address.port).await;
    for addr in addrs.map_err(|error| Failure::transient("the host's address", error))? {
        match runtime.connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Failure::transient("connecting", last))
}

/// The system's resolver blocks, so it is asked on a thread of its own.
async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let answer = Mailbox::new();
    let (asked, host) = (answer.clone(), host.to_owned());
    thread::Builder::new().name("yroom-resolve".to_owned()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Whoever asked may have given up.
        let _ = asked.push(found);
    })?;
    let mut answers = poll_fn(|cx| answer.poll_take(cx)).await;
    answers.pop().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
}

/// What a failed handshake says of the next attempt.
fn refusal(error: Error) -> Failure {
    match error {
        Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            refused(response.status().as_u16(), body)
        }
        error => Failure::transient("the WebSocket handshake", error),
    }
}

/// What an answer that is not 101 says of the next attempt.
pub(crate) fn refused(status: u16, body: &[u8]) -> Failure {
    let body = String::from_utf8_lossy(body);
    let words: String = body.lines().next().unwrap_or_default().chars().take(200).collect();
    // Too early, too often, timed out: the others of 4xx stay what they are.
    let permanent = (400..500).contains(&status) && !matches!(status, 408 | 425 | 429);
    let outlook = if permanent { Outlook::Permanent } else { Outlook::Transient };
    Failure { reason: format!("HTTP {status}: {words}"), outlook }
}

#[cfg(feature = "tls")]
pub(super) fn tls_failure(error: impl fmt::Display) -> Failure {
    Failure::transient("TLS", error)
}

fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let _infallible = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_connect() {
        let address = Address::parse("ws://127.0.0.1:1234/notes/today?x=1").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("127.0.0.1", 1234));
        let address = Address::parse("ws://[::1]/r").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("::1", 80));
        #[cfg(feature = "tls")]
        assert_eq!(Address::parse("wss://example.org/r").unwrap().port, 443);
    }

    #[test]
    fn other_urls_are_refused_with_a_sentence() {
        for url in
            ["", "notes", "http://localhost/notes", "ws://", "ws://h", "ws://h/", "ws://a b/"]
        {
            let refused = Address::parse(url).unwrap_err();
            assert!(!refused.to_string().is_empty(), "{url}");
        }
    }

    #[test]
    fn credentials_go_into_the_query_and_the_headers() {
        let address = Address::parse("ws://localhost:1/r?x=1").unwrap();
        let credentials = Credentials::bearer("t0k").query("token", "a b&c=ü");
        let request = address.request(&credentials).unwrap();
        assert_eq!(request.uri().query(), Some("x=1&token=a%20b%26c%3D%C3%BC"));
        assert_eq!(request.headers()["authorization"], "Bearer t0k");
        assert!(!format!("{credentials:?}").contains("t0k"));
        let bad = address.request(&Credentials::bearer("a\nb")).unwrap_err();
        assert_eq!(bad.outlook, Outlook::Permanent);
    }
}

//! The request that opens a WebSocket, read by us so that every refusal is an answer in words.

use crate::arrival::{Arrival, Occasion};
use crate::refusal::{Refusal, response};
use bytes::Bytes;
use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use std::fmt::Write;
use std::net::SocketAddr;
use yroom::{RoomName, Timestamp};

/// The longest request head; over it 431. Default of most servers is 8 to 16 KiB.
pub(crate) const HEAD_BYTES: usize = 16 << 10;
/// The longest target; over it 414. A room name is at most 255 bytes, the rest is for a token.
const TARGET_BYTES: usize = 4 << 10;
/// The most headers; over it 431. A browser behind two proxies sends some 25.
const HEADERS: usize = 64;

/// What a well-formed request wants.
#[derive(Debug)]
pub(crate) enum Request {
    /// To become a WebSocket in a room.
    Join(Upgrade),
    /// To know whether the server is alive.
    Health,
}

/// An upgrade that can be granted, if whoever asks may come in.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(crate) arrival: Arrival,
    pub(crate) accept: String,
}

/// The answer that makes the connection a WebSocket.
pub(crate) fn switching(accept: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(name) = subprotocol {
        let _ = write!(text, "Sec-WebSocket-Protocol: {name}\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The answer to [`Request::Health`].
pub(crate) fn healthy() -> Vec<u8> {
    response(200, "", "ok")
}

/// Where the request head ends, if it has ended; looks from `seen` on, the bytes before are known.
///
/// Refuses what is too long already, before it has ended.
pub(crate) fn head_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    let from = seen.saturating_sub(3);
    let end = bytes[from..].windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.map(|at| from + at + 4);
    if end.unwrap_or(bytes.len()) > HEAD_BYTES {
        return Err(Refusal::new(431, format!("the request head is over {HEAD_BYTES} bytes")));
    }
    if end.is_none()
        && bytes.len() > TARGET_BYTES + 32
        && !bytes[..TARGET_BYTES + 32].contains(&b'\n')
    {
        return Err(target_too_long());
    }
    Ok(end)
}

/// Reads a whole request head, which came from `peer`.
pub(crate) fn judge(head: Vec<u8>, peer: SocketAddr, now: Timestamp) -> Result<Request, Refusal> {
    let head = Bytes::from(head);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(malformed("it ends too early")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, format!("the request has over {HEADERS} headers")));
        }
        Err(error) => return Err(malformed(&error.to_string())),
    }
    let target = request.path.unwrap_or_default();
    if target.len() > TARGET_BYTES {
        return Err(target_too_long());
    }
    if request.method != Some("GET") {
        let refusal = Refusal::new(405, "only GET is served here, to open a WebSocket");
        return Err(refusal.with_header("Allow: GET\r\n"));
    }
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if path == "/healthz" && !has_token(request.headers, "upgrade", "websocket") {
        return Ok(Request::Health);
    }
    let accept = upgrade_key(request.headers)?;
    if request.version != Some(1) {
        return Err(malformed("a WebSocket needs HTTP/1.1"));
    }
    let room = path.strip_prefix('/').ok_or_else(|| malformed("its path has no leading slash"))?;
    let room = RoomName::new(room)?;
    let part = |bytes: &[u8]| head.slice_ref(bytes);
    let headers = request.headers.iter();
    let arrival = Arrival {
        room,
        query: query.map(Box::from),
        headers: headers.map(|header| (part(header.name.as_bytes()), part(header.value))).collect(),
        peer,
        client: peer.ip().to_canonical(),
        now,
        occasion: Occasion::Join,
    };
    Ok(Request::Join(Upgrade { arrival, accept }))
}

/// Checks what RFC 6455 §4.2.1 asks of the headers of a client's handshake, and answers its key.
pub(crate) fn upgrade_key(headers: &[httparse::Header<'_>]) -> Result<String, Refusal> {
    if !has_token(headers, "upgrade", "websocket") {
        let refusal = Refusal::new(426, "this is a WebSocket server: connect to ws://host/<room>");
        return Err(refusal.with_header("Upgrade: websocket\r\n"));
    }
    if !has_token(headers, "connection", "upgrade") {
        return Err(malformed("the Connection header does not say Upgrade"));
    }
    if values(headers, "host").next().is_none() {
        return Err(malformed("the Host header is missing"));
    }
    let version = values(headers, "sec-websocket-version").next();
    if version.map(<[u8]>::trim_ascii) != Some(b"13") {
        let refusal = Refusal::new(426, "only version 13 of the WebSocket protocol is spoken here");
        return Err(refusal.with_header("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"));
    }
    let mut keys = values(headers, "sec-websocket-key");
    match (keys.next().map(<[u8]>::trim_ascii), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(accept_key(key)),
        _ => Err(malformed("Sec-WebSocket-Key is not 16 bytes in base64")),
    }
}

/// The proof that the handshake was understood (RFC 6455 §4.2.2).
fn accept_key(key: &[u8]) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(&sha1.finalize())
}

/// 16 bytes in base64 are 22 characters and two of padding.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_last_chunk::<2>().map(|(d, pad)| (d, &pad[..])) else {
        return false;
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 22 && digits.iter().all(is_digit)
}

fn values<'a>(headers: &'a [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

/// Whether a header that is a list has this word.
fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(400, format!("the request is malformed: {why}"))
}

fn target_too_long() -> Refusal {
    Refusal::new(414, format!("the request's target is over {TARGET_BYTES} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "Host: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn ask(line: &str, headers: &str) -> Result<Request, Refusal> {
        let head = format!("{line}\r\n{headers}\r\n");
        let end = head_end(head.as_bytes(), 0)?.expect("a whole head");
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        judge(head.as_bytes()[..end].to_vec(), peer, Timestamp::ZERO)
    }

    fn room(line: &str) -> String {
        match ask(line, UPGRADE) {
            Ok(Request::Join(join)) => join.arrival.room().as_str().to_owned(),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn status(line: &str, headers: &str) -> u16 {
        ask(line, headers).expect_err("a refusal").status()
    }

    #[test]
    fn the_room_is_the_path_as_it_is_without_leading_slash_and_query() {
        assert_eq!(room("GET /room HTTP/1.1"), "room");
        assert_eq!(room("GET /a/b/c?token=x HTTP/1.1"), "a/b/c");
        assert_eq!(room("GET //double HTTP/1.1"), "/double");
        assert_eq!(room("GET /a%20b%2Fc HTTP/1.1"), "a%20b%2Fc");
        assert_eq!(room("GET /healthz HTTP/1.1"), "healthz");
    }

    #[test]
    fn the_key_is_answered_as_in_the_rfc() {
        let Ok(Request::Join(join)) = ask("GET /r HTTP/1.1", UPGRADE) else { panic!() };
        assert_eq!(join.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_arrival_has_the_headers_and_the_query_as_they_came() {
        let line = "GET /r?a=b&token=%41.b HTTP/1.1";
        let headers = format!("{UPGRADE}Authorization:  Bearer x \r\n");
        let Ok(Request::Join(Upgrade { arrival, .. })) = ask(line, &headers) else { panic!() };
        assert_eq!(arrival.query(), Some("a=b&token=%41.b"));
        assert_eq!(arrival.parameter("token"), Some("%41.b"));
        assert_eq!(arrival.header("AUTHORIZATION"), Some(&b"Bearer x"[..]));
        assert_eq!(arrival.header("host"), Some(&b"h"[..]));
    }

    #[test]
    fn a_subprotocol_is_named_in_the_answer() {
        let answer = String::from_utf8(switching("key", Some("yroom"))).unwrap();
        assert!(answer.ends_with("\r\nSec-WebSocket-Protocol: yroom\r\n\r\n"), "{answer}");
        assert!(switching("key", None).ends_with(b"Accept: key\r\n\r\n"));
    }

    #[test]
    fn health_needs_no_upgrade() {
        assert!(matches!(ask("GET /healthz HTTP/1.1", "Host: h\r\n"), Ok(Request::Health)));
    }

    #[test]
    fn each_bad_request_has_its_status() {
        let without = |name: &str| -> String {
            UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
        };
        assert_eq!(status("POST /r HTTP/1.1", UPGRADE), 405);
        assert_eq!(status("GET /r HTTP/1.1", "Host: h\r\n"), 426);
        assert_eq!(status("GET /r HTTP/1.1", &UPGRADE.replace("n: 13", "n: 8")), 426);
        assert_eq!(status("GET /r HTTP/1.0", UPGRADE), 400);
        assert_eq!(status("GET /r HTTP/1.1", &without("Connection")), 400);
        assert_eq!(status("GET /r HTTP/1.1", &without("Host")), 400);
        assert_eq!(status("GET /r HTTP/1.1", &without("Sec-WebSocket-Key")), 400);
        assert_eq!(status("GET /r HTTP/1.1", &UPGRADE.replace("==", "=")), 400);
        assert_eq!(status("GET / HTTP/1.1", UPGRADE), 400);
        assert_eq!(status("GET r HTTP/1.1", UPGRADE), 400);
        assert_eq!(status("what", ""), 400);
        assert_eq!(status(&format!("GET /{} HTTP/1.1", "r".repeat(256)), UPGRADE), 414);
        assert_eq!(status(&format!("GET /r?{} HTTP/1.1", "t".repeat(5000)), UPGRADE), 414);
        assert_eq!(status("GET /r HTTP/1.1", &format!("{UPGRADE}{}", "A: b\r\n".repeat(64))), 431);
        assert_eq!(status("GET /r HTTP/1.1", &format!("A: {}\r\n", "b".repeat(17_000))), 431);
    }

    #[test]
    fn a_head_without_end_is_refused_before_it_ends() {
        assert_eq!(head_end(b"GET /r HTTP/1.1\r\nHost", 0), Ok(None));
        assert_eq!(head_end(&[b'x'; 5000], 4000).expect_err("too long").status(), 414);
        let mut long = b"GET /r HTTP/1.1\r\nA: ".to_vec();
        long.resize(HEAD_BYTES + 1, b'a');
        assert_eq!(head_end(&long, 100).expect_err("too long").status(), 431);
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_split() {
        let head = b"GET /r HTTP/1.1\r\nHost: h\r\n\r\nrest";
        for split in 0..head.len() {
            if head_end(&head[..split], 0) == Ok(None) {
                assert_eq!(head_end(head, split), Ok(Some(head.len() - 4)), "split at {split}");
            }
        }
    }
}

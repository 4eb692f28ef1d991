//! The client's half of the handshake that makes a connection a WebSocket.
//!
//! Here and not by async-tungstenite, because what follows is the same [`Link`](crate::link::Link) as
//! a server's peers have: it needs the bare stream, and what was read beyond the answer.

use crate::client::dial::{Failure, refused};
use crate::link::Duplex;
use async_tungstenite::tungstenite::handshake::client::{Request, generate_request};
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};

/// The longest answer's head; most servers take as much of a request.
const HEAD_BYTES: usize = 16 << 10;
/// The most headers of an answer.
const HEADERS: usize = 64;

/// Asks for a WebSocket on `stream`; gives what was read beyond the answer.
pub(crate) async fn shake(stream: &mut dyn Duplex, request: Request) -> Result<Vec<u8>, Failure> {
    let broken = |error| Failure::transient("the WebSocket handshake", error);
    let (request, key) = generate_request(request).map_err(|error| broken(error.to_string()))?;
    stream.write_all(&request).await.map_err(|error| broken(error.to_string()))?;
    stream.flush().await.map_err(|error| broken(error.to_string()))?;
    let mut bytes = Vec::with_capacity(1024);
    let mut chunk = [0; 2048];
    loop {
        if let Some(end) = judge(&bytes, &derive_accept_key(key.as_bytes()))? {
            return Ok(bytes.split_off(end));
        }
        match stream.read(&mut chunk).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&chunk[..read]),
            Ok(0) => return Err(broken("the server hung up".to_owned())),
            Err(error) => return Err(broken(error.to_string())),
        }
    }
}

/// Where an answer's head ends, if it is there and grants what was asked.
fn judge(bytes: &[u8], accept: &str) -> Result<Option<usize>, Failure> {
    let broken = |why: &str| Failure::transient("the WebSocket handshake", why);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(broken("the answer is too long")),
        Err(error) => return Err(broken(&error.to_string())),
    };
    match response.code {
        Some(101) => {}
        status => return Err(refused(status.unwrap_or(0), &bytes[end..])),
    }
    let is = |name: &str, value: &str, same: fn(&str, &str) -> bool| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.is_some_and(|header| {
            std::str::from_utf8(header.value).is_ok_and(|found| same(found.trim(), value))
        })
    };
    if !is("upgrade", "websocket", str::eq_ignore_ascii_case) {
        return Err(broken("the answer upgrades to something else"));
    }
    if !is("sec-websocket-accept", accept, |found, wanted| found == wanted) {
        return Err(broken("the answer is to another request"));
    }
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yroom::provider::Outlook;

    const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: abc=\r\n\r\n";

    #[test]
    fn what_is_read_beyond_the_answer_is_the_first_frames() {
        let bytes = [GRANTED.as_bytes(), b"\x82\x01x"].concat();
        assert_eq!(judge(&bytes, "abc=").unwrap(), Some(GRANTED.len()));
        for cut in 0..GRANTED.len() {
            assert_eq!(judge(&bytes[..cut], "abc=").unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn an_answer_that_grants_something_else_is_no_websocket() {
        assert!(judge(GRANTED.as_bytes(), "another=").is_err());
        let other = GRANTED.replace("WebSocket", "h2c");
        assert!(judge(other.as_bytes(), "abc=").is_err());
        assert!(judge(b"SSH-2.0-OpenSSH_9\r\n", "abc=").is_err());
        assert!(judge(&[b"HTTP/1.1 200 OK\r\nx: ", &[b'x'; HEAD_BYTES][..]].concat(), "").is_err());
    }

    #[test]
    fn a_refusal_says_whether_to_come_back() {
        let outlook = |status: &str| {
            let answer = format!("HTTP/1.1 {status}\r\n\r\nnot now\n");
            let failure = judge(answer.as_bytes(), "").unwrap_err();
            assert!(failure.reason.ends_with("not now"), "{}", failure.reason);
            failure.outlook
        };
        assert_eq!(outlook("503 Service Unavailable"), Outlook::Transient);
        assert_eq!(outlook("429 Too Many Requests"), Outlook::Transient);
        assert_eq!(outlook("403 Forbidden"), Outlook::Permanent);
    }
}

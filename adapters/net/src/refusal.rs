//! A request that is not granted, answered in words.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;
use yroom::{InvalidRoomName, Reject};

/// A request that is not granted, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    sentence: Cow<'static, str>,
    header: Cow<'static, str>,
}

impl Refusal {
    /// Refuses with this status and sentence.
    pub fn new(status: u16, sentence: impl Into<Cow<'static, str>>) -> Self {
        let header = match status {
            // RFC 9110 §15.5.2 wants it said how to do better.
            401 => "WWW-Authenticate: Bearer\r\n",
            _ => "",
        };
        Self { status, sentence: sentence.into(), header: Cow::Borrowed(header) }
    }

    /// With a `Retry-After` header: when it may be worth another try.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        // Rounded up: 0 would ask for another try at once.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header = format!("Retry-After: {}\r\n", seconds.max(1)).into();
        self
    }

    /// The status code of the answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the answer says.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    pub(crate) fn with_header(mut self, header: &'static str) -> Self {
        self.header = header.into();
        self
    }

    pub(crate) fn response(&self) -> Vec<u8> {
        response(self.status, &self.header, &self.sentence)
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::new(503, format!("{reject}: try again later")).retry_after(Duration::from_secs(5))
    }
}

impl From<InvalidRoomName> for Refusal {
    fn from(invalid: InvalidRoomName) -> Self {
        match invalid {
            InvalidRoomName::Empty => {
                Self::new(400, "the room name is empty: connect to ws://host/<room>")
            }
            InvalidRoomName::TooLong => Self::new(414, invalid.to_string()),
            InvalidRoomName::ControlCharacter => Self::new(400, invalid.to_string()),
        }
    }
}

/// A whole answer in plain text, after which the connection ends.
pub(crate) fn response(status: u16, header: &str, sentence: &str) -> Vec<u8> {
    let mut text = String::new();
    let _ = write!(
        text,
        "HTTP/1.1 {status} {}\r\n{header}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{sentence}\n",
        phrase(status),
        sentence.len() + 1,
    );
    text.into_bytes()
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_shown_nothing_is_told_what_to_show() {
        let answer = String::from_utf8(Refusal::new(401, "who are you?").response()).unwrap();
        assert!(answer.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{answer}");
        let answer = String::from_utf8(Refusal::new(403, "not you").response()).unwrap();
        assert!(!answer.contains("WWW-Authenticate"), "{answer}");
    }

    #[test]
    fn a_wait_is_whole_seconds_and_never_none() {
        let answer = |wait| {
            let bytes = Refusal::new(429, "slowly").retry_after(wait).response();
            String::from_utf8(bytes).unwrap()
        };
        assert!(answer(Duration::from_millis(1200)).contains("\r\nRetry-After: 2\r\n"));
        assert!(answer(Duration::ZERO).contains("\r\nRetry-After: 1\r\n"));
        assert!(answer(Duration::ZERO).starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
    }
}

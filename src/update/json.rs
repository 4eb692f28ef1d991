//! Whether text is JSON, as `JSON.parse` sees it, without recursion and without values.

use super::{Limit, UpdateError};
use smallvec::SmallVec;

/// Checks that `text`, which is UTF-8 and stands at `offset`, is one JSON value, nested at most
/// `depth` deep.
pub(super) fn validate(text: &[u8], offset: usize, depth: usize) -> Result<(), UpdateError> {
    let mut scanner = Scanner { text, at: 0 };
    match scanner.document(depth) {
        Ok(()) => Ok(()),
        Err(Fault::Syntax(expected)) => Err(UpdateError::malformed(offset + scanner.at, expected)),
        Err(Fault::TooDeep) => Err(UpdateError::Limit(Limit::TooDeep)),
    }
}

enum Fault {
    Syntax(&'static str),
    TooDeep,
}

/// The containers that are open, one bit each: set for an object.
#[derive(Default)]
struct Open {
    bits: SmallVec<[u64; 2]>,
    depth: usize,
}

impl Open {
    fn push(&mut self, object: u64) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] = self.bits[word] & !(1 << bit) | object << bit;
        self.depth += 1;
    }

    fn in_object(&self) -> Option<bool> {
        let top = self.depth.checked_sub(1)?;
        Some(self.bits[top / 64] >> (top % 64) & 1 == 1)
    }
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn document(&mut self, deepest: usize) -> Result<(), Fault> {
        let mut open = Open::default();
        loop {
            self.space();
            match self.peek() {
                Some(b @ (b'{' | b'[')) => {
                    if open.depth >= deepest {
                        return Err(Fault::TooDeep);
                    }
                    self.at += 1;
                    open.push(u64::from(b == b'{'));
                    if self.opened_empty(b) {
                        open.depth -= 1;
                    } else {
                        if b == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what ends here; whether that was the last.
    fn close(&mut self, open: &mut Open) -> Result<bool, Fault> {
        loop {
            self.space();
            let Some(in_object) = open.in_object() else {
                return match self.peek() {
                    None => Ok(true),
                    Some(_) => Err(Fault::Syntax("the end of the JSON text")),
                };
            };
            let end = if in_object { b'}' } else { b']' };
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if in_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b) if b == end => {
                    self.at += 1;
                    open.depth -= 1;
                }
                _ => return Err(Fault::Syntax("a comma or the end of a JSON container")),
            }
        }
    }

    /// Whether the container that `opener` has opened ends at once; passes over its end then.
    fn opened_empty(&mut self, opener: u8) -> bool {
        self.space();
        let end = if opener == b'{' { b'}' } else { b']' };
        let empty = self.peek() == Some(end);
        self.at += usize::from(empty);
        empty
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(Fault::Syntax("a JSON key"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(Fault::Syntax("a colon after a JSON key"));
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Fault::Syntax("a JSON value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Fault::Syntax("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return Err(Fault::Syntax("a JSON string without control characters")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.text.get(self.at + 1..self.at + 5);
                if digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                    self.at += 5;
                    return Ok(());
                }
                Err(Fault::Syntax("four hexadecimal digits"))
            }
            _ => Err(Fault::Syntax("a JSON escape")),
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Fault::Syntax("a digit")) } else { Ok(()) }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<(), UpdateError> {
        validate(text.as_bytes(), 0, 64)
    }

    #[test]
    fn what_json_parse_takes_is_taken() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12.5e-3",
            "1E+9",
            "\"\"",
            "\"a\\u00e9\\n\\\"\"",
            "\"\\ud800\"",
            "[]",
            "{}",
            "[1,[2,{}],\"x\"]",
            " { \"a\" : [ ] , \"b\" : null } ",
            "[[],[]]",
            "{\"a\":{\"b\":{}}}",
        ] {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_json_parse_throws_at_is_refused() {
        for text in [
            "",
            " ",
            "undefined",
            "nul",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "[1}",
            "{\"a\":1]",
            "1 2",
            "[1 2]",
            "'a'",
            "NaN",
            "+1",
            "\u{feff}1",
        ] {
            assert!(matches!(verdict(text), Err(UpdateError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_not_by_the_stack() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(verdict(&nested(64)), Ok(()));
        assert_eq!(verdict(&nested(65)), Err(UpdateError::Limit(Limit::TooDeep)));
        assert_eq!(validate(nested(300_000).as_bytes(), 0, usize::MAX), Ok(()));
        assert_eq!(verdict(&format!("[{}]", nested(63).repeat(2).replace("][", "],["))), Ok(()));
    }
}

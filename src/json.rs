//! Whether a string is JSON: what JavaScript's `JSON.parse` takes, down to a depth.
//!
//! A value that is not makes every JavaScript peer throw, so it has to be found here. One pass, no
//! recursion, no values: what is open is one bit per level.

use smallvec::SmallVec;

/// How deep values may nest by default: no editor comes near, JavaScript reads values recursively,
/// and `serde_json`, which other peers use, ends at 128.
pub(crate) const MAX_DEPTH: usize = 64;

/// Why a string is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// What was expected where it goes wrong.
    Syntax(&'static str),
    /// It nests too deep.
    TooDeep,
}

/// Checks that `text`, which is UTF-8, is one JSON value (RFC 8259), nested at most `depth` deep; an
/// error comes with its offset.
pub(crate) fn check(text: &[u8], depth: usize) -> Result<(), (usize, NotJson)> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.document(depth).map_err(|why| (scanner.at, why))
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
    fn document(&mut self, deepest: usize) -> Result<(), NotJson> {
        let mut open = Open::default();
        loop {
            self.space();
            match self.peek() {
                Some(b @ (b'{' | b'[')) => {
                    if open.depth >= deepest {
                        return Err(NotJson::TooDeep);
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
    fn close(&mut self, open: &mut Open) -> Result<bool, NotJson> {
        loop {
            self.space();
            let Some(in_object) = open.in_object() else {
                return match self.peek() {
                    None => Ok(true),
                    Some(_) => Err(NotJson::Syntax("the end of the JSON text")),
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
                _ => return Err(NotJson::Syntax("a comma or the end of a JSON container")),
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

    fn key(&mut self) -> Result<(), NotJson> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(NotJson::Syntax("a JSON key"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(NotJson::Syntax("a colon after a JSON key"));
        }
        self.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), NotJson> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(NotJson::Syntax("a JSON value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if !self.text[self.at..].starts_with(word) {
            return Err(NotJson::Syntax("a JSON value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), NotJson> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0x20..) => self.at += 1,
                _ => return Err(NotJson::Syntax("a JSON string without control characters")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotJson> {
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
                Err(NotJson::Syntax("four hexadecimal digits"))
            }
            _ => Err(NotJson::Syntax("a JSON escape")),
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
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

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson::Syntax("a digit")) } else { Ok(()) }
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
    use proptest::prelude::*;

    fn verdict(text: &str) -> Result<(), NotJson> {
        check(text.as_bytes(), MAX_DEPTH).map_err(|(_, why)| why)
    }

    #[test]
    fn what_json_parse_takes_is_taken() {
        for text in [
            "null",
            "12.5e-3",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "1.5",
            "-1.5e+10",
            "1E5",
            "1e-5",
            "0.0",
            r#""""#,
            r#""a\"b\\\/\b\f\n\r\t\u00e9\ud800""#,
            "\"é 😀 \u{2028}\u{7f}\"",
            "[]",
            "{}",
            " [ ] ",
            "\t{\n}\r",
            "[1,2,3]",
            "[[],[[]],{}]",
            r#"{"a":1}"#,
            r#"{"":{"":[]}}"#,
            r#" { "a" : [ 1 , { "b" : null } ] , "c" : "d" } "#,
            r#"{"a":1,"a":2}"#,
            "[{},[],1]",
            r##"{"user":{"name":"A","color":"#ff0000"},"cursor":{"anchor":{"tname":"t"}}}"##,
        ] {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_json_parse_throws_at_is_refused() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "NULL",
            "undefined",
            "NaN",
            "Infinity",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "1 2",
            "'a'",
            "\"",
            "\"a",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12""#,
            "\"\n\"",
            "\"\t\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            "{",
            "}",
            "{1:2}",
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1"#,
            r#"{"a":1]"#,
            r#"{"a" 1}"#,
            r#"{,"a":1}"#,
            r#"{"a":1 "b":2}"#,
            "[]]",
            "{}}",
            "null,",
            "\u{feff}null",
            "\u{a0}null",
            "tru",
            "// c\n1",
            "[1]x",
        ] {
            assert!(matches!(verdict(text), Err(NotJson::Syntax(_))), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_depth() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(verdict(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(verdict(&nested(MAX_DEPTH + 1)), Err(NotJson::TooDeep));
        assert_eq!(verdict(&"[".repeat(1 << 20)), Err(NotJson::TooDeep));
        let objects = r#"{"a":"#.repeat(64) + "1" + &"}".repeat(64);
        assert_eq!(verdict(&objects), Ok(()));
        assert_eq!(check(nested(300_000).as_bytes(), usize::MAX), Ok(()), "not by the stack");
        assert_eq!(verdict(&format!("[{}]", nested(63).repeat(2).replace("][", "],["))), Ok(()));
    }

    fn any_json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
            any::<i64>().prop_map(|i| i.to_string()),
            "[^\"\\\\\\x00-\\x1f]{0,9}".prop_map(|s| format!("\"{s}\"")),
        ];
        scalar.prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| format!("[{}]", values.join(" , "))),
                proptest::collection::vec(("[a-z]{0,3}", inner), 0..4).prop_map(|fields| {
                    let fields: Vec<_> =
                        fields.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn made_up_json_is_taken_and_none_of_its_beginnings_that_opens(text in any_json()) {
            prop_assert_eq!(verdict(&text), Ok(()));
            if text.starts_with(['[', '{', '"']) {
                for (cut, _) in text.char_indices() {
                    prop_assert!(matches!(verdict(&text[..cut]), Err(NotJson::Syntax(_))));
                }
            }
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,\"\\\\a1e.+ \\-tfn]{0,40}") {
            let _ = verdict(&text);
        }
    }
}

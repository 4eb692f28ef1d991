//! Whether a string is JSON: what JavaScript's `JSON.parse` takes, down to a depth.
//!
//! A state that is not makes every JavaScript peer throw, so it has to be found here. One pass,
//! nothing allocated, no recursion: what is open is one bit per level.

/// How deep arrays and objects may nest; a cursor's colour needs two levels.
pub(crate) const MAX_DEPTH: u32 = 64;

/// Why a string is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// It is no JSON.
    Invalid,
    /// It nests deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Whether `text` is one JSON value (RFC 8259).
pub(crate) fn check(text: &str) -> Result<(), NotJson> {
    let mut parser = Parser { rest: text.as_bytes() };
    let mut open = Open::default();
    loop {
        if parser.value(&mut open)? == Value::Whole {
            if parser.close_what_ends(&mut open)? {
                return Ok(());
            }
            // After a comma an object has a name before its next value.
            if open.innermost() == Some(Kind::Object) {
                parser.name()?;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// A value has ended.
    Whole,
    /// An array or object has begun, and its first value comes.
    Begun,
}

/// The arrays (0) and objects (1) that are open, the innermost in the lowest bit.
#[derive(Default)]
struct Open {
    kinds: u64,
    depth: u32,
}

impl Open {
    const fn push(&mut self, kind: Kind) -> Result<(), NotJson> {
        if self.depth == MAX_DEPTH {
            return Err(NotJson::TooDeep);
        }
        self.kinds = self.kinds << 1 | matches!(kind, Kind::Object) as u64;
        self.depth += 1;
        Ok(())
    }

    const fn pop(&mut self) {
        self.kinds >>= 1;
        self.depth -= 1;
    }

    const fn innermost(&self) -> Option<Kind> {
        match (self.depth, self.kinds & 1) {
            (0, _) => None,
            (_, 0) => Some(Kind::Array),
            (_, _) => Some(Kind::Object),
        }
    }
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    /// Reads a scalar, an empty array or object, or the beginning of one that is not empty.
    fn value(&mut self, open: &mut Open) -> Result<Value, NotJson> {
        self.skip_space();
        match self.next()? {
            b'"' => self.string()?,
            b'-' => {
                let first = self.next()?;
                self.number(first)?;
            }
            first @ b'0'..=b'9' => self.number(first)?,
            b't' => self.literal(b"rue")?,
            b'f' => self.literal(b"alse")?,
            b'n' => self.literal(b"ull")?,
            b'[' => {
                open.push(Kind::Array)?;
                self.skip_space();
                if !self.eat(b']') {
                    return Ok(Value::Begun);
                }
                open.pop();
            }
            b'{' => {
                open.push(Kind::Object)?;
                self.skip_space();
                if !self.eat(b'}') {
                    self.name()?;
                    return Ok(Value::Begun);
                }
                open.pop();
            }
            _ => return Err(NotJson::Invalid),
        }
        Ok(Value::Whole)
    }

    /// After a value: closes what ends here, to the next comma (`false`) or the end (`true`).
    fn close_what_ends(&mut self, open: &mut Open) -> Result<bool, NotJson> {
        loop {
            self.skip_space();
            let end = match open.innermost() {
                None if self.rest.is_empty() => return Ok(true),
                None => return Err(NotJson::Invalid),
                Some(Kind::Array) => b']',
                Some(Kind::Object) => b'}',
            };
            match self.next()? {
                b',' => return Ok(false),
                byte if byte == end => open.pop(),
                _ => return Err(NotJson::Invalid),
            }
        }
    }

    /// A name and its colon.
    fn name(&mut self) -> Result<(), NotJson> {
        self.skip_space();
        self.expect(b'"')?;
        self.string()?;
        self.skip_space();
        self.expect(b':')
    }

    /// The rest of a string, after its opening quote.
    fn string(&mut self) -> Result<(), NotJson> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next()?.is_ascii_hexdigit() {
                                return Err(NotJson::Invalid);
                            }
                        }
                    }
                    _ => return Err(NotJson::Invalid),
                },
                0..0x20 => return Err(NotJson::Invalid),
                _ => {}
            }
        }
    }

    /// The rest of a number, after its first digit.
    fn number(&mut self, first: u8) -> Result<(), NotJson> {
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return Err(NotJson::Invalid),
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _signed = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), NotJson> {
        if !self.next()?.is_ascii_digit() {
            return Err(NotJson::Invalid);
        }
        self.skip_digits();
        Ok(())
    }

    fn skip_digits(&mut self) {
        while self.rest.first().is_some_and(u8::is_ascii_digit) {
            self.rest = &self.rest[1..];
        }
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), NotJson> {
        self.rest = self.rest.strip_prefix(rest).ok_or(NotJson::Invalid)?;
        Ok(())
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.eat(byte) { Ok(()) } else { Err(NotJson::Invalid) }
    }

    fn next(&mut self) -> Result<u8, NotJson> {
        let (&byte, rest) = self.rest.split_first().ok_or(NotJson::Invalid)?;
        self.rest = rest;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_json_parse_takes_is_taken() {
        for text in [
            "null",
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
            assert_eq!(check(text), Ok(()), "{text}");
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
            assert_eq!(check(text), Err(NotJson::Invalid), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_depth() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(&nested(MAX_DEPTH as usize)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH as usize + 1)), Err(NotJson::TooDeep));
        assert_eq!(check(&"[".repeat(1 << 20)), Err(NotJson::TooDeep));
        let objects = r#"{"a":"#.repeat(64) + "1" + &"}".repeat(64);
        assert_eq!(check(&objects), Ok(()));
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
            prop_assert_eq!(check(&text), Ok(()));
            if text.starts_with(['[', '{', '"']) {
                for (cut, _) in text.char_indices() {
                    prop_assert_eq!(check(&text[..cut]), Err(NotJson::Invalid));
                }
            }
        }

        #[test]
        fn no_text_panics(text in "[\\[\\]{}:,\"\\\\a1e.+ \\-tfn]{0,40}") {
            let _ = check(&text);
        }
    }
}

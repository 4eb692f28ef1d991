//! Fields that a server writes into a client's JSON, as text: what the client wrote beside them
//! stays as it is.
//!
//! What is read here was checked before ([`json::check`]); nothing is checked again.

use crate::identity::{Identity, InvalidIdentity};
use crate::json::{self, NotJson};
use std::collections::BTreeMap;

/// What is written into an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// By their names in UTF-16, which is what JavaScript compares.
    fields: BTreeMap<Vec<u16>, Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// The name as it was given, between its quotes.
    name: Box<str>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// Takes the place of what is there.
    Plain(Box<str>),
    /// Is merged with an object that is there.
    Object(Stamp),
}

impl Stamp {
    pub(crate) fn parse(json: &str) -> Result<Self, InvalidIdentity> {
        if json.len() > Identity::MAX_STAMP_BYTES {
            return Err(InvalidIdentity::StampTooLong);
        }
        match json::check(json.as_bytes(), Identity::MAX_STAMP_DEPTH) {
            Ok(()) if is_object(json) => Ok(Self::of(json)),
            Err((_, NotJson::TooDeep)) => Err(InvalidIdentity::StampTooDeep),
            Ok(()) | Err((_, NotJson::Syntax(_))) => Err(InvalidIdentity::StampNotAnObject),
        }
    }

    /// The stamp that an object of checked JSON is; it nests no deeper than that was checked for.
    fn of(object: &str) -> Self {
        let mut fields = BTreeMap::new();
        for (name, value) in Members::of(object) {
            let value = if is_object(value) {
                Value::Object(Self::of(value))
            } else {
                Value::Plain(value.into())
            };
            fields.insert(utf16(name), Field { name: name.into(), value });
        }
        Self { fields }
    }

    /// A client's checked JSON with this in it; nothing if it is not an object.
    pub(crate) fn put_into(&self, json: &str) -> Option<String> {
        if !is_object(json) {
            return None;
        }
        let mut out = String::with_capacity(json.len() + Identity::MAX_STAMP_BYTES);
        self.write(json, &mut out);
        Some(out)
    }

    fn write(&self, object: &str, out: &mut String) {
        let mut theirs = BTreeMap::new();
        out.push('{');
        for (name, value) in Members::of(object) {
            let key = utf16(name);
            if self.fields.contains_key(&key) {
                // Of a name that is there twice, JavaScript takes the last.
                theirs.insert(key, value);
            } else {
                write_name(name, out);
                out.push_str(value);
            }
        }
        for (key, field) in &self.fields {
            write_name(&field.name, out);
            match &field.value {
                Value::Plain(json) => out.push_str(json),
                Value::Object(stamp) => {
                    let there = theirs.get(key).copied().filter(|value| is_object(value));
                    stamp.write(there.unwrap_or("{}"), out);
                }
            }
        }
        out.push('}');
    }
}

fn write_name(name: &str, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start_matches(SPACE).starts_with('{')
}

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// An object's names, between their quotes, and values, as they stand there.
struct Members<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Members<'a> {
    fn of(object: &'a str) -> Self {
        Self { text: object, at: object.find('{').map_or(object.len(), |at| at + 1) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, what: &[u8]) {
        while self.peek().is_some_and(|byte| what.contains(&byte)) {
            self.at += 1;
        }
    }

    /// To behind a string's closing quote.
    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }

    /// To behind a value.
    fn value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' | b',' if depth == 0 => return,
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip(b" \t\n\r,");
        if self.peek() != Some(b'"') {
            return None;
        }
        let start = self.at + 1;
        self.string();
        let name = self.text.get(start..self.at - 1)?;
        self.skip(b" \t\n\r:");
        let start = self.at;
        self.value();
        Some((name, self.text.get(start..self.at)?.trim_end_matches(SPACE)))
    }
}

/// What a JSON string's inside stands for. It may have halves of characters, as in JavaScript.
fn utf16(inside: &str) -> Vec<u16> {
    let mut units = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match chars.next() {
            Some('b') => 8,
            Some('t') => 9,
            Some('n') => 10,
            Some('f') => 12,
            Some('r') => 13,
            Some('u') => {
                let digits = chars.by_ref().take(4).filter_map(|digit| digit.to_digit(16));
                digits.fold(0, |unit, digit| unit << 4 | digit as u16)
            }
            // A quote, a slash or a backslash, which stand for themselves.
            other => other.map_or(0, |char| char as u16),
        });
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::MAX_DEPTH;
    use proptest::prelude::*;
    use yrs::Any;

    fn stamped(stamp: &str, json: &str) -> Option<String> {
        Stamp::parse(stamp).expect("a stamp").put_into(json)
    }

    #[test]
    fn a_field_is_added_or_takes_the_place_of_the_clients() {
        let stamp = r#"{"id":"u-17"}"#;
        for (said, shown) in [
            ("{}", r#"{"id":"u-17"}"#),
            (" { } ", r#"{"id":"u-17"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"id":"u-17"}"#),
            (r#"{"id":"forged","a":1}"#, r#"{"a":1,"id":"u-17"}"#),
            (r#"{"id":{"id":[]},"id":2}"#, r#"{"id":"u-17"}"#),
            ("{\n\"a\" : [1, {\"id\": 2}] ,\t\"id\":null}", r#"{"a":[1, {"id": 2}],"id":"u-17"}"#),
            (r#"{"a":"}\",\"id\":1","b":"\\"}"#, r#"{"a":"}\",\"id\":1","b":"\\","id":"u-17"}"#),
        ] {
            assert_eq!(stamped(stamp, said).as_deref(), Some(shown), "{said}");
        }
    }

    #[test]
    fn a_name_is_found_however_it_is_spelt() {
        let stamp = r#"{"id":1,"\u00e9\"":2,"😀":3}"#;
        let said = r#"{"\u0069d":0,"i\u0064":0,"é\u0022":0,"\ud83d\ude00":0,"\ud83d":4,"ID":5}"#;
        let shown = r#"{"\ud83d":4,"ID":5,"id":1,"\u00e9\"":2,"😀":3}"#;
        assert_eq!(stamped(stamp, said).as_deref(), Some(shown));
    }

    #[test]
    fn objects_are_merged_and_what_is_no_object_makes_way_for_one() {
        let stamp = r#"{"user":{"id":"u-17","at":{"org":1}}}"#;
        for (said, shown) in [
            (
                r#"{"user":{"id":"x","color":"f00"}}"#,
                r#"{"user":{"color":"f00","at":{"org":1},"id":"u-17"}}"#,
            ),
            (r#"{"user":"x","a":1}"#, r#"{"a":1,"user":{"at":{"org":1},"id":"u-17"}}"#),
            (
                r#"{"user":{"at":{"org":2,"x":3}}}"#,
                r#"{"user":{"at":{"x":3,"org":1},"id":"u-17"}}"#,
            ),
            (
                r#"{"user":{"c":1},"user":{"d":2}}"#,
                r#"{"user":{"d":2,"at":{"org":1},"id":"u-17"}}"#,
            ),
        ] {
            assert_eq!(stamped(stamp, said).as_deref(), Some(shown), "{said}");
        }
    }

    #[test]
    fn what_is_no_object_takes_no_stamp() {
        for json in ["1", "\"{}\"", "[{}]", "true", "null"] {
            assert_eq!(stamped("{}", json), None, "{json}");
        }
    }

    /// Objects with the stamp's names among theirs, spelt in several ways, some of them twice.
    fn any_object() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("user"),
            Just("us\\u0065r"),
            Just("id"),
            Just("\\u0069\\u0064"),
            Just("a"),
            Just("\\\""),
        ];
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("[1,{}]".to_owned()),
            Just("-1.5e3".to_owned()),
            Just(r#""},{\"id\":\\""#.to_owned()),
            Just("{}".to_owned()),
        ];
        let object = |value: BoxedStrategy<String>| {
            proptest::collection::vec((name.clone(), value), 0..6)
                .prop_map(|members| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(name, value)| format!(" \"{name}\" : {value} "))
                        .collect();
                    format!("{{{}}}", members.join(","))
                })
                .boxed()
        };
        let inner = object(scalar.boxed());
        object(prop_oneof![inner.clone(), object(inner), Just("7".to_owned())].boxed())
    }

    fn field<'a>(any: &'a Any, name: &str) -> Option<&'a Any> {
        match any {
            Any::Map(map) => map.get(name),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_its_state_is_json_with_the_stamp_in_it_and_its_own_beside(
            said in any_object(),
        ) {
            let stamp = r#"{"user":{"id":"u-17"},"id":9}"#;
            let shown = stamped(stamp, &said).expect("an object");
            prop_assert_eq!(json::check(shown.as_bytes(), MAX_DEPTH), Ok(()));
            prop_assert!(shown.len() <= said.len() + Identity::MAX_STAMP_BYTES);
            let (before, after) = (Any::from_json(&said).unwrap(), Any::from_json(&shown).unwrap());
            prop_assert_eq!(field(&after, "id"), Some(&Any::from(9)));
            let user = field(&after, "user").expect("stamped");
            prop_assert_eq!(field(user, "id"), Some(&Any::from("u-17")));
            for name in ["a", "\""] {
                prop_assert_eq!(field(&before, name), field(&after, name));
                if let Some(Any::Map(_)) = field(&before, "user") {
                    prop_assert_eq!(field(field(&before, "user").unwrap(), name), field(user, name));
                }
            }
            let again = stamped(stamp, &shown);
            prop_assert_eq!(Any::from_json(&again.unwrap()).unwrap(), after, "stamped twice is stamped");
        }
    }
}

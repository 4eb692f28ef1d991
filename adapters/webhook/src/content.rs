//! A room's content as JSON, in the shape that y-websocket-server posts.

use crate::notice::string;
use std::fmt;
use std::str::FromStr;
use yroom::provider::WorkingCopy;
use yroom::update::{self, ClientId};
use yroom::{Batch, Stored};
use yrs::types::ToJson;
use yrs::{Doc, GetString, Transact};

/// A root type of the document that is posted: `notes:Text` on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name in the document.
    pub name: String,
    /// What it is.
    pub shape: Shape,
}

/// What a root type is, which the document itself does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `Y.Text`, as a string.
    Text,
    /// `Y.Array`, as JSON.
    Array,
    /// `Y.Map`, as JSON.
    Map,
    /// `Y.XmlFragment`, as a string of XML.
    XmlFragment,
}

impl Shape {
    const ALL: [Self; 4] = [Self::Text, Self::Array, Self::Map, Self::XmlFragment];

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Array => "Array",
            Self::Map => "Map",
            Self::XmlFragment => "XmlFragment",
        }
    }
}

impl FromStr for Object {
    type Err = InvalidObject;

    fn from_str(text: &str) -> Result<Self, InvalidObject> {
        // Names may have colons in them.
        let (name, shape) = text.rsplit_once(':').ok_or(InvalidObject)?;
        let shape = Shape::ALL.into_iter().find(|it| it.name() == shape).ok_or(InvalidObject)?;
        Ok(Self { name: name.to_owned(), shape })
    }
}

/// What is no [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidObject;

impl fmt::Display for InvalidObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, a colon, and Text, Array, Map or XmlFragment: notes:Text")
    }
}

impl std::error::Error for InvalidObject {}

/// These objects of a document.
pub(crate) fn json(doc: &Doc, objects: &[Object]) -> String {
    let mut json = String::from("{");
    for Object { name, shape } in objects {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&string(name));
        json.push_str(r#":{"type":""#);
        json.push_str(shape.name());
        json.push_str(r#"","content":"#);
        json.push_str(&content(doc, name, *shape));
        json.push('}');
    }
    json.push('}');
    json
}

fn content(doc: &Doc, name: &str, shape: Shape) -> String {
    let any = match shape {
        Shape::Text => {
            let text = doc.get_or_insert_text(name);
            return string(&text.get_string(&doc.transact()));
        }
        Shape::XmlFragment => {
            let xml = doc.get_or_insert_xml_fragment(name);
            return string(&xml.get_string(&doc.transact()));
        }
        Shape::Array => {
            let array = doc.get_or_insert_array(name);
            array.to_json(&doc.transact())
        }
        Shape::Map => {
            let map = doc.get_or_insert_map(name);
            map.to_json(&doc.transact())
        }
    };
    let mut json = String::new();
    any.to_json(&mut json);
    json
}

/// The same of what a store has. The caller's thread needs a stack of [`WorkingCopy::STACK`].
pub(crate) fn stored_json(
    stored: &Stored,
    objects: &[Object],
    max_bytes: usize,
) -> Result<String, String> {
    let log = stored.log.iter().flat_map(Batch::updates);
    let parts: Vec<&[u8]> = stored.snapshot.as_deref().into_iter().chain(log).collect();
    let content = update::merge(&parts).map_err(|error| error.to_string())?;
    if content.len() > max_bytes {
        return Err(too_large(content.len(), max_bytes));
    }
    // Nothing is written, so any client will do.
    let copy = WorkingCopy::open(&content, ClientId(1)).map_err(|why| why.to_string())?;
    let read = || json(copy.doc(), objects);
    if let Ok(json) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)) {
        return Ok(json);
    }
    copy.abandon();
    Err("the document cannot be read".to_owned())
}

pub(crate) fn too_large(bytes: usize, most: usize) -> String {
    format!("it has {bytes} bytes, more than {most}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json as value};
    use yrs::{Any, Array, Map, Text, WriteTxn, XmlElementPrelim, XmlFragment};

    fn objects(list: &str) -> Vec<Object> {
        list.split(',').map(|object| object.parse().unwrap()).collect()
    }

    #[test]
    fn each_type_is_shown_as_y_websocket_server_shows_it() {
        let doc = Doc::new();
        {
            let mut txn = doc.transact_mut();
            let text = txn.get_or_insert_text("a:b");
            text.push(&mut txn, "\"hello\"");
            let array = txn.get_or_insert_array("list");
            array.push_back(&mut txn, Any::from(1.5));
            array.push_back(&mut txn, Any::Undefined);
            array.push_back(&mut txn, Any::from(f64::NAN));
            let map = txn.get_or_insert_map("map");
            map.insert(&mut txn, "big", 9_007_199_254_740_991_i64);
            let xml = txn.get_or_insert_xml_fragment("xml");
            xml.push_back(&mut txn, XmlElementPrelim::empty("p"));
        }
        let wanted = objects("a:b:Text,list:Array,map:Map,xml:XmlFragment,none:Text");
        let read: Value = serde_json::from_str(&json(&doc, &wanted)).unwrap();
        assert_eq!(
            read,
            value!({
                "a:b": {"type": "Text", "content": "\"hello\""},
                "list": {"type": "Array", "content": [1.5, null, null]},
                "map": {"type": "Map", "content": {"big": 9_007_199_254_740_991_u64}},
                "xml": {"type": "XmlFragment", "content": "<p></p>"},
                "none": {"type": "Text", "content": ""},
            })
        );
    }

    #[test]
    fn an_object_is_a_name_and_a_shape() {
        for text in ["", "notes", "notes:", "notes:text", "notes:XmlElement", "Text"] {
            assert_eq!(text.parse::<Object>(), Err(InvalidObject), "{text}");
        }
        assert_eq!(objects(":Map")[0], Object { name: String::new(), shape: Shape::Map });
    }
}

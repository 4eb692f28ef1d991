//! The same first content, whoever makes it and however often.

use super::RoomError;
use super::edit::edit_bytes;
use bytes::Bytes;
use yroom::RoomName;
use yroom::update::EMPTY;
use yrs::TransactionMut;

/// Makes a room's first content: `f` writes it, and what comes out is an update.
///
/// The content is the work of a client whose id comes from the room's name and the content itself, so
/// that to make the same content twice is to make the same update, and two of them merge into one. That
/// matters when a server dies before the first is stored and some client has seen it already. Content
/// that differs has another author: both are in the document then, and nothing breaks.
///
/// `f` is called twice, and has to write the same in the same order each time; what comes out of a
/// `HashMap`, for instance, does not.
///
/// ```
/// use yroom::RoomName;
/// use yroom_net::app::seed;
/// use yrs::{Text, WriteTxn};
///
/// let name = RoomName::new("minutes")?;
/// let write = |txn: &mut yrs::TransactionMut<'_>| {
///     txn.get_or_insert_text("text").push(txn, "# Minutes\n");
/// };
/// assert_eq!(seed(&name, write)?, seed(&name, write)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seed(
    name: &RoomName,
    mut f: impl FnMut(&mut TransactionMut<'_>),
) -> Result<Bytes, RoomError> {
    // First as nobody in particular, to see what it is.
    let ((), Some(draft)) = edit_bytes(EMPTY, 1, &mut f)? else {
        return Ok(Bytes::from_static(EMPTY));
    };
    let author = author(name, &draft);
    let ((), content) = edit_bytes(EMPTY, author, &mut f)?;
    Ok(content.unwrap_or(Bytes::from_static(EMPTY)))
}

/// 32 bits of FNV-1a, as many as a client id of Yjs 13 has; not 0.
fn author(name: &RoomName, content: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    // No name has a zero in it.
    for byte in name.as_str().bytes().chain([0]).chain(content.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    u64::from(((hash ^ (hash >> 32)) as u32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use yrs::{GetString, ReadTxn, Text, WriteTxn};

    fn write(text: &str) -> impl Fn(&mut TransactionMut<'_>) {
        move |txn| {
            let notes = txn.get_or_insert_text("text");
            notes.push(txn, text);
        }
    }

    #[test]
    fn two_seedings_are_one_and_two_contents_are_two() {
        let name = RoomName::new("a").unwrap();
        let first = seed(&name, write("once")).unwrap();
        let again = seed(&name, write("once")).unwrap();
        let other = seed(&name, write("twice")).unwrap();
        let elsewhere = seed(&RoomName::new("b").unwrap(), write("once")).unwrap();
        assert_eq!(first, again);
        assert!(first != other && first != elsewhere);
        let all = yroom::update::merge(&[&first, &again, &other]).unwrap();
        let (text, _) = edit_bytes(&all, 9, |txn| {
            txn.get_text("text").map(|text| text.get_string(txn)).unwrap_or_default()
        })
        .unwrap();
        assert!(text == "oncetwice" || text == "twiceonce", "{text}");
        assert_eq!(seed(&name, |_| ()).unwrap(), EMPTY);
    }
}

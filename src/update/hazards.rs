//! What of an update the client's document library is not safe with, although it is well formed.

use super::UpdateError;
use super::content::Kind;
use super::read::{Check, Walk};

/// Content that yrs 0.28 does not survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hazards {
    /// Values in the form of old documents: yrs reads one more than there are, and what it writes
    /// then nobody can read.
    pub(crate) old_json: bool,
    /// Sub-documents: when a range with one among others is deleted, yrs uses memory that it freed.
    pub(crate) subdocuments: bool,
}

/// Looks for such content in an update that was scanned.
pub(crate) fn hazards(update: &[u8]) -> Result<Hazards, UpdateError> {
    let mut found = Hazards::default();
    let mut walk = Walk::new(update, Check::Bounds)?;
    while walk.section()?.is_some() {
        while let Some(read) = walk.next()? {
            found.old_json |= read.head.kind == Kind::Json;
            found.subdocuments |= read.head.kind == Kind::Doc;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hazard_is_found_and_text_is_none() {
        let text = [1, 1, 7, 0, 4, 1, 4, b't', b'e', b'x', b't', 2, b'h', b'i', 0];
        assert_eq!(hazards(&text), Ok(Hazards::default()));
        let json = [1, 1, 7, 0, 2, 1, 1, b'a', 1, 1, b'1', 0];
        assert_eq!(hazards(&json), Ok(Hazards { old_json: true, subdocuments: false }));
        let doc = [1, 1, 7, 0, 9, 1, 1, b'a', 1, b'g', 118, 0, 0];
        assert_eq!(hazards(&doc), Ok(Hazards { old_json: false, subdocuments: true }));
    }
}

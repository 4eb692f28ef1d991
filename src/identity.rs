//! Who somebody is, as far as presence shows it.

use crate::awareness::Stamp;
use crate::update::ClientId;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Who a connection speaks for: part of [`Access`](crate::Access), decided by whoever let it in.
///
/// Presence states come from clients, which can write anything into them: another's name, too. What
/// stands here the client cannot change.
///
/// * The *user* binds awareness ids: one that was this user's last is nobody else's for as long as
///   its clock is remembered, at most an hour after it went.
/// * With *ids* the connection may use only these, and goes before whoever uses one without having
///   been given it.
/// * The *stamp* is written into each of its states before anybody is shown it.
///
/// ```
/// let identity = yroom::Identity::new()
///     .user("u-17")?
///     .stamp(r#"{"user": {"id": "u-17", "name": "Ada"}}"#)?;
/// assert_eq!(identity.user_id(), Some("u-17"));
/// # Ok::<(), yroom::InvalidIdentity>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<Arc<str>>,
    ids: Option<BTreeSet<ClientId>>,
    stamp: Option<Stamp>,
}

impl Identity {
    /// The longest user id, in bytes.
    pub const MAX_USER_BYTES: usize = 255;
    /// The most awareness ids that can be given: far more than a connection may use by default.
    pub const MAX_IDS: usize = 64;
    /// The longest stamp, in bytes of JSON: by so much a state may grow.
    pub const MAX_STAMP_BYTES: usize = 4 << 10;
    /// How deep a stamp may nest.
    pub const MAX_STAMP_DEPTH: usize = 8;

    /// Nobody in particular: may use any free id, and is shown as it says.
    pub const fn new() -> Self {
        Self { user: None, ids: None, stamp: None }
    }

    /// Which user it is, by an id that is the same each time. Fails if that is empty, or has more than
    /// [`MAX_USER_BYTES`](Self::MAX_USER_BYTES) bytes.
    pub fn user(mut self, id: &str) -> Result<Self, InvalidIdentity> {
        if id.is_empty() || id.len() > Self::MAX_USER_BYTES {
            return Err(InvalidIdentity::User);
        }
        self.user = Some(id.into());
        Ok(self)
    }

    /// Which awareness ids it may use, and no others; none at all is possible. Fails beyond
    /// [`MAX_IDS`](Self::MAX_IDS).
    pub fn ids(mut self, ids: impl IntoIterator<Item = ClientId>) -> Result<Self, InvalidIdentity> {
        let mut allowed = BTreeSet::new();
        for id in ids {
            allowed.insert(id);
            if allowed.len() > Self::MAX_IDS {
                return Err(InvalidIdentity::Ids);
            }
        }
        self.ids = Some(allowed);
        Ok(self)
    }

    /// What is written into each of its states: an object as JSON.
    ///
    /// A field takes the place of the client's field of that name; if both are objects, they are
    /// merged in the same way, so that a client whose `user.name` is stamped still picks its
    /// `user.color`. A state that is not an object cannot be stamped, and is ignored.
    ///
    /// Fails if it is no JSON object, has more than [`MAX_STAMP_BYTES`](Self::MAX_STAMP_BYTES) bytes or
    /// nests deeper than [`MAX_STAMP_DEPTH`](Self::MAX_STAMP_DEPTH).
    pub fn stamp(mut self, json: &str) -> Result<Self, InvalidIdentity> {
        self.stamp = Some(Stamp::parse(json)?);
        Ok(self)
    }

    /// The user's id.
    pub fn user_id(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) const fn shared_user_id(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    pub(crate) const fn stamped(&self) -> Option<&Stamp> {
        self.stamp.as_ref()
    }

    /// Whether it may use an awareness id.
    pub(crate) fn may_use(&self, id: ClientId) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id))
    }

    /// Whether it was given this very id.
    pub(crate) fn was_given(&self, id: ClientId) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.contains(&id))
    }
}

/// Without what it says: who somebody is does not belong in a log.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why an [`Identity`] cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidIdentity {
    /// The user's id is empty or too long.
    User,
    /// Too many awareness ids.
    Ids,
    /// The stamp is too long.
    StampTooLong,
    /// The stamp nests too deep.
    StampTooDeep,
    /// The stamp is not a JSON object.
    StampNotAnObject,
}

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => {
                write!(f, "a user id has 1 to {} bytes", Identity::MAX_USER_BYTES)
            }
            Self::Ids => write!(f, "there are over {} awareness ids", Identity::MAX_IDS),
            Self::StampTooLong => {
                write!(f, "the stamp is over {} bytes", Identity::MAX_STAMP_BYTES)
            }
            Self::StampTooDeep => {
                write!(f, "the stamp nests over {} deep", Identity::MAX_STAMP_DEPTH)
            }
            Self::StampNotAnObject => f.write_str("the stamp is not a JSON object"),
        }
    }
}

impl std::error::Error for InvalidIdentity {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_of_an_identity_is_kept() {
        let new = Identity::new;
        assert_eq!(new().user(""), Err(InvalidIdentity::User));
        assert!(new().user(&"u".repeat(255)).is_ok());
        assert_eq!(new().user(&"u".repeat(256)), Err(InvalidIdentity::User));
        assert!(new().ids((0..64).map(ClientId)).is_ok());
        assert!(new().ids((0..640).map(|id| ClientId(id % 64))).is_ok());
        assert_eq!(new().ids((0..65).map(ClientId)), Err(InvalidIdentity::Ids));
        let long = |len: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(len - 8));
        assert!(new().stamp(&long(4096)).is_ok());
        assert_eq!(new().stamp(&long(4097)), Err(InvalidIdentity::StampTooLong));
        let deep = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert!(new().stamp(&deep(8)).is_ok());
        assert_eq!(new().stamp(&deep(9)), Err(InvalidIdentity::StampTooDeep));
        for json in ["", "1", "[]", "null", "\"a\"", "{", "{a:1}", "{}{}"] {
            assert_eq!(new().stamp(json), Err(InvalidIdentity::StampNotAnObject), "{json}");
        }
    }

    #[test]
    fn who_somebody_is_does_not_show_in_debug_output() {
        let identity = Identity::new().user("secret-name").unwrap();
        assert!(!format!("{identity:?}").contains("secret"));
    }
}

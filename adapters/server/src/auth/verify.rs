//! Whether a token is good, for a room and a time.

use super::claims::{Claims, Moment};
use super::crypto;
use super::keys::Keys;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use std::fmt;
use std::time::{Duration, SystemTime};
use yroom::{Access, RoomName};

/// Checks tokens.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Keys,
    rules: Rules,
}

/// What is asked of a token beside its signature.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// One of these it must be for. Without any, it must not say for whom it is: then it is for
    /// somebody else.
    pub(crate) audiences: Vec<String>,
    /// Whose it must be.
    pub(crate) issuer: Option<String>,
    pub(crate) expiry: Expiry,
    /// By how much clocks may differ.
    pub(crate) leeway: Duration,
}

/// Whether a token must expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Required,
    Optional,
}

/// A token that is good.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// Without its end.
    pub(crate) access: Access,
    /// For how long it is good.
    pub(crate) lasts: Option<Duration>,
}

impl Verifier {
    pub(crate) fn new(keys: Keys, rules: Rules) -> Self {
        crypto::install();
        Self { keys, rules }
    }

    /// Whether a token lets somebody into a room, and what for.
    pub(crate) fn verify(
        &self,
        token: &str,
        room: &RoomName,
        now: SystemTime,
    ) -> Result<Verified, Denied> {
        let claims = self.signed_claims(token)?;
        let lasts = self.lasts(&claims, now)?;
        self.check_audience(&claims)?;
        if self.rules.issuer.is_some() && claims.iss != self.rules.issuer {
            return Err(Denied::Issuer);
        }
        if claims.rooms.is_empty() && claims.prefixes.is_empty() {
            return Err(Denied::NoRooms);
        }
        if !claims.admit_to(room) {
            return Err(Denied::Room);
        }
        let access = claims.access().map_err(|_| Denied::Claims)?;
        Ok(Verified { claims, access, lasts })
    }

    fn signed_claims(&self, token: &str) -> Result<Claims, Denied> {
        // An algorithm that is not known, `none` among them, does not come further than this.
        let header = decode_header(token).map_err(|_| Denied::Malformed)?;
        if header.crit.is_some() {
            return Err(Denied::Malformed);
        }
        let key = self.keys.choose(header.kid.as_deref()).ok_or(Denied::UnknownKey)?;
        let mut validation = Validation::new(key.algorithm);
        // What a claim must be is decided here, by the clock and the rules that were given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        match decode::<Claims>(token, &key.key, &validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidAlgorithm => Denied::Algorithm,
                ErrorKind::Json(_) => Denied::Claims,
                ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => {
                    Denied::Malformed
                }
                _ => Denied::Signature,
            }),
        }
    }

    fn lasts(&self, claims: &Claims, now: SystemTime) -> Result<Option<Duration>, Denied> {
        let leeway = self.rules.leeway;
        if claims.nbf.is_some_and(|from| now + leeway < from.time()) {
            return Err(Denied::NotYet);
        }
        let Some(until) = claims.exp.map(Moment::time) else {
            return match self.rules.expiry {
                Expiry::Required => Err(Denied::NoExpiry),
                Expiry::Optional => Ok(None),
            };
        };
        let left = |end: SystemTime| end.duration_since(now).ok().filter(|left| !left.is_zero());
        // Who is in goes when it expires; who comes a little later is let in for a little.
        left(until).or_else(|| left(until + leeway)).map(Some).ok_or(Denied::Expired)
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Denied> {
        let audiences = &self.rules.audiences;
        let fits = if audiences.is_empty() {
            claims.aud.is_empty()
        } else {
            claims.aud.0.iter().any(|audience| audiences.contains(audience))
        };
        if fits { Ok(()) } else { Err(Denied::Audience) }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Missing,
    Several,
    Malformed,
    UnknownKey,
    Algorithm,
    Signature,
    Claims,
    Expired,
    NoExpiry,
    NotYet,
    Audience,
    Issuer,
    NoRooms,
    Room,
}

impl Denied {
    /// 401 for who has not shown a good token, 403 for who has shown one for something else.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::NoRooms | Self::Room => 403,
            Self::Missing
            | Self::Several
            | Self::Malformed
            | Self::UnknownKey
            | Self::Algorithm
            | Self::Signature
            | Self::Claims
            | Self::Expired
            | Self::NoExpiry
            | Self::NotYet
            | Self::Audience
            | Self::Issuer => 401,
        }
    }

    /// For the one who is not let in, and the log: nothing of the token stands in it.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Missing => {
                "a token is missing: send it as Authorization: Bearer, as ?token= or as the \
                 subprotocol yroom.token.<token>"
            }
            Self::Several => "there is more than one token: send one",
            Self::Malformed => "the token is not a JWT that is understood here",
            Self::UnknownKey => "the token names no key that is known here",
            Self::Algorithm => "the token's algorithm is not that of the key",
            Self::Signature => "the token's signature is wrong",
            Self::Claims => "the token's claims are not understood",
            Self::Expired => "the token has expired",
            Self::NoExpiry => "the token has no exp claim, so it would never expire",
            Self::NotYet => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Issuer => "the token is from another issuer",
            Self::NoRooms => "the token names no rooms",
            Self::Room => "the token is not for this room",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

//! Who comes in: bearers of a token (a JWT) that is signed with a key that the server was given.

mod carrier;
mod claims;
mod crypto;
mod keys;
pub(crate) mod mint;
#[cfg(test)]
mod tests;
mod verify;

use crate::options::AuthOptions;
use keys::Keys;
use std::future::{self, Future};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use verify::{Denied, Expiry, Rules, Verified, Verifier};
use yroom::Access;
use yroom_net::{Arrival, Authorize, Grant, Refusal};

/// The subprotocol that is spoken, whether or not a token comes with it: browsers that offer some
/// want one back, and it need not be the one with the token in it.
const SUBPROTOCOL: &str = "yroom";

/// Lets in who has a good token.
#[derive(Clone, Debug)]
pub(crate) struct Gatekeeper {
    verifier: Arc<RwLock<Arc<Verifier>>>,
    /// How often those who are in are looked at again: a key that is taken away takes its bearers
    /// along.
    recheck: Duration,
}

impl Gatekeeper {
    /// One with the keys that the options name; none if they name none.
    pub(crate) fn new(options: &AuthOptions) -> Result<Option<Self>, String> {
        let verifier = load(options)?.map(|verifier| Arc::new(RwLock::new(Arc::new(verifier))));
        let recheck = Duration::from_secs(options.auth_recheck);
        Ok(verifier.map(|verifier| Self { verifier, recheck }))
    }

    /// Reads the keys anew. If that fails, those there are stay.
    pub(crate) fn reload(&self, options: &AuthOptions) -> Result<(), String> {
        if let Some(verifier) = load(options)? {
            *self.verifier.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
        }
        Ok(())
    }

    fn judge(&self, arrival: &Arrival) -> Result<Grant, Denied> {
        let token = carrier::token(arrival)?;
        let verifier = Arc::clone(&self.verifier.read().unwrap_or_else(PoisonError::into_inner));
        let Verified { claims, access, lasts } =
            verifier.verify(&token, arrival.room(), SystemTime::now())?;
        let expires_at = lasts.map(|lasts| arrival.now() + lasts);
        let mut grant = Grant::from(Access { expires_at, ..access }).recheck(self.recheck);
        grant.user = claims.sub;
        grant.subprotocol = carrier::spoken(arrival);
        Ok(grant)
    }
}

impl Authorize for Gatekeeper {
    fn authorize(&self, arrival: Arrival) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        let judged = self.judge(&arrival);
        future::ready(judged.map_err(|denied| Refusal::new(denied.status(), denied.sentence())))
    }
}

/// Lets everybody in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open;

impl Authorize for Open {
    fn authorize(&self, arrival: Arrival) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        let mut grant = Grant::from(Access::FULL);
        grant.subprotocol = carrier::spoken(&arrival);
        future::ready(Ok(grant))
    }
}

fn load(options: &AuthOptions) -> Result<Option<Verifier>, String> {
    let keys = match (&options.auth_key, &options.auth_jwks) {
        (Some(file), _) => Keys::from_key_file(file)?,
        (None, Some(file)) => Keys::from_jwks_file(file)?,
        (None, None) => return Ok(None),
    };
    let rules = Rules {
        audiences: options.auth_audience.clone(),
        issuer: options.auth_issuer.clone(),
        expiry: if options.auth_allow_no_expiry { Expiry::Optional } else { Expiry::Required },
        leeway: Duration::from_secs(options.auth_leeway),
    };
    Ok(Some(Verifier::new(keys, rules)))
}

/// What percent-encoded bytes stand for; what is no such encoding stays as it is.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            decoded.push((high << 4 | low) as u8);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

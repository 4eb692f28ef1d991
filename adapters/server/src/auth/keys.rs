//! The keys that tokens are signed with, from files; each decides its algorithm, no token does.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use serde::Deserialize;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The shortest secret: as long as what HS256 computes (RFC 7518 §3.2). Shorter ones can be guessed
/// from one token.
const SECRET_BYTES: usize = 32;

/// The shortest RSA key's modulus, or the DER around it.
const RSA_BYTES: usize = 256;

/// The largest file that is read.
const FILE_BYTES: u64 = 1 << 20;

/// What tokens are verified with.
#[derive(Debug)]
pub(crate) enum Keys {
    /// One, whatever it is called.
    One(Key),
    /// Several, each with the name that tokens call it by.
    Named(Vec<(String, Key)>),
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl Keys {
    /// Reads a public key in PEM, or a secret: the file's bytes as they are, but for white space at
    /// its end.
    pub(crate) fn from_key_file(path: &Path) -> Result<Self, String> {
        let bytes = read(path)?;
        let key = if is_pem(&bytes) { public_key(&bytes) } else { secret(&bytes) };
        key.map(Self::One).map_err(|why| said_of(path, &why))
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys for something else than these signatures are left
    /// out.
    pub(crate) fn from_jwks_file(path: &Path) -> Result<Self, String> {
        let bytes = read(path)?;
        Self::from_jwks(&bytes).map_err(|why| said_of(path, &why))
    }

    fn from_jwks(bytes: &[u8]) -> Result<Self, String> {
        // Each on its own: one of a kind that is not known does not make the others useless.
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(bytes)
            .map_err(|_| "it is not a JSON Web Key Set: {\"keys\": [...]}".to_owned())?;
        let mut named: Vec<(String, Key)> = Vec::new();
        for jwk in set.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
            let Some(key) = signature_key(&jwk)? else { continue };
            let name = jwk.common.key_id.ok_or("a key has no kid, by which tokens name it")?;
            if named.iter().any(|(other, _)| *other == name) {
                return Err(format!("two keys have the kid {name:?}"));
            }
            named.push((name, key));
        }
        if named.is_empty() {
            return Err("no key in it is for HS256, RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self::Named(named))
    }

    /// The key that a token is signed with, by the name that the token gives.
    pub(crate) fn choose(&self, name: Option<&str>) -> Option<&Key> {
        match self {
            Self::One(key) => Some(key),
            Self::Named(named) => {
                let name = name?;
                named.iter().find(|(other, _)| other == name).map(|(_, key)| key)
            }
        }
    }
}

/// What a token is signed with, from the same kinds of files.
pub(crate) fn signing_key(path: &Path) -> Result<(Algorithm, EncodingKey), String> {
    let bytes = read(path)?;
    if !is_pem(&bytes) {
        let secret = checked_secret(&bytes).map_err(|why| said_of(path, &why))?;
        return Ok((Algorithm::HS256, EncodingKey::from_secret(secret)));
    }
    if is_private(&bytes) {
        if let Ok(key) = EncodingKey::from_ed_pem(&bytes) {
            return Ok((Algorithm::EdDSA, key));
        }
        if let Ok(key) = EncodingKey::from_ec_pem(&bytes) {
            return Ok((Algorithm::ES256, key));
        }
        if let Ok(key) = EncodingKey::from_rsa_pem(&bytes) {
            return Ok((Algorithm::RS256, key));
        }
    }
    Err(said_of(path, "it is no private key in PKCS #8: RSA, EC (P-256) or Ed25519"))
}

fn secret(bytes: &[u8]) -> Result<Key, String> {
    let key = DecodingKey::from_secret(checked_secret(bytes)?);
    Ok(Key { algorithm: Algorithm::HS256, key })
}

fn checked_secret(bytes: &[u8]) -> Result<&[u8], String> {
    let secret = bytes.trim_ascii_end();
    if secret.len() < SECRET_BYTES {
        let len = secret.len();
        return Err(format!("a secret has at least {SECRET_BYTES} bytes, this one {len}"));
    }
    Ok(secret)
}

fn public_key(pem: &[u8]) -> Result<Key, String> {
    if is_private(pem) {
        return Err("it is a private key; verifying needs the public one".to_owned());
    }
    if has(pem, b"CERTIFICATE") {
        return Err("it is a certificate; `openssl x509 -pubkey -noout` has its key".to_owned());
    }
    let read = |algorithm, key: jsonwebtoken::errors::Result<DecodingKey>| {
        key.ok().map(|key| Key { algorithm, key })
    };
    let key = read(Algorithm::EdDSA, DecodingKey::from_ed_pem(pem))
        .or_else(|| read(Algorithm::ES256, DecodingKey::from_ec_pem(pem)))
        .or_else(|| read(Algorithm::RS256, DecodingKey::from_rsa_pem(pem)))
        .ok_or("it is no public key in PEM: RSA, EC (P-256) or Ed25519")?;
    usable(key)
}

/// The key for one of our four algorithms, if it is one.
fn signature_key(jwk: &Jwk) -> Result<Option<Key>, String> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        _ => return Ok(None),
    };
    let other_use =
        jwk.common.public_key_use.as_ref().is_some_and(|found| *found != PublicKeyUse::Signature);
    let other_algorithm = jwk.common.key_algorithm.is_some_and(|found| found != algorithm.into());
    if other_use || other_algorithm {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "a key's numbers are not base64url")?;
    usable(Key { algorithm, key }).map(Some)
}

/// Refuses what no signature would ever match, or anybody could find the private part of.
fn usable(key: Key) -> Result<Key, String> {
    let len = match key.key.kind() {
        DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
    };
    let complaint = match key.algorithm {
        Algorithm::HS256 if len < SECRET_BYTES => "a secret has at least 32 bytes",
        Algorithm::RS256 if len < RSA_BYTES => "an RSA key has at least 2048 bits",
        // Uncompressed: a byte that says so and two coordinates.
        Algorithm::ES256 if len != 65 => "of the elliptic curves, P-256 is supported",
        Algorithm::EdDSA if len != 32 => "an Ed25519 key has 32 bytes",
        _ => return Ok(key),
    };
    Err(complaint.to_owned())
}

fn is_pem(bytes: &[u8]) -> bool {
    has(bytes, b"-----BEGIN")
}

fn is_private(pem: &[u8]) -> bool {
    has(pem, b"PRIVATE KEY")
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(said_of(path, "it is too large for a key"));
    }
    Ok(bytes)
}

fn said_of(path: &Path, what: &str) -> String {
    format!("{}: {what}", path.display())
}

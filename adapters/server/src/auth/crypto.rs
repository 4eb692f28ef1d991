//! What `jsonwebtoken` signs and verifies with: ring, which TLS uses already.
//!
//! Of its own choices one would bring a C library to build, the other an RSA implementation with a
//! known leak (RUSTSEC-2023-0071). Four algorithms, and no more, are wired up here.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as Unsigned, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{error, hmac};

/// Makes this what `jsonwebtoken` uses in this process.
pub(crate) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // The second time, it is there.
    let _ = PROVIDER.install_default();
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "its type is given")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let check = match algorithm {
        Algorithm::HS256 => Check::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)),
        Algorithm::RS256 => match key.kind() {
            DecodingKeyKind::SecretOrDer(der) => public(&RSA_PKCS1_2048_8192_SHA256, der),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                Check::Rsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
            }
        },
        Algorithm::ES256 => public(&ECDSA_P256_SHA256_FIXED, key.try_get_as_bytes()?),
        Algorithm::EdDSA => public(&ED25519, key.try_get_as_bytes()?),
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(Checker { algorithm: *algorithm, check }))
}

fn public(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Check {
    Check::Public(UnparsedPublicKey::new(algorithm, key.to_vec()))
}

struct Checker {
    algorithm: Algorithm,
    check: Check,
}

enum Check {
    Hmac(hmac::Key),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    Public(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier<Vec<u8>> for Checker {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Unsigned> {
        let verified = match &self.check {
            Check::Hmac(key) => hmac::verify(key, message, signature),
            Check::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Check::Public(key) => key.verify(message, signature),
        };
        verified.map_err(|error::Unspecified| Unsigned::new())
    }
}

impl JwtVerifier for Checker {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "its type is given")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let random = SystemRandom::new();
    let bytes = key.as_bytes();
    let rejected = |why: error::KeyRejected| Error::from(ErrorKind::Provider(why.to_string()));
    let pen = match algorithm {
        Algorithm::HS256 => Pen::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)),
        Algorithm::RS256 => Pen::Rsa(RsaKeyPair::from_der(bytes).map_err(rejected)?),
        Algorithm::ES256 => {
            let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
            Pen::Ec(EcdsaKeyPair::from_pkcs8(signing, bytes, &random).map_err(rejected)?)
        }
        Algorithm::EdDSA => {
            Pen::Ed(Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(rejected)?)
        }
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    };
    Ok(Box::new(Writer { algorithm: *algorithm, random, pen }))
}

struct Writer {
    algorithm: Algorithm,
    random: SystemRandom,
    pen: Pen,
}

enum Pen {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer<Vec<u8>> for Writer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let failed = |error::Unspecified| Unsigned::new();
        match &self.pen {
            Pen::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pen::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pen::Ec(pair) => {
                pair.sign(&self.random, message).map(|s| s.as_ref().to_vec()).map_err(failed)
            }
            Pen::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for Writer {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

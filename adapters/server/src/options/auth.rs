//! Who may come in.

use super::units::seconds;
use clap::Args;
use clap::builder::FalseyValueParser;
use std::path::PathBuf;

/// Who may come in. Without any of this the server is for this machine only.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Who may come in")]
pub(crate) struct AuthOptions {
    /// Lets in who has a token (a JWT) that this key verifies: a public key in PEM (RS256, ES256,
    /// EdDSA), or a secret of at least 32 bytes (HS256), which is the file's text as it stands. SIGHUP
    /// reads it anew.
    #[arg(long, env = "YROOM_AUTH_KEY", value_name = "FILE", conflicts_with = "auth_jwks")]
    pub(crate) auth_key: Option<PathBuf>,

    /// The same with a JSON Web Key Set, of which a token names its key (`kid`).
    #[arg(long, env = "YROOM_AUTH_JWKS", value_name = "FILE")]
    pub(crate) auth_jwks: Option<PathBuf>,

    /// Tokens must be for this audience (`aud`), or one of several. Without, tokens that name one are
    /// refused.
    #[arg(long, env = "YROOM_AUTH_AUDIENCE", value_name = "NAME", value_delimiter = ',')]
    pub(crate) auth_audience: Vec<String>,

    /// Tokens must be from this issuer (`iss`).
    #[arg(long, env = "YROOM_AUTH_ISSUER", value_name = "NAME")]
    pub(crate) auth_issuer: Option<String>,

    /// By how much the clocks of who makes tokens and this one may differ.
    #[arg(long, env = "YROOM_AUTH_LEEWAY", value_name = "SPAN", value_parser = seconds, default_value = "5s")]
    pub(crate) auth_leeway: u64,

    /// How often those who are in are looked at again, by the keys that are there then.
    #[arg(
        long,
        env = "YROOM_AUTH_RECHECK",
        value_name = "SPAN",
        default_value = "60s",
        value_parser = recheck
    )]
    pub(crate) auth_recheck: u64,

    /// Takes tokens that never expire, too.
    #[arg(
        long,
        env = "YROOM_AUTH_ALLOW_NO_EXPIRY",
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) auth_allow_no_expiry: bool,

    /// Lets everybody in who reaches --listen, from other machines, too.
    #[arg(
        long,
        env = "YROOM_ALLOW_ANONYMOUS",
        value_parser = FalseyValueParser::new()
    )]
    pub(crate) allow_anonymous: bool,
}

impl AuthOptions {
    /// Whether tokens are asked for.
    pub(crate) const fn is_configured(&self) -> bool {
        self.auth_key.is_some() || self.auth_jwks.is_some()
    }
}

fn recheck(text: &str) -> Result<u64, String> {
    match seconds(text)? {
        seconds @ 1..=86_400 => Ok(seconds),
        _ => Err("from a second to a day".to_owned()),
    }
}

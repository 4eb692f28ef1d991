//! Tokens for development, and a secret to sign them with.

use super::claims::{Appear, Appearance, Claims, Level, Moment, Names, Others};
use super::{crypto, keys};
use crate::options::units::span;
use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Header, encode};
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// `yroom token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// What to sign with: a secret, or a private key in PEM.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// A room that may be entered, as it stands in the URL; may be given several times.
    #[arg(long, value_name = "NAME", required_unless_present = "prefix")]
    room: Vec<String>,

    /// What the names of rooms that may be entered begin with: `team-7/`, say; "" for all rooms. May
    /// be given several times.
    #[arg(long, value_name = "BEGINNING")]
    prefix: Vec<String>,

    /// What may be done there.
    #[arg(long, value_enum, default_value = "write")]
    access: Level,

    /// How long it is good: 90s, 15m, 1h, 7d.
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = span)]
    expires: Duration,

    /// For whom it is: a user's id.
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// What others see of the user, whatever the client says: a JSON object, such as
    /// {"user": {"name": "Ada"}}.
    #[arg(long, value_name = "JSON")]
    stamp: Option<String>,

    /// The user sees others, and is not seen.
    #[arg(long, conflicts_with = "stamp")]
    unseen: bool,

    /// It is a server that is linked with this one, and trusted to speak for its clients' presence.
    #[arg(long, conflicts_with_all = ["stamp", "unseen"])]
    relay: bool,

    /// The server's --auth-audience.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,

    /// The server's --auth-issuer.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,

    /// The key's name, for a server that has a set of them.
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
}

/// `yroom keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where to write it; a file that is there stays.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints a token.
pub(crate) fn token(args: &TokenArgs) -> Result<ExitCode, String> {
    println!("{}", mint(args, SystemTime::now())?);
    Ok(ExitCode::SUCCESS)
}

fn mint(args: &TokenArgs, now: SystemTime) -> Result<String, String> {
    crypto::install();
    let (algorithm, key) = keys::signing_key(&args.key)?;
    let awareness = if let Some(json) = &args.stamp {
        let fields = serde_json::from_str(json)
            .map_err(|error| format!("--stamp is not a JSON object: {error}"))?;
        Appearance::As(Appear { fields: Some(fields), ids: None })
    } else if args.relay {
        Appearance::For(Others::Relay)
    } else {
        Appearance::Seen(!args.unseen)
    };
    let claims = Claims {
        sub: args.user.clone(),
        exp: Some(Moment::of(now + args.expires)),
        nbf: None,
        aud: Names(args.audience.iter().cloned().collect()),
        iss: args.issuer.clone(),
        rooms: Names(args.room.clone()),
        prefixes: Names(args.prefix.clone()),
        access: args.access,
        awareness,
    };
    // What the server would refuse is said here, where it can be mended.
    claims.access().map_err(|error| error.to_string())?;
    let header = Header { kid: args.kid.clone(), ..Header::new(algorithm) };
    encode(&header, &claims, &key).map_err(|error| format!("cannot sign: {error}"))
}

/// Writes a secret that nobody else has.
pub(crate) fn keygen(args: &KeygenArgs) -> Result<ExitCode, String> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| "the system gives no random numbers")?;
    let file = &args.file;
    write_new(file, &format!("{}\n", BASE64URL_NOPAD.encode(&secret)))
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a new file that only its owner reads.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

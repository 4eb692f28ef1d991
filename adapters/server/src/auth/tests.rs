//! What is good and what is not, without sockets.

use super::claims::Claims;
use super::keys::Keys;
use super::percent_decode;
use super::verify::{Denied, Expiry, Rules, Verified, Verifier};
use data_encoding::BASE64URL_NOPAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use yroom::{Identity, Presence, Rights, RoomName};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn written(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn rules() -> Rules {
    Rules {
        audiences: Vec::new(),
        issuer: None,
        expiry: Expiry::Required,
        leeway: Duration::from_secs(5),
    }
}

fn verifier() -> Verifier {
    with_rules(rules())
}

fn with_rules(rules: Rules) -> Verifier {
    let (_dir, path) = written(SECRET);
    Verifier::new(Keys::from_key_file(&path).unwrap(), rules)
}

/// Claims that are good for the room "notes", with some changed: `null` takes one away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"exp": NOW + 60, "rooms": ["notes"]});
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        claims[name] = value;
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn judge(verifier: &Verifier, changes: Value) -> Result<Verified, Denied> {
    verifier.verify(&signed(&claims(changes)), &RoomName::new("notes").unwrap(), at(NOW))
}

#[allow(clippy::needless_pass_by_value, reason = "`json!` stands there")]
fn denied(verifier: &Verifier, changes: Value) -> Denied {
    judge(verifier, changes.clone()).expect_err(&changes.to_string())
}

#[test]
fn a_token_says_what_its_bearer_may_do_and_for_how_long() {
    let fields = json!({"user": {"name": "Ada"}});
    let verified = judge(
        &verifier(),
        json!({"sub": "u-17", "access": "write", "awareness": {"ids": [7], "fields": fields}, "jti": 1}),
    );
    let Verified { access, lasts, claims } = verified.unwrap();
    assert_eq!(lasts, Some(Duration::from_secs(60)));
    assert_eq!(claims.sub.as_deref(), Some("u-17"));
    assert_eq!((access.document, access.presence), (Rights::ReadWrite, Presence::Publish));
    let identity = Identity::new().user("u-17").unwrap();
    let identity = identity.ids([yroom::update::ClientId(7)]).unwrap();
    let identity = identity.stamp(r#"{"user":{"name":"Ada"}}"#).unwrap();
    assert_eq!(access.identity.as_deref(), Some(&identity));

    let least = judge(&verifier(), json!({})).unwrap().access;
    assert_eq!((least.document, least.presence), (Rights::Read, Presence::Publish));
    assert_eq!(least.identity, None);
    let unseen = judge(&verifier(), json!({"awareness": false})).unwrap().access;
    assert_eq!(unseen.presence, Presence::Observe);
    let linked = judge(&verifier(), json!({"awareness": "relay"})).unwrap().access;
    assert_eq!(linked.presence, Presence::Relay);
}

#[test]
fn time_decides_with_a_little_leeway() {
    let verifier = verifier();
    assert_eq!(denied(&verifier, json!({"exp": null})), Denied::NoExpiry);
    assert_eq!(denied(&verifier, json!({"exp": NOW - 5})), Denied::Expired);
    assert_eq!(denied(&verifier, json!({"exp": 0})), Denied::Expired);
    let lasts = |exp: Value| judge(&verifier, json!({"exp": exp})).unwrap().lasts.unwrap();
    assert_eq!(lasts(json!(NOW - 4)), Duration::from_secs(1));
    assert_eq!(lasts(json!(NOW)), Duration::from_secs(5));
    assert_eq!(lasts(json!(NOW + 1)), Duration::from_secs(1), "who is in goes when it expires");
    assert_eq!(lasts(json!(1_800_000_000.5)), Duration::from_millis(500));
    assert_eq!(denied(&verifier, json!({"nbf": NOW + 6})), Denied::NotYet);
    assert!(judge(&verifier, json!({"nbf": NOW + 5})).is_ok());

    let optional = with_rules(Rules { expiry: Expiry::Optional, ..rules() });
    assert_eq!(judge(&optional, json!({"exp": null})).unwrap().lasts, None);
    assert_eq!(denied(&optional, json!({"exp": NOW - 5})), Denied::Expired);
}

#[test]
fn claims_of_the_wrong_kind_are_not_understood() {
    let verifier = verifier();
    for (name, value) in [
        ("exp", json!("1900000000")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!({})),
        ("sub", json!(17)),
        ("sub", json!("")),
        ("sub", json!("u".repeat(256))),
        ("rooms", json!({"a": 1})),
        ("rooms", json!([1])),
        ("prefixes", json!(false)),
        ("access", json!("admin")),
        ("access", json!(["write"])),
        ("awareness", json!("yes")),
        ("awareness", json!({"id": [7]})),
        ("awareness", json!({"ids": [-1]})),
        ("awareness", json!({"ids": (0..65).collect::<Vec<_>>()})),
        ("awareness", json!({"fields": [1]})),
        ("awareness", json!({"fields": {"a": "x".repeat(4096)}})),
        ("awareness", json!({"fields": {"a": [[[[[[[[1]]]]]]]]}})),
    ] {
        let mut changes = json!({});
        changes[name] = value;
        assert_eq!(denied(&verifier, changes), Denied::Claims);
    }
    let twice = r#"{"exp":1800000060,"rooms":["notes"],"rooms":["other"]}"#;
    let header = BASE64.encode(br#"{"alg":"HS256"}"#);
    let message = format!("{header}.{}", BASE64.encode(twice.as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    let signature = BASE64.encode(ring::hmac::sign(&key, message.as_bytes()).as_ref());
    let token = format!("{message}.{signature}");
    let room = RoomName::new("notes").unwrap();
    assert_eq!(verifier.verify(&token, &room, at(NOW)), Err(Denied::Claims), "{twice}");
}

#[test]
fn the_audience_and_the_issuer_are_those_that_are_wanted() {
    let verifier = verifier();
    assert_eq!(denied(&verifier, json!({"aud": "elsewhere"})), Denied::Audience);
    assert!(judge(&verifier, json!({"iss": "anybody"})).is_ok());
    let audiences = vec!["yroom".to_owned(), "notes".to_owned()];
    let strict = with_rules(Rules { audiences, issuer: Some("us".to_owned()), ..rules() });
    assert!(judge(&strict, json!({"aud": "notes", "iss": "us"})).is_ok());
    assert!(judge(&strict, json!({"aud": ["x", "yroom"], "iss": "us"})).is_ok());
    for aud in [json!(null), json!("Yroom"), json!([]), json!(["x"]), json!("")] {
        assert_eq!(denied(&strict, json!({"aud": aud, "iss": "us"})), Denied::Audience);
    }
    for iss in [json!(null), json!("US"), json!("")] {
        assert_eq!(denied(&strict, json!({"aud": "yroom", "iss": iss})), Denied::Issuer);
    }
}

#[test]
fn rooms_are_compared_by_their_names_as_they_are() {
    let admits = |claims: &Value, room: &str| {
        let claims: Claims = serde_json::from_value(claims.clone()).unwrap();
        claims.admit_to(&RoomName::new(room).unwrap())
    };
    let one = json!({"rooms": "caf%C3%A9/a"});
    assert!(admits(&one, "caf%C3%A9/a"));
    for other in [
        "café/a",
        "cafe\u{301}/a",
        "caf%c3%a9/a",
        "caf%C3%A9/a/",
        "caf%C3%A9//a",
        "CAF%C3%A9/a",
        "/caf%C3%A9/a",
        "caf%C3%A9%2Fa",
        "caf%C3%A9/b/../a",
        "caf%C3%A9/./a",
        "caf%C3%A9/a ",
        "a",
        "caf%C3%A9/a%00",
        "caf%C3%A9",
        "caf%C3%A9/",
    ] {
        assert!(!admits(&one, other), "{other}");
    }
    let below = json!({"prefixes": ["team-7/"]});
    for inside in ["team-7/a", "team-7/a/b", "team-7/.hidden", "team-7/a..b", "team-7/%41"] {
        assert!(admits(&below, inside), "{inside}");
    }
    for outside in [
        "team-7",
        "team-7/",
        "team-70/a",
        "Team-7/a",
        "team-7%2Fa",
        "/team-7/a",
        "x/team-7/a",
        "team-7/../team-8/a",
        "team-7/..",
        "team-7/.",
        "team-7/./a",
        "team-7/%2e%2e/a",
        "team-7/%2E./a",
        "team-7/..%2fteam-8",
        "team-7/%252e%252e/a",
        "team-7/..\\a",
        "team-7/%25252e%25252e%25252fa",
        "team-7/a/../../b",
        "team-7/..%5ca",
    ] {
        assert!(!admits(&below, outside), "{outside}");
    }
    assert!(admits(&json!({"prefixes": ""}), "anything"));
    assert!(!admits(&json!({"prefixes": ""}), "any/../thing"));
    let verifier = verifier();
    assert_eq!(denied(&verifier, json!({"rooms": null})), Denied::NoRooms);
    assert_eq!(denied(&verifier, json!({"rooms": []})), Denied::NoRooms);
    assert_eq!(denied(&verifier, json!({"rooms": ["*", "note"]})), Denied::Room);
}

#[test]
fn the_key_decides_the_algorithm_and_nothing_in_the_token_does() {
    let room = RoomName::new("notes").unwrap();
    let good = claims(json!({}));
    let algorithms =
        [("rsa", Algorithm::RS256), ("ec", Algorithm::ES256), ("ed", Algorithm::EdDSA)];
    for (name, algorithm) in algorithms {
        let keys = Keys::from_key_file(&file(&format!("{name}.public.pem"))).unwrap();
        let verifier = Verifier::new(keys, rules());
        for (other, _) in algorithms {
            let (found, key) =
                super::keys::signing_key(&file(&format!("{other}.private.pem"))).unwrap();
            let token = encode(&Header::new(found), &good, &key).unwrap();
            let expected = if other == name { Ok(()) } else { Err(Denied::Algorithm) };
            assert_eq!(
                verifier.verify(&token, &room, at(NOW)).map(drop),
                expected,
                "{name} {other}"
            );
            if other == name {
                let mut forged = token.into_bytes();
                let last = forged.len() - 3;
                forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
                let forged = String::from_utf8(forged).unwrap();
                assert_eq!(verifier.verify(&forged, &room, at(NOW)), Err(Denied::Signature));
            }
        }
        // The public key as the secret of an HMAC: who has it can sign so.
        let pem = fs::read(file(&format!("{name}.public.pem"))).unwrap();
        let der = pem.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"-----"));
        let der = data_encoding::BASE64.decode(&der.collect::<Vec<_>>().concat()).unwrap();
        for secret in [&pem[..], pem.trim_ascii_end(), &der] {
            let key = EncodingKey::from_secret(secret);
            let token = encode(&Header::new(Algorithm::HS256), &good, &key).unwrap();
            assert_eq!(
                verifier.verify(&token, &room, at(NOW)),
                Err(Denied::Algorithm),
                "{algorithm:?}"
            );
        }
    }
}

#[test]
fn what_is_no_token_with_a_signature_is_refused() {
    let verifier = verifier();
    let room = RoomName::new("notes").unwrap();
    let judge = |token: &str| verifier.verify(token, &room, at(NOW)).expect_err(token);
    let good = signed(&claims(json!({})));
    assert!(verifier.verify(&good, &room, at(NOW)).is_ok());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let payload = message.split_once('.').unwrap().1;
    for alg in ["none", "None", "NONE", "nOnE", "", "HS512x"] {
        let header = BASE64.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#).as_bytes());
        assert_eq!(judge(&format!("{header}.{payload}.")), Denied::Malformed, "{alg}");
        assert_eq!(judge(&format!("{header}.{payload}.{signature}")), Denied::Malformed, "{alg}");
    }
    for alg in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256"] {
        let header = BASE64.encode(format!(r#"{{"alg":"{alg}"}}"#).as_bytes());
        assert_eq!(judge(&format!("{header}.{payload}.{signature}")), Denied::Algorithm, "{alg}");
    }
    // A key of the token's own, and an extension that would have to be understood.
    for extra in [r#""jwk":{"kty":"oct","k":"AAAA"}"#, r#""jku":"http://127.0.0.1/keys""#] {
        let header = BASE64.encode(format!(r#"{{"alg":"HS256",{extra}}}"#).as_bytes());
        assert_eq!(judge(&format!("{header}.{payload}.{signature}")), Denied::Signature, "{extra}");
    }
    let header = BASE64.encode(br#"{"alg":"HS256","crit":["b64"],"b64":false}"#);
    assert_eq!(judge(&format!("{header}.{payload}.{signature}")), Denied::Malformed);
    for token in ["", ".", "..", "...", "a.b.c", message, signature, &format!("{good}.x"), "é.é.é"]
    {
        assert_eq!(judge(token), Denied::Malformed, "{token}");
    }
    assert_eq!(judge(&format!("{message}.")), Denied::Signature);
    assert_eq!(judge(&format!("{message}.{}", BASE64.encode(&[0; 32]))), Denied::Signature);
    let other = EncodingKey::from_secret(b"another secret of more than thirty-two bytes");
    let forged = encode(&Header::new(Algorithm::HS256), &claims(json!({})), &other).unwrap();
    assert_eq!(judge(&forged), Denied::Signature);
}

#[test]
fn of_a_key_set_the_named_key_counts() {
    let oct =
        |kid: &str, secret: &[u8]| json!({"kty": "oct", "kid": kid, "k": BASE64.encode(secret)});
    let keys = |keys: Value| {
        let (_dir, path) = written(json!({"keys": keys}).to_string());
        Keys::from_jwks_file(&path)
    };
    let set = json!([
        oct("a", SECRET),
        oct("b", b"another secret of more than thirty-two bytes"),
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "ps", "alg": "PS256", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "kid": "p384", "crv": "P-384", "x": "AQAB", "y": "AQAB"},
        {"kty": "new", "kid": "new"},
        {"no": "key"},
    ]);
    let verifier = Verifier::new(keys(set).unwrap(), rules());
    let room = RoomName::new("notes").unwrap();
    let judge = |kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
        verifier.verify(&token, &room, at(NOW)).map(drop)
    };
    assert_eq!(judge(Some("a")), Ok(()));
    assert_eq!(judge(Some("b")), Err(Denied::Signature));
    for unknown in [None, Some(""), Some("A"), Some("c"), Some("enc"), Some("../key"), Some("ps")] {
        assert_eq!(judge(unknown), Err(Denied::UnknownKey), "{unknown:?}");
    }
    for (bad, why) in [
        (json!([]), "no key in it"),
        (json!([{"kty": "new"}]), "no key in it"),
        (json!([oct("a", SECRET), oct("a", SECRET)]), "two keys have the kid"),
        (json!([{"kty": "oct", "k": BASE64.encode(SECRET)}]), "has no kid"),
        (json!([oct("a", b"short")]), "at least 32 bytes"),
        (json!([{"kty": "oct", "kid": "a", "k": "not base64!"}]), "base64url"),
        (json!([{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}]), "2048 bits"),
        (json!([{"kty": "EC", "kid": "a", "crv": "P-256", "x": "AQAB", "y": "AQAB"}]), "P-256"),
        (json!([{"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": "AQAB"}]), "32 bytes"),
        (json!({}), "not a JSON Web Key Set"),
    ] {
        let found = keys(bad.clone()).expect_err(&bad.to_string());
        assert!(found.contains(why), "{bad}: {found}");
    }
}

#[test]
fn a_key_that_could_not_be_trusted_is_not_taken() {
    for (name, why) in [
        ("rsa1024.public.pem", "2048 bits"),
        ("p384.public.pem", "P-256"),
        ("rsa.private.pem", "private key"),
        ("README.md", ""),
        ("nothing", "cannot read"),
    ] {
        match Keys::from_key_file(&file(name)) {
            Err(found) => assert!(found.contains(why) && !why.is_empty(), "{name}: {found}"),
            // Text is a secret as any other.
            Ok(_) => assert_eq!(name, "README.md"),
        }
    }
    for (text, why) in [
        ("short\n".to_owned(), "at least 32 bytes, this one 5"),
        (" ".repeat(40), "at least 32 bytes"),
        ("x".repeat(2 << 20), "too large"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
            "no public key",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "certificate",
        ),
    ] {
        let (_dir, path) = written(&text);
        let found = Keys::from_key_file(&path).expect_err("refused");
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn percent_encoding_is_undone_once_and_only_where_it_is_one() {
    for (text, decoded) in
        [("%41%2f%2F", "A//"), ("%252e", "%2e"), ("%", "%"), ("%4", "%4"), ("%zz%+1", "%zz%+1")]
    {
        assert_eq!(percent_decode(text.as_bytes()), decoded.as_bytes(), "{text}");
    }
}

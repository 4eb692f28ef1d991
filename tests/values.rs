//! Values in an update: how large an integer may be, and where a fault is said to be.

use yroom::update::{ScanLimits, UpdateError, scan};

/// An update of one struct in the root type `r`, of this kind of content.
fn update(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 1, 7, 0, kind, 1, 1, b'r'];
    bytes.extend_from_slice(content);
    bytes.push(0);
    bytes
}

fn check(update: &[u8]) -> Result<(), UpdateError> {
    scan(update, &ScanLimits::default()).map(|_| ())
}

/// An integer as lib0 writes it: bit 6 of the first byte is the sign.
fn integer(value: i128) -> Vec<u8> {
    let mut rest = value.unsigned_abs();
    let sign = if value < 0 { 0x40 } else { 0 };
    let mut bytes = vec![(rest & 0x3f) as u8 | sign];
    rest >>= 6;
    while rest > 0 {
        *bytes.last_mut().expect("one at least") |= 0x80;
        bytes.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

fn any(value: &[u8]) -> Vec<u8> {
    update(8, &[&[1], value].concat())
}

#[test]
fn integers_have_up_to_53_bits_as_in_javascript() {
    let check_integer = |bytes: &[u8]| check(&any(&[&[125], bytes].concat()));
    for bits in 0..53 {
        for value in [1i128 << bits, (1 << bits) - 1, -(1 << bits)] {
            assert_eq!(check_integer(&integer(value)), Ok(()), "{value}");
        }
    }
    let most = (1i128 << 53) - 1;
    assert_eq!(check_integer(&integer(most)), Ok(()));
    assert_eq!(check_integer(&integer(-most)), Ok(()));
    for value in [most + 1, -most - 1, 1 << 60, 1 << 64, 1 << 70, i128::MAX] {
        assert!(check_integer(&integer(value)).is_err(), "{value}");
    }
    // Padded forms are read, up to a length.
    assert_eq!(check_integer(&[0x81, 0x80, 0x80, 0]), Ok(()));
    assert!(check_integer(&[&[0x80; 40][..], &[0]].concat()).is_err());
    assert!(check_integer(&[0x80]).is_err(), "it has no end");
}

#[test]
fn what_is_no_json_is_told_by_its_place() {
    // An embed's JSON begins after the length of its text, which is the ninth byte.
    let embed = |json: &str| update(5, &[&[json.len() as u8], json.as_bytes()].concat());
    assert_eq!(check(&embed(r#"{"a":[1,2]}"#)), Ok(()));
    for (json, at) in [(r#"{"a":[1,]}"#, 8), ("x", 0), ("[[", 2)] {
        let Err(UpdateError::Malformed(found)) = check(&embed(json)) else {
            panic!("{json} is taken")
        };
        assert_eq!(found.offset, 9 + at, "{json}");
    }
}

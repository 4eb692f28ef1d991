//! Contents and values in an update: where each ends, how large a number may be, and where a fault is
//! said to be.

use yroom::update::{ScanLimits, StateVector, UpdateError, diff, merge, scan};

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

/// Values of each kind, and their bytes.
const VALUES: [(&str, &[u8]); 18] = [
    ("undefined", &[127]),
    ("null", &[126]),
    ("integer", &[125, 5]),
    ("longer integer", &[125, 0x85, 0x80, 1]),
    ("float", &[124, 1, 2, 3, 4]),
    ("double", &[123, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("64-bit integer", &[122, 1, 2, 3, 4, 5, 6, 7, 8]),
    ("false", &[121]),
    ("true", &[120]),
    ("text", &[119, 2, b'h', b'i']),
    ("no text", &[119, 0]),
    ("object", &[118, 2, 1, b'a', 126, 0, 125, 7]),
    ("empty object", &[118, 0]),
    ("list", &[117, 3, 126, 119, 1, b'a', 120]),
    ("empty list", &[117, 0]),
    ("lists in objects in lists", &[117, 2, 118, 1, 1, b'a', 117, 1, 126, 117, 0]),
    ("bytes", &[116, 3, 126, 126, 126]),
    ("no bytes", &[116, 0]),
];

/// Contents that are one clock, with their kinds.
const SINGLE: [(u8, &[u8]); 11] = [
    (3, &[2, 126, 126]),
    (5, &[2, b'{', b'}']),
    (6, &[1, b'b', 4, b't', b'r', b'u', b'e']),
    (7, &[0]),
    (7, &[1]),
    (7, &[2]),
    (7, &[3, 1, b'p']),
    (7, &[4]),
    (7, &[5, 1, b'h']),
    (7, &[6]),
    (9, &[1, b'g', 118, 0]),
];

#[test]
fn each_kind_of_value_is_passed_to_its_end_and_no_further() {
    for (name, value) in VALUES {
        // One clock each: the diff that leaves out the first has the second whole.
        let two = any_of(2, &[value, &[119, 3, b'e', b'n', b'd']]);
        assert_eq!(check(&two), Ok(()), "{name}");
        let second = [1, 1, 7, 1, 0x88, 7, 0, 1, 119, 3, b'e', b'n', b'd', 0];
        let have = StateVector::from_iter([(yroom::update::ClientId(7), 1)]);
        assert_eq!(diff(&two, &have).as_deref(), Ok(&second[..]), "{name}");
        for cut in 9..two.len() {
            assert!(check(&two[..cut]).is_err(), "{name} cut off after {cut}");
        }
    }
    for unknown in [0, 115, 128, 255] {
        assert!(check(&any(&[unknown])).is_err(), "{unknown} is no kind of value");
    }
}

fn any_of(count: u8, values: &[&[u8]]) -> Vec<u8> {
    update(8, &[&[count], &values.concat()[..]].concat())
}

#[test]
fn each_kind_of_content_is_passed_to_its_end_and_no_further() {
    for (kind, content) in SINGLE {
        // Another struct of the client's behind it.
        let behind = [4, 1, 1, b'r', 1, b'x'];
        let two = [&[1, 2, 7, 0, kind, 1, 1, b'r'], content, &behind, &[0]].concat();
        assert_eq!(check(&two), Ok(()), "kind {kind}, {content:?}");
        assert_eq!(merge(&[&two]).as_ref(), Ok(&two), "kind {kind}, {content:?}");
        let have = StateVector::from_iter([(yroom::update::ClientId(7), 1)]);
        let second = [&[1, 1, 7, 1], &behind[..], &[0]].concat();
        assert_eq!(diff(&two, &have), Ok(second), "kind {kind}, {content:?}");
        for cut in 0..two.len() {
            assert!(check(&two[..cut]).is_err(), "kind {kind}, {content:?} cut off after {cut}");
        }
    }
    assert!(check(&update(7, &[7])).is_err(), "a type that is not known");
    assert!(check(&update(9, &[1, b'g', 126])).is_err(), "options that are no object");
}

#[test]
fn clocks_end_below_two_to_the_31() {
    // A run of deleted content from `start` on.
    let run = |start: u32, len: u32| {
        let mut bytes = vec![1, 1, 7];
        number(&mut bytes, start);
        bytes.extend([1, 1, 1, b'r']);
        number(&mut bytes, len);
        bytes.push(0);
        bytes
    };
    let last = (1 << 31) - 1;
    assert_eq!(check(&run(last - 3, 3)), Ok(()));
    assert_eq!(check(&run(0, last)), Ok(()));
    assert!(check(&run(last - 3, 4)).is_err());
    assert!(check(&run(0, last + 1)).is_err());
    assert!(check(&run(last + 1, 1)).is_err());
    assert!(check(&run(5, 0)).is_err(), "nothing is no content");
    let deletes = |start: u32, len: u32| {
        let mut bytes = vec![0, 1, 7, 1];
        number(&mut bytes, start);
        number(&mut bytes, len);
        bytes
    };
    assert_eq!(check(&deletes(last - 3, 3)), Ok(()));
    assert!(check(&deletes(last - 3, 4)).is_err());
    assert!(check(&deletes(last + 1, 0)).is_err());
}

fn number(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

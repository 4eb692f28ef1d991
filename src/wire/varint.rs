//! Unsigned variable-length integers as lib0 writes them: little-endian base 128, up to 53 bits.

use bytes::BufMut;

/// The longest form that is written: 53 bits in groups of seven.
pub const MAX_LEN: usize = 8;

/// The largest value that is read: JavaScript's `Number.MAX_SAFE_INTEGER`.
pub const MAX: u64 = (1 << 53) - 1;

/// Reads one from the front of `bytes`; `None` if they end in its middle or it is over [`MAX`].
///
/// Padded forms (`80 00`) are read, as lib0 reads them, up to ten bytes.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        *bytes = rest;
        return Some(u64::from(first));
    }
    let (value, len) = measure(bytes)?;
    *bytes = &bytes[len..];
    Some(value)
}

/// All but the high bits of eight bytes.
const GROUPS: u64 = 0x7f7f_7f7f_7f7f_7f7f;

/// The value at the front of `bytes`, and its length.
#[inline]
pub(crate) fn measure(bytes: &[u8]) -> Option<(u64, usize)> {
    if let [a, b @ ..0x80, ..] = bytes {
        return Some((u64::from(a & 0x7f) | u64::from(*b) << 7, 2));
    }
    if let [a, b, c @ ..0x80, ..] = bytes {
        let low = u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7;
        return Some((low | u64::from(*c) << 14, 3));
    }
    let Some(eight) = bytes.first_chunk() else { return measure_slowly(bytes) };
    let eight = u64::from_le_bytes(*eight);
    let ends = !eight & !GROUPS;
    if ends == 0 {
        return measure_slowly(bytes);
    }
    // All groups at once: those behind the end are masked, then pairs of groups are moved together.
    let bits = ends.trailing_zeros() + 1;
    let groups = eight & GROUPS & (u64::MAX >> (64 - bits));
    let pairs = (groups & 0x7f00_7f00_7f00_7f00) >> 1 | groups & 0x007f_007f_007f_007f;
    let quads = (pairs & 0x3fff_0000_3fff_0000) >> 2 | pairs & 0x0000_3fff_0000_3fff;
    let value = (quads & 0x0fff_ffff_0000_0000) >> 4 | quads & 0x0fff_ffff;
    (value <= MAX).then_some((value, bits as usize / 8))
}

/// Group by group: near the end of the bytes, and what is padded to more than eight.
#[cold]
fn measure_slowly(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let group = u64::from(byte & 0x7f);
        if group != 0 {
            let shift = 7 * i as u32;
            if shift > 49 || group << shift > MAX {
                return None;
            }
            value |= group << shift;
        }
        if byte < 0x80 {
            return (value <= MAX).then_some((value, i + 1));
        }
    }
    None
}

/// Writes the shortest form of `value`.
#[inline]
pub fn write(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes the shortest form of `value` has.
#[inline]
pub const fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    #[test]
    fn what_is_written_is_read_in_the_announced_length() {
        for shift in 0..53 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let bytes = written(value);
                assert_eq!(bytes.len(), len(value));
                for behind in [&[][..], &[0xff; 9], &[0; 9]] {
                    let more = [&bytes[..], behind].concat();
                    let mut rest = &more[..];
                    assert_eq!(read(&mut rest), Some(value));
                    assert_eq!(rest, behind);
                }
            }
        }
    }

    #[test]
    fn cut_and_over_long_ones_are_refused_and_padded_ones_read() {
        assert_eq!(read(&mut &[][..]), None);
        assert_eq!(read(&mut &[0x80][..]), None);
        assert_eq!(read(&mut &written(MAX)[..]), Some(MAX));
        assert_eq!(read(&mut &written(MAX + 1)[..]), None);
        assert_eq!(read(&mut &[&written(MAX + 1)[..], &[0; 9]].concat()[..]), None);
        assert_eq!(read(&mut &[0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), Some(1));
        assert_eq!(read(&mut &[0xff; 12][..]), None);
        assert_eq!(read(&mut &[0x81, 0x80, 0x00][..]), Some(1));
        assert_eq!(read(&mut &[0x80; 12][..]), None);
    }
}

//! Puts frames together.

use super::Opcode;
use super::header::HEADER_BYTES;
use bytes::Bytes;

/// Writes the header of a whole, unmasked frame.
pub(crate) fn write_header(opcode: Opcode, payload: usize, out: &mut Vec<u8>) {
    out.push(0x80 | opcode as u8);
    match payload {
        0..126 => out.push(payload as u8),
        126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

/// A whole frame of a client: a copy, as each frame has a mask of its own.
pub(crate) fn masked(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Bytes {
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload.len());
    write_header(opcode, payload.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend(mask);
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[start..], mask);
    frame.into()
}

/// How long [`write_header`]'s is.
pub(crate) const fn header_len(payload: usize) -> usize {
    match payload {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    }
}

/// Puts the mask on or takes it off, eight bytes at a time.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

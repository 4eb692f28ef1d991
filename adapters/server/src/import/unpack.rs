//! Finds out what a row is compressed with: pycrdt-store lets its users compress, and leaves no mark.

use super::unlimited;
use std::io::Read;
use yroom::update::{UpdateError, scan};

/// The largest update that is unpacked: what a server takes as a document. A few bytes can stand for
/// gigabytes.
const LARGEST: u64 = 256 << 20;

/// The update that `row` is, and whether it was compressed.
///
/// Every way is tried whose mark fits; what comes out has to be an update.
pub(super) fn unpack(row: &[u8]) -> Result<(Vec<u8>, bool), String> {
    let Err(plain) = scan(row, &unlimited()) else {
        return Ok((row.to_vec(), false));
    };
    let ways = [zlib, gzip, zstd, lz4_frame, lz4_block];
    ways.iter()
        .filter_map(|way| way(row))
        .find(|update| scan(update, &unlimited()).is_ok())
        .map(|update| (update, true))
        .ok_or_else(|| refusal(&plain))
}

fn refusal(error: &UpdateError) -> String {
    format!("no Yjs update ({error}), nor one compressed by zlib, gzip, zstd or lz4")
}

fn zlib(row: &[u8]) -> Option<Vec<u8>> {
    // The method is deflate, and the two bytes are a multiple of 31.
    let head = row.first_chunk::<2>()?;
    (head[0] & 0x0f == 8 && u16::from_be_bytes(*head).is_multiple_of(31))
        .then(|| all(flate2::read::ZlibDecoder::new(row)))?
}

fn gzip(row: &[u8]) -> Option<Vec<u8>> {
    row.starts_with(&[0x1f, 0x8b]).then(|| all(flate2::read::MultiGzDecoder::new(row)))?
}

fn zstd(row: &[u8]) -> Option<Vec<u8>> {
    if !row.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return None;
    }
    all(ruzstd::decoding::StreamingDecoder::new(row).ok()?)
}

fn lz4_frame(row: &[u8]) -> Option<Vec<u8>> {
    row.starts_with(&[0x04, 0x22, 0x4d, 0x18])
        .then(|| all(lz4_flex::frame::FrameDecoder::new(row)))?
}

/// The length and then one block, as `lz4.block.compress` has it; there is no mark.
fn lz4_block(row: &[u8]) -> Option<Vec<u8>> {
    let (len, block) = row.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len);
    // A byte of a block stands for at most 255.
    if u64::from(len) > LARGEST.min(block.len() as u64 * 255) {
        return None;
    }
    lz4_flex::block::decompress(block, len as usize).ok()
}

fn all(reader: impl Read) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let read = reader.take(LARGEST + 1).read_to_end(&mut unpacked).ok()?;
    (read as u64 <= LARGEST).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const UPDATE: &[u8] = &[1, 1, 1, 0, 4, 1, 1, b't', 3, b'a', b'b', b'c', 0];

    #[test]
    fn an_update_is_found_whatever_it_is_compressed_with() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(UPDATE).expect("memory takes it");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(UPDATE).expect("memory takes it");
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(UPDATE).expect("memory takes it");
        let zstd =
            ruzstd::encoding::compress_to_vec(UPDATE, ruzstd::encoding::CompressionLevel::Fastest);
        for row in [
            zlib.finish().expect("whole"),
            gzip.finish().expect("whole"),
            frame.finish().expect("whole"),
            lz4_flex::block::compress_prepend_size(UPDATE),
            zstd,
        ] {
            assert_eq!(unpack(&row).expect("it is one of them"), (UPDATE.to_vec(), true));
            unpack(&row[..row.len() / 2]).expect_err("half of it is nothing");
        }
        assert_eq!(unpack(UPDATE).expect("it is one"), (UPDATE.to_vec(), false));
    }

    #[test]
    fn a_small_row_that_stands_for_gigabytes_is_refused() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=256 {
            zlib.write_all(&zeros).expect("memory takes it");
        }
        unpack(&zlib.finish().expect("whole")).expect_err("it is too large");
        unpack(&[0xff, 0xff, 0xff, 0xff, 0x1f, 0, 1, 0]).expect_err("it claims 4 GiB");
        unpack(b"").expect_err("nothing");
    }
}

//! Compressing what is stored: [`Compression`].

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use yroom::wire::varint;

/// How a packed row begins. As a number of variable length it is 34,359,738,367: no update has so many
/// clients, and no batch begins with so long an update, so no row that was stored as it is looks so.
const MARK: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x7f];
/// Mark, method and checksum.
const FIXED: usize = MARK.len() + 1 + 4;
/// What is shorter is stored as it is: a keystroke has 20 to 40 bytes.
const WORTH: usize = 64;
/// LZ4 makes of a byte no more than so many.
#[cfg(feature = "lz4")]
const LZ4_MOST: usize = 255;

/// How the rows of a store are compressed, as `register_compression_callbacks` does in pycrdt-store.
///
/// Each batch and each snapshot is packed by itself. A packed row says so, with what, how long it was
/// and its checksum, so that old rows stay readable when compression is turned on, off, or changed.
/// A row that does not get smaller, or does not come back as it was when that is tried, is stored as it
/// is. What cannot be unpacked, or says that it holds more than [`at_most`](Self::at_most), is damage
/// of its room.
///
/// The functions are called on the store's thread: every room waits for them.
///
/// ```
/// use yroom_net::store::Compression;
///
/// # fn deflate(content: &[u8]) -> Vec<u8> { content.to_vec() }
/// # fn inflate(packed: &[u8], len: usize) -> Option<Vec<u8>> {
/// #     (packed.len() == len).then(|| packed.to_vec())
/// # }
/// let compression = Compression::new(deflate, inflate).at_most(64 << 20);
/// let row = [1, 2, 3];
/// assert_eq!(*compression.pack(&row), row, "too short to be worth it");
/// ```
///
/// It is no wrapper around a store, because a store looks into what it replaces: a snapshot takes the
/// place of a log only if it holds all of it ([`rules::check_snapshot`](super::rules::check_snapshot)).
/// Whoever writes a store calls [`pack`](Self::pack) last before a row is written, and
/// [`unpack`](Self::unpack) first when it was read; the store's checksums are over what is stored.
pub struct Compression {
    writes: Method,
    functions: Option<Functions>,
    at_most: usize,
    report: Box<dyn Fn(&str) + Send>,
}

/// What a row is packed with, as it stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Plain,
    Lz4,
    Application,
}

type Compress = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;
type Expand = Box<dyn Fn(&[u8], usize) -> Option<Vec<u8>> + Send>;

struct Functions {
    compress: Compress,
    expand: Expand,
}

impl Compression {
    /// What a row may hold, unless [`at_most`](Self::at_most) says otherwise: 1 GiB, more than SQLite
    /// takes.
    pub const AT_MOST: usize = 1 << 30;

    /// Rows are stored as they are.
    pub fn none() -> Self {
        Self::writing(Method::Plain)
    }

    /// Rows are stored in LZ4's block format: quick, and about half as large.
    #[cfg(feature = "lz4")]
    pub fn lz4() -> Self {
        Self::writing(Method::Lz4)
    }

    /// Rows are stored by functions of the application.
    ///
    /// The second is told how many bytes come out, and gives `None` if it cannot. It must not make more
    /// of a row than that: what it makes is looked at when it is there.
    pub fn new(
        compress: impl Fn(&[u8]) -> Vec<u8> + Send + 'static,
        expand: impl Fn(&[u8], usize) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (compress, expand): (Compress, Expand) = (Box::new(compress), Box::new(expand));
        let functions = Some(Functions { compress, expand });
        Self { functions, ..Self::writing(Method::Application) }
    }

    fn writing(writes: Method) -> Self {
        Self { writes, functions: None, at_most: Self::AT_MOST, report: Box::new(|_| {}) }
    }

    /// Packed rows are read, and new ones stored as they are: to leave compression behind.
    #[must_use]
    pub fn only_reading(mut self) -> Self {
        self.writes = Method::Plain;
        self
    }

    /// What a row may hold. What is longer is stored as it is, and a packed row that says it is longer
    /// is not touched.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.at_most = bytes;
        self
    }

    /// Has `report` called, with one sentence for the log, when a row is stored as it is because the
    /// application's functions failed.
    #[must_use]
    pub fn on_fault(mut self, report: impl Fn(&str) + Send + 'static) -> Self {
        self.report = Box::new(report);
        self
    }

    /// A row as it is to be stored.
    pub fn pack<'a>(&self, content: &'a [u8]) -> Cow<'a, [u8]> {
        if self.writes == Method::Plain || !(WORTH..=self.at_most).contains(&content.len()) {
            return Cow::Borrowed(content);
        }
        match self.try_pack(content) {
            Ok(Some(packed)) => Cow::Owned(packed),
            Ok(None) => Cow::Borrowed(content),
            Err(why) => {
                let len = content.len();
                (self.report)(&format!("a row of {len} bytes is stored uncompressed: {why}"));
                Cow::Borrowed(content)
            }
        }
    }

    fn try_pack(&self, content: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some(compressed) = self.compress(content)? else { return Ok(None) };
        let mut packed = Vec::with_capacity(FIXED + varint::MAX_LEN + compressed.len());
        packed.extend(MARK);
        packed.push(self.writes.tag());
        packed.extend(crc32c::crc32c(content).to_le_bytes());
        varint::write(&mut packed, content.len() as u64);
        packed.extend(compressed);
        if packed.len() >= content.len() {
            return Ok(None);
        }
        // It may be the only copy.
        self.expand(&packed)
            .map(|_| Some(packed))
            .map_err(|why| format!("it would not come back, as {why}"))
    }

    fn compress(&self, content: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match (self.writes, &self.functions) {
            (Method::Plain, _) | (Method::Application, None) => Ok(None),
            #[cfg(feature = "lz4")]
            (Method::Lz4, _) => Ok(Some(lz4_flex::block::compress(content))),
            #[cfg(not(feature = "lz4"))]
            (Method::Lz4, _) => Ok(None),
            (Method::Application, Some(functions)) => {
                catch_unwind(AssertUnwindSafe(|| (functions.compress)(content)))
                    .map(Some)
                    .map_err(|_| "the function panicked".to_owned())
            }
        }
    }

    /// A row as it was, or what is wrong with it.
    pub fn unpack(&self, stored: Bytes) -> Result<Bytes, String> {
        if stored.starts_with(&MARK) { self.expand(&stored).map(Bytes::from) } else { Ok(stored) }
    }

    fn expand(&self, packed: &[u8]) -> Result<Vec<u8>, String> {
        let torn = || "the compressed row is cut off".to_owned();
        let (head, mut rest) = packed.split_at_checked(FIXED).ok_or_else(torn)?;
        let crc = head.last_chunk().copied().map(u32::from_le_bytes).ok_or_else(torn)?;
        let len = varint::read(&mut rest).ok_or_else(torn)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= self.at_most);
        let len = len.ok_or_else(|| {
            format!("the compressed row says that it holds more than {} bytes", self.at_most)
        })?;
        let tag = head[MARK.len()];
        let content = match (Method::of(tag), &self.functions) {
            (Some(Method::Lz4), _) => expand_lz4(rest, len)?,
            (Some(Method::Application), Some(functions)) => {
                catch_unwind(AssertUnwindSafe(|| (functions.expand)(rest, len)))
                    .map_err(|_| "the function that expands it panicked".to_owned())?
                    .ok_or("the application cannot expand it")?
            }
            (Some(Method::Application), None) => {
                return Err("it was compressed by an application's own function".to_owned());
            }
            (Some(Method::Plain) | None, _) => {
                return Err(format!("it is compressed in an unknown way ({tag})"));
            }
        };
        if content.len() != len || crc32c::crc32c(&content) != crc {
            return Err("what it expands to is not what was compressed".to_owned());
        }
        Ok(content)
    }
}

#[cfg(feature = "lz4")]
fn expand_lz4(packed: &[u8], len: usize) -> Result<Vec<u8>, String> {
    if len > packed.len().saturating_mul(LZ4_MOST) {
        return Err(format!("{} compressed bytes cannot hold {len}", packed.len()));
    }
    lz4_flex::block::decompress(packed, len).map_err(|error| error.to_string())
}

#[cfg(not(feature = "lz4"))]
fn expand_lz4(_: &[u8], _: usize) -> Result<Vec<u8>, String> {
    Err("it is compressed by LZ4, which this program was built without".to_owned())
}

impl Method {
    const fn tag(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Lz4 => 1,
            Self::Application => 2,
        }
    }

    const fn of(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Lz4),
            2 => Some(Self::Application),
            _ => None,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { writes, at_most, .. } = self;
        f.debug_struct("Compression")
            .field("writes", writes)
            .field("at_most", at_most)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use yroom::update::{ScanLimits, scan};
    use yroom::{Batch, Seq};

    /// Runs of up to 255 equal bytes.
    fn runs(content: &[u8]) -> Vec<u8> {
        let chunks = content.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255));
        chunks.flat_map(|run| [run.len() as u8, run[0]]).collect()
    }

    fn expand_runs(packed: &[u8], len: usize) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        for run in packed.chunks(2) {
            let [count, byte] = *run else { return None };
            content.resize(content.len() + usize::from(count), byte);
        }
        (content.len() <= len).then_some(content)
    }

    fn by_runs() -> Compression {
        Compression::new(runs, expand_runs)
    }

    fn all() -> Vec<Compression> {
        vec![
            by_runs(),
            #[cfg(feature = "lz4")]
            Compression::lz4(),
        ]
    }

    #[test]
    fn what_is_packed_is_smaller_and_comes_back() {
        for compression in all() {
            for len in [64, 1_000, 1 << 20] {
                let content = vec![b'a'; len];
                let packed = compression.pack(&content).into_owned();
                assert!(packed.len() < len && packed.starts_with(&MARK), "{compression:?}, {len}");
                assert_eq!(compression.unpack(packed.clone().into()).expect("sound"), content);
                let later = compression.unpack(content.clone().into()).expect("stored as it is");
                assert_eq!(later, content, "a row of before");
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_stored_as_it_is() {
        let mut noise = vec![0_u8; 4_096];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        for compression in all() {
            assert_eq!(*compression.pack(&noise), noise);
            assert_eq!(*compression.pack(&[b'a'; 63]), [b'a'; 63], "nor what is short");
            assert_eq!(*compression.at_most(100).pack(&[b'a'; 101]), [b'a'; 101], "nor too long");
        }
    }

    #[test]
    fn no_update_and_no_batch_begins_with_the_mark() {
        let mut row = MARK.to_vec();
        for tail in [0, 1, 2, 0x7f] {
            row.resize(row.len() + 100_000, tail);
            scan(&row, &ScanLimits::NONE).expect_err("no update");
            assert_eq!(Batch::from_framed(Seq(1), row.clone().into()), None);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_of_a_packed_row_is_seen() {
        for compression in all() {
            let content: Vec<u8> = (0..40_u8).flat_map(|n| [n; 10]).collect();
            let packed = compression.pack(&content).into_owned();
            assert!(packed.starts_with(&MARK));
            for len in MARK.len()..packed.len() {
                compression.unpack(packed[..len].to_vec().into()).expect_err("cut off");
            }
            for bit in MARK.len() * 8..packed.len() * 8 {
                let mut packed = packed.clone();
                packed[bit / 8] ^= 1 << (bit % 8);
                // LZ4 may name the same bytes in two ways: what comes back is the content or nothing.
                match compression.unpack(packed.into()) {
                    Ok(found) => assert_eq!(found, content, "bit {bit}"),
                    Err(why) => assert!(!why.is_empty()),
                }
            }
        }
    }

    #[test]
    fn a_row_that_says_it_is_huge_is_refused_before_anything_is_made_for_it() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let expand = move |_: &[u8], len| {
            log.lock().expect("one thread").push(len);
            None
        };
        let compression = Compression::new(runs, expand).at_most(1 << 20);
        for (method, len) in [(1, 1 << 20), (1, 1 << 40), (2, (1 << 20) + 1), (2, u64::MAX)] {
            let mut bomb = MARK.to_vec();
            bomb.extend([method, 0, 0, 0, 0]);
            varint::write(&mut bomb, len);
            bomb.extend([0xff; 100]);
            compression.unpack(bomb.into()).expect_err("100 bytes hold no such thing");
        }
        assert!(asked.lock().expect("one thread").is_empty());
    }

    #[test]
    fn functions_that_fail_cost_no_row() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let content = vec![b'a'; 1_000];
        let none = |_: &[u8], _| None;
        let others = |_: &[u8], len| Some(vec![b'b'; len]);
        let panics = |_: &[u8]| -> Vec<u8> { panic!("on purpose") };
        let faulty = [
            Compression::new(panics, expand_runs),
            Compression::new(runs, none),
            Compression::new(runs, others),
            Compression::new(runs, |_, _| panic!("on purpose")),
        ];
        for compression in faulty {
            let log = Arc::clone(&reports);
            let report = move |what: &str| log.lock().expect("one thread").push(what.to_owned());
            assert_eq!(*compression.on_fault(report).pack(&content), content);
        }
        let reports = reports.lock().expect("one thread");
        assert_eq!(reports.len(), 4, "{reports:?}");
        // What was packed by functions that are gone is said to be that.
        let packed = by_runs().pack(&content).into_owned();
        let why = Compression::none().unpack(packed.clone().into()).expect_err("no functions");
        assert!(why.contains("application"), "{why}");
        let compression = by_runs().only_reading();
        assert_eq!(compression.unpack(packed.into()).expect("read"), content);
        assert_eq!(*compression.pack(&content), content);
    }
}

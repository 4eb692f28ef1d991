//! The world's randomness: one seed, and a stream of its own for everything that draws.

use std::collections::VecDeque;

/// Numbers, from a seed or from bytes that a fuzzer gave.
#[derive(Clone, Debug)]
pub(crate) struct Rng(Source);

#[derive(Clone, Debug)]
enum Source {
    /// SplitMix64.
    Seed(u64),
    /// Bytes, then zeros: near bytes are near scenarios.
    Bytes(VecDeque<u8>),
}

impl Rng {
    /// The stream of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    /// The stream of one of a seed's parts: what one part draws does not shift what another does,
    /// so that a scenario keeps failing while it is being shrunk.
    pub(crate) fn of(seed: u64, part: u64) -> Self {
        let mut mixer = Self::new(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self::new(mixer.next_u64())
    }

    /// The numbers that these bytes are.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes(bytes.iter().copied().collect()))
    }

    /// Whether all bytes are used up; a seed never is.
    pub(crate) fn is_spent(&self) -> bool {
        match &self.0 {
            Source::Seed(_) => false,
            Source::Bytes(bytes) => bytes.is_empty(),
        }
    }

    /// 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.bits(8)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let bytes = match end {
            0 | 1 => return 0,
            2..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        self.bits(bytes) % end
    }

    /// A number below `end`, as an index.
    pub(crate) fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// True `per_mille` times of a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    fn bits(&mut self, bytes: usize) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
            Source::Bytes(rest) => {
                (0..bytes).fold(0, |word, _| word << 8 | u64::from(rest.pop_front().unwrap_or(0)))
            }
        }
    }
}

//! How much of each client's content somebody holds.

use super::read::Reader;
use super::{ClientId, Limit, UpdateError};
use crate::wire::varint;
use std::collections::BTreeMap;

/// For each client the clock up to which its content is held. Clients at zero are left out.
///
/// An ordered tree: no choice of ids makes it slow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateVector {
    clocks: BTreeMap<ClientId, u32>,
}

impl StateVector {
    /// One that holds nothing.
    pub const fn new() -> Self {
        Self { clocks: BTreeMap::new() }
    }

    /// Up to where the client's content is held; zero if there is none.
    #[inline]
    pub fn get(&self, client: ClientId) -> u32 {
        self.clocks.get(&client).copied().unwrap_or(0)
    }

    /// Raises the client's clock to `clock`, if it is below.
    #[inline]
    pub fn raise(&mut self, client: ClientId, clock: u32) {
        if clock > 0 {
            let held = self.clocks.entry(client).or_insert(0);
            *held = (*held).max(clock);
        }
    }

    /// Raises each clock to the other's.
    pub fn merge(&mut self, other: &Self) {
        for (client, clock) in other.iter() {
            self.raise(client, clock);
        }
    }

    /// Whether nothing of the other's is missing here.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(client, clock)| self.get(client) >= clock)
    }

    /// The number of clients.
    pub fn len(&self) -> usize {
        self.clocks.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }

    /// Clients and clocks, by client.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ClientId, u32)> + '_ {
        self.clocks.iter().map(|(&client, &clock)| (client, clock))
    }

    /// Reads the encoded form. A client that comes twice counts with its higher clock.
    ///
    /// Fails if it is malformed, or has more than `max_entries` entries: before anything is allocated
    /// for them.
    pub fn decode(bytes: &[u8], max_entries: usize) -> Result<Self, UpdateError> {
        let mut reader = Reader::new(bytes);
        let entries = reader.count(2, "a number of clients")?;
        if entries > max_entries {
            return Err(UpdateError::Limit(Limit::TooManyClients));
        }
        let mut read = Self::new();
        for _ in 0..entries {
            let id = reader.id()?;
            read.raise(id.client, id.clock);
        }
        match reader.remaining() {
            0 => Ok(read),
            _ => Err(UpdateError::malformed(reader.at(), "the end of the state vector")),
        }
    }

    /// The encoded form, clients in descending order as Yjs has them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 8 * self.len());
        varint::write(&mut out, self.len() as u64);
        for (client, clock) in self.iter().rev() {
            varint::write(&mut out, client.0);
            varint::write(&mut out, u64::from(clock));
        }
        out
    }

    /// About how much memory it holds outside itself.
    pub fn heap_bytes(&self) -> usize {
        // A tree's nodes hold up to eleven entries and are two thirds full.
        self.len() * (size_of::<(ClientId, u32)>() + 2) * 3 / 2
    }
}

impl FromIterator<(ClientId, u32)> for StateVector {
    fn from_iter<I: IntoIterator<Item = (ClientId, u32)>>(entries: I) -> Self {
        let mut held = Self::new();
        for (client, clock) in entries {
            held.raise(client, clock);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(u64, u32)]) -> StateVector {
        entries.iter().map(|&(client, clock)| (ClientId(client), clock)).collect()
    }

    #[test]
    fn the_encoded_form_reads_back_and_descends() {
        let held = of(&[(1, 5), (300, 7), ((1 << 53) - 1, u32::MAX >> 1)]);
        let bytes = held.encode();
        assert_eq!(bytes[0], 3);
        assert_eq!(bytes[1], 0xff);
        assert_eq!(StateVector::decode(&bytes, 3), Ok(held));
        let limit = Err(UpdateError::Limit(Limit::TooManyClients));
        assert_eq!(StateVector::decode(&bytes, 2), limit);
        assert_eq!(StateVector::new().encode(), [0]);
    }

    #[test]
    fn cut_over_long_and_over_full_ones_are_refused() {
        let bytes = of(&[(1, 5), (300, 7)]).encode();
        for len in 0..bytes.len() {
            assert!(StateVector::decode(&bytes[..len], 9).is_err(), "{len}");
        }
        assert!(StateVector::decode(&[&bytes[..], &[0]].concat(), 9).is_err());
        assert!(StateVector::decode(&[0xff, 0xff, 0xff, 0x7f], usize::MAX).is_err());
    }

    #[test]
    fn it_only_ever_rises() {
        let mut held = of(&[(1, 5)]);
        held.raise(ClientId(1), 3);
        held.raise(ClientId(2), 0);
        assert_eq!(held, of(&[(1, 5)]));
        held.merge(&of(&[(1, 6), (3, 1)]));
        assert_eq!(held, of(&[(1, 6), (3, 1)]));
        assert!(held.covers(&of(&[(1, 6)])) && !held.covers(&of(&[(2, 1)])));
    }
}

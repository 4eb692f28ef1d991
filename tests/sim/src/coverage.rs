//! What updates cover, as yrs reads them: the second judge beside the engine's own scan.

use std::collections::BTreeMap;
use yrs::updates::decoder::Decode;
use yrs::{IdSet, Update};

/// A run of clocks of one client.
pub(crate) type Run = (u64, u32, u32);

/// The structs and the deletions of an update, as sorted runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// What it inserts.
    pub(crate) structs: Vec<Run>,
    /// What it deletes.
    pub(crate) deletes: Vec<Run>,
}

impl Content {
    /// Reads an update with yrs.
    pub(crate) fn read(update: &[u8]) -> Result<Self, String> {
        let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
        Ok(Self { structs: runs(&update.insertions(true)), deletes: runs(update.delete_set()) })
    }

    /// Whether yrs takes something in the update for an XML hook or for values of old documents. It
    /// passes over no name behind the one and reads one value more than there are of the others, and
    /// is in the wrong place from there on; now and then that too has the form of an update.
    pub(crate) fn misread(update: &[u8]) -> bool {
        let Ok(update) = Update::decode_v1(update) else { return false };
        let seen = update.to_string();
        let structs = seen.split_once("clients: {").map_or("", |(_, behind)| behind);
        let structs = structs.rsplit_once("delete set").map_or(structs, |(before, _)| before);
        [": <xml hook>", "=> <xml hook>", ": {", "=> {"].iter().any(|kind| structs.contains(kind))
    }
}

/// A yrs set as sorted runs.
pub(crate) fn runs(set: &IdSet) -> Vec<Run> {
    let mut runs: Vec<Run> = set
        .iter()
        .flat_map(|(client, ranges)| {
            ranges.iter().map(|range| (client.get(), range.start, range.end)).collect::<Vec<_>>()
        })
        .filter(|(_, start, end)| start < end)
        .collect();
    runs.sort_unstable();
    runs
}

/// A set of clocks, by client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clocks(BTreeMap<u64, Vec<(u32, u32)>>);

impl Clocks {
    /// Adds a run.
    pub(crate) fn add(&mut self, (client, start, end): Run) {
        if start >= end {
            return;
        }
        let runs = self.0.entry(client).or_default();
        let from = runs.partition_point(|run| run.1 < start);
        let to = runs.partition_point(|run| run.0 <= end);
        let merged = if from < to {
            (start.min(runs[from].0), end.max(runs[to - 1].1))
        } else {
            (start, end)
        };
        runs.splice(from..to, [merged]);
    }

    /// Whether all of a run is in it.
    pub(crate) fn has(&self, (client, start, end): Run) -> bool {
        start >= end
            || self.0.get(&client).is_some_and(|runs| {
                let at = runs.partition_point(|run| run.1 < end);
                runs.get(at).is_some_and(|run| run.0 <= start)
            })
    }

    /// All of it, as runs.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let runs = |(client, runs): (&u64, &Vec<(u32, u32)>)| {
            runs.iter().map(|(start, end)| (*client, *start, *end)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(runs).collect()
    }

    /// The clock after the first gapless run of a client.
    pub(crate) fn upto(&self, client: u64) -> u32 {
        match self.0.get(&client).and_then(|runs| runs.first()) {
            Some(&(0, end)) => end,
            Some(_) | None => 0,
        }
    }
}

/// What many updates cover together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Their structs.
    pub(crate) structs: Clocks,
    /// Their deletions.
    pub(crate) deletes: Clocks,
}

impl Coverage {
    /// Adds an update's content.
    pub(crate) fn add(&mut self, content: &Content) {
        content.structs.iter().for_each(|run| self.structs.add(*run));
        content.deletes.iter().for_each(|run| self.deletes.add(*run));
    }

    /// Adds what is in another.
    pub(crate) fn join(&mut self, other: &Self) {
        other.structs.runs().into_iter().for_each(|run| self.structs.add(run));
        other.deletes.runs().into_iter().for_each(|run| self.deletes.add(run));
    }

    /// The first struct that is missing here.
    pub(crate) fn lacks_struct(&self, content: &Content) -> Option<Run> {
        content.structs.iter().copied().find(|run| !self.structs.has(*run))
    }

    /// The deletions that are missing here.
    pub(crate) fn lacks_deletes(&self, content: &Content) -> Vec<Run> {
        content.deletes.iter().copied().filter(|run| !self.deletes.has(*run)).collect()
    }

    /// Whether all of it is here.
    pub(crate) fn has(&self, content: &Content) -> bool {
        self.lacks_struct(content).is_none() && self.lacks_deletes(content).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_misread_and_hooks_and_old_values_are() {
        let root = |kind: u8, content: &[u8]| {
            [&[1, 1, 7, 0, kind, 1, 1, b'r'], content, &[1, 7, 1, 0, 1]].concat()
        };
        assert!(!Content::misread(&root(4, &[2, b'h', b'i'])));
        assert!(!Content::misread(&root(8, &[1, 118, 1, 1, b'k', 126])), "an object");
        assert!(Content::misread(&[1, 1, 7, 0, 7, 1, 1, b'r', 5, 0, 0]));
        assert!(Content::misread(&[1, 1, 7, 0, 2, 1, 1, b'r', 1, 1, b'1', 0, 0]));
    }

    #[test]
    fn runs_that_touch_become_one() {
        let mut clocks = Clocks::default();
        for run in [(1, 0, 2), (1, 4, 6), (1, 8, 9), (1, 2, 4), (2, 5, 6)] {
            clocks.add(run);
        }
        assert_eq!(clocks.upto(1), 6);
        assert_eq!(clocks.upto(2), 0);
        assert!(clocks.has((1, 1, 6)) && clocks.has((1, 8, 9)) && clocks.has((3, 1, 1)));
        assert!(!clocks.has((1, 5, 7)) && !clocks.has((1, 7, 9)) && !clocks.has((3, 0, 1)));
        clocks.add((1, 1, 100));
        assert!(clocks.has((1, 0, 100)));
    }
}

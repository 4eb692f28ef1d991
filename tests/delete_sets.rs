//! Delete sets of thousands of ranges, against a list of clocks.

use yroom::update::{ClientId, ClockRange, DeleteSet, ScanLimits};

const CLOCKS: u32 = 40_000;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }

    fn range(&mut self, client: u64, longest: u32) -> ClockRange {
        let start = self.below(CLOCKS - longest);
        let end = start + 1 + self.below(longest);
        ClockRange { client: ClientId(client), start, end }
    }
}

/// Two clients' clocks, each deleted or not.
#[derive(Clone)]
struct Model([Vec<bool>; 2]);

impl Model {
    fn new() -> Self {
        Self([vec![false; CLOCKS as usize], vec![false; CLOCKS as usize]])
    }

    fn of(&self, range: ClockRange) -> &[bool] {
        &self.0[range.client.0 as usize][range.start as usize..range.end as usize]
    }

    fn insert(&mut self, range: ClockRange) {
        self.0[range.client.0 as usize][range.start as usize..range.end as usize].fill(true);
    }

    fn ranges(&self) -> Vec<ClockRange> {
        let mut ranges: Vec<ClockRange> = Vec::new();
        for (client, clocks) in self.0.iter().enumerate() {
            let client = ClientId(client as u64);
            for (clock, _) in clocks.iter().enumerate().filter(|(_, deleted)| **deleted) {
                let (start, end) = (clock as u32, clock as u32 + 1);
                match ranges.last_mut() {
                    Some(last) if last.client == client && last.end == start => last.end = end,
                    _ => ranges.push(ClockRange { client, start, end }),
                }
            }
        }
        ranges
    }

    fn joined(&self, other: &Self, join: fn(bool, bool) -> bool) -> Self {
        let each = |at: usize| {
            self.0[at].iter().zip(&other.0[at]).map(|(ours, theirs)| join(*ours, *theirs)).collect()
        };
        Self([each(0), each(1)])
    }
}

/// A set with many small ranges, in any order, and then some that swallow thousands of them.
fn both(numbers: &mut Numbers, small: usize, large: usize) -> (DeleteSet, Model) {
    let (mut set, mut model) = (DeleteSet::new(), Model::new());
    assert!(set.is_empty());
    for count in 0..small + large {
        let longest = if count < small { 3 } else { 5_000 };
        let client = u64::from(numbers.below(2));
        let range = numbers.range(client, longest);
        set.insert(range);
        model.insert(range);
        if count % 500 == 0 || count >= small {
            assert_eq!(set.iter().collect::<Vec<_>>(), model.ranges(), "after {count}");
        }
    }
    assert!(!set.is_empty());
    (set, model)
}

#[test]
fn thousands_of_ranges_are_the_set_that_they_should_be() {
    let mut numbers = Numbers(1);
    let (mut set, mut model) = both(&mut numbers, 9_000, 12);
    // One by one from the end to the front, as somebody deletes with the backspace key.
    for clock in (0..CLOCKS).rev().step_by(2) {
        let range = ClockRange { client: ClientId(0), start: clock, end: clock + 1 };
        set.insert(range);
        model.insert(range);
    }
    let ranges = model.ranges();
    assert_eq!(set.iter().collect::<Vec<_>>(), ranges);
    assert_eq!(set.range_count(), ranges.len());
    for _ in 0..2_000 {
        let client = u64::from(numbers.below(2));
        let asked = numbers.range(client, 40);
        let clocks = model.of(asked);
        assert_eq!(set.contains(asked), clocks.iter().all(|deleted| *deleted), "{asked:?}");
        assert_eq!(set.intersects(asked), clocks.iter().any(|deleted| *deleted), "{asked:?}");
    }
    let again = DeleteSet::decode(&set.encode(), &ScanLimits::NONE).expect("it was encoded");
    assert_eq!(again, set);
    assert!(again != DeleteSet::new());
}

#[test]
fn sets_of_any_two_sizes_are_joined_and_subtracted_clock_by_clock() {
    let mut numbers = Numbers(2);
    for (ours, theirs) in [(5_000, 5_000), (5_000, 20), (20, 5_000), (3_000, 0)] {
        let (ours, our_model) = both(&mut numbers, ours, 3);
        let (theirs, their_model) = both(&mut numbers, theirs, 3);
        let mut union = ours.clone();
        union.union(&theirs);
        let expected = our_model.joined(&their_model, |ours, theirs| ours || theirs).ranges();
        assert_eq!(union.iter().collect::<Vec<_>>(), expected);
        assert_eq!(union.range_count(), expected.len());
        let expected = our_model.joined(&their_model, |ours, theirs| ours && !theirs).ranges();
        assert_eq!(ours.difference(&theirs).iter().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_encoded_set_is_refused_beyond_each_limit() {
    let range = |client, start| ClockRange { client: ClientId(client), start, end: start + 1 };
    let set: DeleteSet = [range(1, 0), range(1, 2), range(2, 0)].into_iter().collect();
    let bytes = set.encode();
    let decode = |limits: ScanLimits| DeleteSet::decode(&bytes, &limits);
    assert_eq!(decode(ScanLimits { bytes: bytes.len(), ..ScanLimits::NONE }), Ok(set.clone()));
    assert!(decode(ScanLimits { bytes: bytes.len() - 1, ..ScanLimits::NONE }).is_err());
    assert_eq!(decode(ScanLimits { clients: 2, ..ScanLimits::NONE }), Ok(set.clone()));
    assert!(decode(ScanLimits { clients: 1, ..ScanLimits::NONE }).is_err());
    assert_eq!(decode(ScanLimits { delete_ranges: 3, ..ScanLimits::NONE }), Ok(set));
    assert!(decode(ScanLimits { delete_ranges: 2, ..ScanLimits::NONE }).is_err());
    assert!(DeleteSet::decode(&[&bytes[..], &[0]].concat(), &ScanLimits::NONE).is_err());
    assert!(DeleteSet::decode(&bytes[..bytes.len() - 1], &ScanLimits::NONE).is_err());
}

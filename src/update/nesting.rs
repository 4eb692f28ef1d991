//! How deep types are nested in types.
//!
//! Peers delete a type by recursion over what is in it: Yjs throws at some thousand levels, in the
//! middle of a transaction, and yrs overflows its stack. So an update that nests deeper than any
//! document does is not let in. Only what one update nests is seen here; of a whole document that
//! is all there is.

use super::content::Kind;
use super::read::{Check, Parent, Walk};
use super::{ClientId, Id, Limit, UpdateError};
use std::ops::Range;

/// A struct's clocks, and what its depth follows from.
#[derive(Clone, Copy)]
struct Node {
    start: u32,
    end: u32,
    from: From,
}

/// A section's nodes, which are in the order of their clocks.
struct Run {
    client: ClientId,
    start: u32,
    nodes: Range<usize>,
}

#[derive(Clone, Copy)]
enum From {
    /// It is known.
    Depth(usize),
    /// One deeper than this type.
    Inside(Id),
    /// As deep as its neighbour.
    Beside(Id),
}

/// How deep an update that was scanned, of so many structs, nests its types; an error if that is more
/// than `limit`. Types that it only refers to count for nothing. `structs` is to make room for.
pub(crate) fn depth(update: &[u8], structs: usize, limit: usize) -> Result<usize, UpdateError> {
    let (mut nodes, runs) = nodes(update, structs)?;
    let mut deepest = 0;
    let mut path: Vec<(u32, u32)> = Vec::new();
    for first in 0..nodes.len() {
        let mut at = first;
        let mut depth = loop {
            let (next, step) = match nodes[at].from {
                From::Depth(depth) => break depth,
                From::Inside(id) => (id, 1),
                From::Beside(id) => (id, 0),
            };
            // A circle ends here: nobody can integrate it.
            nodes[at].from = From::Depth(0);
            path.push((at as u32, step));
            match find(&nodes, &runs, next) {
                Some(found) => at = found,
                None => break 0,
            }
        };
        while let Some((node, step)) = path.pop() {
            depth += step as usize;
            if depth > limit {
                return Err(UpdateError::Limit(Limit::TooDeep));
            }
            nodes[node as usize].from = From::Depth(depth);
        }
        deepest = deepest.max(depth);
    }
    Ok(deepest)
}

/// The structs of an update, and its sections in the order of their clients.
fn nodes(update: &[u8], structs: usize) -> Result<(Vec<Node>, Vec<Run>), UpdateError> {
    // Growing would take twice the room at a time.
    let mut nodes = Vec::with_capacity(structs);
    let mut walk = Walk::new(update, Check::Bounds)?;
    let mut runs = Vec::with_capacity(walk.sections());
    while let Some(section) = walk.section()? {
        let first = nodes.len();
        while let Some(read) = walk.next()? {
            if matches!(read.head.kind, Kind::Gc | Kind::Skip) {
                continue;
            }
            let neighbour = read.head.origin.or(read.head.right);
            let from = match (read.head.parent, neighbour) {
                (Parent::Nested(id), _) => From::Inside(id),
                (Parent::Inherited, Some(id)) => From::Beside(id),
                (Parent::Root, _) | (Parent::Inherited, None) => From::Depth(0),
            };
            nodes.push(Node { start: read.clock, end: read.end_clock(), from });
        }
        if first < nodes.len() {
            let (client, start) = (section.client, nodes[first].start);
            runs.push(Run { client, start, nodes: first..nodes.len() });
        }
    }
    runs.sort_unstable_by_key(|run| (run.client, run.start));
    Ok((nodes, runs))
}

fn find(nodes: &[Node], runs: &[Run], id: Id) -> Option<usize> {
    let after = runs.partition_point(|run| (run.client, run.start) <= (id.client, id.clock));
    let run = runs[..after].last().filter(|run| run.client == id.client)?;
    let within = &nodes[run.nodes.clone()];
    let at = within.partition_point(|node| node.end <= id.clock);
    (within.get(at)?.start <= id.clock).then_some(run.nodes.start + at)
}

#[cfg(test)]
mod tests {
    use crate::update::{Limit, ScanLimits, UpdateError, scan};
    use yrs::{Array, ArrayPrelim, ArrayRef, Doc, Transact, WriteTxn};

    /// An array in an array in an array, each behind an element of its own.
    fn nested(levels: usize) -> Vec<u8> {
        let doc = Doc::with_client_id(1);
        let mut txn = doc.transact_mut();
        let mut inner: ArrayRef = txn.get_or_insert_array("root");
        for _ in 0..levels {
            inner.push_back(&mut txn, 1);
            inner = inner.push_back(&mut txn, ArrayPrelim::default());
        }
        let update = txn.encode_update_v1();
        // Dropping it would overflow the stack, which is what this is about.
        drop(txn);
        std::mem::forget(doc);
        update
    }

    #[test]
    fn types_may_be_nested_up_to_the_limit() {
        let limits = ScanLimits { types: 100, ..ScanLimits::default() };
        assert!(scan(&nested(101), &limits).is_ok(), "the root counts as none");
        let deep = scan(&nested(103), &limits).map(|_| ());
        assert_eq!(deep, Err(UpdateError::Limit(Limit::TooDeep)));
    }
}

//! How deep types are nested in types.
//!
//! Peers delete a type by recursion over what is in it: Yjs throws at some thousand levels, in the
//! middle of a transaction, and yrs overflows its stack. So an update that nests deeper than any
//! document does is not let in. Only what one update nests is seen: the levels that are in the
//! document already are not known here.

use super::content::Kind;
use super::read::{Check, Parent, Walk};
use super::{ClientId, Id, Limit, UpdateError};

/// A struct, and what its depth follows from.
#[derive(Clone, Copy)]
struct Node {
    client: ClientId,
    start: u32,
    end: u32,
    from: From,
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

/// Checks that an update that was scanned nests its types at most `limit` deep.
pub(super) fn check(update: &[u8], limit: usize) -> Result<(), UpdateError> {
    let mut nodes = nodes(update)?;
    let mut path: Vec<(usize, usize)> = Vec::new();
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
            path.push((at, step));
            match find(&nodes, next) {
                Some(found) => at = found,
                None => break 0,
            }
        };
        while let Some((node, step)) = path.pop() {
            depth += step;
            if depth > limit {
                return Err(UpdateError::Limit(Limit::TooDeep));
            }
            nodes[node].from = From::Depth(depth);
        }
    }
    Ok(())
}

/// The structs of an update in the order of their ids.
fn nodes(update: &[u8]) -> Result<Vec<Node>, UpdateError> {
    let mut nodes = Vec::new();
    let mut walk = Walk::new(update, Check::Bounds)?;
    while let Some(section) = walk.section()? {
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
            nodes.push(Node {
                client: section.client,
                start: read.clock,
                end: read.end_clock(),
                from,
            });
        }
    }
    nodes.sort_unstable_by_key(|node| (node.client, node.start));
    Ok(nodes)
}

fn find(nodes: &[Node], id: Id) -> Option<usize> {
    let after = nodes.partition_point(|node| (node.client, node.start) <= (id.client, id.clock));
    let at = after.checked_sub(1)?;
    (nodes[at].client == id.client && id.clock < nodes[at].end).then_some(at)
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

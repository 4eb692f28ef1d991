//! Who is here: a room's table of presence states.
//!
//! A state is a client's JSON with a clock. The table is the server's own, with 64-bit clocks,
//! checked JSON and an order that does not differ from run to run. What it adds to y-protocols'
//! rule (newer clock, or `null` at the same clock) is *ownership*: a connection owns the ids that
//! it announced, so that their states go when it goes, and nobody else speaks for them. Where it is
//! known who a connection speaks for ([`Identity`]), an id stays that user's, also while nobody has
//! it; and what the server says of the user stands in each state before it is shown.
//!
//! A state that goes leaves its clock behind for [`REMEMBERED_FOR`], so that a late echo of it is
//! not taken for news.

mod stamp;
#[cfg(test)]
mod tests;

use crate::config::{Limits, Presence};
use crate::error::{Fault, FaultKind};
use crate::identity::Identity;
use crate::io::ConnId;
use crate::json::{self, NotJson};
use crate::time::Timestamp;
use crate::update::ClientId;
use crate::wire::awareness::{Entries, Entry, GONE, entries, write};
use crate::wire::{WireError, varint};
use bytes::Bytes;
pub(crate) use stamp::Stamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// After how long without a word from its owner an id may pass to another connection.
///
/// A client that reconnects before its dead socket is noticed is such another. Clients renew every
/// 15 s, so a living owner is never silent for so long.
const OWNER_SILENT_FOR: Duration = Duration::from_secs(20);

/// How long the clock of a state that is gone is remembered: as long as somebody who returns may
/// have been away, and far longer than any peer lags behind.
const REMEMBERED_FOR: Duration = Duration::from_hours(1);

/// A room's presence states.
#[derive(Debug, Default)]
pub(crate) struct Awareness {
    known: BTreeMap<ClientId, Known>,
    /// The ids with a state, and those without, each with when it was last heard of.
    live: BTreeSet<(Timestamp, ClientId)>,
    gone: BTreeSet<(Timestamp, ClientId)>,
    owned: BTreeMap<ConnId, BTreeSet<ClientId>>,
    version: u64,
    ignored: u64,
}

/// What is known of one client id.
#[derive(Debug)]
struct Known {
    clock: u64,
    /// Its JSON; `None` when it is gone.
    state: Option<Bytes>,
    owner: Option<ConnId>,
    claim: Claim,
    heard: Timestamp,
    /// The table's version that this came with.
    version: u64,
}

/// What speaks for an id's last owner, and goes on doing so when that has gone.
#[derive(Clone, Debug, Default)]
struct Claim {
    /// Whom it spoke for.
    user: Option<Arc<str>>,
    /// Whether it was given this id.
    given: bool,
    /// Whether somebody of no name has used it. He may come back: whoever took it when he was silent
    /// keeps him out no longer than while he speaks himself, unless the id was given to the taker.
    open: bool,
}

impl Claim {
    /// Whether an id with this claim to it is not another's to use.
    fn excludes(&self, other: &Self) -> bool {
        match (self.given, other.given) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.user.is_some() && self.user != other.user,
        }
    }
}

/// A connection, and whom it speaks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) conn: ConnId,
    pub(crate) identity: Option<&'a Identity>,
    /// Whether it speaks for itself, or is trusted with others' words.
    pub(crate) presence: Presence,
}

impl Speaker<'_> {
    fn may_use(&self, id: ClientId) -> bool {
        self.identity.is_none_or(|identity| identity.may_use(id))
    }

    /// Whether the claim that there is to an id stands against it.
    fn is_excluded(&self, known: &Claim, own: &Claim) -> bool {
        match self.presence {
            // Whom it speaks for, the server that it comes from has looked into.
            Presence::Relay => false,
            Presence::Observe | Presence::Publish => known.excludes(own),
        }
    }

    fn claim(&self, id: ClientId) -> Claim {
        let user = self.identity.and_then(|identity| identity.shared_user_id().cloned());
        let given = self.identity.is_some_and(|identity| identity.was_given(id));
        Claim { open: user.is_none() && !given, user, given }
    }

    const fn stamp(&self) -> Option<&Stamp> {
        match self.identity {
            Some(identity) => identity.stamped(),
            None => None,
        }
    }
}

/// What follows from an awareness message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// What has changed: a payload for everybody but the sender.
    pub(crate) others: Option<Bytes>,
    /// A payload for the sender: it announced an id with a clock at which that id is already known
    /// to be gone (it reconnected, and its leaving was told to everybody). No peer would accept
    /// that. Told of the removal, y-protocols raises the clock and announces itself again, at once
    /// instead of with its next renewal.
    pub(crate) sender: Option<Bytes>,
}

impl Awareness {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether nobody has a state.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// How many have a state.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    /// The memory that the states of a connection take, and that it owns them.
    pub(crate) fn held_bytes(&self, owner: ConnId) -> usize {
        // Each id stands in three trees, whose nodes are two thirds full.
        const AN_ID: usize = size_of::<(ClientId, Known)>()
            + size_of::<(Timestamp, ClientId)>()
            + size_of::<ClientId>();
        let Some(ids) = self.owned.get(&owner) else { return 0 };
        let states = ids.iter().filter_map(|id| self.known.get(id)?.state.as_ref());
        states.map(Bytes::len).sum::<usize>() + ids.len() * AN_ID * 3 / 2
    }

    /// The newest clock of an id, also of one that is gone; 0 if nothing is known of it.
    pub(crate) fn clock(&self, client: ClientId) -> u64 {
        self.known.get(&client).map_or(0, |known| known.clock)
    }

    /// Grows with each change; see [`since`](Self::since).
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// How many entries were ignored: others' ids, or over a limit.
    #[cfg(test)]
    pub(crate) const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes in what a connection announces.
    ///
    /// Fails, and uses nothing, only if the payload is malformed or a state is no JSON.
    pub(crate) fn apply(
        &mut self,
        now: Timestamp,
        from: Speaker<'_>,
        payload: &[u8],
        limits: &Limits,
    ) -> Result<Applied, Fault> {
        let announced = entries(payload).map_err(malformed)?;
        check(announced.clone(), limits)?;

        let version = self.version + 1;
        let mut changed = BTreeSet::new();
        let mut outdated = BTreeSet::new();
        for entry in announced.flatten() {
            match self.judge(now, from, &entry, limits) {
                Verdict::Accept => {
                    self.accept(now, from, &entry, version, limits);
                    changed.insert(entry.client);
                }
                Verdict::Outdated if outdated.len() < limits.awareness_ids_per_connection => {
                    outdated.insert(entry.client);
                }
                Verdict::Old | Verdict::Outdated => {}
                Verdict::Ignore => self.ignored += 1,
            }
        }
        let sender = self.removals(outdated.difference(&changed));
        Ok(Applied { others: self.publish(&changed, version), sender })
    }

    /// Removes the states that a connection owns; returns the payload that tells the others.
    pub(crate) fn leave(&mut self, now: Timestamp, from: ConnId) -> Option<Bytes> {
        let ids = self.owned.remove(&from)?;
        let version = self.version + 1;
        let mut changed = BTreeSet::new();
        for client in ids {
            if self.remove(now, client, version) {
                changed.insert(client);
            }
        }
        self.publish(&changed, version)
    }

    /// As [`leave`](Self::leave), for a connection that stays and speaks for another user from now
    /// on: the ids are nobody's.
    pub(crate) fn disclaim(&mut self, now: Timestamp, from: ConnId) -> Option<Bytes> {
        let ids = self.owned.get(&from).cloned().unwrap_or_default();
        let removed = self.leave(now, from);
        for client in ids {
            if let Some(known) = self.known.get_mut(&client) {
                known.claim = Claim::default();
            }
        }
        removed
    }

    /// Removes the states that were not renewed for `timeout`; returns the payload that tells
    /// everybody. Forgets the clocks of those that are gone for [`REMEMBERED_FOR`].
    pub(crate) fn expire(&mut self, now: Timestamp, timeout: Duration) -> Option<Bytes> {
        while let Some(&(heard, client)) = self.gone.first()
            && heard + REMEMBERED_FOR <= now
        {
            self.forget(client);
        }
        let version = self.version + 1;
        let mut changed = BTreeSet::new();
        while let Some(&(heard, client)) = self.live.first()
            && heard + timeout <= now
        {
            self.disown(client);
            self.remove(now, client, version);
            changed.insert(client);
        }
        self.publish(&changed, version)
    }

    /// When [`expire`](Self::expire) has something to do.
    #[cfg(test)]
    pub(crate) fn next_expiry(&self, timeout: Duration) -> Option<Timestamp> {
        let live = self.live.first().map(|&(heard, _)| heard + timeout);
        let gone = self.gone.first().map(|&(heard, _)| heard + REMEMBERED_FOR);
        live.into_iter().chain(gone).min()
    }

    /// Whose state somebody else declares gone with this clock, if that state is not newer than that.
    pub(crate) fn denied(&self, client: ClientId, clock: u64) -> Option<ConnId> {
        let known = self.known.get(&client)?;
        known.owner.filter(|_| known.state.is_some() && clock >= known.clock)
    }

    /// All states, if there are any.
    pub(crate) fn snapshot(&self) -> Option<Bytes> {
        self.payload(|known| known.state.is_some())
    }

    /// The states and removals that came after `version`, each the newest of its client.
    pub(crate) fn since(&self, version: u64) -> Option<Bytes> {
        self.payload(|known| known.version > version)
    }

    /// What to do with an entry; changes nothing.
    fn judge(
        &self,
        now: Timestamp,
        from: Speaker<'_>,
        entry: &Entry<'_>,
        limits: &Limits,
    ) -> Verdict {
        if !from.may_use(entry.client) {
            return Verdict::Ignore;
        }
        let gone = is_gone(entry.json);
        let Some(known) = self.known.get(&entry.client) else {
            // y-protocols accepts a clock only above what it knows, which is 0 at first.
            return match (gone, entry.clock) {
                (true, _) => Verdict::Old,
                (false, 0) => Verdict::Outdated,
                (false, _) => self.judge_newer(from, entry, limits),
            };
        };
        let foreign = known.owner.is_some_and(|owner| owner != from.conn);
        let claim = from.claim(entry.client);
        // An id that is somebody's stays so while it is remembered, however silent its owner is.
        if from.is_excluded(&known.claim, &claim) {
            return Verdict::Ignore;
        }
        let outranks = claim.given && !known.claim.given;
        // Others' removals are no reason to change hands: a JavaScript client removes, and tells
        // everybody of it, whom it has not heard of for 30 s.
        let silent = now.since(known.heard) > OWNER_SILENT_FOR;
        if foreign && (gone || !silent && !outranks) {
            return Verdict::Ignore;
        }
        match (gone, known.state.is_some()) {
            (true, true) if entry.clock >= known.clock => Verdict::Accept,
            (false, _) if entry.clock > known.clock => self.judge_newer(from, entry, limits),
            (false, false) => Verdict::Outdated,
            // Whoever used the id wrongly may have raised its clock.
            (false, true) if foreign && outranks => Verdict::Outdated,
            (true, _) | (false, true) => Verdict::Old,
        }
    }

    fn judge_newer(&self, from: Speaker<'_>, entry: &Entry<'_>, limits: &Limits) -> Verdict {
        let owned = self.owned.get(&from.conn);
        let has_id = owned.is_some_and(|ids| ids.contains(&entry.client));
        let has_state = self.known.get(&entry.client).is_some_and(|known| known.state.is_some());
        let fits = fits(entry.json, limits)
            && (from.stamp().is_none() || stamp::is_object(entry.json))
            && (has_id || owned.map_or(0, BTreeSet::len) < limits.awareness_ids_per_connection)
            && (has_state || self.live.len() < limits.awareness_states_per_room);
        if fits { Verdict::Accept } else { Verdict::Ignore }
    }

    fn accept(
        &mut self,
        now: Timestamp,
        from: Speaker<'_>,
        entry: &Entry<'_>,
        version: u64,
        limits: &Limits,
    ) {
        let (client, clock) = (entry.client, entry.clock);
        self.disown(client);
        self.owned.entry(from.conn).or_default().insert(client);
        let owner = Some(from.conn);
        let claim = match from.presence {
            Presence::Relay => self.known.get(&client).map_or_else(Claim::default, Known::claim),
            Presence::Observe | Presence::Publish => {
                let own = from.claim(client);
                let is_open = self.known.get(&client).is_some_and(|known| known.claim.open);
                if is_open && !own.given { Claim { open: true, ..Claim::default() } } else { own }
            }
        };
        let state = (!is_gone(entry.json)).then(|| shown(entry.json, from.stamp()));
        self.file(client, Known { clock, state, owner, claim, heard: now, version });
        // As many clocks are remembered as there may be states, then the oldest goes.
        while self.gone.len() > limits.awareness_states_per_room
            && let Some(&(_, oldest)) = self.gone.first()
        {
            self.forget(oldest);
        }
    }

    /// Takes an id's state and owner away; whether it had a state.
    fn remove(&mut self, now: Timestamp, client: ClientId, version: u64) -> bool {
        let Some(known) = self.known.get_mut(&client) else { return false };
        known.owner = None;
        if known.state.is_none() {
            return false;
        }
        let (clock, claim) = (known.clock, known.claim.clone());
        self.file(client, Known { clock, state: None, owner: None, claim, heard: now, version });
        true
    }

    /// Puts an id's entry in the place of what was known of it.
    fn file(&mut self, client: ClientId, known: Known) {
        let place = (known.heard, client);
        let is_live = known.state.is_some();
        if let Some(before) = self.known.insert(client, known) {
            let place = (before.heard, client);
            if before.state.is_some() {
                self.live.remove(&place)
            } else {
                self.gone.remove(&place)
            };
        }
        if is_live {
            self.live.insert(place)
        } else {
            self.gone.insert(place)
        };
    }

    fn forget(&mut self, client: ClientId) {
        self.disown(client);
        if let Some(known) = self.known.remove(&client) {
            let place = (known.heard, client);
            if known.state.is_some() {
                self.live.remove(&place)
            } else {
                self.gone.remove(&place)
            };
        }
    }

    /// Strikes an id from what its owner owns.
    fn disown(&mut self, client: ClientId) {
        let owner = self.known.get_mut(&client).and_then(|known| known.owner.take());
        if let Some(owner) = owner
            && let Some(ids) = self.owned.get_mut(&owner)
        {
            ids.remove(&client);
            if ids.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }

    /// Makes `version` the table's, if anything changed, and the payload of what did.
    fn publish(&mut self, changed: &BTreeSet<ClientId>, version: u64) -> Option<Bytes> {
        if changed.is_empty() {
            return None;
        }
        self.version = version;
        Some(write(
            changed
                .iter()
                .filter_map(|client| self.known.get(client).map(|known| known.entry(*client))),
        ))
    }

    /// A payload that removes these ids at the clocks that are known.
    fn removals<'a>(&self, clients: impl Iterator<Item = &'a ClientId> + Clone) -> Option<Bytes> {
        let entries = clients
            .map(|&client| (client, self.known.get(&client).map_or(0, |known| known.clock)))
            // The last clock cannot be raised.
            .filter(|&(_, clock)| clock < varint::MAX)
            .map(|(client, clock)| Entry { client, clock, json: GONE });
        entries.clone().next().map(|_| write(entries))
    }

    fn payload(&self, wanted: impl Fn(&Known) -> bool) -> Option<Bytes> {
        let entries = self
            .known
            .iter()
            .filter(|(_, known)| wanted(known))
            .map(|(&client, known)| known.entry(client));
        entries.clone().next().map(|_| write(entries))
    }
}

impl Known {
    fn claim(&self) -> Claim {
        self.claim.clone()
    }

    fn entry(&self, client: ClientId) -> Entry<'_> {
        let json = self.state.as_deref().and_then(|state| std::str::from_utf8(state).ok());
        Entry { client, clock: self.clock, json: json.unwrap_or(GONE) }
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// News.
    Accept,
    /// Nothing new.
    Old,
    /// A state whose clock was passed by a removal.
    Outdated,
    /// Not this connection's to say, or over a limit.
    Ignore,
}

/// Whether the payload is well-formed and each state JSON, but for those too large to look at.
fn check(announced: Entries<'_>, limits: &Limits) -> Result<(), Fault> {
    for entry in announced {
        let entry = entry.map_err(malformed)?;
        if entry.json.len() <= limits.awareness_state_bytes
            && matches!(
                json::check(entry.json.as_bytes(), json::MAX_DEPTH),
                Err((_, NotJson::Syntax(_)))
            )
        {
            let reason = format!("the awareness state of client {} is no JSON", entry.client.0);
            return Err(Fault::new(FaultKind::Malformed, reason));
        }
    }
    Ok(())
}

fn malformed(error: WireError) -> Fault {
    Fault::new(FaultKind::Malformed, format!("malformed awareness message: {error}"))
}

fn fits(json: &str, limits: &Limits) -> bool {
    json.len() <= limits.awareness_state_bytes
        && json::check(json.as_bytes(), json::MAX_DEPTH).is_ok()
}

/// Whether a state would be shown; why not, for somebody who is told, as peers are not.
pub(crate) fn check_state(json: &str, limits: &Limits) -> Result<(), Fault> {
    let limit = limits.awareness_state_bytes;
    if json.len() > limit {
        let reason =
            format!("a presence state of {} bytes is over the limit of {limit}", json.len());
        return Err(Fault::new(FaultKind::Limit, reason));
    }
    json::check(json.as_bytes(), json::MAX_DEPTH).map_err(|(_, why)| match why {
        NotJson::Syntax(_) => Fault::new(FaultKind::Malformed, "the presence state is no JSON"),
        NotJson::TooDeep => {
            let reason = format!("the presence state nests over {} deep", json::MAX_DEPTH);
            Fault::new(FaultKind::Limit, reason)
        }
    })
}

/// A state as everybody is shown it.
fn shown(json: &str, stamp: Option<&Stamp>) -> Bytes {
    match stamp.and_then(|stamp| stamp.put_into(json)) {
        Some(stamped) => stamped.into(),
        None => Bytes::copy_from_slice(json.as_bytes()),
    }
}

/// Whether a state is JSON's `null`.
pub(crate) fn is_gone(json: &str) -> bool {
    json.trim_matches([' ', '\t', '\n', '\r']) == GONE
}

//! Who else is here, and who we are.

use super::io::PresenceChange;
use crate::config::Limits;
use crate::json;
use crate::time::Timestamp;
use crate::update::ClientId;
use crate::wire::awareness::{Entry, GONE, entries, write};
use crate::wire::{WireError, varint};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Our state and everybody else's.
#[derive(Debug)]
pub(super) struct Presence {
    client: ClientId,
    clock: u64,
    own: Option<String>,
    renewed: Timestamp,
    others: BTreeMap<ClientId, Other>,
}

#[derive(Debug)]
struct Other {
    clock: u64,
    /// Its JSON; `None` when it is gone.
    state: Option<String>,
    heard: Timestamp,
}

/// What follows from an awareness message.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) change: PresenceChange,
    /// Somebody says that we are gone: to be contradicted.
    pub(super) contradict: bool,
}

impl Presence {
    pub(super) const fn new(client: ClientId) -> Self {
        let renewed = Timestamp::ZERO;
        Self { client, clock: 0, own: None, renewed, others: BTreeMap::new() }
    }

    /// Takes another state of our own.
    pub(super) fn set(&mut self, state: Option<String>) {
        self.own = state;
    }

    pub(super) fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// Our state with a clock that is newer than any before, as a payload.
    pub(super) fn announce(&mut self, now: Timestamp) -> Bytes {
        self.clock = (self.clock + 1).min(varint::MAX);
        self.renewed = now;
        let json = self.own.as_deref().unwrap_or(GONE);
        write([Entry { client: self.client, clock: self.clock, json }])
    }

    /// When our state is due for renewal.
    pub(super) fn renewal_due(&self, every: Duration) -> Option<Timestamp> {
        self.own.is_some().then(|| self.renewed + every)
    }

    /// The others' states.
    pub(super) fn others(&self) -> impl Iterator<Item = (ClientId, &str)> {
        self.others.iter().filter_map(|(&id, other)| Some((id, other.state.as_deref()?)))
    }

    /// Takes in what the server tells.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        payload: &[u8],
        limits: &Limits,
    ) -> Result<Heard, WireError> {
        let told = entries(payload)?;
        told.clone().try_for_each(|entry| entry.map(drop))?;
        let mut heard = Heard::default();
        for entry in told.flatten() {
            if entry.client == self.client {
                heard.contradict |= self.denies_us(&entry);
            } else if fits(entry.json, limits) {
                self.hear_of(now, &entry, limits, &mut heard.change);
            }
        }
        Ok(heard)
    }

    /// Whether an entry says that we are gone; it is overtaken then.
    fn denies_us(&mut self, entry: &Entry<'_>) -> bool {
        let denied = is_gone(entry.json) && entry.clock >= self.clock && self.own.is_some();
        if denied {
            self.clock = entry.clock;
        }
        denied && self.clock < varint::MAX
    }

    fn hear_of(
        &mut self,
        now: Timestamp,
        entry: &Entry<'_>,
        limits: &Limits,
        change: &mut PresenceChange,
    ) {
        let known = self.others.get(&entry.client);
        let clock = known.map_or(0, |known| known.clock);
        let here = known.is_some_and(|known| known.state.is_some());
        let gone = is_gone(entry.json);
        if !(clock < entry.clock || (clock == entry.clock && gone && here)) {
            return;
        }
        if known.is_none() && (gone || self.others.len() >= 2 * limits.awareness_states_per_room) {
            return;
        }
        match (here, gone) {
            (false, false) => change.added.push(entry.client),
            (true, false) => {
                change.updated.push(entry.client);
                if known.and_then(|known| known.state.as_deref()) != Some(entry.json) {
                    change.changed.push(entry.client);
                }
            }
            (true, true) => change.removed.push(entry.client),
            (false, true) => {}
        }
        let state = (!gone).then(|| entry.json.to_owned());
        self.others.insert(entry.client, Other { clock: entry.clock, state, heard: now });
    }

    /// Removes those who were not heard of for `timeout`.
    pub(super) fn expire(&mut self, now: Timestamp, timeout: Duration) -> PresenceChange {
        let mut change = PresenceChange::default();
        for (&client, other) in &mut self.others {
            if other.heard + timeout <= now && other.state.take().is_some() {
                change.removed.push(client);
            }
        }
        // What was gone for as long again is no longer remembered.
        let memory = timeout * 4;
        self.others.retain(|_, other| other.state.is_some() || other.heard + memory > now);
        change
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn next_expiry(&self, timeout: Duration) -> Option<Timestamp> {
        let due =
            |other: &Other| other.heard + if other.state.is_some() { timeout } else { timeout * 4 };
        self.others.values().map(due).min()
    }

    /// Forgets the others: without a connection nobody is here, and the next one brings them all.
    pub(super) fn forget(&mut self) -> PresenceChange {
        let removed = self.others().map(|(client, _)| client).collect();
        self.others.clear();
        PresenceChange { removed, ..PresenceChange::default() }
    }
}

impl PresenceChange {
    pub(super) const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty() && self.removed.is_empty()
    }
}

/// Whether a state is JSON within the limits.
pub(super) fn fits(state: &str, limits: &Limits) -> bool {
    state.len() <= limits.awareness_state_bytes
        && json::check(state.as_bytes(), json::MAX_DEPTH).is_ok()
}

fn is_gone(state: &str) -> bool {
    state.trim_ascii() == GONE
}

//! What clients do that mean harm.

use super::{World, millis};
use crate::client::{doc_of, shape};
use crate::op::{Attack, Role};
use crate::rng::Rng;
use std::time::Duration;
use yroom::update::{ClientId, ScanLimits, scan};
use yroom::wire::awareness::{Entry, write};
use yroom::wire::{self, Message};
use yrs::{Doc, ReadTxn, Text, Transact};

impl World {
    pub(super) fn attack(&mut self, client: usize, attack: Attack, seed: u8) {
        let harmful = |role| match attack {
            Attack::Trespass | Attack::Vandalise => matches!(role, Role::Reader | Role::Observer),
            _ => role == Role::Hostile,
        };
        let count = self.clients.len();
        let attacker = (0..count)
            .map(|step| (client + step) % count)
            .find(|at| harmful(self.clients[*at].role) && self.clients[*at].link.is_some());
        let Some(attacker) = attacker else { return };
        let mut rng = Rng::of(self.setup.seed, 50_000 + u64::from(seed));
        self.tell(|| format!("client{attacker} attacks"));
        match attack {
            Attack::Noise => {
                let noise: Vec<u8> = (0..rng.below(40)).map(|_| rng.below(256) as u8).collect();
                self.inject(attacker, noise);
            }
            Attack::Cut | Attack::Mangle => self.send_broken(attacker, attack, &mut rng),
            Attack::Bomb => self.inject(attacker, bomb(&mut rng)),
            Attack::Gap => self.keep_sending_gap(attacker, &gap(&mut rng)),
            Attack::Spoof | Attack::Evict => self.spoof(attacker, attack, &mut rng),
            Attack::Forge => self.forge(attacker),
            Attack::AskFlood => self.ask_flood(attacker),
            Attack::PresenceFlood => self.inject(attacker, presence_flood(&mut rng)),
            Attack::Stale => self.stale_flood(attacker),
            Attack::Unknown => self.inject(attacker, wire::encode::custom(200, &[seed; 5])),
            Attack::Trespass => {
                let update = stranger(&mut rng, 1).remove(0);
                self.inject(attacker, wire::encode::update(&update));
            }
            Attack::Vandalise => self.vandalise(attacker),
        }
    }

    /// A true update of somebody's, made malformed.
    fn send_broken(&mut self, attacker: usize, attack: Attack, rng: &mut Rng) {
        let room = self.clients[attacker].room;
        let doc = self.clients.iter().find(|client| client.room == room && client.may_write());
        let Some(doc) = doc else { return };
        let whole = doc.doc.transact().encode_diff_v1(&yrs::StateVector::default());
        for _ in 0..8 {
            let mut update = whole.clone();
            if let Attack::Cut = attack {
                update.truncate(rng.index(whole.len()));
            } else {
                for _ in 0..=rng.below(3) {
                    let at = rng.index(update.len());
                    update[at] ^= 1 << rng.below(8);
                }
            }
            if scan(&update, &ScanLimits::default()).is_err() {
                return self.inject(attacker, wire::encode::update(&update));
            }
        }
    }

    /// Says something in the name of somebody else who is here.
    fn spoof(&mut self, attacker: usize, attack: Attack, rng: &mut Rng) {
        self.next_id += 1;
        let room = self.clients[attacker].room;
        let now = self.now;
        let oracle = &self.oracle;
        let server = self.server_of(room);
        let is_known = |id| oracle.is_here(now, id) || self.is_claimed(server, room, id);
        let others = self.clients.iter().enumerate().filter(|(at, _)| *at != attacker);
        let victim = others.map(|(_, who)| who).find(|who| who.room == room && is_known(who.id));
        let Some(victim) = victim else { return };
        let evil = format!("{{\"evil\":{}}}", self.next_id);
        let json = if let Attack::Evict = attack { "null" } else { &evil };
        let clock = victim.own.0 + rng.below(4);
        let entry = Entry { client: ClientId(victim.id), clock, json };
        // No later than its word can count: it arrives while the victim is certainly still here.
        let id = self.clients[attacker].link;
        if let Some(link) = id.and_then(|id| self.links.get_mut(&id))
            && link.writes_from <= now
        {
            self.inject(attacker, wire::encode::awareness(&write([entry])));
        }
    }

    /// Says of itself that it is another user.
    fn forge(&mut self, attacker: usize) {
        self.next_id += 1;
        let who = &mut self.clients[attacker];
        who.own.0 += 1;
        let (client, clock) = (ClientId(who.id), who.own.0);
        let evil = self.next_id;
        let json = format!("{{\"evil\":{evil},\"user\":{{\"id\":\"u-99\",\"name\":\"n\"}}}}");
        let entry = Entry { client, clock, json: &json };
        self.inject(attacker, wire::encode::awareness(&write([entry])));
    }

    /// Sends the same update again and again, however often it is asked for what comes before.
    fn keep_sending_gap(&mut self, attacker: usize, frame: &bytes::Bytes) {
        for _ in 0..12 {
            self.inject(attacker, frame.clone());
            let Some(id) = self.clients[attacker].link else { return };
            let Some(link) = self.links.get_mut(&id) else { return };
            link.writes_from = link.writes_from.max(self.now) + Duration::from_secs(11);
            link.troubled_until = link.troubled_until.max(link.writes_from);
        }
    }

    /// Reads nothing for a while.
    fn stop_reading(&mut self, attacker: usize) {
        let until = self.now + millis(20_000);
        if let Some(link) = self.clients[attacker].link.and_then(|id| self.links.get_mut(&id)) {
            link.reads_from = link.reads_from.max(until);
            link.troubled_until = link.troubled_until.max(until + Duration::from_secs(1));
        }
    }

    /// Announces what has to be put right, often, and reads nothing.
    fn stale_flood(&mut self, attacker: usize) {
        self.stop_reading(attacker);
        let entry = |at: u64| Entry { client: ClientId(910_000_000 + at), clock: 0, json: "{}" };
        let frame = wire::encode::awareness(&write((0..8).map(entry)));
        for _ in 0..400 {
            self.inject(attacker, frame.clone());
        }
    }

    /// Asks for everything, often, and reads nothing.
    fn ask_flood(&mut self, attacker: usize) {
        self.stop_reading(attacker);
        for at in 0..60 {
            let have: &[u8] = if at % 2 == 0 { &[0] } else { &[1, 1, 1] };
            self.inject(attacker, wire::encode::sync_step1(have));
        }
        for at in 0..60 {
            self.inject(attacker, wire::encode::query_awareness());
            self.inject(attacker, wire::encode::sync_status(&[at; 60]));
        }
    }

    /// A reader deletes all text.
    fn vandalise(&mut self, attacker: usize) {
        let doc = &self.clients[attacker].doc;
        let whole = doc.transact().encode_diff_v1(&yrs::StateVector::default());
        let Ok(copy) = doc_of([&whole[..]]) else { return };
        let text = copy.get_or_insert_text("text");
        let mut txn = copy.transact_mut();
        let len = text.len(&txn);
        if len == 0 {
            return;
        }
        text.remove_range(&mut txn, 0, len);
        let update = txn.encode_update_v1();
        drop(txn);
        debug_assert_ne!(shape(doc).deletes, shape(&copy).deletes);
        self.inject(attacker, wire::encode::update(&update));
    }
}

/// Updates of someone whom nobody knows: no trace of them may ever be seen.
fn stranger(rng: &mut Rng, count: usize) -> Vec<Vec<u8>> {
    let doc = Doc::with_client_id(500_000_000 + rng.below(1 << 20));
    let text = doc.get_or_insert_text("text");
    (0..count)
        .map(|_| {
            let mut txn = doc.transact_mut();
            text.push(&mut txn, "was here");
            txn.encode_update_v1()
        })
        .collect()
}

/// An update whose predecessor never comes.
fn gap(rng: &mut Rng) -> bytes::Bytes {
    let mut updates = stranger(rng, 2);
    let update = updates.remove(1);
    debug_assert!(matches!(
        wire::messages(&wire::encode::update(&update)).next(),
        Some(Ok(Message::Update(_)))
    ));
    wire::encode::update(&update)
}

/// Counts that the bytes cannot hold.
fn bomb(rng: &mut Rng) -> bytes::Bytes {
    let count = [0x80, 0x80, 0x80, 0x80, 0x02];
    match rng.below(5) {
        0 => wire::encode::sync_step1(&count),
        1 => wire::encode::update(&count),
        2 => wire::encode::awareness(&count),
        3 => wire::encode::update(&[&[1], &count[..], &[1, 0, 4, 1, 1, b't', 1, b'x', 0]].concat()),
        _ => wire::encode::sync_step2(&[&[0, 1, 1], &count[..]].concat()),
    }
}

fn presence_flood(rng: &mut Rng) -> bytes::Bytes {
    let text = "x".repeat(rng.index(20_000) >> rng.below(10));
    let json =
        if rng.chance(500) { format!("\"{text}\"") } else { format!("{{\"x\":\"{text}\"}}") };
    let entries =
        (0..50).map(|at| Entry { client: ClientId(900_000_000 + at), clock: 1 + at, json: &json });
    wire::encode::awareness(&write(entries.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_to_be_a_gap_is_one() {
        let frame = gap(&mut Rng::new(1));
        let Some(Ok(Message::Update(update))) = wire::messages(&frame).next() else {
            panic!("no update")
        };
        let found = scan(update, &ScanLimits::default()).expect("well formed");
        assert!(found.ranges.iter().all(|range| range.start > 0));
    }
}

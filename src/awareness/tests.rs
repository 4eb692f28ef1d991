//! Each rule of the table.

use super::*;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_secs(30);
const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);
const C: ConnId = ConnId(3);
const D: ConnId = ConnId(4);
const RELAY: ConnId = ConnId(5);
const ANYBODY: Speaker<'_> = Speaker { conn: A, identity: None, presence: Presence::Publish };

struct Room {
    table: Awareness,
    limits: Limits,
    now: Timestamp,
    /// Whom connections speak for.
    identities: BTreeMap<ConnId, Identity>,
}

type Told = Vec<(u64, u64, String)>;

impl Room {
    fn new() -> Self {
        Self {
            table: Awareness::new(),
            limits: Limits::default(),
            now: Timestamp::ZERO,
            identities: BTreeMap::new(),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn try_say(&mut self, from: ConnId, said: &[(u64, u64, &str)]) -> Result<(Told, Told), Fault> {
        let payload = write(said.iter().map(|&(id, clock, json)| Entry {
            client: ClientId(id),
            clock,
            json,
        }));
        let identity = self.identities.get(&from);
        let presence = if from == RELAY { Presence::Relay } else { Presence::Publish };
        let from = Speaker { conn: from, identity, presence };
        let applied = self.table.apply(self.now, from, &payload, &self.limits)?;
        self.check_indexes();
        Ok((told(applied.others), told(applied.sender)))
    }

    fn say(&mut self, from: ConnId, said: &[(u64, u64, &str)]) -> Told {
        let (others, sender) = self.try_say(from, said).expect("well-formed");
        assert_eq!(sender, [], "nothing for the sender");
        others
    }

    fn leave(&mut self, from: ConnId) -> Told {
        let removed = told(self.table.leave(self.now, from));
        self.check_indexes();
        removed
    }

    fn expire(&mut self) -> Told {
        let removed = told(self.table.expire(self.now, TIMEOUT));
        self.check_indexes();
        removed
    }

    fn snapshot(&self) -> Told {
        told(self.table.snapshot())
    }

    fn check_indexes(&self) {
        let Awareness { known, live, gone, owned, version, .. } = &self.table;
        assert_eq!(live.len() + gone.len(), known.len());
        for (&client, entry) in known {
            let place = (entry.heard, client);
            assert_eq!(live.contains(&place), entry.state.is_some());
            assert_eq!(gone.contains(&place), entry.state.is_none());
            assert!(entry.version <= *version);
            assert!(entry.state.is_none() || entry.owner.is_some());
            if let Some(owner) = entry.owner {
                assert!(owned[&owner].contains(&client));
            }
        }
        for (owner, ids) in owned {
            assert!(!ids.is_empty() && ids.iter().all(|id| known[id].owner == Some(*owner)));
        }
    }
}

fn told(payload: Option<Bytes>) -> Told {
    let Some(payload) = payload else { return vec![] };
    let all = entries(&payload).expect("a payload of our own");
    let told: Told = all
        .map(|entry| entry.expect("an entry of our own"))
        .map(|entry| (entry.client.0, entry.clock, entry.json.to_owned()))
        .collect();
    assert!(!told.is_empty(), "nothing to tell is None");
    told
}

fn is(id: u64, clock: u64, json: &str) -> (u64, u64, String) {
    (id, clock, json.to_owned())
}

#[test]
fn a_newer_state_is_told_to_the_others_and_an_older_or_equal_one_is_not() {
    let mut room = Room::new();
    assert_eq!(room.say(A, &[(7, 2, "{}")]), [is(7, 2, "{}")]);
    assert_eq!(room.say(A, &[(7, 2, "1")]), []);
    assert_eq!(room.say(A, &[(7, 1, "1")]), []);
    assert_eq!(room.say(A, &[(7, 3, "{}")]), [is(7, 3, "{}")], "a renewal is news");
    assert_eq!(room.snapshot(), [is(7, 3, "{}")]);
    assert_eq!((room.table.len(), room.table.is_empty()), (1, false));
}

#[test]
fn null_at_the_same_clock_removes_a_state_that_is_present_only() {
    let mut room = Room::new();
    room.say(A, &[(7, 2, "{}")]);
    assert_eq!(room.say(A, &[(7, 1, "null")]), []);
    assert_eq!(room.say(A, &[(7, 2, " null\n")]), [is(7, 2, "null")]);
    assert_eq!(room.say(A, &[(7, 2, "null")]), []);
    assert_eq!(room.say(A, &[(7, 9, "null")]), []);
    assert_eq!(room.snapshot(), []);
    assert!(room.table.is_empty());
}

#[test]
fn of_many_outdated_ids_a_client_is_told_of_as_many_as_it_may_have() {
    let mut room = Room::new();
    let many: Vec<(u64, u64, &str)> = (1..=20).map(|id| (id, 0, "{}")).collect();
    let (others, sender) = room.try_say(A, &many).expect("well-formed");
    assert_eq!(others, []);
    assert_eq!(sender.len(), room.limits.awareness_ids_per_connection);
}

#[test]
fn whose_state_is_declared_gone_is_known_unless_it_is_newer() {
    let mut room = Room::new();
    room.say(A, &[(7, 2, "{}")]);
    let denied = |room: &Room, id, clock| room.table.denied(ClientId(id), clock);
    assert_eq!(denied(&room, 7, 1), None);
    assert_eq!(denied(&room, 7, 2), Some(A));
    assert_eq!(denied(&room, 7, 3), Some(A));
    assert_eq!(denied(&room, 8, 3), None, "nobody has it");
    room.say(A, &[(7, 3, "null")]);
    assert_eq!(denied(&room, 7, 9), None, "it has gone already");
}

#[test]
fn null_for_an_unknown_id_leaves_nothing_behind() {
    let mut room = Room::new();
    assert_eq!(room.say(A, &[(7, 5, "null")]), []);
    assert!(room.table.known.is_empty());
}

#[test]
fn of_an_id_that_comes_twice_in_a_message_the_newest_is_told_once() {
    let mut room = Room::new();
    assert_eq!(room.say(A, &[(7, 1, "1"), (7, 2, "2"), (7, 1, "3")]), [is(7, 2, "2")]);
}

#[test]
fn what_a_connection_announced_goes_with_it() {
    let mut room = Room::new();
    room.say(A, &[(7, 2, "{}"), (3, 1, "{}")]);
    room.say(B, &[(9, 1, "{}")]);
    assert_eq!(room.leave(A), [is(3, 1, "null"), is(7, 2, "null")]);
    assert_eq!(room.leave(A), []);
    assert_eq!(room.snapshot(), [is(9, 1, "{}")]);
}

#[test]
fn an_id_that_returns_is_owned_again_and_leaves_no_ghost() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "{}")]);
    assert_eq!(room.leave(A), [is(7, 1, "null")]);
    // y-protocols reports this as an update, not as an addition.
    assert_eq!(room.say(B, &[(7, 2, "{}")]), [is(7, 2, "{}")]);
    assert_eq!(room.leave(B), [is(7, 2, "null")]);
    assert_eq!(room.snapshot(), []);
}

#[test]
fn an_id_that_returns_at_the_clock_it_left_with_is_asked_to_announce_itself_anew() {
    let mut room = Room::new();
    room.say(A, &[(7, 4, "{}")]);
    room.leave(A);
    for clock in [4, 1, 0] {
        let (others, sender) = room.try_say(B, &[(7, clock, "{}")]).unwrap();
        assert_eq!((others, sender), (vec![], vec![is(7, 4, "null")]), "clock {clock}");
    }
    assert_eq!(room.say(B, &[(7, 5, "{}")]), [is(7, 5, "{}")]);
}

#[test]
fn a_state_at_clock_0_which_no_peer_would_accept_is_asked_for_anew() {
    let mut room = Room::new();
    let (others, sender) = room.try_say(A, &[(7, 0, "{}")]).unwrap();
    assert_eq!((others, sender), (vec![], vec![is(7, 0, "null")]));
    assert_eq!(room.say(A, &[(7, 1, "{}")]), [is(7, 1, "{}")]);
}

#[test]
fn a_living_owner_is_the_only_one_to_speak_for_its_id() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "1")]);
    room.pass(20);
    assert_eq!(room.say(B, &[(7, 2, "2"), (7, 3, "null"), (8, 1, "8")]), [is(8, 1, "8")]);
    assert_eq!(room.table.ignored(), 2);
    assert_eq!(room.say(A, &[(7, 2, "3")]), [is(7, 2, "3")]);
    assert_eq!(room.leave(B), [is(8, 1, "null")]);
}

#[test]
fn an_owner_that_took_its_state_back_still_owns_the_id() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "1"), (7, 2, "null")]);
    assert_eq!(room.say(B, &[(7, 3, "2")]), []);
    assert_eq!(room.leave(A), []);
    assert_eq!(room.say(B, &[(7, 3, "2")]), [is(7, 3, "2")]);
}

#[test]
fn the_id_of_a_silent_owner_passes_to_a_newcomer_with_a_newer_state() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "1")]);
    room.pass(21);
    assert_eq!(room.say(B, &[(7, 1, "1"), (7, 1, "null")]), [], "an echo takes nothing over");
    assert_eq!(room.say(B, &[(7, 2, "2")]), [is(7, 2, "2")]);
    assert_eq!(room.leave(A), [], "the dead socket is noticed, and nothing is its own any more");
    assert_eq!(room.snapshot(), [is(7, 2, "2")]);
    assert_eq!(room.leave(B), [is(7, 2, "null")]);
}

#[test]
fn a_state_that_is_not_renewed_expires_at_its_clock() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "1")]);
    room.pass(10);
    room.say(B, &[(8, 5, "2")]);
    room.pass(19);
    assert_eq!(room.expire(), []);
    room.pass(1);
    assert_eq!(room.expire(), [is(7, 1, "null")]);
    assert_eq!(room.say(A, &[(7, 2, "1")]), [is(7, 2, "1")], "it was alive after all");
    assert_eq!(room.snapshot(), [is(7, 2, "1"), is(8, 5, "2")]);
}

#[test]
fn the_next_expiry_is_when_expire_does_something() {
    let mut room = Room::new();
    assert_eq!(room.table.next_expiry(TIMEOUT), None);
    room.say(A, &[(7, 1, "1")]);
    assert_eq!(room.table.next_expiry(TIMEOUT), Some(Timestamp::ZERO + TIMEOUT));
    room.pass(30);
    assert_eq!(room.expire().len(), 1);
    let forgotten = room.now + REMEMBERED_FOR;
    assert_eq!(room.table.next_expiry(TIMEOUT), Some(forgotten));
    room.now = forgotten;
    assert_eq!(room.expire(), []);
    assert_eq!(room.table.next_expiry(TIMEOUT), None);
    assert!(room.table.known.is_empty() && room.table.owned.is_empty());
}

#[test]
fn a_peer_that_lagged_is_told_the_newest_of_each_and_the_removals() {
    let mut room = Room::new();
    room.say(A, &[(7, 1, "1"), (8, 1, "1")]);
    room.say(B, &[(9, 1, "1")]);
    let seen = room.table.version();
    assert_eq!(room.table.since(seen), None);
    room.say(A, &[(7, 2, "2")]);
    room.say(A, &[(7, 3, "3")]);
    room.leave(B);
    assert_eq!(told(room.table.since(seen)), [is(7, 3, "3"), is(9, 1, "null")]);
    assert_eq!(room.table.since(room.table.version()), None);
}

#[test]
fn a_message_with_one_bad_state_is_refused_and_nothing_of_it_used() {
    let mut room = Room::new();
    let fault = room.try_say(A, &[(7, 1, "{}"), (8, 1, "{a}")]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Malformed);
    assert!(fault.reason.contains("client 8"), "{fault}");
    assert!(room.table.known.is_empty());
    let fault = room.table.apply(room.now, ANYBODY, &[2, 7, 1, 2], &room.limits).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Malformed);
}

#[test]
fn a_connection_holds_its_states_and_the_places_of_its_ids() {
    let mut room = Room::new();
    assert_eq!(room.table.held_bytes(A), 0);
    let place =
        size_of::<(ClientId, Known)>() + size_of::<(Timestamp, ClientId)>() + size_of::<ClientId>();
    let state = format!("\"{}\"", "x".repeat(98));
    for count in 1..=10 {
        room.say(A, &[(count as u64, 1, &state)]);
        let places = room.table.held_bytes(A) - 100 * count;
        // Trees have room to spare, but not more than they use.
        assert!((count * place..=2 * count * place).contains(&places), "{places} for {count}");
    }
    assert_eq!(room.table.held_bytes(B), 0);
    room.leave(A);
    assert_eq!(room.table.held_bytes(A), 0);
}

#[test]
fn what_is_said_beforehand_of_a_state_is_what_becomes_of_it() {
    let limits = Limits::default();
    let of = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let most = limits.awareness_state_bytes;
    for (state, kind) in [
        (of(most), None),
        (of(most + 1), Some(FaultKind::Limit)),
        (nested(json::MAX_DEPTH), None),
        (nested(json::MAX_DEPTH + 1), Some(FaultKind::Limit)),
        ("{\"a\":".to_owned(), Some(FaultKind::Malformed)),
    ] {
        let found = check_state(&state, &limits).err().map(|fault| fault.kind);
        assert_eq!(found, kind, "{} bytes", state.len());
        assert_eq!(fits(&state, &limits), kind.is_none(), "{} bytes", state.len());
    }
}

#[test]
fn a_state_over_the_size_or_depth_is_ignored_and_the_others_are_not() {
    let mut room = Room::new();
    let large = format!("\"{}\"", "x".repeat(room.limits.awareness_state_bytes));
    let deep = "[".repeat(65) + &"]".repeat(65);
    assert_eq!(room.say(A, &[(7, 1, &large), (8, 1, &deep), (9, 1, "{}")]), [is(9, 1, "{}")]);
    assert_eq!(room.table.ignored(), 2);
}

#[test]
fn ids_beyond_a_connections_share_are_ignored() {
    let mut room = Room::new();
    let said: Vec<_> = (1..=12).map(|id| (id, 1, "{}")).collect();
    assert_eq!(room.say(A, &said).len(), 8);
    assert_eq!(room.table.ignored(), 4);
    assert_eq!(room.say(A, &[(3, 2, "{}"), (9, 2, "{}")]), [is(3, 2, "{}")]);
    assert_eq!(room.say(B, &[(9, 1, "{}")]), [is(9, 1, "{}")]);
}

#[test]
fn a_full_room_takes_no_further_states_until_one_goes() {
    let mut room = Room::new();
    room.limits.awareness_states_per_room = 2;
    room.say(A, &[(1, 1, "{}"), (2, 1, "{}")]);
    assert_eq!(room.say(B, &[(3, 1, "{}")]), []);
    assert_eq!(room.say(A, &[(1, 2, "1")]), [is(1, 2, "1")]);
    room.say(A, &[(2, 2, "null")]);
    assert_eq!(room.say(B, &[(3, 1, "{}")]), [is(3, 1, "{}")]);
}

#[test]
fn the_clocks_of_those_who_left_are_bounded_and_the_oldest_is_forgotten() {
    let mut room = Room::new();
    room.limits.awareness_states_per_room = 10;
    for id in 1..1000 {
        room.say(ConnId(id), &[(id, 1, "{}")]);
        room.pass(1);
        room.leave(ConnId(id));
        assert!(room.table.known.len() <= 20);
    }
    assert!(room.table.known.contains_key(&ClientId(999)));
    assert!(room.table.owned.is_empty());
}

#[test]
fn the_last_clock_there_is_can_be_removed_but_not_raised() {
    let mut room = Room::new();
    assert_eq!(room.say(A, &[(7, varint::MAX, "{}")]), [is(7, varint::MAX, "{}")]);
    assert_eq!(room.leave(A), [is(7, varint::MAX, "null")]);
    assert_eq!(room.say(B, &[(7, 1, "{}")]), [], "and nobody is asked to raise it");
    room.now = room.table.next_expiry(TIMEOUT).unwrap();
    room.expire();
    assert_eq!(room.say(B, &[(7, 1, "{}")]), [is(7, 1, "{}")], "it is forgotten with time");
}

fn user(name: &str) -> Identity {
    Identity::new().user(name).unwrap()
}

/// Connections A and B are Ann's, C is Bob's, D is nobody's in particular.
fn room_of_users() -> Room {
    let mut room = Room::new();
    room.identities = BTreeMap::from([(A, user("ann")), (B, user("ann")), (C, user("bob"))]);
    room
}

#[test]
fn an_id_whose_owner_is_away_is_nobody_elses() {
    let mut room = room_of_users();
    room.say(A, &[(7, 1, "1")]);
    room.leave(A);
    for thief in [C, D] {
        assert_eq!(room.say(thief, &[(7, 9, "2"), (7, 9, "null"), (7, 1, "3")]), [], "{thief:?}");
    }
    assert_eq!(room.table.ignored(), 6);
    assert_eq!(room.say(RELAY, &[(7, 2, "4")]), [is(7, 2, "4")], "she is at another server");
    assert_eq!(room.leave(RELAY), [is(7, 2, "null")]);
    assert_eq!(room.say(C, &[(7, 9, "2")]), [], "nor when she has left that");
    assert_eq!(room.say(A, &[(7, 3, "4")]), [is(7, 3, "4")], "she is back");
    room.leave(A);
    room.pass(3000);
    room.expire();
    assert_eq!(room.say(C, &[(7, 9, "2")]), [], "nor after fifty minutes");
    assert_eq!(room.say(B, &[(7, 4, "4")]), [is(7, 4, "4")], "the owner is back");
}

#[test]
fn the_id_of_a_silent_owner_passes_to_the_same_user_only() {
    let mut room = room_of_users();
    room.say(A, &[(7, 1, "1")]);
    assert_eq!(room.say(B, &[(7, 2, "2")]), [], "the owner may be alive");
    room.pass(21);
    assert_eq!(room.say(C, &[(7, 2, "2")]), []);
    assert_eq!(room.say(D, &[(7, 2, "2")]), []);
    assert_eq!(room.say(B, &[(7, 2, "2")]), [is(7, 2, "2")]);
}

#[test]
fn an_id_that_was_nobodys_in_particular_is_nobodys_for_good() {
    let mut room = room_of_users();
    room.say(D, &[(7, 1, "1")]);
    room.pass(21);
    assert_eq!(room.say(C, &[(7, 2, "2")]), [is(7, 2, "2")], "he seems to have gone");
    assert_eq!(room.say(D, &[(7, 3, "1")]), [], "but is back, too late");
    room.pass(21);
    assert_eq!(room.say(D, &[(7, 3, "1")]), [is(7, 3, "1")], "no user has it for an hour");
    let given = user("ann").ids([ClientId(7)]).unwrap();
    room.identities.insert(A, given);
    assert_eq!(room.say(A, &[(7, 4, "4")]), [is(7, 4, "4")]);
    room.leave(A);
    assert_eq!(room.say(D, &[(7, 5, "1")]), [], "it was given to her");
}

#[test]
fn an_id_is_everybodys_again_when_its_clock_is_forgotten() {
    let mut room = room_of_users();
    room.say(A, &[(7, 1, "1")]);
    room.leave(A);
    room.now = room.table.next_expiry(TIMEOUT).unwrap();
    room.expire();
    assert_eq!(room.say(C, &[(7, 1, "2")]), [is(7, 1, "2")]);
    assert_eq!(room.say(B, &[(7, 2, "1")]), [], "whoever came first has it");
}

#[test]
fn who_was_given_ids_uses_these_and_no_others() {
    let mut room = Room::new();
    let given = Identity::new().ids([ClientId(7), ClientId(8)]).unwrap();
    room.identities.insert(A, given);
    room.identities.insert(B, Identity::new().ids([]).unwrap());
    assert_eq!(room.say(A, &[(7, 1, "1"), (9, 1, "1"), (9, 0, "1")]), [is(7, 1, "1")]);
    assert_eq!(room.say(B, &[(9, 1, "1")]), []);
    room.leave(A);
    assert_eq!(room.say(D, &[(7, 2, "2")]), [], "it is somebody's, whoever that is");
    assert_eq!(room.say(D, &[(8, 1, "2")]), [is(8, 1, "2")]);
}

#[test]
fn who_was_given_an_id_gets_it_back_from_whoever_uses_it() {
    let mut room = room_of_users();
    let given = user("ann").ids([ClientId(7)]).unwrap();
    room.identities.insert(A, given);
    assert_eq!(room.say(C, &[(7, 50, "2")]), [is(7, 50, "2")], "it was free");
    let (others, sender) = room.try_say(A, &[(7, 3, "1")]).unwrap();
    assert_eq!((others, sender), (vec![], vec![is(7, 50, "null")]), "to raise its clock");
    assert_eq!(room.say(A, &[(7, 51, "1")]), [is(7, 51, "1")]);
    assert_eq!(room.say(C, &[(7, 52, "2")]), []);
    assert_eq!(room.leave(C), []);
    assert_eq!(room.snapshot(), [is(7, 51, "1")]);
    room.leave(A);
    assert_eq!(room.say(B, &[(7, 53, "1")]), [], "nor is it for her other connections");
}

#[test]
fn who_is_another_user_from_now_on_begins_anew() {
    let mut room = room_of_users();
    room.say(A, &[(7, 1, "1")]);
    assert_eq!(told(room.table.disclaim(room.now, A)), [is(7, 1, "null")]);
    room.check_indexes();
    room.identities.insert(A, user("cal"));
    assert_eq!(room.say(A, &[(7, 2, "2")]), [is(7, 2, "2")]);
    room.leave(A);
    assert_eq!(room.say(B, &[(7, 3, "1")]), [], "it is cal's");
}

#[test]
fn a_stamp_stands_in_every_state_that_is_shown() {
    let mut room = Room::new();
    room.identities.insert(A, Identity::new().stamp(r#"{"user":{"id":1}}"#).unwrap());
    let forged = r#"{"user":{"id":2,"color":3}}"#;
    let shown = r#"{"user":{"color":3,"id":1}}"#;
    assert_eq!(room.say(A, &[(7, 1, forged)]), [is(7, 1, shown)]);
    assert_eq!(room.snapshot(), [is(7, 1, shown)]);
    assert_eq!(told(room.table.since(0)), [is(7, 1, shown)]);
    assert_eq!(room.say(A, &[(7, 1, shown), (7, 1, forged)]), [], "an echo is nothing new");
    assert_eq!(room.say(A, &[(7, 1, "null")]), [is(7, 1, "null")], "going takes no stamp");
    assert_eq!(room.say(B, &[(8, 1, forged)]), [is(8, 1, forged)]);
}

#[test]
fn a_state_that_cannot_be_stamped_is_ignored() {
    let mut room = Room::new();
    room.identities.insert(A, Identity::new().stamp(r#"{"id":1}"#).unwrap());
    for json in ["1", "\"{}\"", "[{}]", "true"] {
        assert_eq!(room.say(A, &[(7, 1, json)]), [], "{json}");
    }
    assert!(room.table.is_empty());
    assert_eq!(room.table.ignored(), 4);
}

#[test]
fn a_stamped_state_is_bounded_by_the_limit_and_the_stamp() {
    let mut room = Room::new();
    let stamp = format!(r#"{{"a":"{}"}}"#, "s".repeat(Identity::MAX_STAMP_BYTES - 8));
    room.identities.insert(A, Identity::new().stamp(&stamp).unwrap());
    let limit = room.limits.awareness_state_bytes;
    let said = |len: usize| format!(r#"{{"b":"{}"}}"#, "c".repeat(len - 8));
    let told = room.say(A, &[(7, 1, &said(limit))]);
    assert_eq!(told[0].2.len(), limit + Identity::MAX_STAMP_BYTES - 1);
    assert_eq!(room.say(A, &[(7, 2, &said(limit + 1))]), []);
}

/// What a JavaScript client of y-protocols holds.
#[derive(Default)]
struct Client(BTreeMap<u64, (u64, String)>);

impl Client {
    fn hear(&mut self, told: &Told) {
        for (id, clock, json) in told {
            let (known, state) = self.0.get(id).map_or((0, GONE), |(c, j)| (*c, j.as_str()));
            if known < *clock || (known == *clock && json == GONE && state != GONE) {
                self.0.insert(*id, (*clock, json.clone()));
            }
        }
    }

    fn live(&self) -> Told {
        self.0.iter().filter(|(_, (_, j))| j != GONE).map(|(id, (c, j))| is(*id, *c, j)).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say(u64, Vec<(u64, u64, &'static str)>),
    Leave(u64),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let said = (0..6u64, 0..9u64, prop_oneof![Just("{}"), Just("1"), Just("null")]);
    prop_oneof![
        6 => (1..4u64, proptest::collection::vec(said, 1..4)).prop_map(|(c, s)| Step::Say(c, s)),
        1 => (1..4u64).prop_map(Step::Leave),
        1 => (1..40u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn a_listener_and_one_that_lagged_and_one_that_joins_agree(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut room = Room::new();
        let (mut listener, mut laggard, mut seen) = (Client::default(), Client::default(), 0);
        for (i, step) in steps.into_iter().enumerate() {
            let told_now = match step {
                Step::Say(from, said) => room.try_say(ConnId(from), &said).unwrap().0,
                Step::Leave(from) => room.leave(ConnId(from)),
                Step::Pass(seconds) => {
                    room.pass(seconds);
                    room.expire()
                }
            };
            listener.hear(&told_now);
            if i % 5 == 4 {
                laggard.hear(&told(room.table.since(seen)));
                seen = room.table.version();
            }
            prop_assert_eq!(listener.live(), room.snapshot());
        }
        laggard.hear(&told(room.table.since(seen)));
        prop_assert_eq!(laggard.live(), room.snapshot());
    }

    /// Whatever connections say and however they come and go: an id shows only whom it was first
    /// known to speak for, and each state says who that is.
    #[test]
    fn nobody_is_shown_as_somebody_else(steps in proptest::collection::vec(any_step(), 0..80)) {
        let mut room = Room::new();
        // Half of the connections are Ann's, half Bob's; nothing is forgotten in so short a time.
        let who = |conn: u64| if conn.is_multiple_of(2) { "ann" } else { "bob" };
        for conn in 1..4 {
            let stamp = format!(r#"{{"by":"{}"}}"#, who(conn));
            room.identities.insert(ConnId(conn), user(who(conn)).stamp(&stamp).unwrap());
        }
        let mut known: BTreeMap<u64, String> = BTreeMap::new();
        for step in steps {
            let told_now = match step {
                Step::Say(from, said) => room.try_say(ConnId(from), &said).unwrap().0,
                Step::Leave(from) => room.leave(ConnId(from)),
                Step::Pass(seconds) => {
                    room.pass(seconds);
                    room.expire()
                }
            };
            for (id, _, json) in told_now.into_iter().chain(room.snapshot()) {
                if json != GONE {
                    let first = known.entry(id).or_insert_with(|| json.clone());
                    prop_assert_eq!(&json, first);
                }
            }
        }
    }

    #[test]
    fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut room = Room::new();
        let _ = room.table.apply(room.now, ANYBODY, &payload, &room.limits);
        room.check_indexes();
    }
}

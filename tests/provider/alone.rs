//! A provider and a server that a test plays itself.

use crate::SECOND;
use crate::disk::whole;
use std::time::Duration;
use yroom::provider::{
    Config, Confirmation, Event, Input, Outlook, Output, Phase, Provider, StopReason,
};
use yroom::wire::encode;
use yroom::{CloseCode, Timestamp};
use yrs::{Doc, GetString, Text, Transact};

/// A provider and a server that a test plays itself.
struct Scene {
    provider: Provider,
    doc: Doc,
    now: Timestamp,
    link: yroom::provider::LinkId,
    sent: Vec<bytes::Bytes>,
    events: Vec<Event>,
    closed: bool,
}

impl Scene {
    fn new(doc: Doc) -> Self {
        Self::with(Config::default(), doc)
    }

    fn with(config: Config, doc: Doc) -> Self {
        let mut provider = Provider::new(config, &doc, || ()).unwrap();
        let now = Timestamp::from_micros(1);
        provider.connect(now);
        let link = loop {
            match provider.poll_output() {
                Some(Output::Connect { link }) => break link,
                other => assert!(other.is_some()),
            }
        };
        let (sent, events) = (vec![], vec![]);
        let mut scene = Self { provider, doc, now, link, sent, events, closed: false };
        scene.handle(Input::Connected { link });
        scene
    }

    fn handle(&mut self, input: Input) {
        self.provider.handle(self.now, input);
        self.drain();
    }

    fn hear(&mut self, frame: impl Into<bytes::Bytes>) {
        let (link, frame) = (self.link, frame.into());
        self.handle(Input::Frame { link, frame });
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.provider.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.provider.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.provider.poll_output() {
            match output {
                Output::Send { frame, .. } => self.sent.push(frame),
                Output::Event(event) => self.events.push(event),
                Output::Close { .. } => self.closed = true,
                Output::Connect { link } => self.link = link,
                Output::Pause { .. } | Output::Resume { .. } | Output::Store(_) => {}
            }
        }
    }

    fn sync(&mut self) {
        self.hear(encode::sync_step1(&[0]));
        self.hear(encode::sync_step2(&[0, 0]));
        self.sent.clear();
    }

    fn type_text(&mut self, text: &str) {
        let notes = self.doc.get_or_insert_text("text");
        notes.insert(&mut self.doc.transact_mut(), 0, text);
        self.handle(Input::Edited);
    }

    fn kinds(&self) -> Vec<[u8; 2]> {
        self.sent.iter().map(|frame| [frame[0], frame[1]]).collect()
    }
}

#[test]
fn what_malformed_servers_send_ends_the_link_and_not_the_program() {
    for frame in [
        vec![],
        vec![0],
        vec![0, 9],
        vec![0, 2, 200, 1],
        vec![0, 2, 3, 1, 1, 1],
        vec![0, 1, 4, 0xff, 0xff, 0xff, 0x7f],
        vec![0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f],
        vec![1, 4, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut scene = Scene::new(Doc::with_client_id(1));
        scene.hear(frame.clone());
        assert_eq!(scene.provider.phase(), Phase::Waiting, "{frame:02x?}");
        assert!(scene.closed);
        scene.pass(10 * SECOND);
        assert_eq!(scene.provider.phase(), Phase::Connecting);
    }
}

#[test]
fn close_codes_from_4400_to_4499_are_the_end_and_others_are_not() {
    for (code, phase) in [
        (Some(1000), Phase::Waiting),
        (Some(1012), Phase::Waiting),
        (Some(4399), Phase::Waiting),
        (Some(4400), Phase::Stopped),
        (Some(4499), Phase::Stopped),
        (Some(4500), Phase::Waiting),
        (None, Phase::Waiting),
    ] {
        let mut scene = Scene::new(Doc::new());
        let (link, code) = (scene.link, code.map(CloseCode));
        scene.handle(Input::Closed { link, code, reason: "why".to_owned() });
        assert_eq!(scene.provider.phase(), phase, "{code:?}");
    }
}

#[test]
fn whoever_has_the_document_keeps_nobody_busy_with_waiting() {
    let mut scene = Scene::new(Doc::new());
    // It never asks what there is here, so it is told unasked after a while.
    scene.hear(encode::sync_step2(&[0, 0]));
    scene.sent.clear();
    let doc = scene.doc.clone();
    let txn = doc.transact_mut();
    let mut calls = 0;
    let end = scene.now + 4 * SECOND;
    while let Some(at) = scene.provider.poll_timeout().filter(|at| *at <= end) {
        scene.now = scene.now.max(at);
        scene.provider.handle_timeout(scene.now);
        calls += 1;
        assert!(calls < 1_000, "at {} again and again", scene.now);
    }
    assert!(calls > 100, "it is looked at now and then");
    drop(txn);
    scene.pass(SECOND);
    assert_eq!(scene.kinds(), [[0, 2]]);
}

#[test]
fn a_silent_server_is_asked_first_and_given_up_then() {
    let mut scene = Scene::new(Doc::new());
    scene.sync();
    scene.pass(21 * SECOND);
    assert_eq!(scene.kinds(), [[0, 0]], "asked for its state");
    scene.pass(8 * SECOND);
    assert_eq!(scene.provider.phase(), Phase::Synced);
    scene.pass(SECOND);
    assert!(scene.closed);
    let silent = |event: &Event| matches!(event, Event::Retrying { reason, .. } if reason.contains("silent"));
    assert!(scene.events.iter().any(silent));
}

#[test]
fn what_depends_on_what_is_missing_is_asked_for_and_not_for_ever() {
    let author = Doc::with_client_id(5);
    let text = author.get_or_insert_text("text");
    text.insert(&mut author.transact_mut(), 0, "first");
    let before = {
        use yrs::ReadTxn;
        author.transact().state_vector()
    };
    text.insert(&mut author.transact_mut(), 5, " second");
    let second = {
        use yrs::ReadTxn;
        author.transact().encode_diff_v1(&before)
    };
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.hear(encode::update(&second));
    assert_eq!(scene.kinds(), [[0, 0]], "asked at once");
    let mine = scene.doc.get_or_insert_text("text");
    assert_eq!(mine.get_string(&scene.doc.transact()), "");
    // The server goes on answering with the same.
    for _ in 0..20 {
        scene.hear(encode::sync_step2(&second));
        scene.pass(11 * SECOND);
    }
    let asked = scene.sent.iter().filter(|frame| frame[..2] == [0, 0]).count();
    assert!(asked <= 12, "{asked}");
    let given_up = |event: &Event| matches!(event, Event::Retrying { reason, .. } if reason.contains("depend"));
    assert!(scene.events.iter().any(given_up), "{:?}", scene.events);
    // Another time it has all.
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.hear(encode::update(&second));
    scene.hear(encode::sync_step2(&whole(&author)));
    let mine = scene.doc.get_or_insert_text("text");
    assert_eq!(mine.get_string(&scene.doc.transact()), "first second");
}

#[test]
fn a_server_without_acknowledgements_is_asked_whether_it_has_everything() {
    let mut scene = Scene::new(Doc::with_client_id(1));
    scene.sync();
    scene.type_text("a");
    assert_eq!(scene.kinds(), [[0, 2]]);
    scene.pass(4 * SECOND);
    assert_eq!(scene.kinds(), [[0, 2], [0, 0]], "after a while");
    assert_eq!(scene.provider.confirmed(), 0);
    scene.hear(encode::sync_step2(&[0, 0]));
    assert_eq!(scene.provider.confirmed(), 1);
    let by = Confirmation::Received;
    assert!(scene.events.contains(&Event::Confirmed { upto: 1, by }));
    scene.type_text("b");
    scene.provider.confirm(scene.now);
    scene.drain();
    assert_eq!(scene.kinds().len(), 4, "at once, if somebody waits");
}

#[test]
fn a_server_that_never_asks_is_given_everything_all_the_same() {
    let doc = Doc::with_client_id(1);
    doc.get_or_insert_text("text").insert(&mut doc.transact_mut(), 0, "offline");
    let mut scene = Scene::new(doc);
    scene.hear(encode::sync_step2(&[0, 0]));
    scene.sent.clear();
    scene.type_text("more ");
    assert!(scene.sent.is_empty());
    scene.pass(4 * SECOND);
    let expected = encode::update(&whole(&scene.doc));
    assert_eq!(scene.sent.first(), Some(&expected));
}

#[test]
fn somebody_who_says_that_we_are_gone_is_contradicted() {
    let mut scene = Scene::new(Doc::with_client_id(7));
    scene.sync();
    scene.provider.set_presence(scene.now, Some("1")).unwrap();
    scene.drain();
    scene.sent.clear();
    scene.hear(encode::awareness(b"\x01\x07\x05\x04null"));
    assert_eq!(scene.sent, [encode::awareness(b"\x01\x07\x06\x011")]);
    scene.sent.clear();
    scene.hear(encode::awareness(b"\x01\x07\x05\x04null"));
    assert!(scene.sent.is_empty(), "an old one is not");
}

#[test]
fn a_server_is_asked_every_so_often_if_that_is_wished() {
    let resync = Some(4 * SECOND);
    let mut scene = Scene::with(Config { resync, ..Config::default() }, Doc::new());
    scene.sync();
    for _ in 0..5 {
        scene.pass(4 * SECOND);
        assert_eq!(scene.kinds(), [[0, 0]]);
        scene.sync();
    }
    let mut scene = Scene::new(Doc::new());
    scene.sync();
    scene.pass(15 * SECOND);
    assert!(scene.sent.is_empty(), "nobody wished it");
    scene.provider.resync(scene.now);
    scene.drain();
    assert_eq!(scene.kinds(), [[0, 0]], "or at once");
}

#[test]
fn waits_grow_with_each_failure_and_begin_anew_after_a_sync() {
    let config = Config { spread: SECOND / 10, ..Config::default() };
    let mut scene = Scene::with(config, Doc::new());
    scene.sync();
    let fail = |scene: &mut Scene| {
        scene.events.clear();
        let (link, reason) = (scene.link, "no network".to_owned());
        match scene.provider.phase() {
            Phase::Connecting => {
                let outlook = Outlook::Transient;
                scene.handle(Input::ConnectFailed { link, reason, outlook });
            }
            _ => scene.handle(Input::Closed { link, code: None, reason }),
        }
        let wait = scene.events.iter().find_map(|event| match event {
            Event::Retrying { after, .. } => Some(*after),
            _ => None,
        });
        let wait = wait.expect("it tries again");
        scene.pass(wait);
        wait
    };
    let waits: Vec<Duration> = (0..12).map(|_| fail(&mut scene)).collect();
    assert!(waits[0] <= SECOND / 10, "{waits:?}");
    assert!(waits[11] > 4 * SECOND && waits[11] <= 10 * SECOND, "{waits:?}");
    let link = scene.link;
    scene.handle(Input::Connected { link });
    scene.sync();
    assert!(fail(&mut scene) <= SECOND / 10, "as if it had never failed");
}

#[test]
fn what_is_said_of_an_earlier_connection_is_late() {
    let mut scene = Scene::new(Doc::new());
    let old = scene.link;
    scene.handle(Input::Closed { link: old, code: None, reason: String::new() });
    scene.pass(10 * SECOND);
    assert_ne!(scene.link, old);
    let link = scene.link;
    scene.handle(Input::Connected { link: old });
    assert_eq!(scene.provider.phase(), Phase::Connecting);
    scene.handle(Input::Connected { link });
    scene.handle(Input::Closed { link: old, code: Some(CloseCode(4401)), reason: String::new() });
    scene.handle(Input::Frame { link: old, frame: bytes::Bytes::from_static(&[9]) });
    assert_eq!(scene.provider.phase(), Phase::Handshaking);
}

#[test]
fn the_same_seed_and_inputs_give_the_same_outputs() {
    let transcript = |seed| {
        let mut scene = Scene::new(Doc::with_client_id(3));
        scene.provider =
            Provider::new(Config { seed, ..Config::default() }, &scene.doc, || ()).unwrap();
        scene.provider.connect(scene.now);
        scene.pass(300 * SECOND);
        format!("{:?} {:?}", scene.sent, scene.events)
    };
    assert_eq!(transcript(1), transcript(1));
    assert_ne!(transcript(1), transcript(2));
}

#[test]
fn no_hostile_update_harms_the_program() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/hostile");
    let mut lines = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        for server in [encode::update as fn(&[u8]) -> _, encode::sync_step2, encode::sync_step1] {
            let mut scene = Scene::new(Doc::with_client_id(1));
            scene.sync();
            let own = scene.doc.get_or_insert_text("own");
            own.push(&mut scene.doc.transact_mut(), "mine");
            scene.handle(Input::Edited);
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let hex = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
                let update: Vec<u8> = (0..line.len()).step_by(2).map(hex).collect();
                scene.hear(server(&update));
                lines += 1;
                if scene.closed {
                    // Given up; another attempt succeeds.
                    scene.pass(20 * SECOND);
                    let link = scene.link;
                    scene.handle(Input::Connected { link });
                    scene.closed = false;
                }
            }
            own.push(&mut scene.doc.transact_mut(), " still");
            scene.handle(Input::Edited);
            let copy = Doc::new();
            {
                use yrs::updates::decoder::Decode;
                let update = yrs::Update::decode_v1(&whole(&scene.doc)).unwrap();
                copy.transact_mut().apply_update(update).unwrap();
            }
            let text = copy.get_or_insert_text("own").get_string(&copy.transact());
            assert_eq!(text, "mine still", "{}", path.display());
        }
    }
    assert!(lines > 30);
}

#[test]
fn what_yrs_does_not_survive_stops_the_provider_and_not_the_program() {
    let old_values = [1, 1, 7, 0, 2, 1, 1, b'a', 1, 1, b'1', 0];
    let subdocument = [1, 1, 7, 0, 9, 1, 1, b'a', 1, b'g', 118, 0, 0];
    let mut flood = vec![200, 1];
    for client in (1_u8..=200).rev() {
        // A client id of 32 low bits without a difference.
        flood.extend([1, 0x80, 0x80, 0x80, 0x80, 0x80 | (client << 4), client >> 3, 0, 0, 1]);
    }
    flood.push(0);
    for (update, why) in
        [(&old_values[..], "before version 13"), (&subdocument, "sub-documents"), (&flood, "slow")]
    {
        let mut scene = Scene::new(Doc::with_client_id(1));
        scene.hear(encode::sync_step2(update));
        let stopped = |event: &Event| matches!(event, Event::Stopped(StopReason::Unreadable { reason }) if reason.contains(why));
        assert!(scene.events.iter().any(stopped), "{why}: {:?}", scene.events);
        assert_eq!(scene.provider.phase(), Phase::Stopped);
    }
}

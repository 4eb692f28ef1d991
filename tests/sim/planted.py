#!/usr/bin/env python3
"""Plants bugs in a copy of the engine, one at a time, and lets the simulation find each.

    tests/sim/planted.py [NAME…]
    tests/sim/planted.py --places      whether each can still be planted, and nothing more

`PLANTED_TARGET` names a directory for what is compiled, to be kept between runs. The engine itself
is never changed. A bug is a replacement in one file; one whose place is not there
exactly once is an error, so that the list cannot rot. Prints a line for each bug: after how many
seeds it was found, and by which promise. Exits non-zero if one was not found within 2,000 seeds.
"""
import os, re, subprocess, sys, tempfile, time

SEEDS = 2000
ROOT = subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True,
                               cwd=os.path.dirname(os.path.abspath(__file__))).strip()

BUGS = [
    ("ack-before-durable", "src/room/fan_out.rs",
     "Durability::BeforeFanout => acknowledge(cx, update.author, gate),",
     "Durability::BeforeFanout => acknowledge(cx, update.author, self.journal.accepted()),"),
    ("shown-before-durable", "src/room/fan_out.rs",
     "Durability::BeforeFanout => self.hold(seq, Gated::Update(held)),",
     "Durability::BeforeFanout => self.hold(Seq::ZERO, Gated::Update(held)),"),
    ("saved-before-durable", "src/room/sync.rs",
     "let gate = self.journal.accepted();", "let gate = Seq::ZERO;"),
    ("gap-accepted", "src/document.rs",
     "let Some(part) = ready.part else { return Ok(Verdict::Gap) };",
     "let part = ready.part.map_or(Cow::Borrowed(update), |_| Cow::Borrowed(update));"),
    ("ghost-kept", "src/awareness/mod.rs",
     "            if self.remove(now, client, version) {\n                changed.insert(client);\n            }\n        }\n        self.publish",
     "            self.disown(client);\n        }\n        self.publish"),
    ("ghost-of-a-returning-id", "src/awareness/mod.rs",
     "        self.owned.entry(from.conn).or_default().insert(client);",
     "        if !self.known.contains_key(&client) {\n            self.owned.entry(from.conn).or_default().insert(client);\n        }"),
    ("foreign-presence-taken", "src/awareness/mod.rs",
     "let foreign = known.owner.is_some_and(|owner| owner != from.conn);", "let foreign = false;"),
    ("old-presence-taken", "src/awareness/mod.rs",
     "(false, _) if entry.clock > known.clock => self.judge_newer",
     "(false, _) if entry.clock + 2 > known.clock => self.judge_newer"),
    ("lagging-peer-forgotten", "src/room/fan_out.rs",
     "            let lacking = self.document.diff(&lag.have, visible);\n",
     "            let lacking = update::EMPTY;\n"),
    ("no-credit-for-the-large", "src/room/fan_out.rs",
     "if peer.unsent > 0 && peer.unsent", "if peer.unsent"),
    ("answers-without-bound", "src/room/fan_out.rs",
     "peer.lag.is_none() && peer.unsent > cx.config.limits.outbox_bytes", "peer.lag.is_none() && peer.unsent > usize::MAX - 1"),
    ("corrections-without-bound", "src/room/sync.rs",
     "            match self.owed(cx, slot) {\n                // With all", "            match None::<&mut crate::peer::Lag> {\n                // With all"),
    ("inbox-kept", "src/room/load.rs",
     "for frame in std::mem::take(&mut peer.inbox) {", "for frame in peer.inbox.clone() {"),
    ("questions-without-bound", "src/room/fan_out.rs",
     "peer.statuses_held < STATUSES_HELD", "peer.statuses_held < u8::MAX"),
    ("slices-without-end", "src/room/feed.rs",
     "first.filter(|_| !slices.is_finished())", "first"),
    ("merge-drops-a-deletion", "src/update/merge/emit.rs",
     "for &(start, end) in &client.deletes {",
     "for (at, &(start, end)) in client.deletes.iter().enumerate() {\n                let end = if at == 3 { start + 1 } else { end };"),
    ("diff-starts-late", "src/update/diff.rs",
     "let from = have.get(section.client);",
     "let from = have.get(section.client);\n        let from = if from > 2 { from + 1 } else { from };"),
    ("deletions-are-nothing-new", "src/document.rs",
     "            || scan.deletes.iter().any(|range| !self.deleted.contains(*range))",
     "            || scan.deletes.iter().any(|range| !self.deleted.contains(*range) && scan.structs > 0)"),
    ("stale-completion-believed", "src/journal.rs",
     "        self.durable = upto;\n", "        self.durable = self.accepted;\n"),
    ("failed-write-believed", "src/room/keep.rs",
     "        if self.journal.fail(cx.now, seq, cx.rng) {\n",
     "        let _ = self.journal.confirm(seq);\n        if self.journal.fail(cx.now, seq, cx.rng) {\n"),
    ("failed-write-forgotten", "src/journal.rs",
     "failing.retry_at = Some(now + rng.backoff(failing.attempts, RETRY_BASE, RETRY_CAP));",
     "let _ = (now, rng.backoff(failing.attempts, RETRY_BASE, RETRY_CAP));"),
    ("snapshot-claims-too-much", "src/room/keep.rs",
     "        let upto = self.journal.durable();\n        self.document.fold(upto);",
     "        let upto = self.journal.accepted();\n        self.document.fold(self.journal.durable());"),
    ("snapshot-lacks-the-last", "src/document.rs",
     "let (updates, end) = self.tail.first(count);",
     "let (mut updates, end) = self.tail.first(count);\n        if updates.len() > 3 {\n            updates.pop();\n        }"),
    ("unloaded-unsaved", "src/room/keep.rs",
     "self.phase == Phase::Draining && self.journal.is_durable()", "self.phase == Phase::Draining"),
    ("failed-load-is-empty", "src/room/load.rs",
     "        let loaded = result.and_then(|stored| {",
     "        let loaded = result.or_else(|_| Ok(Stored::default())).and_then(|stored| {"),
    ("damage-is-skipped", "src/document.rs",
     'let scan = update::scan(update, &ScanLimits::NONE).map_err(|e| corrupt("update", e))?;',
     "let Ok(scan) = update::scan(update, &ScanLimits::NONE) else { continue };"),
    ("readers-write", "src/peer.rs", "Rights::Read => false,", "Rights::Read => true,"),
    ("silence", "src/room/mod.rs",
     "peer.last_sent + cx.config.keepalive < next_tick", "peer.last_sent + cx.config.keepalive * 9 < next_tick"),
    ("sent-after-close", "src/room/fan_out.rs",
     "if Some(peer.conn) == except || !peer.is_open() || peer.lag.is_some()",
     "if Some(peer.conn) == except || peer.lag.is_some()"),
    ("asks-for-ever", "src/room/sync.rs",
     "gap.attempts >= cx.config.limits.gap_attempts", "gap.attempts >= u32::MAX"),
    ("slot-mixed-up", "src/hub.rs",
     "            moved.slot = place.slot;", "            moved.slot = place.slot.max(1);"),
    ("edits-confirmed-too-early", "src/provider/sync.rs",
     "let upto = upto.min(link.sent);", "let upto = upto.max(link.sent);"),
    ("offline-edits-forgotten", "src/provider/sync.rs",
     "Direction::Both => self.replica.lacking(&have)?,", "Direction::Both => update::EMPTY.to_vec(),"),
    ("held-back-edits-forgotten", "src/provider/sync.rs",
     "Some(have) if has_room && link.follows => have.clone(),",
     "Some(_) if has_room && link.follows => self.replica.have().clone(),"),
    ("edits-not-held-back", "src/provider/sync.rs",
     "&& link.unsent > self.config.limits.outbox_bytes", "&& link.unsent > usize::MAX - 1"),
    ("presence-not-renewed", "src/provider/sync.rs",
     "            self.presence.renewal_due(self.config.presence_renewal),\n            confirmation,",
     "            None,\n            confirmation,"),
    ("own-removal-believed", "src/provider/presence.rs",
     "denied && self.clock < varint::MAX", "denied && self.clock == varint::MAX"),
    ("others-stay-after-the-link", "src/provider/presence.rs",
     "        self.others.clear();\n", ""),
    ("copy-misses-what-others-write", "src/provider/sync.rs",
     "        if let Some(part) = integrated.part {\n            self.keep(&part);\n        }\n", ""),
    ("stamp-forgotten", "src/awareness/mod.rs",
     "shown(entry.json, from.stamp())", "shown(entry.json, None)"),
    ("unstampable-shown", "src/awareness/mod.rs",
     "&& (from.stamp().is_none() || stamp::is_object(entry.json))", ""),
    ("ids-not-given-used", "src/awareness/mod.rs",
     "        if !from.may_use(entry.client) {", "        if !from.may_use(entry.client) && limits.awareness_ids_per_connection == 0 {"),
    ("relay-bounded-like-a-client", "src/room/relay.rs",
     "awareness_ids_per_connection: config.limits.awareness_states_per_room,",
     "awareness_ids_per_connection: config.limits.awareness_ids_per_connection,"),
    ("all-history-folded", "src/room/keep.rs",
     "self.log.slows_loading(self.document.bytes()),\n            Folding::AtBounds => false,",
     "self.log.slows_loading(self.document.bytes()),\n            Folding::AtBounds => true,"),
    ("quiet-rooms-not-folded", "src/room/log.rs",
     "            || older(self.changed, history.ttl)\n", ""),
    ("log-grows-beyond-its-bytes", "src/room/log.rs",
     "history.log_bytes.is_some_and(|bound| self.bytes > bound)", "history.log_bytes.is_some_and(|bound| self.bytes > bound * 4)"),
    ("log-grows-beyond-its-age", "src/room/log.rs",
     "older(self.began, history.log_age)", "older(self.began, history.ttl)"),
    ("young-rows-folded", "src/room/keep.rs",
     "take_while(|(row, age)| **age > bound && row.last() <= durable)",
     "take_while(|(row, age)| **age + **age > bound && row.last() <= durable)"),
    ("old-rows-not-folded", "src/room/log.rs",
     "self.is_old(now, &config.history).then_some(Due::Older)",
     "(self.rows > 9 && self.is_old(now, &config.history)).then_some(Due::Older)"),
    ("served-before-the-first-content", "src/room/load.rs",
     "Ok(()) if self.journal.is_durable() => self.go_live(cx),",
     "Ok(()) if self.journal.durable() <= self.journal.accepted() => self.go_live(cx),"),
    ("begun-though-stored", "src/room/load.rs",
     "Absent::Initialise if stored.is_absent() =>", "Absent::Initialise if stored.log.len() < 3 =>"),
    ("deletion-believed", "src/room/application.rs",
     "cx.event(Event::RoomDeleted { room: self.id, result });",
     "let _ = result;\n            cx.event(Event::RoomDeleted { room: self.id, result: Ok(()) });"),
    ("deletion-not-asked-for", "src/room/application.rs",
     "        cx.push(Output::Store(StoreOp::Delete { room: self.id, name: self.name.clone() }));",
     "        self.deleted(cx, Ok(()));"),
    ("let-in-while-deleted", "src/hub.rs",
     "            if room.is_being_deleted() {", "            if room.is_being_deleted() && room.peer_count() > 9 {"),
    ("differs-from-run-to-run", "src/hub.rs",
     "rng: SplitMix64::new(config.seed),",
     "rng: SplitMix64::new(std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1)),"),
]


def copy_of(tree):
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT).split(b"\0")
    for name in filter(None, map(os.fsdecode, files)):
        if name.startswith(("fuzz/", "tests/interop/", "tests/referee/")):
            continue
        target = os.path.join(tree, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(os.path.join(ROOT, name), "rb") as source, open(target, "wb") as out:
            out.write(source.read())


def write(path, text):
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def find(tree, target, name, file, old, new):
    path = os.path.join(tree, file)
    with open(path, encoding="utf-8") as source:
        text = source.read()
    if text.count(old) != 1:
        return f"{name}: its place is {text.count(old)} times in {file}", False
    write(path, text.replace(old, new))
    try:
        env = dict(os.environ, CARGO_TARGET_DIR=target, CARGO_PROFILE_DEV_DEBUG="0",
                   CARGO_PROFILE_DEV_OPT_LEVEL="1", RUSTFLAGS="-Awarnings")
        built = subprocess.run(["cargo", "build", "-q", "-p", "yroom-sim"], cwd=tree, env=env,
                               capture_output=True, text=True)
        if built.returncode:
            return f"{name}: does not compile\n{built.stderr[-2000:]}", False
        started = time.time()
        args = [os.path.join(target, "debug", "yroom-sim"), "run", "--seeds", str(SEEDS),
                "--stop-after", "1", "--no-shrink"]
        if name == "differs-from-run-to-run":
            args.append("--twice")
        ran = subprocess.run(args, capture_output=True, text=True, errors="replace")
        seen = re.search(r"^seeds=(\d+) failures=(\d+)", ran.stdout, re.M)
        broken = re.search(r"^SEED=(\d+) (?:at [^ ]+ )?(.*)", ran.stdout, re.M)
        if not seen or seen[2] == "0" or not broken:
            return f"{name}: NOT FOUND {ran.stdout[-200:]} {ran.stderr[-500:]}", False
        took = time.time() - started
        return f"{name}: after {seen[1]} seeds, {took:.0f} s: {broken[2][:100]}", True
    finally:
        write(path, text)


def main():
    if "--places" in sys.argv:
        lost = [f"{name}: its place is {there} times in {file}" for name, file, old, _ in BUGS
                if (there := open(os.path.join(ROOT, file), encoding="utf-8").read().count(old)) != 1]
        print(*lost, f"{len(BUGS) - len(lost)} of {len(BUGS)} bugs can be planted", sep="\n")
        sys.exit(bool(lost))
    wanted = [arg for arg in sys.argv[1:] if not arg.startswith("--")]
    with tempfile.TemporaryDirectory() as tree:
        target = os.environ.get("PLANTED_TARGET", os.path.join(tree, "target"))
        copy_of(tree)
        missed = 0
        for name, *bug in BUGS:
            if wanted and name not in wanted:
                continue
            line, found = find(tree, target, name, *bug)
            print(line, flush=True)
            missed += not found
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()

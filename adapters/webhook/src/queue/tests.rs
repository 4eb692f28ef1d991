use super::*;
use yroom::Seq;

const PACE: Pace = Pace {
    wait: Duration::from_secs(2),
    max_wait: Duration::from_secs(10),
    give_up_after: Duration::from_secs(60),
};

/// A queue at a time of its own.
struct World {
    queue: Queue<()>,
    start: Instant,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self { queue: Queue::new(PACE), start: now, now }
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn change(&mut self, room: &str, upto: u64) {
        let notice = Notice { topic: Topic::Change, at_ms: 0, detail: Detail::Upto(Seq(upto)) };
        assert!(self.queue.push(self.now, &name(room), notice));
    }

    fn tell(&mut self, room: &str, topic: Topic) -> bool {
        let notice = Notice { topic, at_ms: 0, detail: Detail::Nothing };
        self.queue.push(self.now, &name(room), notice)
    }

    fn take(&mut self) -> Option<Errand<()>> {
        self.queue.take(self.now)
    }

    fn done(&mut self, errand: Errand<()>, outcome: Outcome) -> Sequel {
        self.queue.done(self.now, errand, outcome)
    }

    /// Takes and delivers what has to be there.
    fn told(&mut self) -> (Topic, Detail) {
        let errand = self.take().expect("something is due");
        let told = (errand.notice.topic, errand.notice.detail.clone());
        assert_eq!(self.done(errand, Outcome::Delivered), Sequel::Settled);
        told
    }

    fn due_in_ms(&self) -> Option<u128> {
        self.queue.next_due().map(|at| at.saturating_duration_since(self.start).as_millis())
    }
}

fn name(room: &str) -> RoomName {
    RoomName::new(room).unwrap()
}

#[test]
fn changes_wait_for_more_and_are_told_as_one() {
    let mut world = World::new();
    world.at(0).change("a", 1);
    world.at(1000).change("a", 2);
    assert!(world.at(2999).take().is_none());
    assert_eq!(world.at(3000).told(), (Topic::Change, Detail::Upto(Seq(2))));
    assert!(world.queue.is_empty());
}

#[test]
fn whoever_never_stops_changing_is_told_after_the_longest_wait() {
    let mut world = World::new();
    for second in 0..10 {
        world.at(second * 1000).change("a", second);
        assert!(world.take().is_none());
    }
    assert_eq!(world.at(10_000).told(), (Topic::Change, Detail::Upto(Seq(9))));
}

#[test]
fn the_last_change_is_told_before_the_end_and_other_notices_at_once() {
    let mut world = World::new();
    world.change("a", 1);
    world.tell("a", Topic::Join);
    assert_eq!(world.told().0, Topic::Join);
    assert!(world.take().is_none(), "the change waits");
    world.tell("a", Topic::Leave);
    world.tell("a", Topic::Close);
    assert_eq!(world.told().0, Topic::Leave);
    assert_eq!(world.told().0, Topic::Change);
    assert_eq!(world.told().0, Topic::Close);
    assert!(world.queue.is_empty());
}

#[test]
fn a_room_that_is_gone_has_no_change_to_tell() {
    let mut world = World::new();
    world.change("a", 1);
    world.queue.forget_change(world.now, &name("a"));
    assert!(world.queue.is_empty());
    assert_eq!(world.queue.next_due(), None);
}

#[test]
fn a_failure_is_tried_again_later_and_later() {
    let mut world = World::new();
    world.tell("a", Topic::Open);
    for (at, next) in [(0, 1000), (1000, 3000), (3000, 7000), (7000, 15_000), (15_000, 31_000)] {
        assert!(at == 0 || world.at(at - 1).take().is_none());
        let errand = world.at(at).take().unwrap();
        world.done(errand, Outcome::Failed);
        assert_eq!(world.due_in_ms(), Some(next));
    }
}

#[test]
fn what_changes_while_it_is_told_is_told_again_and_after_a_failure_instead() {
    let mut world = World::new();
    world.change("a", 1);
    let errand = world.at(2000).take().unwrap();
    world.change("a", 2);
    assert!(world.at(9000).take().is_none(), "one at a time");
    world.tell("b", Topic::Open);
    assert_eq!(world.told().0, Topic::Open, "another room does not wait");
    world.done(errand, Outcome::Failed);
    let errand = world.at(10_000).take().unwrap();
    assert_eq!(errand.notice.detail, Detail::Upto(Seq(2)));
    world.change("a", 3);
    world.done(errand, Outcome::Delivered);
    assert_eq!(world.at(12_000).told().1, Detail::Upto(Seq(3)));
    assert!(world.queue.is_empty());
}

#[test]
fn a_room_that_is_never_to_be_had_is_given_up_too() {
    let mut world = World::new();
    world.change("a", 1);
    loop {
        world.now = world.queue.next_due().unwrap();
        let errand = world.take().unwrap();
        if world.done(errand, Outcome::Postponed) == Sequel::GivenUp(0) {
            break;
        }
    }
    assert!(world.now - world.start >= PACE.give_up_after);
    assert!(world.queue.is_empty());
}

#[test]
fn what_nobody_takes_is_given_up_and_the_next_notice_says_so() {
    let mut world = World::new();
    world.tell("a", Topic::Open);
    let mut attempts = 0;
    loop {
        world.now = world.queue.next_due().unwrap();
        let errand = world.take().unwrap();
        attempts += 1;
        if let Sequel::GivenUp(count) = world.done(errand, Outcome::Failed) {
            assert_eq!(count, attempts);
            break;
        }
        world.tell("a", Topic::Leave);
    }
    assert_eq!(attempts, 7, "at 0, 1, 3, 7, 15, 31 and 61 s");
    let errand = world.take().unwrap();
    assert_eq!((errand.notice.topic, errand.lost), (Topic::Leave, 1));
    assert_eq!(world.done(errand, Outcome::Refused), Sequel::GivenUp(1));
}

#[test]
fn of_too_much_the_oldest_goes_and_is_counted() {
    let mut world = World::new();
    for _ in 0..NOTICES {
        assert!(world.tell("a", Topic::Join));
    }
    assert!(!world.tell("a", Topic::Leave));
    let errand = world.take().unwrap();
    assert_eq!(errand.lost, 1);
    for room in 1..ROOMS {
        assert!(world.tell(&room.to_string(), Topic::Open));
    }
    assert!(!world.tell("one too many", Topic::Open));
    assert_eq!(world.queue.waiting().0, NOTICES + ROOMS - 1);
}

#[test]
fn at_the_end_nothing_waits_for_more() {
    let mut world = World::new();
    world.change("a", 1);
    world.tell("b", Topic::Open);
    let errand = world.take().unwrap();
    world.done(errand, Outcome::Failed);
    world.queue.hurry(world.now);
    let errand = world.take().expect("the change");
    assert_eq!(errand.room, name("a"));
    world.done(errand, Outcome::Postponed);
    assert_eq!(world.due_in_ms(), Some(500));
    world.at(500).told();
    world.told();
    assert!(world.queue.is_empty());
}

//! The others: they talk at a steady pace, and the time is taken.

use crate::peer::{Peer, typing};
use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

const ROOMS: usize = 4;
const PACE: Duration = Duration::from_millis(5);

/// Some rooms of two.
pub(crate) struct Neighbourhood(Vec<Pair>);

struct Pair {
    ann: Peer,
    bob: Peer,
    said: u64,
}

/// How long their words took.
pub(crate) struct Talk {
    words: usize,
    median: Duration,
    pub(crate) p99: Duration,
    slowest: Duration,
}

impl Neighbourhood {
    pub(crate) fn of(addr: SocketAddr) -> Self {
        let pair = |room: usize| {
            let [(ann, _), (bob, _)] = [(); 2].map(|()| Peer::join(addr, &format!("next-{room}")));
            Pair { ann, bob, said: 0 }
        };
        Self((0..ROOMS).map(pair).collect())
    }

    /// Has all of them talk for a while.
    pub(crate) fn talk(&mut self, span: Duration) -> Talk {
        let times = thread::scope(|scope| {
            let talks: Vec<_> =
                self.0.iter_mut().map(|pair| scope.spawn(move || pair.talk(span))).collect();
            talks.into_iter().flat_map(|talk| talk.join().expect("they hear each other")).collect()
        });
        Talk::of(times)
    }
}

impl Pair {
    fn talk(&mut self, span: Duration) -> Vec<Duration> {
        let (start, mut times) = (Instant::now(), Vec::new());
        loop {
            let due = start + PACE * times.len() as u32;
            if due >= start + span {
                return times;
            }
            // One who overslept is late by itself; one who still waited for the last word is not.
            let began = match due.checked_duration_since(Instant::now()) {
                Some(early) => {
                    thread::sleep(early);
                    Instant::now()
                }
                None => due,
            };
            self.ann.update(&typing(77, self.said, "x"));
            self.bob.wait_for(|message| message.starts_with(&[0, 2]));
            self.said += 1;
            times.push(began.elapsed());
        }
    }
}

impl Talk {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        Self { words: times.len(), median: at(50), p99: at(99), slowest: at(100) }
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, median, p99, slowest } = self;
        write!(f, "{words} words, median {median:.2?}, p99 {p99:.2?}, slowest {slowest:.2?}")
    }
}

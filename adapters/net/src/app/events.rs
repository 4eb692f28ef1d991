//! What happens in the rooms, as a stream.

use super::PeerId;
use futures_util::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use yroom::{Event, RoomName};

/// Something that happened in a room.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Happening {
    /// Where.
    pub room: RoomName,
    /// To whom, if it is about a connection.
    pub peer: Option<PeerId>,
    /// What.
    pub event: Event,
}

/// What a reader of [`Events`] is given.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Something happened.
    Happened(Happening),
    /// So many happenings were left out here, because the reader was too slow.
    Lost(u64),
}

/// How many happenings wait for a reader.
const WAITING: usize = 4096;

/// What happens in all rooms of a server from now on, in order for each room.
///
/// At most 4,096 happenings wait for a reader that is slow; what comes beyond is counted, and the
/// reader is told how many it has lost. The stream ends with the server.
pub struct Events {
    queue: Arc<Queue>,
}

/// Everybody who reads.
#[derive(Default)]
pub(crate) struct Subscribers {
    count: AtomicUsize,
    queues: Mutex<Option<Vec<Arc<Queue>>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    happenings: VecDeque<Happening>,
    lost: u64,
    over: bool,
    waker: Option<Waker>,
}

impl Subscribers {
    pub(crate) fn new() -> Self {
        Self { count: AtomicUsize::new(0), queues: Mutex::new(Some(Vec::new())) }
    }

    /// Whether nobody reads.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// One more reader.
    pub(crate) fn subscribe(&self) -> Events {
        let queue = Arc::new(Queue::default());
        match &mut *lock(&self.queues) {
            Some(queues) => {
                queues.push(Arc::clone(&queue));
                self.count.store(queues.len(), Ordering::Relaxed);
            }
            None => queue.end(),
        }
        Events { queue }
    }

    /// Tells everybody.
    pub(crate) fn publish(&self, happening: &Happening) {
        let mut queues = lock(&self.queues);
        let Some(queues) = &mut *queues else { return };
        // The other handle is the reader's.
        queues.retain(|queue| Arc::strong_count(queue) > 1);
        self.count.store(queues.len(), Ordering::Relaxed);
        for queue in queues {
            queue.push(happening);
        }
    }

    /// Nothing happens any more.
    pub(crate) fn end(&self) {
        let queues = lock(&self.queues).take();
        self.count.store(0, Ordering::Relaxed);
        queues.into_iter().flatten().for_each(|queue| queue.end());
    }
}

impl Queue {
    fn push(&self, happening: &Happening) {
        let waker = {
            let mut waiting = lock(&self.state);
            if waiting.happenings.len() < WAITING && waiting.lost == 0 {
                waiting.happenings.push_back(happening.clone());
            } else {
                waiting.lost += 1;
            }
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self) {
        let waker = {
            let mut waiting = lock(&self.state);
            waiting.over = true;
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Events {
    /// The next news; `None` when the server has ended.
    pub async fn next(&mut self) -> Option<News> {
        std::future::poll_fn(|cx| self.queue.poll(cx)).await
    }
}

impl Queue {
    fn poll(&self, cx: &Context<'_>) -> Poll<Option<News>> {
        let mut waiting = lock(&self.state);
        if let Some(happening) = waiting.happenings.pop_front() {
            Poll::Ready(Some(News::Happened(happening)))
        } else if waiting.lost > 0 {
            Poll::Ready(Some(News::Lost(std::mem::take(&mut waiting.lost))))
        } else if waiting.over {
            Poll::Ready(None)
        } else {
            waiting.waker = Some(cx.waker().clone());
            Poll::Pending
        }
    }
}

impl Stream for Events {
    type Item = News;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<News>> {
        self.queue.poll(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.queue.state);
        f.debug_struct("Events")
            .field("waiting", &waiting.happenings.len())
            .field("lost", &waiting.lost)
            .finish_non_exhaustive()
    }
}

/// A push cannot panic half-way, so a poisoned lock holds nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use yroom::RoomId;

    fn happening(room: u64) -> Happening {
        Happening {
            room: RoomName::new("r").unwrap(),
            peer: None,
            event: Event::RoomRecovered { room: RoomId::from_raw(room) },
        }
    }

    fn read(events: &mut Events) -> Poll<Option<News>> {
        Pin::new(events).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_slow_reader_is_told_how_many_it_has_lost_and_where() {
        let subscribers = Subscribers::new();
        let mut events = subscribers.subscribe();
        for n in 0..WAITING as u64 + 7 {
            subscribers.publish(&happening(n));
        }
        for n in 0..WAITING as u64 {
            assert_eq!(read(&mut events), Poll::Ready(Some(News::Happened(happening(n)))));
        }
        assert_eq!(read(&mut events), Poll::Ready(Some(News::Lost(7))));
        subscribers.publish(&happening(1));
        assert_eq!(read(&mut events), Poll::Ready(Some(News::Happened(happening(1)))));
        assert_eq!(read(&mut events), Poll::Pending);
        subscribers.end();
        assert_eq!(read(&mut events), Poll::Ready(None));
    }

    #[test]
    fn a_reader_that_is_gone_costs_nothing_any_more() {
        let subscribers = Subscribers::new();
        assert!(subscribers.is_empty());
        let events = subscribers.subscribe();
        assert!(!subscribers.is_empty());
        drop(events);
        subscribers.publish(&happening(1));
        assert!(subscribers.is_empty());
    }
}

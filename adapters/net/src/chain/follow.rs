//! The task of a chain: dials the upstream server, makes it a peer of the room, and dials again.

use super::handshake::shake;
use super::shared::{ChainPhase, Shared};
use super::{ChainOptions, Retry};
use crate::accept::{Site, before};
use crate::client::dial::{Address, Failure, approach};
use crate::conn::{Conn, Farewell};
use crate::link::{Duplex, Link};
use crate::runtime::Runtime;
use crate::server::Notice;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use yroom::provider::Outlook;
use yroom::{CloseCode, RoomName};

/// A link that lasted so long was a good one: the next is not made to wait for those before it.
const STEADY: Duration = Duration::from_secs(10);

/// A room's way to its upstream server.
pub(crate) struct Upstream {
    room: RoomName,
    address: Address,
    options: ChainOptions,
    shared: Arc<Shared>,
}

/// A WebSocket whose handshake is done, and what was read beyond that.
type Opened = (Box<dyn Duplex>, Vec<u8>);

impl Upstream {
    pub(super) const fn new(
        room: RoomName,
        address: Address,
        options: ChainOptions,
        shared: Arc<Shared>,
    ) -> Self {
        Self { room, address, options, shared }
    }

    /// Links the room, again and again, until nobody wants it or it cannot be.
    pub(crate) async fn follow<R: Runtime>(self: Box<Self>, site: Rc<Site<R>>) {
        let mut attempts = 0;
        while !self.shared.is_given_up() && site.shard.is_serving() {
            self.tell(&site, ChainPhase::Connecting, None);
            let dialled = Instant::now();
            let failure = self.link(&site).await;
            if self.shared.is_given_up() || !site.shard.is_serving() {
                break;
            }
            match failure.outlook {
                Outlook::Permanent => {
                    return self.tell(&site, ChainPhase::Stopped, Some(failure.reason));
                }
                Outlook::Transient => {}
            }
            attempts = if dialled.elapsed() >= STEADY { 0 } else { attempts + 1 };
            self.tell(&site, ChainPhase::Waiting, Some(failure.reason));
            let again =
                site.runtime.sleep_until(Instant::now() + self.options.retry.wait(attempts));
            before(self.shared.given_up(), again).await;
        }
        self.tell(&site, ChainPhase::Stopped, Some("closed".to_owned()));
    }

    /// A link's life; says why it ended.
    async fn link<R: Runtime>(&self, site: &Rc<Site<R>>) -> Failure {
        let deadline = Instant::now() + self.options.retry.connect_timeout;
        let dialling = before(site.runtime.sleep_until(deadline), self.dial(site));
        let (stream, part) = match before(self.shared.given_up(), dialling).await {
            Some(Some(Ok(opened))) => opened,
            Some(Some(Err(failure))) => return failure,
            Some(None) => return Failure::transient("connecting", "it took too long"),
            None => return Failure::transient("connecting", "given up"),
        };
        let shard = &site.shard;
        let id = match shard.open(&self.room, self.options.access.clone()) {
            Ok(id) => id,
            Err(reject) => return Failure::transient("the room here", reject),
        };
        let link = Link::of_client(stream, shard.limits());
        let conn = Rc::new(Conn::new(id, link, part, shard.now()));
        shard.enrol(&conn);
        self.tell(site, ChainPhase::Linked, None);
        let mut served = pin!(Rc::clone(&conn).serve(Rc::clone(shard)));
        if before(self.shared.given_up(), served.as_mut()).await.is_none() {
            if conn.close(CloseCode::NORMAL, "") {
                shard.leaves(id);
            }
            served.await;
        }
        ended(conn.farewell())
    }

    async fn dial<R: Runtime>(&self, site: &Site<R>) -> Result<Opened, Failure> {
        let asked = approach(&site.runtime, &self.address, &self.options.door).await;
        let (mut stream, request) = asked?;
        let part = shake(&mut *stream, request).await?;
        Ok((stream, part))
    }

    fn tell<R: Runtime>(&self, site: &Site<R>, phase: ChainPhase, trouble: Option<String>) {
        self.shared.tell(phase, trouble);
        let status = self.shared.status();
        site.shard.notify(&Notice::Upstream { room: &self.room, status: &status });
    }
}

/// Dropped with its shard or before it ever ran: whoever waits is told.
impl Drop for Upstream {
    fn drop(&mut self) {
        if self.shared.status().phase != ChainPhase::Stopped {
            self.shared.tell(ChainPhase::Stopped, Some("the server has ended".to_owned()));
        }
    }
}

impl Retry {
    /// How long to wait after so many attempts in a row that came to nothing.
    fn wait(&self, attempts: u32) -> Duration {
        if attempts == 0 {
            return part_of(self.spread);
        }
        let most = self.from.saturating_mul(1 << (attempts - 1).min(20)).min(self.at_most);
        most / 2 + part_of(most / 2)
    }
}

/// Some part of a span, which nobody can foretell.
fn part_of(span: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0) as u32;
    span.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// What a link's end says of the next.
fn ended(farewell: Option<Farewell>) -> Failure {
    let lasting = |code: CloseCode| (4400..4500).contains(&code.0);
    match farewell {
        Some(Farewell::Theirs(Some(code))) if lasting(code) => {
            Failure::permanent(format!("the upstream server refuses ({code})"))
        }
        Some(Farewell::Ours(code, reason)) if lasting(code) => {
            Failure::permanent(format!("closed here ({code}): {reason}"))
        }
        Some(Farewell::Theirs(Some(code))) => {
            Failure::transient("the upstream server closed", code)
        }
        Some(Farewell::Theirs(None)) => Failure::transient("the upstream server closed", "no code"),
        Some(Farewell::Ours(code, reason)) => {
            Failure::transient("closed here", format!("{code} {reason}"))
        }
        None => Failure::transient("the link", "the connection broke"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_the_first_after_a_good_link_is_spread() {
        let retry = Retry::default();
        for attempt in 1..40 {
            let most = retry.from.saturating_mul(1 << (attempt - 1).min(20)).min(retry.at_most);
            let wait = retry.wait(attempt);
            assert!(wait >= most / 2 && wait <= most, "{attempt}: {wait:?} of {most:?}");
        }
        let firsts: Vec<Duration> = (0..200).map(|_| retry.wait(0)).collect();
        assert!(firsts.iter().all(|wait| *wait <= retry.spread));
        let early = firsts.iter().filter(|wait| **wait < retry.spread / 5).count();
        assert!((10..90).contains(&early), "{early} of 200 in the first fifth");
    }

    #[test]
    fn only_codes_from_4400_to_4499_end_a_chain() {
        for code in [1000, 1001, 1006, 1011, 1012, 1013, 4399, 4500] {
            let failure = ended(Some(Farewell::Theirs(Some(CloseCode(code)))));
            assert_eq!(failure.outlook, Outlook::Transient, "{code}");
        }
        for code in [4400, 4401, 4403, 4404, 4499] {
            let failure = ended(Some(Farewell::Theirs(Some(CloseCode(code)))));
            assert_eq!(failure.outlook, Outlook::Permanent, "{code}");
            let failure = ended(Some(Farewell::Ours(CloseCode(code), String::new())));
            assert_eq!(failure.outlook, Outlook::Permanent, "{code}");
        }
        assert_eq!(ended(None).outlook, Outlook::Transient);
    }
}

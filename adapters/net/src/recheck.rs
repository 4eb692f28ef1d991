//! Asking again about somebody who is in.

use crate::arrival::Arrival;
use crate::authorize::ask;
use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::shard::Shard;
use std::future;
use std::rc::Rc;
use std::time::{Duration, Instant};
use yroom::{CloseCode, ConnId};

/// How often in a row there may be no decision.
const UNDECIDED: u32 = 3;
/// No recheck sooner than this, whatever a grant says: a zero would ask without end.
const SHORTEST: Duration = Duration::from_millis(100);

/// A connection that is asked about again and again.
pub(crate) struct Recheck<R> {
    pub(crate) runtime: R,
    pub(crate) shard: Rc<Shard>,
    pub(crate) conn: ConnId,
    pub(crate) arrival: Arrival,
}

impl<R: Runtime> Recheck<R> {
    /// Asks after each `interval`; never ends.
    pub(crate) async fn run(self, mut interval: Duration) {
        let mut undecided = 0;
        loop {
            self.runtime.sleep_until(Instant::now() + self.spread(interval)).await;
            let deadline = Instant::now() + self.shard.timeouts().authorize;
            let arrival = self.arrival.again(self.shard.now());
            let sleep = self.runtime.sleep_until(deadline);
            match ask(self.shard.door(), arrival, sleep).await {
                Ok(grant) => {
                    undecided = 0;
                    self.shard.set_access(self.conn, grant.access);
                    match grant.recheck {
                        Some(next) => interval = next,
                        None => break,
                    }
                }
                Err(refusal) => {
                    undecided += 1;
                    let Some(code) = verdict(&refusal, undecided) else { continue };
                    self.shard.dismiss(self.conn, code, refusal.sentence());
                    break;
                }
            }
        }
        future::pending::<()>().await;
    }

    /// Up to a tenth less, so that those who came together are not asked about together for ever.
    fn spread(&self, interval: Duration) -> Duration {
        let interval = interval.clamp(SHORTEST, Duration::from_hours(24));
        let share = self.shard.now().as_micros().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        interval / 10 * 9 + interval / 10 * share as u32 / 1024
    }
}

/// What a refusal, the `nth` in a row, means for somebody who is in; nothing if it decides nothing.
fn verdict(refusal: &Refusal, nth: u32) -> Option<CloseCode> {
    match refusal.status() {
        401 => Some(CloseCode::UNAUTHORIZED),
        404 => Some(CloseCode::GONE),
        429 | 500.. => (nth >= UNDECIDED).then_some(CloseCode::TRY_AGAIN),
        _ => Some(CloseCode::FORBIDDEN),
    }
}

//! Who may come in: asked in the background, with a deadline, and perhaps asked again.

use crate::accept::before;
use crate::arrival::Arrival;
use crate::refusal::Refusal;
use futures_util::FutureExt;
use std::fmt;
use std::future::{self, Future};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;
use yroom::Access;

/// Decides who comes into which room, and what for.
///
/// Its futures run beside everything else on a shard's thread: one that waits holds nobody up, one
/// that computes or blocks does, so that belongs on a thread of its own. One that takes longer than
/// [`Timeouts::authorize`](crate::Timeouts::authorize) is dropped and answered with 503, one that
/// panics with 500. Until it has answered, a request counts as one that is still being read.
///
/// ```
/// use yroom::Access;
/// use yroom_net::{Arrival, Authorize, Grant, Refusal};
///
/// struct Members;
///
/// impl Authorize for Members {
///     async fn authorize(&self, arrival: Arrival) -> Result<Grant, Refusal> {
///         let token = arrival.parameter("token").ok_or(Refusal::new(401, "a token is missing"))?;
///         let user = user_of(token).await.ok_or(Refusal::new(403, "you are no member"))?;
///         Ok(Grant::from(Access::FULL).user(user))
///     }
/// }
/// # async fn user_of(token: &str) -> Option<String> { Some(token.to_owned()) }
/// ```
pub trait Authorize: Send + Sync + 'static {
    /// Lets somebody in, or says why not: with 401 if they did not show who they are, 403 if they may
    /// not come in, 404 if there is no such room for them.
    ///
    /// Asked again about somebody who is in (see [`Grant::recheck`]), the new grant's access is what
    /// counts from then on. A refusal then closes with 4401, 4403 or 4404. One with 429 or from 500
    /// on, a panic or a deadline that passes is no decision: the connection stays as it is until
    /// the next time, and is closed with 1013 after three in a row.
    fn authorize(&self, arrival: Arrival) -> impl Future<Output = Result<Grant, Refusal>> + Send;
}

/// What somebody who may come in is given.
#[derive(Clone)]
#[non_exhaustive]
pub struct Grant {
    /// What they may do, and until when.
    pub access: Access,
    /// After how long to ask again. Default: never.
    pub recheck: Option<Duration>,
    /// Which of the offered subprotocols is spoken; one that was not offered is left out. Browsers
    /// that offer some and are told none do not connect.
    pub subprotocol: Option<String>,
    /// Who they are, for
    /// [`NetLimits::connections_per_user`](crate::NetLimits::connections_per_user).
    pub user: Option<String>,
}

impl Grant {
    /// Asks again after `interval`, again and again.
    #[must_use]
    pub fn recheck(mut self, interval: Duration) -> Self {
        self.recheck = Some(interval);
        self
    }

    /// Speaks one of the offered subprotocols.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Says who they are.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user = Some(id.into());
        self
    }
}

impl From<Access> for Grant {
    fn from(access: Access) -> Self {
        Self { access, recheck: None, subprotocol: None, user: None }
    }
}

/// Without the subprotocol, which some clients carry a token in.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("access", &self.access)
            .field("recheck", &self.recheck)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// [`Authorize`] without its type.
pub(crate) trait Door: Send + Sync {
    fn knock(&self, arrival: Arrival) -> Answer<'_>;
}

pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Grant, Refusal>> + Send + 'a>>;

impl<A: Authorize> Door for A {
    fn knock(&self, arrival: Arrival) -> Answer<'_> {
        Box::pin(self.authorize(arrival))
    }
}

/// What [`Server::admit`](crate::Server::admit) makes of a function.
pub(crate) struct Admit<F>(pub(crate) F);

impl<F> Authorize for Admit<F>
where
    F: Fn(&Arrival) -> Result<Access, Refusal> + Send + Sync + 'static,
{
    fn authorize(&self, arrival: Arrival) -> impl Future<Output = Result<Grant, Refusal>> + Send {
        future::ready((self.0)(&arrival).map(Grant::from))
    }
}

/// Asks, and has an answer when `deadline` is over.
pub(crate) async fn ask(
    door: &dyn Door,
    arrival: Arrival,
    deadline: impl Future<Output = ()>,
) -> Result<Grant, Refusal> {
    // Nothing of ours is borrowed by it, so nothing of ours is left half done.
    let answer = AssertUnwindSafe(async { door.knock(arrival).await }).catch_unwind();
    match before(deadline, answer).await {
        Some(Ok(answer)) => answer,
        Some(Err(_)) => Err(Refusal::new(500, "the server failed to decide about this request")),
        None => {
            let late = Refusal::new(503, "it takes too long to decide about this request");
            Err(late.retry_after(Duration::from_secs(5)))
        }
    }
}

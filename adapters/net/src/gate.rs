//! What all shards count together: connections, by address and by user.
//!
//! A lock, taken a few times in a connection's life and never for what it brings.

use crate::arrival::Arrival;
use crate::limits::{Loopback, NetLimits};
use crate::origin::Origins;
use crate::proxy::Proxies;
use crate::refusal::Refusal;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use yroom::{Rate, Timestamp};

/// Addresses that are remembered though nobody is connected from them, before they are looked
/// through: some MiB.
const REMEMBERED: usize = 32_768;

/// Whom the server lets in, apart from what the application decides.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) limits: NetLimits,
    pub(crate) origins: Origins,
    pub(crate) proxies: Proxies,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::TlsConfig>,
    counts: Mutex<Counts>,
}

/// What somebody takes up; dropped, they do not any more.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    network: Option<Network>,
    user: Option<Arc<str>>,
    stay: Stay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Asking,
    Connected,
}

/// What counts as one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    /// A /64.
    V6(u64),
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    networks: HashMap<Network, Visits>,
    users: HashMap<Arc<str>, usize>,
}

/// An address's connections, and its token bucket in millionths of a connect.
#[derive(Debug)]
struct Visits {
    connections: usize,
    tokens: u64,
    filled_at: Timestamp,
}

impl Gate {
    /// A socket is there. Its address counts at once, unless it is a proxy's.
    pub(crate) fn arrive(self: &Arc<Self>, peer: IpAddr, now: Timestamp) -> Result<Pass, Refusal> {
        let mut pass = self.pass();
        if !self.proxies.trust(peer) {
            pass.count_address(peer, now)?;
        }
        Ok(pass)
    }

    /// One who comes with no request of ours.
    pub(crate) fn take_over(self: &Arc<Self>) -> Result<Pass, Refusal> {
        let mut pass = self.pass();
        pass.connect()?;
        Ok(pass)
    }

    /// Whether a connection begins with a handshake of TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_self, reason = "with TLS it is asked")]
    pub(crate) fn speaks_tls(&self) -> bool {
        false
    }

    fn pass(self: &Arc<Self>) -> Pass {
        Pass { gate: Arc::clone(self), network: None, user: None, stay: Stay::Asking }
    }

    /// What is done under it cannot panic half-way.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// A request is there: notes who the client is, and whether they may ask.
    pub(crate) fn check(&mut self, arrival: &mut Arrival) -> Result<(), Refusal> {
        let gate = Arc::clone(&self.gate);
        arrival.client = gate.proxies.client(arrival);
        if gate.proxies.trust(arrival.peer.ip()) {
            self.count_address(arrival.client, arrival.now)?;
        }
        gate.origins.check(arrival)?;
        self.connect()
    }

    /// It is known who it is.
    pub(crate) fn identify(&mut self, user: Option<&str>) -> Result<(), Refusal> {
        let Some(user) = user else { return Ok(()) };
        let mut counts = self.gate.counts();
        if let Some(count) = counts.users.get_mut(user) {
            if *count >= self.gate.limits.connections_per_user {
                return Err(too_many("this user has too many connections"));
            }
            *count += 1;
        }
        let user: Arc<str> = user.into();
        counts.users.entry(Arc::clone(&user)).or_insert(1);
        drop(counts);
        self.user = Some(user);
        Ok(())
    }

    fn count_address(&mut self, address: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let limits = &self.gate.limits;
        if address.is_loopback() && limits.loopback == Loopback::Exempt {
            return Ok(());
        }
        let network = Network::of(address);
        let mut counts = self.gate.counts();
        counts.tidy(limits.connects_per_address, now);
        let rate = limits.connects_per_address;
        let visits = counts.networks.entry(network).or_insert_with(|| Visits::new(rate, now));
        if !visits.take(rate, now) {
            return Err(too_many("this address connects too often"));
        }
        if visits.connections >= limits.connections_per_address {
            return Err(too_many("this address has too many connections"));
        }
        visits.connections += 1;
        drop(counts);
        self.network = Some(network);
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Refusal> {
        let mut counts = self.gate.counts();
        if counts.connections >= self.gate.limits.connections {
            let full = Refusal::new(503, "the server has too many connections: try again later");
            return Err(full.retry_after(Duration::from_secs(5)));
        }
        counts.connections += 1;
        drop(counts);
        self.stay = Stay::Connected;
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self.gate.counts();
        if self.stay == Stay::Connected {
            counts.connections -= 1;
        }
        if let Some(visits) = self.network.and_then(|network| counts.networks.get_mut(&network)) {
            visits.connections -= 1;
        }
        if let Some(user) = &self.user
            && let Some(count) = counts.users.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                counts.users.remove(user);
            }
        }
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.into()),
            IpAddr::V6(address) => Self::V6((u128::from(address) >> 64) as u64),
        }
    }
}

impl Counts {
    /// Forgets addresses that nobody is connected from, if there are many: those whose bucket is full
    /// again, and all of them when they are too many all the same.
    fn tidy(&mut self, rate: Rate, now: Timestamp) {
        if self.networks.len() <= REMEMBERED + self.connections {
            return;
        }
        self.networks.retain(|_, visits| visits.connections > 0 || !visits.is_rested(rate, now));
        if self.networks.len() > REMEMBERED / 2 + self.connections {
            self.networks.retain(|_, visits| visits.connections > 0);
        }
    }
}

impl Visits {
    fn new(rate: Rate, now: Timestamp) -> Self {
        Self { connections: 0, tokens: full(rate), filled_at: now }
    }

    /// Takes a connect from the bucket, if one is left.
    fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        self.tokens = self.tokens_at(rate, now);
        self.filled_at = now;
        match self.tokens.checked_sub(ONE) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn tokens_at(&self, rate: Rate, now: Timestamp) -> u64 {
        // A microsecond brings as many millionths as a second brings connects.
        let micros = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        self.tokens.saturating_add(micros.saturating_mul(rate.per_second)).min(full(rate))
    }

    fn is_rested(&self, rate: Rate, now: Timestamp) -> bool {
        self.tokens_at(rate, now) == full(rate)
    }
}

/// A connect.
const ONE: u64 = 1_000_000;

fn full(rate: Rate) -> u64 {
    rate.burst.saturating_mul(ONE)
}

fn too_many(sentence: &'static str) -> Refusal {
    Refusal::new(429, sentence).retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn gate(limits: NetLimits) -> Arc<Gate> {
        Arc::new(Gate { limits, ..Gate::default() })
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_gives_back_what_it_took() {
        let gate = gate(NetLimits { connections_per_address: 2, ..NetLimits::default() });
        let first = gate.arrive(ip("1.1.1.1"), at(0)).unwrap();
        let _second = gate.arrive(ip("::ffff:1.1.1.1"), at(0)).unwrap();
        assert_eq!(gate.arrive(ip("1.1.1.1"), at(0)).unwrap_err().status(), 429);
        gate.arrive(ip("1.1.1.2"), at(0)).expect("another address");
        drop(first);
        gate.arrive(ip("1.1.1.1"), at(0)).expect("one has gone");
    }

    #[test]
    fn an_address_of_ipv6_is_its_first_64_bits() {
        let gate = gate(NetLimits { connections_per_address: 1, ..NetLimits::default() });
        let _one = gate.arrive(ip("2001:db8:1:2::1"), at(0)).unwrap();
        assert!(gate.arrive(ip("2001:db8:1:2:ffff::9"), at(0)).is_err());
        gate.arrive(ip("2001:db8:1:3::1"), at(0)).expect("another /64");
    }

    #[test]
    fn connects_come_back_with_time() {
        let connects_per_address = Rate { per_second: 2, burst: 3 };
        let gate = gate(NetLimits { connects_per_address, ..NetLimits::default() });
        let connect = |millis| gate.arrive(ip("1.1.1.1"), at(millis)).is_ok();
        assert!((0..3).all(|_| connect(0)) && !connect(0));
        assert!(!connect(499) && connect(500) && !connect(500));
        assert!((0..3).all(|_| connect(60_000)) && !connect(60_000));
        assert!(gate.arrive(ip("1.1.1.2"), at(0)).is_ok());
    }

    #[test]
    fn this_machine_is_bound_only_if_it_is_counted() {
        let mut limits = NetLimits { connections_per_address: 0, ..NetLimits::default() };
        let free = gate(limits.clone());
        assert!(free.arrive(ip("127.0.0.1"), at(0)).is_ok());
        assert!(free.arrive(ip("::1"), at(0)).is_ok());
        assert!(free.arrive(ip("10.0.0.1"), at(0)).is_err());
        limits.loopback = Loopback::Counted;
        assert!(gate(limits).arrive(ip("127.0.0.1"), at(0)).is_err());
    }

    #[test]
    fn a_user_is_counted_wherever_they_come_from() {
        let gate = gate(NetLimits { connections_per_user: 1, ..NetLimits::default() });
        let mut first = gate.arrive(ip("1.1.1.1"), at(0)).unwrap();
        let mut second = gate.arrive(ip("1.1.1.2"), at(0)).unwrap();
        first.identify(Some("ann")).unwrap();
        assert_eq!(second.identify(Some("ann")).unwrap_err().status(), 429);
        second.identify(Some("bob")).unwrap();
        let mut third = gate.arrive(ip("1.1.1.3"), at(0)).unwrap();
        third.identify(None).expect("nobody in particular");
        drop(first);
        third.identify(Some("ann")).unwrap();
        drop((second, third));
        assert!(gate.counts().users.is_empty());
    }

    #[test]
    fn the_total_holds_for_all() {
        let gate = gate(NetLimits { connections: 1, ..NetLimits::default() });
        let first = gate.take_over().unwrap();
        assert_eq!(gate.take_over().unwrap_err().status(), 503);
        drop(first);
        gate.take_over().unwrap();
    }

    #[test]
    fn addresses_that_have_gone_are_forgotten() {
        let gate = gate(NetLimits::default());
        let kept = gate.arrive(ip("9.9.9.9"), at(0)).unwrap();
        for n in 0..200_000_u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + n);
            drop(gate.arrive(address.into(), at(u64::from(n) / 1000)).unwrap());
            let remembered = gate.counts().networks.len();
            assert!(remembered <= REMEMBERED + 2, "{remembered}");
        }
        assert_eq!(gate.counts().networks[&Network::of(ip("9.9.9.9"))].connections, 1);
        drop(kept);
    }
}

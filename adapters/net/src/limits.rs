//! The bounds on connections, for the whole server, each with its default and the reason for it.

use yroom::Rate;

/// How many connections there may be, of whom, and how fast they may come.
///
/// Those of the engine, for what is in a connection and in a room, are [`yroom::Limits`]. All that is
/// refused here is refused before the connection is a WebSocket, with a status and `Retry-After`.
///
/// An address is an IPv4 address or the first 64 bits of an IPv6 address, which is what one customer
/// of a provider has.
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// Connections of the whole server whose request is there; then 503. Default: 20,000. Each is a
    /// file descriptor: `LimitNOFILE` has to be higher.
    pub connections: usize,
    /// Requests that are being read or decided about; further ones wait in the kernel's queue, for
    /// not longer than a [handshake](crate::Timeouts::handshake) takes. Shards have equal shares.
    /// Default: 2,048, each with at most 16 KiB.
    pub handshakes: usize,
    /// Connections of one address; then 429. Default: 256, an office behind one address.
    pub connections_per_address: usize,
    /// New connections of one address; then 429. Default: 10 a second, 50 at once: whoever tries
    /// again and again does not keep the server from others, and an office comes back after a restart
    /// within seconds.
    pub connects_per_address: Rate,
    /// Connections of one [user](crate::Grant::user); then 429. Default: 64, some browsers full of
    /// tabs.
    pub connections_per_user: usize,
    /// Whether the bounds of an address hold for this machine's own. Default: they do not.
    pub loopback: Loopback,
}

/// What connections from this machine's own addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loopback {
    /// Not bound: it is a proxy that was not declared (see [`Proxies`](crate::Proxies)), and so
    /// everybody at once, or this machine's user.
    Exempt,
    /// One address as any other.
    Counted,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshakes: 2_048,
            connections_per_address: 256,
            connects_per_address: Rate { per_second: 10, burst: 50 },
            connections_per_user: 64,
            loopback: Loopback::Exempt,
        }
    }
}

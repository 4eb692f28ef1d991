//! Bounds that an operator may want to set; what they are when nobody does stands in the libraries.

use super::units::{Flow, bytes, flow, size_flow, span};
use clap::Args;
use std::time::Duration;
use yroom::Limits;
use yroom_net::{NetLimits, Timeouts};

/// Bounds. Sizes are in bytes, or with KiB, MiB, GiB.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
#[allow(clippy::struct_field_names, reason = "they are the options' names")]
pub(crate) struct LimitOptions {
    /// Connections, of all clients together [default: 20000].
    #[arg(long, env = "YROOM_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,

    /// Connections of one address (an IPv4 address, the first 64 bits of an IPv6 address); this
    /// machine's own are not bounded [default: 256].
    #[arg(long, env = "YROOM_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    max_connections_per_address: Option<usize>,

    /// Connections of one user, where tokens tell users apart [default: 64].
    #[arg(long, env = "YROOM_MAX_CONNECTIONS_PER_USER", value_name = "N")]
    max_connections_per_user: Option<usize>,

    /// New connections of one address, a second and at once [default: 10:50].
    #[arg(long, env = "YROOM_MAX_CONNECTS", value_name = "N[:BURST]", value_parser = flow)]
    max_connects: Option<Flow>,

    /// Rooms that are loaded, in each thread [default: 100000].
    #[arg(long, env = "YROOM_MAX_ROOMS", value_name = "N")]
    max_rooms: Option<usize>,

    /// Peers in one room [default: 5000].
    #[arg(long, env = "YROOM_MAX_PEERS_PER_ROOM", value_name = "N")]
    max_peers_per_room: Option<usize>,

    /// Size of one message of a client [default: 64MiB].
    #[arg(long, env = "YROOM_MAX_FRAME", value_name = "SIZE", value_parser = bytes)]
    max_frame: Option<usize>,

    /// Size of one document [default: 256MiB].
    #[arg(long, env = "YROOM_MAX_DOCUMENT", value_name = "SIZE", value_parser = bytes)]
    max_document: Option<usize>,

    /// Messages of one connection, a second and at once; who sends more waits
    /// [default: 10000:50000].
    #[arg(long, env = "YROOM_MAX_MESSAGES_IN", value_name = "N[:BURST]", value_parser = flow)]
    max_messages_in: Option<Flow>,

    /// Bytes from one connection, a second and at once; who sends more waits
    /// [default: 32MiB:128MiB].
    #[arg(long, env = "YROOM_MAX_BYTES_IN", value_name = "SIZE[:BURST]", value_parser = size_flow)]
    max_bytes_in: Option<Flow>,

    /// Client ids new to the document that one connection may bring, a second and at once; who brings
    /// more waits [default: 1000:5000].
    #[arg(long, env = "YROOM_MAX_NEW_CLIENTS", value_name = "N[:BURST]", value_parser = flow)]
    max_new_clients: Option<Flow>,

    /// What is kept for a client that reads too slowly, before single changes are left out and it is
    /// brought all of them together [default: 64KiB].
    #[arg(long, env = "YROOM_MAX_OUTBOX", value_name = "SIZE", value_parser = bytes)]
    max_outbox: Option<usize>,

    /// Size of one presence state [default: 16KiB].
    #[arg(long, env = "YROOM_MAX_PRESENCE", value_name = "SIZE", value_parser = bytes)]
    max_presence: Option<usize>,

    /// Presence ids of one connection [default: 8].
    #[arg(long, env = "YROOM_MAX_PRESENCE_IDS", value_name = "N")]
    max_presence_ids: Option<usize>,

    /// Presence states in one room [default: 2000].
    #[arg(long, env = "YROOM_MAX_PRESENCE_STATES", value_name = "N")]
    max_presence_states: Option<usize>,

    /// What is kept of what a client sends before its room is loaded; then it is not read from until
    /// the room is there [default: 64KiB].
    #[arg(long, env = "YROOM_MAX_INBOX", value_name = "SIZE", value_parser = bytes)]
    max_inbox: Option<usize>,

    #[command(flatten)]
    waits: WaitOptions,
}

/// Waits. Spans are a number and `s`, `m`, `h` or `d`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Waits")]
struct WaitOptions {
    /// How long a client's request may take to come, from the connect on; with TLS, its handshake
    /// included [default: 5s].
    #[arg(long, env = "YROOM_HANDSHAKE_TIMEOUT", value_name = "SPAN", value_parser = span)]
    handshake_timeout: Option<Duration>,

    /// After how long a silence a client is pinged; less than proxies wait [default: 25s].
    #[arg(long, env = "YROOM_PING_AFTER", value_name = "SPAN", value_parser = span)]
    ping_after: Option<Duration>,

    /// How long a client that was pinged has to answer; then it counts as gone [default: 10s].
    #[arg(long, env = "YROOM_PONG_TIMEOUT", value_name = "SPAN", value_parser = span)]
    pong_timeout: Option<Duration>,

    /// How long a connection that was closed has to end; then it is cut off [default: 2s].
    #[arg(long, env = "YROOM_CLOSE_TIMEOUT", value_name = "SPAN", value_parser = span)]
    close_timeout: Option<Duration>,

    /// How long a client may take nothing of what waits for it; then it is closed with 1013
    /// [default: 30s].
    #[arg(long, env = "YROOM_SLOW_TIMEOUT", value_name = "SPAN", value_parser = span)]
    slow_timeout: Option<Duration>,

    /// How long the store may take to load a room; then its clients are closed with 1013
    /// [default: 60s].
    #[arg(long, env = "YROOM_LOAD_TIMEOUT", value_name = "SPAN", value_parser = span)]
    load_timeout: Option<Duration>,

    /// How long writers wait for a store that fails; then they are closed with 1013 [default: 30s].
    #[arg(long, env = "YROOM_STORE_TIMEOUT", value_name = "SPAN", value_parser = span)]
    store_timeout: Option<Duration>,
}

impl LimitOptions {
    /// The engine's part.
    pub(crate) fn engine(&self) -> Limits {
        let mut limits = Limits::default();
        set(&mut limits.connections, self.max_connections);
        set(&mut limits.rooms, self.max_rooms);
        set(&mut limits.peers_per_room, self.max_peers_per_room);
        set(&mut limits.frame_bytes, self.max_frame);
        // Whoever lets larger messages in wants larger updates.
        set(&mut limits.update.bytes, self.max_frame);
        set(&mut limits.document_bytes, self.max_document);
        set(&mut limits.frames_in, self.max_messages_in.map(Flow::rate));
        set(&mut limits.bytes_in, self.max_bytes_in.map(Flow::rate));
        set(&mut limits.new_clients, self.max_new_clients.map(Flow::rate));
        set(&mut limits.outbox_bytes, self.max_outbox);
        set(&mut limits.awareness_state_bytes, self.max_presence);
        set(&mut limits.awareness_ids_per_connection, self.max_presence_ids);
        set(&mut limits.awareness_states_per_room, self.max_presence_states);
        set(&mut limits.inbox_bytes, self.max_inbox);
        set(&mut limits.lagging_for, self.waits.slow_timeout);
        set(&mut limits.load_timeout, self.waits.load_timeout);
        set(&mut limits.degraded_for, self.waits.store_timeout);
        limits
    }

    /// The part of the sockets.
    pub(crate) fn net(&self) -> NetLimits {
        let mut limits = NetLimits::default();
        set(&mut limits.connections, self.max_connections);
        set(&mut limits.connections_per_address, self.max_connections_per_address);
        set(&mut limits.connections_per_user, self.max_connections_per_user);
        set(&mut limits.connects_per_address, self.max_connects.map(Flow::rate));
        limits
    }

    /// How long who is waited for.
    pub(crate) fn timeouts(&self, drain: Duration) -> Timeouts {
        let mut timeouts = Timeouts { drain, ..Timeouts::default() };
        set(&mut timeouts.handshake, self.waits.handshake_timeout);
        set(&mut timeouts.ping_after, self.waits.ping_after);
        set(&mut timeouts.pong_within, self.waits.pong_timeout);
        set(&mut timeouts.closing, self.waits.close_timeout);
        timeouts
    }
}

fn set<T>(limit: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *limit = asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitOptions,
    }

    fn parse(line: &str) -> Result<LimitOptions, clap::Error> {
        let words = std::iter::once("yroom").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.limits)
    }

    #[test]
    fn each_wait_is_that_of_its_option_and_no_other() {
        let of = |line: &str| {
            let options = parse(line).expect("it is understood");
            let waits = options.timeouts(Duration::from_secs(30));
            let limits = options.engine();
            [
                waits.handshake,
                waits.ping_after,
                waits.pong_within,
                waits.closing,
                limits.lagging_for,
                limits.load_timeout,
                limits.degraded_for,
            ]
            .map(|wait| wait.as_secs())
        };
        let defaults = of("");
        let (waits, limits) = (Timeouts::default(), Limits::default());
        assert_eq!(defaults[..4], [5, 25, 10, 2], "as the help says");
        assert_eq!(defaults[4..], [30, 60, 30], "as the help says");
        assert_eq!(waits.authorize, parse("").unwrap().timeouts(waits.drain).authorize);
        assert_eq!(limits.inbox_bytes, parse("").unwrap().engine().inbox_bytes);
        let names = ["handshake", "ping-after", "pong", "close", "slow", "load", "store"];
        for (at, name) in names.into_iter().enumerate() {
            let suffix = if name.ends_with("after") { "" } else { "-timeout" };
            let mut expected = defaults;
            expected[at] = 7 * 60;
            assert_eq!(of(&format!("--{name}{suffix} 7m")), expected, "{name}");
            for bad in ["0s", "0", "-1s", "soon"] {
                assert!(parse(&format!("--{name}{suffix} {bad}")).is_err(), "{name} {bad}");
            }
        }
    }

    #[test]
    fn the_inbox_is_as_large_as_is_said() {
        assert_eq!(parse("--max-inbox 1MiB").unwrap().engine().inbox_bytes, 1 << 20);
        assert_eq!(parse("").unwrap().engine().inbox_bytes, 64 << 10, "as the help says");
        assert!(parse("--max-inbox 0").is_err());
    }
}

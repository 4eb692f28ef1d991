//! Bounds that an operator may want to set; what they are when nobody does stands in the libraries.

use super::units::{Flow, bytes, flow, size_flow};
use clap::Args;
use yroom::Limits;
use yroom_net::NetLimits;

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
        set(&mut limits.outbox_bytes, self.max_outbox);
        set(&mut limits.awareness_state_bytes, self.max_presence);
        set(&mut limits.awareness_ids_per_connection, self.max_presence_ids);
        set(&mut limits.awareness_states_per_room, self.max_presence_states);
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
}

fn set<T>(limit: &mut T, asked: Option<T>) {
    if let Some(asked) = asked {
        *limit = asked;
    }
}

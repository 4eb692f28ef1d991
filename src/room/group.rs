//! Messages of the application's to everybody in a room, at whatever server they are.
//!
//! Between servers such a message goes in an envelope: `[103] [id: 16 bytes] [hops] [the message]`.
//! A server that has seen the id ignores it, so that links in a circle end it; the hops end it also
//! where more were on their way than are remembered. Clients get the message as it is. Only who may
//! speak for many ([`Presence::Relay`]) is sent envelopes and believed in one.

use super::{Context, Room, Told, sync};
use crate::config::Presence;
use crate::error::{Fault, FaultKind, NotApplied};
use crate::io::{ApplicationOp, ConnId, Event, Output};
use crate::wire::{encode, tag, varint};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Which message, whatever way it comes; 16 bytes that nobody else chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

/// The ids that a room remembers.
const REMEMBERED: usize = 1024;
/// The most links that a message passes one after the other.
const HOPS: u8 = 16;
/// What an envelope adds to a message, at most.
const ENVELOPE: usize = 2 + 16 + 1;

/// The newest messages that were told to all.
#[derive(Debug, Default)]
pub(super) struct Seen(VecDeque<MessageId>);

impl Seen {
    /// Whether it is the first time.
    fn is_new(&mut self, id: MessageId) -> bool {
        if self.0.contains(&id) {
            return false;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(id);
        true
    }
}

impl Room {
    /// Tells everybody here, and by the links those elsewhere; says how many here were told.
    pub(crate) fn publish(
        &mut self,
        cx: &mut Context<'_>,
        id: MessageId,
        message: &Bytes,
    ) -> Result<usize, NotApplied> {
        let limit = cx.config.limits.frame_bytes.saturating_sub(ENVELOPE);
        if message.is_empty() || message.len() > limit {
            let reason = format!("a message has from 1 to {limit} bytes, not {}", message.len());
            return Err(NotApplied::Invalid(Fault::new(FaultKind::Limit, reason)));
        }
        self.seen.get_or_insert_default().is_new(id);
        Ok(self.spread(cx, None, id, HOPS, message))
    }

    /// An envelope from a peer.
    pub(super) fn envelope(
        &mut self,
        cx: &mut Context<'_>,
        slot: usize,
        frame: &Bytes,
        body: &[u8],
    ) -> Result<(), Fault> {
        let peer = &self.peers[slot];
        let conn = peer.conn;
        match peer.access.presence {
            Presence::Relay => {}
            Presence::Publish | Presence::Observe => {
                cx.event(Event::Refused { conn });
                return Ok(());
            }
        }
        let Some((id, [hops, message @ ..])) = body.split_first_chunk() else {
            return Err(Fault::new(FaultKind::Malformed, "an envelope without a message"));
        };
        let (id, hops) = (MessageId(*id), (*hops).min(HOPS));
        if message.is_empty() || hops == 0 || !self.seen.get_or_insert_default().is_new(id) {
            return Ok(());
        }
        let message = frame.slice_ref(message);
        self.spread(cx, Some(conn), id, hops - 1, &message);
        if sync::is_for_the_application(cx.config, &message) {
            cx.push(Output::Application(ApplicationOp::Message { conn, message }));
        }
        Ok(())
    }

    fn spread(
        &mut self,
        cx: &mut Context<'_>,
        except: Option<ConnId>,
        id: MessageId,
        hops: u8,
        message: &Bytes,
    ) -> usize {
        let envelope = wrap(id, hops, message);
        let mut told = 0;
        for slot in 0..self.peers.len() {
            let peer = &self.peers[slot];
            if Some(peer.conn) == except {
                continue;
            }
            match peer.access.presence {
                Presence::Relay => {
                    self.tell(cx, slot, &envelope);
                }
                Presence::Publish | Presence::Observe => {
                    told += usize::from(self.tell(cx, slot, message) == Told::Sent);
                }
            }
        }
        told
    }
}

fn wrap(MessageId(id): MessageId, hops: u8, message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(id.len() + 1 + message.len());
    body.put_slice(&id);
    body.put_u8(hops);
    body.put_slice(message);
    encode::custom(tag::ENVELOPE, &body)
}

const _: () = assert!(varint::len(tag::ENVELOPE) + 17 <= ENVELOPE);

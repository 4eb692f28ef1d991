//! Rows: what is in them, and their checksums.

use rusqlite::Row;
use yroom::{Batch, RoomName, Seq, StoreFault, StoreFaultKind};
use yroom_net::store::{Compression, Stamp};

/// What of a batch stands beside its bytes.
#[derive(Clone, Debug)]
pub(crate) struct LogRow {
    pub(crate) room: i64,
    pub(crate) first: i64,
    pub(crate) count: i64,
    pub(crate) stamp: Stamp,
}

impl LogRow {
    pub(crate) fn of(room: i64, batch: &Batch, stamp: Stamp) -> Result<Self, StoreFault> {
        Ok(Self { room, first: place(batch.first())?, count: place(Seq(batch.count()))?, stamp })
    }

    pub(crate) const fn last(&self) -> i64 {
        self.first.saturating_add(self.count).saturating_sub(1)
    }

    /// Over the content and its place: a row that is right, but elsewhere, is wrong.
    pub(crate) fn crc(&self, data: &[u8]) -> i64 {
        let Stamp { at_ms, metadata } = &self.stamp;
        let place = [self.room, self.first, self.count, *at_ms];
        // The length of one says where the other begins.
        let len = (metadata.len() as u64).to_le_bytes();
        checksum(b'L', place, &[&len, metadata, data])
    }

    /// Reads a row of `first, count, at_ms, metadata, crc, data` and checks it.
    pub(crate) fn read(
        room: i64,
        row: &Row<'_>,
        compression: &Compression,
    ) -> rusqlite::Result<Result<(Self, Batch), String>> {
        let stamp = Stamp { at_ms: row.get(2)?, metadata: row.get::<_, Vec<u8>>(3)?.into() };
        let it = Self { room, first: row.get(0)?, count: row.get(1)?, stamp };
        let crc: i64 = row.get(4)?;
        let data: Vec<u8> = row.get(5)?;
        if it.first < 1 || it.crc(&data) != crc {
            return Ok(Err(format!("the log row at {} has a wrong checksum", it.first)));
        }
        let (first, count) = (it.first, it.count);
        let framed = match compression.unpack(data.into()) {
            Ok(framed) => framed,
            Err(why) => return Ok(Err(format!("the log row at {first}: {why}"))),
        };
        Ok(Batch::from_framed(Seq(first.unsigned_abs()), framed)
            .filter(|batch| i64::try_from(batch.count()) == Ok(count))
            .map(|batch| (it, batch))
            .ok_or_else(|| format!("the log row at {first} is not {count} updates")))
    }
}

pub(crate) fn snapshot_crc(room: i64, upto: i64, changed_ms: i64, data: &[u8]) -> i64 {
    checksum(b'S', [room, upto, changed_ms, 0], &[data])
}

pub(crate) fn room_crc(id: i64, name: &RoomName) -> i64 {
    checksum(b'R', [id, 0, 0, 0], &[name.as_str().as_bytes()])
}

fn checksum(table: u8, place: [i64; 4], parts: &[&[u8]]) -> i64 {
    let crc = crc32c::crc32c(&[table]);
    let crc = place.iter().fold(crc, |crc, it| crc32c::crc32c_append(crc, &it.to_le_bytes()));
    parts.iter().fold(crc, |crc, part| crc32c::crc32c_append(crc, part)).into()
}

/// A place as SQLite has integers. One that is too large cannot come about by counting.
pub(crate) fn place(seq: Seq) -> Result<i64, StoreFault> {
    i64::try_from(seq.0)
        .map_err(|_| StoreFault::new(StoreFaultKind::NotDone, format!("no place: {seq:?}")))
}

pub(crate) fn seq(place: i64) -> Seq {
    Seq(place.max(0).unsigned_abs())
}

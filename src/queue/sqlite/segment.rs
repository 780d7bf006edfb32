//! What visitors sent, in segments: the bytes of one row of `content` hold the records of several entries, those of one
//! transaction, one behind the other.
//!
//! A record is what is known of an entry when it is appended, and says it by itself, so that a lost row of `entry` loses no
//! submission:
//!
//! | bytes | what |
//! |---|---|
//! | 4 × 4 | how long each of the following is; the highest byte first |
//! | … | its [`super::arrival::Arrival`] |
//! | … | what was made of it: the [`Reading`](crate::queue::Reading) and the trace it belongs to, as JSON |
//! | … | what was received, without the body, as JSON |
//! | … | the body |
//!
//! To remove a record, or what was made of an entry, zeros are written over it where it lies. A segment none of whose entries
//! is left is deleted.

use rusqlite::blob::Blob;
use rusqlite::{Connection, MAIN_DB, OptionalExtension, params};

use super::arrival::{self, Arrival};
use super::failure::Failure;
use super::row::write_reading;
use super::schema::PAGE_SIZE;
use crate::lead::EntryId;
use crate::queue::Reading;
use crate::queue::unreadable::Unreadable;
use crate::received::Received;

/// Bytes after which a segment takes no further record; one alone may be longer.
pub(super) const SEGMENT_MAX: usize = 64 * 1_024;

/// Most entries of a segment that get segments of their own when the others are gone.
const SCATTERED_MAX: usize = 5;

/// Bytes of most records beside the body.
const GUESSED: usize = 1_024;

/// Bytes of a record's lengths.
const LENGTHS: usize = 16;

/// Bytes of a row that SQLite keeps beside other rows when it is as long as [`padding`] makes it.
const LOCAL: usize = (PAGE_SIZE - 12) * 32 / 255 - 23;
/// Bytes of a row on each page of its own.
const OVERFLOW: usize = PAGE_SIZE - 4;

/// Bytes that go before a segment at most.
pub(super) const PADDING_MAX: usize = LOCAL + OVERFLOW;

static ZEROS: [u8; LOCAL + OVERFLOW] = [0; LOCAL + OVERFLOW];

/// Returns the bytes that go before a visitor's in a row, so that his lie on pages of their own.
///
/// When rows grow or go, a page of several is put in order again, and may keep a copy of a row that moved to another page;
/// zeroing the row later does not find that copy. Pages of one row's overflow are never shared and are zeroed as a
/// whole. So the padding fills what lies in the shared page, and makes the rest fill its pages exactly: by the file
/// format's rule, what does not fill a page would go into the shared one.
pub(super) fn padding(len: usize) -> &'static [u8] {
    // Header: its length, the number (stored elsewhere), the padding (two bytes up to 8 KiB), the bytes or text.
    let header = 1 + 1 + 2 + varint_len(2 * len + 13);
    let missing = (OVERFLOW - (header + len) % OVERFLOW) % OVERFLOW;
    ZEROS.get(..LOCAL + missing).unwrap_or(&ZEROS)
}

fn varint_len(mut value: usize) -> usize {
    let mut len = 1;
    while value > 0x7f {
        value >>= 7;
        len += 1;
    }
    len
}

/// Writes the record of an entry.
pub(super) fn record_of(arrival: &Arrival, reading: &Reading, received: &Received) -> Result<Vec<u8>, Failure> {
    let mut record = Vec::with_capacity(LENGTHS + GUESSED + received.body.len());
    record.resize(LENGTHS, 0);
    let mut ends = [0; 4];
    let [arrival_end, reading_end, received_end, body_end] = &mut ends;
    arrival.write(&mut record);
    *arrival_end = record.len();
    write_reading(&mut record, received.traceparent.as_deref(), reading)?;
    *reading_end = record.len();
    serde_json::to_writer(&mut record, received).map_err(Failure::unavailable)?;
    *received_end = record.len();
    record.extend_from_slice(&received.body);
    *body_end = record.len();
    let mut begin = LENGTHS;
    for (length, end) in record.chunks_exact_mut(4).zip(ends) {
        length.copy_from_slice(&u32::try_from(end - begin).map_err(Failure::unavailable)?.to_be_bytes());
        begin = end;
    }
    Ok(record)
}

/// Joins the parts of a record.
pub(super) fn record(parts: [&[u8]; 4]) -> Result<Vec<u8>, Failure> {
    let mut record = Vec::with_capacity(LENGTHS + parts.iter().map(|part| part.len()).sum::<usize>());
    for part in parts {
        record.extend(u32::try_from(part.len()).map_err(Failure::unavailable)?.to_be_bytes());
    }
    parts.into_iter().for_each(|part| record.extend(part));
    Ok(record)
}

/// Where the record of an entry should be. The id is looked at: where a segment is lost, another lies in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) number: i64,
    pub(super) place: u32,
    pub(super) id: EntryId,
}

/// How long the parts of a record are.
#[derive(Clone, Copy, Debug)]
struct Lengths([usize; 4]);

impl Lengths {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut lengths = [0; 4];
        for (length, bytes) in lengths.iter_mut().zip(bytes.get(..LENGTHS)?.chunks_exact(4)) {
            *length = usize::try_from(u32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
        }
        Some(Self(lengths))
    }

    /// Returns the length of all parts.
    fn all(self) -> usize {
        self.0.iter().sum()
    }
}

/// A record that was read whole.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Where it stands in its segment.
    pub(super) place: u32,
    /// Empty, as all else, where it was removed.
    pub(super) arrival: Vec<u8>,
    pub(super) reading: Vec<u8>,
    pub(super) received: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Takes a segment apart, as far as it can be read.
pub(super) fn records(segment: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut place = 0;
    while let Some((record, len)) = segment.get(place..).and_then(|rest| take_apart(u32::try_from(place).ok()?, rest)) {
        records.push(record);
        place += len;
    }
    records
}

fn take_apart(place: u32, bytes: &[u8]) -> Option<(Record, usize)> {
    let lengths = Lengths::read(bytes)?;
    let len = LENGTHS + lengths.all();
    let mut rest = bytes.get(LENGTHS..len)?;
    let mut parts = lengths.0.map(|length| {
        let (part, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        part.to_vec()
    });
    let is_removed = parts.first().is_none_or(|arrival| arrival.first().is_none_or(|first| *first == 0));
    if is_removed {
        parts = Default::default();
    }
    let [arrival, reading, received, body] = parts;
    Some((Record { place, arrival, reading, received, body }, len))
}

/// Adds a segment whose first entry has a number.
pub(super) fn insert(connection: &Connection, number: i64, segment: &[u8]) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached("INSERT INTO content (number, padding, bytes) VALUES (?1, ?2, ?3)")?;
    insert.execute(params![number, padding(segment.len()), segment])?;
    Ok(())
}

/// Reads single records, without the rest of their segments.
pub(super) struct Segments<'c> {
    connection: &'c Connection,
    open: Option<(i64, Blob<'c>)>,
}

impl<'c> Segments<'c> {
    pub(super) fn of(connection: &'c Connection) -> Self {
        Self { connection, open: None }
    }

    /// Reads what was made of an entry when it was appended.
    pub(super) fn reading(&mut self, spot: Spot) -> Result<Vec<u8>, Failure> {
        let (segment, lengths, place) = self.lengths(spot)?;
        let Lengths([arrival, reading, ..]) = lengths;
        read(segment, place + LENGTHS + arrival, reading)
    }

    /// Reads what was received: all but the body, and the body.
    pub(super) fn received(&mut self, spot: Spot) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let (segment, lengths, place) = self.lengths(spot)?;
        let Lengths([arrival, reading, received, body]) = lengths;
        let begin = place + LENGTHS + arrival + reading;
        Ok((read(segment, begin, received)?, read(segment, begin + received, body)?))
    }

    /// Reads what was received, but for the body.
    pub(super) fn about_received(&mut self, spot: Spot) -> Result<Vec<u8>, Failure> {
        let (segment, lengths, place) = self.lengths(spot)?;
        let Lengths([arrival, reading, received, _]) = lengths;
        read(segment, place + LENGTHS + arrival + reading, received)
    }

    /// Reads a record's own bytes, to be moved.
    pub(super) fn whole(&mut self, spot: Spot) -> Result<Vec<u8>, Failure> {
        let (segment, lengths, place) = self.lengths(spot)?;
        read(segment, place, LENGTHS + lengths.all())
    }

    fn lengths(&mut self, spot: Spot) -> Result<(&Blob<'c>, Lengths, usize), Failure> {
        let wanted = segment_of(self.connection, spot.number)?;
        let blob = match self.open.take() {
            Some((open, blob)) if open == wanted => blob,
            Some((_, mut blob)) => {
                blob.reopen(wanted)?;
                blob
            }
            None => self.connection.blob_open(MAIN_DB, "content", "bytes", wanted, true)?,
        };
        let (_, blob) = self.open.insert((wanted, blob));
        Ok((blob, lengths_at(blob, spot)?, spot.place as usize))
    }
}

/// Reads how long the parts of an entry's record are, if it is that entry's.
fn lengths_at(segment: &Blob<'_>, spot: Spot) -> Result<Lengths, Failure> {
    let bytes = read(segment, spot.place as usize, LENGTHS + arrival::START)?;
    let is_its_own = bytes.get(LENGTHS..).is_some_and(|arrival| arrival::is_of(arrival, spot.id));
    let lengths = Lengths::read(&bytes).filter(|_| is_its_own);
    Ok(lengths.ok_or(Unreadable { column: "bytes" })?)
}

fn read(segment: &Blob<'_>, place: usize, len: usize) -> Result<Vec<u8>, Failure> {
    // What a damaged length asks for is not given.
    if place.checked_add(len).is_none_or(|end| end > segment.len()) {
        return Err(Unreadable { column: "bytes" }.into());
    }
    let mut bytes = vec![0; len];
    segment.read_at_exact(&mut bytes, place)?;
    Ok(bytes)
}

/// Returns the number of the segment that holds an entry's record.
fn segment_of(connection: &Connection, number: i64) -> Result<i64, Failure> {
    let mut find =
        connection.prepare_cached("SELECT number FROM content WHERE number <= ?1 ORDER BY number DESC LIMIT 1")?;
    Ok(find.query_row([number], |row| row.get(0)).optional()?.ok_or(Unreadable { column: "bytes" })?)
}

/// Writes zeros over what was made of an entry when it was appended: an operator had it made again.
pub(super) fn wipe_reading(connection: &Connection, spot: Spot) -> Result<(), Failure> {
    wipe_parts(connection, spot, |Lengths([arrival, reading, ..])| (arrival, reading))
}

/// Removes the record of an entry whose row is deleted; and its segment, where no entry of that is left.
///
/// Where few are left of a long one, each gets a segment of its own: else a lead that is kept for months would keep the room
/// of all that came with it.
pub(super) fn remove(connection: &Connection, spot: Spot) -> Result<(), Failure> {
    let segment = segment_of(connection, spot.number)?;
    let left = left_in(connection, segment)?;
    if left.is_empty() {
        return delete(connection, segment);
    }
    wipe_parts(connection, spot, |lengths| (0, lengths.all()))?;
    if left.len() > SCATTERED_MAX {
        return Ok(());
    }
    let len = connection.blob_open(MAIN_DB, "content", "bytes", segment, true)?.len();
    let mut segments = Segments::of(connection);
    // Where one can't be read, all stay as they are.
    let whole = |spot: &Spot| Ok((spot.number, segments.whole(*spot)?));
    let left: Vec<(i64, Vec<u8>)> = match left.iter().map(whole).collect() {
        Ok(left) => left,
        Err(Failure::Corrupt(_)) => return Ok(()),
        Err(failure) => return Err(failure),
    };
    drop(segments);
    let apart: usize = left.iter().map(|(_, record)| LOCAL + record.len().next_multiple_of(OVERFLOW)).sum();
    if apart > len / 2 {
        return Ok(());
    }
    delete(connection, segment)?;
    for (number, record) in left {
        insert(connection, number, &record)?;
        connection.prepare_cached("UPDATE entry SET place = 0 WHERE number = ?1")?.execute([number])?;
    }
    Ok(())
}

/// Returns some of the entries of a segment: more than are ever scattered, if there are so many.
fn left_in(connection: &Connection, segment: i64) -> Result<Vec<Spot>, Failure> {
    let mut find = connection.prepare_cached("SELECT number FROM content WHERE number > ?1 ORDER BY number LIMIT 1")?;
    let next: i64 = find.query_row([segment], |row| row.get(0)).optional()?.unwrap_or(i64::MAX);
    let mut left = connection.prepare_cached(
        "SELECT number, place, id FROM entry WHERE number >= ?1 AND number < ?2 ORDER BY number LIMIT ?3",
    )?;
    let left = left.query_map([segment, next, SCATTERED_MAX as i64 + 1], |row| {
        Ok(Spot { number: row.get(0)?, place: row.get(1)?, id: EntryId::from_bytes(row.get(2)?) })
    })?;
    Ok(left.collect::<Result<_, _>>()?)
}

fn delete(connection: &Connection, segment: i64) -> Result<(), Failure> {
    connection.prepare_cached("DELETE FROM content WHERE number = ?1")?.execute([segment])?;
    Ok(())
}

/// Writes zeros over a part of a record, told by where it begins behind the lengths and how long it is.
fn wipe_parts(
    connection: &Connection,
    spot: Spot,
    part: impl FnOnce(Lengths) -> (usize, usize),
) -> Result<(), Failure> {
    let mut blob = connection.blob_open(MAIN_DB, "content", "bytes", segment_of(connection, spot.number)?, false)?;
    let lengths = lengths_at(&blob, spot)?;
    let (begin, len) = part(lengths);
    let begin = spot.place as usize + LENGTHS + begin;
    if begin + len > blob.len() {
        return Err(Unreadable { column: "bytes" }.into());
    }
    for at in (begin..begin + len).step_by(ZEROS.len()) {
        blob.write_at(ZEROS.get(..(begin + len - at).min(ZEROS.len())).unwrap_or(&ZEROS), at)?;
    }
    Ok(())
}

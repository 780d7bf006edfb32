//! Rows of a page, read without SQLite: of a table whose root, or whose every other page, is gone.
//!
//! The format is SQLite's, as it documents it: a leaf of a table begins with the byte 13, then come the number of its
//! cells and where each lies. Nothing read here is trusted.

use rusqlite::types::Value;

use super::super::schema::PAGE_SIZE;
use super::image::{Image, word};

const LEAF: u8 = 13;
const LEAF_HEADER: usize = 8;
const INDEX_LEAF: u8 = 10;
const INDEX_INNER: u8 = 2;
/// Bytes of a row that go onto one page of its own, behind the number of the next.
const OVERFLOW: usize = PAGE_SIZE - 4;
/// A row up to this long lies in the leaf whole.
const WHOLE_MAX: usize = PAGE_SIZE - 35;
/// Of a longer one at least this many bytes.
const LOCAL_MIN: usize = (PAGE_SIZE - 12) * 32 / 255 - 23;
/// More than any row of ours; a damaged length is not believed.
const ROW_MAX: usize = 256 * 1_024 * 1_024;

/// By the types of a record: even ones from 12 are blobs, odd ones texts, those below numbers and nothing.
pub(super) const BLOB_OF_16: u64 = 12 + 2 * 16;

/// What a page can be, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    /// A page of an index: each of its entries ends with the key of its row.
    Index,
    /// A page of SQLite's that holds no row of ours: an inner page, a part of a long row, an unused one.
    Other,
    /// None of SQLite's.
    Foreign,
}

impl Kind {
    pub(super) fn of(page: &[u8]) -> Self {
        match page.first() {
            Some(&LEAF) => Self::Leaf,
            Some(&(INDEX_LEAF | INDEX_INNER)) => Self::Index,
            Some(0 | 5) => Self::Other,
            _ => Self::Foreign,
        }
    }
}

/// A row in its leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// The table's integer key.
    pub(super) number: i64,
    /// Bytes of the whole row.
    len: usize,
    /// Those in the leaf.
    local: Vec<u8>,
    /// The page where it goes on.
    next: u32,
}

/// Reads the rows of a leaf; `None` stands for one that is damaged.
pub(super) fn cells(page: &[u8]) -> Vec<Option<Cell>> {
    pointers(page, LEAF_HEADER).map(|start| cell(page, start?)).collect()
}

/// Reads the entries of an index' page that are an id and the key of its row; returns those keys.
pub(super) fn keys_of_ids(page: &[u8]) -> Vec<i64> {
    // An inner page has another pointer in its header, and before each entry.
    let skipped = if page.first() == Some(&INDEX_INNER) { 4 } else { 0 };
    let key = |start: Option<usize>| {
        let mut rest = page.get(start? + skipped..)?;
        let len = usize::try_from(varint(&mut rest)?).ok()?;
        let cell = Cell { number: 0, len, local: rest.get(..len)?.to_vec(), next: 0 };
        match *cell.types()? {
            // The header, the id, the key.
            [BLOB_OF_16, kind @ (1..=6 | 8 | 9)] => match value(kind, &mut cell.local.get(3 + 16..)?)? {
                Value::Integer(key) => Some(key),
                _ => None,
            },
            _ => None,
        }
    };
    pointers(page, LEAF_HEADER + skipped).filter_map(key).collect()
}

/// Returns where the cells of a page begin.
fn pointers(page: &[u8], header: usize) -> impl Iterator<Item = Option<usize>> {
    let count = page.get(3..5).map_or(0, |bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    // As many as fit, whatever the page says.
    let count = count.min((PAGE_SIZE - LEAF_HEADER) / 2);
    (0..count).map(move |index| {
        let pointer = page.get(header + 2 * index..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*pointer)))
    })
}

fn cell(page: &[u8], start: usize) -> Option<Cell> {
    let mut rest = page.get(start..)?;
    let len = usize::try_from(varint(&mut rest)?).ok().filter(|len| *len <= ROW_MAX)?;
    let number = varint(&mut rest)?.cast_signed();
    if len <= WHOLE_MAX {
        return Some(Cell { number, len, local: rest.get(..len)?.to_vec(), next: 0 });
    }
    let wanted = LOCAL_MIN + (len - LOCAL_MIN) % OVERFLOW;
    let local = rest.get(..if wanted <= WHOLE_MAX { wanted } else { LOCAL_MIN })?;
    let next = rest.get(local.len()..local.len() + 4)?;
    Some(Cell { number, len, local: local.to_vec(), next: word(next, 0) })
}

impl Cell {
    /// Returns the types of the columns, which all lie in the leaf for rows of ours.
    pub(super) fn types(&self) -> Option<Vec<u64>> {
        let mut rest = &*self.local;
        let before = rest.len();
        let header = usize::try_from(varint(&mut rest)?).ok()?;
        let mut rest = rest.get(..header.checked_sub(before - rest.len())?)?;
        let mut types = Vec::new();
        while !rest.is_empty() {
            types.push(varint(&mut rest)?);
        }
        Some(types)
    }

    /// Reads the columns; `None` where a page of the row is not what it was.
    pub(super) fn values(&self, image: &Image) -> Option<Vec<Value>> {
        let types = self.types()?;
        let bytes = self.bytes(image)?;
        let mut start = &*bytes;
        let header = usize::try_from(varint(&mut start)?).ok()?;
        let mut rest = bytes.get(header..)?;
        let values = types.into_iter().map(|kind| value(kind, &mut rest)).collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(values)
    }

    /// Reads the last column, a blob, as far as it can be read: behind a page that is lost nobody knows where it goes on.
    pub(super) fn beginning_of_last(&self, image: &Image) -> Option<Vec<u8>> {
        let types = self.types()?;
        let (mut bytes, _) = self.readable(image);
        let mut start = &*bytes;
        let header = usize::try_from(varint(&mut start)?).ok()?;
        let before: u64 = types.iter().rev().skip(1).map(|kind| length(*kind).unwrap_or(0)).sum();
        let start = header.checked_add(usize::try_from(before).ok()?)?;
        Some(bytes.split_off(start.min(bytes.len())))
    }

    fn bytes(&self, image: &Image) -> Option<Vec<u8>> {
        let (bytes, is_whole) = self.readable(image);
        is_whole.then_some(bytes)
    }

    /// Reads what can be read, and tells whether that is all.
    fn readable(&self, image: &Image) -> (Vec<u8>, bool) {
        let mut bytes = self.local.clone();
        let mut next = self.next;
        // Each turn takes something, so a ring of pages ends as well.
        while bytes.len() < self.len {
            let Some(page) = image.newest(next) else { return (bytes, false) };
            next = word(&page, 0);
            let missing = (self.len - bytes.len()).min(OVERFLOW);
            let is_last = bytes.len() + missing == self.len;
            // What doesn't say rightly where it goes on is not the page that was written.
            if is_last != (next == 0) || next > image.pages() {
                return (bytes, false);
            }
            bytes.extend_from_slice(page.get(4..4 + missing).unwrap_or_default());
        }
        (bytes, true)
    }
}

/// Returns how many bytes a column has of a type.
fn length(kind: u64) -> Option<u64> {
    Some(match kind {
        0 | 8 | 9 => 0,
        1..=4 => kind,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return None,
        _ => (kind - 12) / 2,
    })
}

/// Reads one column of a record.
fn value(kind: u64, rest: &mut &[u8]) -> Option<Value> {
    let (bytes, after) = rest.split_at_checked(usize::try_from(length(kind)?).ok()?)?;
    *rest = after;
    Some(match kind {
        0 => Value::Null,
        7 => Value::Real(f64::from_be_bytes(*bytes.first_chunk()?)),
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        1..=6 => Value::Integer(integer(bytes)),
        _ if kind.is_multiple_of(2) => Value::Blob(bytes.to_vec()),
        _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
    })
}

fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|first| *first > 0x7f);
    bytes.iter().fold(if negative { -1 } else { 0 }, |sum, byte| sum << 8 | i64::from(*byte))
}

/// Reads seven bits of each byte until one says that it is the last; of a ninth all eight.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for index in 0..9 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        if index == 8 {
            return Some(value << 8 | u64::from(*byte));
        }
        value = value << 7 | u64::from(*byte & 0x7f);
        if *byte < 0x80 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rows_are_read_as_sqlite_wrote_them(
            rows in prop::collection::vec(
                (any::<Option<i64>>(), "\\PC{0,40}", prop::collection::vec(any::<u8>(), 0..20_000)), 1..20),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("some.db");
            let connection = Connection::open(&path).expect("opened");
            connection.execute_batch("PRAGMA page_size = 4096; BEGIN; CREATE TABLE some (a, b, c)").expect("created");
            for row in &rows {
                connection.execute("INSERT INTO some VALUES (?1, ?2, ?3)", row.clone()).expect("inserted");
            }
            connection.execute_batch("COMMIT").expect("committed");
            drop(connection);
            let image = Image::open(&path).expect("opened");
            let leaves = (2..=image.pages()).map(|page| image.page(page).expect("read"));
            let leaves = leaves.filter(|page| Kind::of(page) == Kind::Leaf);
            let mut found: Vec<_> = leaves.flat_map(|page| cells(&page)).map(|cell| cell.expect("whole")).collect();
            found.sort_by_key(|cell| cell.number);
            let found: Vec<_> = found.iter().map(|cell| cell.values(&image).expect("whole")).collect();
            let rows = rows.into_iter().map(|(a, b, c)| vec![a.into(), b.into(), c.into()]);
            prop_assert_eq!(found, rows.collect::<Vec<Vec<Value>>>());
        }

        #[test]
        fn bytes_of_any_kind_are_read_without_a_panic(
            mut page in prop::collection::vec(any::<u8>(), PAGE_SIZE),
            pointers in prop::collection::vec(0_u16..5_000, 1..200),
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("some.db");
            page[0] = LEAF;
            page[3..5].copy_from_slice(&(pointers.len() as u16 + 3).to_be_bytes());
            for (index, pointer) in pointers.iter().enumerate() {
                page[LEAF_HEADER + 2 * index..][..2].copy_from_slice(&pointer.to_be_bytes());
            }
            std::fs::write(&path, page.repeat(3)).expect("written");
            std::fs::write(folder.path().join("some.db-wal"), &page).expect("written");
            let image = Image::open(&path).expect("opened");
            for cell in cells(&image.page(2).expect("read")).into_iter().flatten() {
                let _values = (cell.types(), cell.values(&image));
            }
        }
    }
}

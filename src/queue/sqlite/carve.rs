//! Rows of a page, read without SQLite: of a table whose root, or whose every other page, is gone.
//!
//! The format is SQLite's, as it documents it: a leaf of a table begins with the byte 13, then come the number of its
//! cells and where each lies. Nothing read here is trusted.

use rusqlite::types::Value;

use super::image::{Image, word};
use super::schema::PAGE_SIZE;

const LEAF: u8 = 13;
const LEAF_HEADER: usize = 8;
/// Bytes of a row that go onto one page of its own, behind the number of the next.
const OVERFLOW: usize = PAGE_SIZE - 4;
/// A row up to this long lies in the leaf whole.
const WHOLE_MAX: usize = PAGE_SIZE - 35;
/// Of a longer one at least this many bytes.
const LOCAL_MIN: usize = (PAGE_SIZE - 12) * 32 / 255 - 23;
/// More than any row of ours; a damaged length is not believed.
const ROW_MAX: usize = 256 * 1_024 * 1_024;

/// What a page can be, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    /// A page of SQLite's that holds no row of ours: an index, an inner page, a part of a long row, an unused one.
    Other,
    /// None of SQLite's.
    Foreign,
}

impl Kind {
    pub(super) fn of(page: &[u8]) -> Self {
        match page.first() {
            Some(&LEAF) => Self::Leaf,
            Some(0 | 2 | 5 | 10) => Self::Other,
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
    let count = page.get(3..5).map_or(0, |bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    // As many as fit, whatever the page says.
    let count = count.min((PAGE_SIZE - LEAF_HEADER) / 2);
    (0..count).map(|index| cell(page, LEAF_HEADER + 2 * index)).collect()
}

fn cell(page: &[u8], pointer: usize) -> Option<Cell> {
    let start = usize::from(u16::from_be_bytes(*page.get(pointer..)?.first_chunk()?));
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

    fn bytes(&self, image: &Image) -> Option<Vec<u8>> {
        let mut bytes = self.local.clone();
        let mut next = self.next;
        // Each turn takes something, so a ring of pages ends as well.
        while bytes.len() < self.len {
            let page = image.newest(next)?;
            next = word(&page, 0);
            let missing = (self.len - bytes.len()).min(OVERFLOW);
            bytes.extend_from_slice(page.get(4..4 + missing)?);
        }
        (next == 0).then_some(bytes)
    }
}

/// Reads one column of a record.
fn value(kind: u64, rest: &mut &[u8]) -> Option<Value> {
    let len = match kind {
        0 | 8 | 9 => 0,
        1..=4 => kind,
        5 => 6,
        6 | 7 => 8,
        10 | 11 => return None,
        _ => (kind - 12) / 2,
    };
    let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
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

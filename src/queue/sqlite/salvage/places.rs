//! Where the rows of a file lie that was set aside, whichever version wrote it.
//!
//! The rows of a table are told by the types of their columns:
//!
//! | table | columns |
//! |---|---|
//! | `entry` | 18, the id is the second; 17 in former versions |
//! | `content` | the number, padding, a blob; in former versions padding, a text, a blob and perhaps another text |
//! | `reading` | the number, padding, a text |
//! | `name` | the number and a text |

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::adopt::Kept;
use super::super::arrival::Arrival;
use super::super::failure::Failure;
use super::super::former;
use super::super::former::columns::Columns;
use super::super::segment::{Record, records};
use super::Lines;
use super::carve::{BLOB_OF_16, Cell, Kind, cells, keys_of_ids};
use super::image::Image;
use super::rows::{EntryRow, FormerRow, orphan};
use crate::lead::EntryId;

/// Columns of `entry`.
const ENTRY_COLUMNS: usize = 18;
/// Most names that are remembered.
const NAMES_MAX: usize = 100_000;

/// A file that was looked through. What it notes is numbers only, in a file without a name once it doesn't fit into the
/// cache, so memory stays small.
pub(super) struct Places<'i> {
    image: &'i Image,
    table: Connection,
    names: HashMap<i64, String>,
    /// The highest number of a row of `entry`.
    entered: i64,
    /// The segment that was read last, with the number of its first record.
    open: Option<(i64, Vec<Record>)>,
}

impl<'i> Places<'i> {
    /// Notes where the rows lie.
    pub(super) fn locate(image: &'i Image, lines: &mut Lines) -> Result<Self, Failure> {
        let table = Connection::open("")?;
        table.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
             CREATE TABLE segment (number INTEGER PRIMARY KEY, page INTEGER, cell INTEGER);
             CREATE TABLE former (number INTEGER PRIMARY KEY, page INTEGER, cell INTEGER);
             CREATE TABLE reading (number INTEGER PRIMARY KEY, page INTEGER, cell INTEGER);
             CREATE TABLE leaf (page INTEGER PRIMARY KEY);
             CREATE TABLE indexed (number INTEGER PRIMARY KEY);
             CREATE TABLE joined (number INTEGER PRIMARY KEY);",
        )?;
        let mut places = Self { image, table, names: HashMap::new(), entered: 0, open: None };
        let mut foreign = Foreign::default();
        for number in 1..=image.pages() {
            let page = match image.page(number) {
                Ok(page) => page,
                Err(error) => {
                    lines.add(&format!("page {number}: {}", error.kind()));
                    continue;
                }
            };
            // The first holds the schema, behind a header.
            let kind = if number == 1 { Kind::Other } else { Kind::of(&page) };
            foreign.note(number, kind == Kind::Foreign, lines);
            match kind {
                Kind::Leaf => places.locate_in(number, &cells(&page), lines)?,
                Kind::Index => places.note_indexed(&page)?,
                Kind::Other | Kind::Foreign => {}
            }
        }
        foreign.note(0, false, lines);
        places.table.execute_batch("COMMIT")?;
        Ok(places)
    }

    fn locate_in(&mut self, page: u32, cells: &[Option<Cell>], lines: &mut Lines) -> Result<(), Failure> {
        let damaged = cells.iter().filter(|cell| cell.as_ref().is_none_or(|cell| cell.types().is_none())).count();
        if damaged > 0 {
            lines.add(&format!("page {page}: {damaged} rows"));
        }
        for (index, cell) in (0_u32..).zip(cells) {
            // Below zero are probes for room.
            let Some(cell) = cell.as_ref().filter(|cell| cell.number > 0) else { continue };
            let note = match cell.types().and_then(|types| Table::of(&types)) {
                Some(Table::Content) => "INSERT OR IGNORE INTO segment VALUES (?1, ?2, ?3)",
                Some(Table::FormerContent) => "INSERT OR IGNORE INTO former VALUES (?1, ?2, ?3)",
                Some(Table::Reading) => "INSERT OR IGNORE INTO reading VALUES (?1, ?2, ?3)",
                Some(Table::Entry | Table::FormerEntry) => {
                    self.entered = self.entered.max(cell.number);
                    self.table.prepare_cached("INSERT OR IGNORE INTO leaf VALUES (?1)")?.execute([page])?;
                    continue;
                }
                Some(Table::Name) if self.names.len() < NAMES_MAX => {
                    if let Some([_, Value::Text(name)]) = cell.values(self.image).as_deref() {
                        self.names.insert(cell.number, name.clone());
                    }
                    continue;
                }
                _ => continue,
            };
            self.table.prepare_cached(note)?.execute(params![cell.number, page, index])?;
        }
        Ok(())
    }

    /// Notes which rows of `entry` there were, of those that may be lost.
    fn note_indexed(&self, page: &[u8]) -> Result<(), Failure> {
        let mut note = self.table.prepare_cached("INSERT OR IGNORE INTO indexed VALUES (?1)")?;
        for number in keys_of_ids(page) {
            note.execute([number])?;
        }
        Ok(())
    }

    /// Tells whether an entry without a row once had one: then more may have become of it than its arrival.
    fn was_entered(&self, number: i64) -> Result<bool, Failure> {
        let mut find = self.table.prepare_cached("SELECT 1 FROM indexed WHERE number = ?1")?;
        Ok(number <= self.entered || find.exists([number])?)
    }

    /// Returns the pages that hold rows of `entry`.
    pub(super) fn leaves(&self) -> Result<Vec<u32>, Failure> {
        let mut leaves = self.table.prepare("SELECT page FROM leaf ORDER BY page")?;
        Ok(leaves.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Reads the entries of a page, each with what belongs to it; the inner error is a line on what is missing.
    pub(super) fn entries(&mut self, page: u32) -> Result<Vec<Result<Kept, String>>, Failure> {
        let mut found = Vec::new();
        for cell in cells_of(self.image, page) {
            let table = cell.types().and_then(|types| Table::of(&types));
            let joined = match table {
                Some(Table::Entry) => self.join(&cell)?,
                Some(Table::FormerEntry) => self.join_former(&cell)?,
                _ => continue,
            };
            found.push(joined.map(|mut kept| {
                // Whoever had leased it is gone.
                kept.standing.release();
                kept
            }));
        }
        Ok(found)
    }

    fn join(&mut self, cell: &Cell) -> Result<Result<Kept, String>, Failure> {
        let Some(values) = cell.values(self.image) else { return Ok(Err("an entry's own row".to_owned())) };
        let row = match EntryRow::read(&values) {
            Ok(row) => row,
            Err(Failure::Corrupt(_)) => return Ok(Err(format!("{}: not as it was written", name(&values)))),
            Err(failure) => return Err(failure),
        };
        // By the id: a segment that is lost leaves the one before it in its place.
        let Some((arrival, record)) = self.record(cell.number, row.id)? else {
            return Ok(Err(format!("the content of {}", name(&values))));
        };
        let anew = self.reading(cell.number)?;
        self.note_joined(cell.number)?;
        Ok(Ok(row.kept(arrival, record, anew, &self.names)?))
    }

    fn join_former(&mut self, cell: &Cell) -> Result<Result<Kept, String>, Failure> {
        let Some(values) = cell.values(self.image) else { return Ok(Err("an entry's own row".to_owned())) };
        let place = self.place("SELECT page, cell FROM former WHERE number = ?1", cell.number)?;
        let Some(content) = place.and_then(|place| self.values_at(place)).and_then(FormerRow::of) else {
            return Ok(Err(format!("the content of {}", name(&values))));
        };
        match former::entry(&values, &content.json, content.body) {
            Ok(kept) => {
                self.note_joined(cell.number)?;
                Ok(Ok(kept))
            }
            Err(Failure::Corrupt(_)) => Ok(Err(format!("{}: not as it was written", name(&values)))),
            Err(failure) => Err(failure),
        }
    }

    fn note_joined(&self, number: i64) -> Result<(), Failure> {
        self.table.prepare_cached("INSERT OR IGNORE INTO joined VALUES (?1)")?.execute([number])?;
        Ok(())
    }

    fn is_joined(&self, number: i64) -> Result<bool, Failure> {
        Ok(self.table.prepare_cached("SELECT 1 FROM joined WHERE number = ?1")?.exists([number])?)
    }

    /// Reads what was made of an entry again.
    fn reading(&self, number: i64) -> Result<Option<Vec<u8>>, Failure> {
        let place = self.place("SELECT page, cell FROM reading WHERE number = ?1", number)?;
        let mut values = place.and_then(|place| self.values_at(place)).unwrap_or_default().into_iter();
        Ok(match values.nth(2) {
            Some(Value::Text(json)) => Some(json.into_bytes()),
            _ => None,
        })
    }

    /// Reads the record of an entry.
    fn record(&mut self, number: i64, id: EntryId) -> Result<Option<(Arrival, Record)>, Failure> {
        let mut find =
            self.table.prepare_cached("SELECT number FROM segment WHERE number <= ?1 ORDER BY number DESC LIMIT 1")?;
        let Some(segment) = find.query_row([number], |row| row.get(0)).optional()? else { return Ok(None) };
        drop(find);
        let records = self.segment(segment)?;
        let mut arrivals = records.iter().filter_map(|record| Some((Arrival::parse(&record.arrival)?, record)));
        Ok(arrivals.find(|(arrival, _)| arrival.id == id).map(|(arrival, record)| (arrival, record.clone())))
    }

    /// Reads a segment; of one that is damaged what lies before that.
    fn segment(&mut self, number: i64) -> Result<&[Record], Failure> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let place = self.place("SELECT page, cell FROM segment WHERE number = ?1", number)?;
            let bytes = place.and_then(|place| self.cell_at(place)).and_then(|cell| cell.beginning_of_last(self.image));
            self.open = Some((number, records(&bytes.unwrap_or_default())));
        }
        Ok(self.open.as_ref().map_or(&[], |(_, records)| records))
    }

    fn place(&self, find: &str, number: i64) -> Result<Option<(u32, u32)>, Failure> {
        let mut find = self.table.prepare_cached(find)?;
        Ok(find.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
    }

    fn cell_at(&self, (page, index): (u32, u32)) -> Option<Cell> {
        cells(&self.image.page(page).ok()?).into_iter().nth(index as usize)?
    }

    fn values_at(&self, place: (u32, u32)) -> Option<Vec<Value>> {
        self.cell_at(place)?.values(self.image)
    }
}

/// What was never entered, and what has lost its row of `entry`.
pub(super) struct Orphans {
    /// Segments and rows of former versions, by their numbers; each is taken apart when it is reached.
    left: std::vec::IntoIter<(i64, bool)>,
    records: std::vec::IntoIter<(i64, Record)>,
    /// Those that can't be read.
    pub(super) lost: usize,
}

impl Orphans {
    pub(super) fn of(places: &Places<'_>) -> Result<Self, Failure> {
        let mut find = places.table.prepare(
            "SELECT number, FALSE FROM segment UNION ALL
             SELECT number, TRUE FROM former WHERE number NOT IN (SELECT number FROM joined) ORDER BY 1",
        )?;
        let left: Vec<_> = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Self { left: left.into_iter(), records: Vec::new().into_iter(), lost: 0 })
    }

    /// Returns the next that can be read.
    pub(super) fn next(&mut self, places: &mut Places<'_>) -> Result<Option<Kept>, Failure> {
        loop {
            for (number, record) in self.records.by_ref() {
                // One that was removed is no orphan.
                if record.arrival.is_empty() || places.is_joined(number)? {
                    continue;
                }
                match orphan(record, places.was_entered(number)?) {
                    Ok(kept) => return Ok(Some(kept)),
                    Err(Failure::Corrupt(_)) => self.lost += 1,
                    Err(failure) => return Err(failure),
                }
            }
            match self.left.next() {
                None => return Ok(None),
                Some((number, false)) => {
                    let records: Vec<_> = (number..).zip(places.segment(number)?.to_vec()).collect();
                    self.lost += usize::from(records.is_empty());
                    self.records = records.into_iter();
                }
                Some((number, true)) => {
                    let place = places.place("SELECT page, cell FROM former WHERE number = ?1", number)?;
                    let row = place.and_then(|place| places.values_at(place)).and_then(FormerRow::of);
                    let was_entered = places.was_entered(number)?;
                    match row.map(|row| row.orphan(was_entered)) {
                        Some(Ok(kept)) => return Ok(Some(kept)),
                        Some(Err(Failure::Corrupt(_))) | None => self.lost += 1,
                        Some(Err(failure)) => return Err(failure),
                    }
                }
            }
        }
    }
}

/// Whose row it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Entry,
    Content,
    Reading,
    Name,
    FormerEntry,
    FormerContent,
}

impl Table {
    fn of(types: &[u64]) -> Option<Self> {
        let is_blob = |kind: u64| kind >= 12 && kind.is_multiple_of(2);
        let is_text = |kind: u64| kind >= 13 && !kind.is_multiple_of(2);
        match *types {
            [0, BLOB_OF_16, ..] if types.len() == ENTRY_COLUMNS => Some(Self::Entry),
            [0, BLOB_OF_16, ..] if types.len() == former::ENTRY_COLUMNS => Some(Self::FormerEntry),
            [0, text] if is_text(text) => Some(Self::Name),
            [0, padding, bytes] if is_blob(padding) && is_blob(bytes) => Some(Self::Content),
            [0, padding, json] if is_blob(padding) && is_text(json) => Some(Self::Reading),
            // The last column came with the third version.
            [0, padding, json, body] | [0, padding, json, body, _]
                if is_blob(padding) && is_text(json) && is_blob(body) =>
            {
                Some(Self::FormerContent)
            }
            _ => None,
        }
    }
}

fn cells_of(image: &Image, page: u32) -> Vec<Cell> {
    image.page(page).map_or_else(|_gone| Vec::new(), |page| cells(&page).into_iter().flatten().collect())
}

/// Returns what an entry is called in a report.
fn name(entry: &[Value]) -> String {
    match Columns(entry).id() {
        Ok(id) => format!("entry {id}"),
        Err(_) => "an entry without an id".to_owned(),
    }
}

/// Pages in a row that are none of SQLite's.
#[derive(Default)]
struct Foreign {
    first: Option<u32>,
}

impl Foreign {
    fn note(&mut self, number: u32, is_foreign: bool, lines: &mut Lines) {
        if is_foreign {
            self.first.get_or_insert(number);
        } else if let Some(first) = self.first.take() {
            let last = if number == 0 { "the end".to_owned() } else { (number - 1).to_string() };
            lines.add(&format!("pages {first} to {last}"));
        }
    }
}

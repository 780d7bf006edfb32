//! Merging back what can be read of files that were set aside.
//!
//! Every page is looked at, so it matters little which are damaged: a row comes back when the pages it lies on are whole.
//! Two walks: the first notes where the rows of `content` are (in a temporary database, so memory stays small), the
//! second reads each row of `entry` with its content, and hands them over in batches to the thread that writes.

use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params, params_from_iter};
use tokio::sync::mpsc;

use super::append::check_room;
use super::arrival::Arrival;
use super::aside;
use super::carve::{Cell, Kind, cells};
use super::failure::{Closed, Failure, Unreadable};
use super::image::Image;
use super::row::{SELECT_BY_NUMBER, padding, read_entry, read_standing, write_standing};
use super::writer::{Workspace, Writer};
use crate::lead::EntryId;
use crate::queue::{Salvaged, StoreError};
use crate::telemetry;

/// Entries merged in one transaction.
const BATCH_MAX: usize = 64;
/// Bytes of them, unless a single one has more.
const BATCH_BYTES: usize = 4 * 1_024 * 1_024;
/// Most lines on what could not be read.
const UNREADABLE_MAX: usize = 1_000;
/// Columns of the tables, by which their rows are told apart.
const ENTRY_COLUMNS: usize = 17;
const ID: usize = 1;

/// A row of `entry` and the one of `content` that belongs to it.
#[derive(Clone)]
struct Found {
    entry: Vec<Value>,
    json: String,
    body: Vec<u8>,
}

/// What became of a batch.
#[derive(Default)]
struct Merged {
    recovered: u64,
    present: u64,
    unreadable: Vec<String>,
}

/// What could not be read of a file.
#[derive(Default)]
struct Lines {
    file: String,
    lines: Vec<String>,
}

/// Reads every file that was set aside, and merges what the store does not have.
pub(super) async fn salvage(path: &Path, writer: &Writer) -> Result<Salvaged, StoreError> {
    let mut salvaged = Salvaged::default();
    // The newest first: of an entry that is in several, its latest state is the one to keep.
    for file in aside::corrupt(path).map_err(Failure::from)? {
        let (found, mut batches) = mpsc::channel(1);
        let reading = telemetry::blocking({
            let file = file.clone();
            move || read(&file, &found)
        });
        while let Some(batch) = batches.recv().await {
            let merged = writer.write(move |workspace| merge(workspace, &batch)).await?;
            salvaged.recovered += merged.recovered;
            salvaged.present += merged.present;
            salvaged.unreadable.extend(merged.unreadable);
        }
        salvaged.unreadable.extend(reading.await.map_err(Failure::unavailable)??);
        salvaged.unreadable.truncate(UNREADABLE_MAX);
        salvaged.files.push(aside::mark_salvaged(path, &file).map_err(Failure::from)?);
    }
    Ok(salvaged)
}

/// Reads a file's entries and hands them over; returns what could not be read.
fn read(file: &Path, batches: &mpsc::Sender<Vec<Found>>) -> Result<Vec<String>, Failure> {
    let image = Image::open(file)?;
    let mut lines = Lines::of(file);
    if image.damaged_in_log() > 0 {
        lines.add(&format!("{} pages of the log", image.damaged_in_log()));
    }
    let (places, entered) = locate(&image, &mut lines)?;
    let mut leaves = places.prepare("SELECT page FROM leaf ORDER BY page")?;
    let mut rows = leaves.query([])?;
    let mut batch = Batch::new(batches);
    while let Some(row) = rows.next()? {
        for cell in cells_of(&image, row.get(0)?).into_iter().filter(is_entry) {
            match join(&image, &places, &cell)? {
                Ok(found) => batch.add(found)?,
                Err(line) => lines.add(&line),
            }
        }
    }
    // What was never entered, and what has lost its row.
    let mut orphans = places.prepare("SELECT number, page, cell FROM place WHERE NOT joined ORDER BY number")?;
    let mut rows = orphans.query([])?;
    let mut lost = 0;
    while let Some(row) = rows.next()? {
        let (number, place): (i64, _) = (row.get(0)?, (row.get(1)?, row.get(2)?));
        match content_at(&image, place).map(|content| content.into_found(number <= entered)) {
            Some(Ok(Some(found))) => batch.add(found)?,
            _ => lost += 1,
        }
    }
    batch.hand_over()?;
    if lost > 0 {
        lines.add(&format!("{lost} entries of which only the content is left"));
    }
    Ok(lines.lines)
}

/// Entries on their way to the thread that writes.
struct Batch<'a> {
    to: &'a mpsc::Sender<Vec<Found>>,
    found: Vec<Found>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(to: &'a mpsc::Sender<Vec<Found>>) -> Self {
        Self { to, found: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, found: Found) -> Result<(), Failure> {
        self.bytes += found.json.len() + found.body.len();
        self.found.push(found);
        if self.found.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            return Ok(());
        }
        self.to.blocking_send(found).map_err(|_gone| Failure::unavailable(Closed))
    }
}

/// Notes where the rows of `content` lie, and which pages hold rows of `entry`; with the highest number of those.
fn locate(image: &Image, lines: &mut Lines) -> Result<(Connection, i64), Failure> {
    // In a file without a name, once it does not fit into the cache. It holds numbers only.
    let places = Connection::open("")?;
    places.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
         CREATE TABLE place (number INTEGER PRIMARY KEY, page INTEGER, cell INTEGER, joined INTEGER DEFAULT FALSE);
         CREATE TABLE leaf (page INTEGER PRIMARY KEY);",
    )?;
    let (mut foreign, mut entered) = (Foreign::default(), 0);
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
        if kind == Kind::Leaf {
            let cells = cells(&page);
            locate_in(&places, number, &cells, lines)?;
            let numbers = cells.iter().flatten().filter(|cell| is_entry(cell)).map(|cell| cell.number);
            entered = numbers.fold(entered, i64::max);
        }
    }
    foreign.note(0, false, lines);
    places.execute_batch("COMMIT")?;
    Ok((places, entered))
}

fn locate_in(places: &Connection, page: u32, cells: &[Option<Cell>], lines: &mut Lines) -> Result<(), Failure> {
    let damaged = cells.iter().filter(|cell| cell.as_ref().is_none_or(|cell| cell.types().is_none())).count();
    if damaged > 0 {
        lines.add(&format!("page {page}: {damaged} rows"));
    }
    let mut note = places.prepare_cached("INSERT OR IGNORE INTO place (number, page, cell) VALUES (?1, ?2, ?3)")?;
    for (index, cell) in (0_u32..).zip(cells) {
        // Below zero are probes for room.
        if let Some(cell) = cell.as_ref().filter(|cell| cell.number > 0 && is_content(cell)) {
            note.execute(params![cell.number, page, index])?;
        }
    }
    if cells.iter().flatten().any(is_entry) {
        places.prepare_cached("INSERT INTO leaf VALUES (?1)")?.execute([page])?;
    }
    Ok(())
}

fn cells_of(image: &Image, page: u32) -> Vec<Cell> {
    image.page(page).map_or_else(|_gone| Vec::new(), |page| cells(&page).into_iter().flatten().collect())
}

/// By the types of a record: even ones from 12 are blobs, odd ones texts, those below numbers and nothing.
fn is_entry(cell: &Cell) -> bool {
    const BLOB_OF_16: u64 = 12 + 2 * 16;
    cell.types().is_some_and(|types| types.len() == ENTRY_COLUMNS && types.get(ID) == Some(&BLOB_OF_16))
}

fn is_content(cell: &Cell) -> bool {
    let is_blob = |kind: u64| kind >= 12 && kind.is_multiple_of(2);
    cell.types().is_some_and(|types| {
        let [0, padding, json, body, ref arrived @ ..] = *types else { return false };
        // The last column came with the third version.
        arrived.len() <= 1 && is_blob(padding) && is_blob(body) && json >= 13 && !is_blob(json)
    })
}

/// Reads an entry's row and finds its content; the inner error is a line on what is missing.
fn join(image: &Image, places: &Connection, cell: &Cell) -> Result<Result<Found, String>, Failure> {
    let Some(entry) = cell.values(image) else { return Ok(Err("an entry's own row".to_owned())) };
    let mut find = places.prepare_cached("UPDATE place SET joined = TRUE WHERE number = ?1 RETURNING page, cell")?;
    let place = find.query_row([cell.number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let lost = format!("the content of {}", name(&entry));
    let content = place.and_then(|place| content_at(image, place));
    Ok(content.map(|Content { json, body, .. }| Found { entry, json, body }).ok_or(lost))
}

/// A row of `content`.
struct Content {
    json: String,
    body: Vec<u8>,
    arrived: Option<String>,
}

impl Content {
    /// Makes an entry of what was known when it arrived, if that is here; `is_lost` says that more had become of it.
    fn into_found(self, is_lost: bool) -> Result<Option<Found>, Failure> {
        let Some(arrival) = self.arrived.as_deref().and_then(Arrival::parse) else { return Ok(None) };
        let entry = if is_lost { arrival.values_of_lost()? } else { arrival.values()? };
        Ok(Some(Found { entry, json: self.json, body: self.body }))
    }
}

fn content_at(image: &Image, (page, index): (u32, u32)) -> Option<Content> {
    let cell = cells(&image.page(page).ok()?).into_iter().nth(index as usize)??;
    let mut values = cell.values(image)?.into_iter().skip(2);
    let (Some(Value::Text(json)), Some(Value::Blob(body))) = (values.next(), values.next()) else { return None };
    let arrived = values.next().and_then(|value| if let Value::Text(text) = value { Some(text) } else { None });
    Some(Content { json, body, arrived })
}

/// Returns what an entry is called in a report.
fn name(entry: &[Value]) -> String {
    match id(entry) {
        Some(id) => format!("entry {id}"),
        None => "an entry without an id".to_owned(),
    }
}

fn id(entry: &[Value]) -> Option<EntryId> {
    match entry.get(ID) {
        Some(Value::Blob(id)) => <[u8; 16]>::try_from(&**id).ok().map(EntryId::from_bytes),
        _ => None,
    }
}

/// Merges entries into the store, each in a transaction of its own within the batch's.
fn merge(workspace: &mut Workspace, batch: &[Found]) -> Result<Merged, Failure> {
    let bytes =
        |found: &Found| padding(found.json.len(), found.body.len(), None).len() + found.json.len() + found.body.len();
    check_room(workspace, batch.iter().map(bytes).sum())?;
    let mut merged = Merged::default();
    for found in batch {
        workspace.connection.execute_batch("SAVEPOINT one")?;
        match merge_one(workspace, found) {
            Ok(true) => merged.recovered += 1,
            Ok(false) => merged.present += 1,
            Err(Failure::Corrupt(_)) => {
                workspace.connection.execute_batch("ROLLBACK TO one")?;
                merged.unreadable.push(format!("{}: not as it was written", name(&found.entry)));
            }
            Err(failure) => return Err(failure),
        }
        workspace.connection.execute_batch("RELEASE one")?;
    }
    workspace.woke |= merged.recovered > 0;
    Ok(merged)
}

/// Adds one entry as it was, and tells whether it was missing. Whoever had leased it is gone.
fn merge_one(workspace: &Workspace, found: &Found) -> Result<bool, Failure> {
    let connection = &workspace.connection;
    let id = id(&found.entry).ok_or(Unreadable { column: "id" })?;
    if connection.prepare_cached("SELECT 1 FROM entry WHERE id = ?1")?.exists([id.as_bytes()])? {
        return Ok(false);
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO entry (number, id, site, form, state, reason, revision, accepted_at, due_at, waits_from, expires_at,
            lease, attempts, seen, lead_id, dedupe_key, history)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    // The number is stored as nothing, and given anew.
    insert.execute(params_from_iter(&found.entry)).map_err(as_unreadable)?;
    let number = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT INTO content (number, padding, json, body) VALUES (?1, ?2, ?3, ?4)")?;
    let padding = padding(found.json.len(), found.body.len(), None);
    insert.execute(params![number, padding, found.json, found.body])?;
    let mut find = connection.prepare_cached("SELECT * FROM entry WHERE number = ?1")?;
    if let Some(mut standing) = find.query_and_then([number], read_standing)?.next().transpose()?
        && standing.release()
    {
        write_standing(connection, number, &standing)?;
    }
    // What this program can't read would be in nobody's way, and in nobody's sight.
    connection.prepare_cached(SELECT_BY_NUMBER)?.query_and_then([number], read_entry)?.next().transpose()?;
    remember_key(workspace, number)?;
    Ok(true)
}

/// A key that came again since stays with what came since.
fn remember_key(workspace: &Workspace, number: i64) -> Result<(), Failure> {
    if workspace.options.dedupe_window.is_zero() {
        return Ok(());
    }
    let mut remember = workspace.connection.prepare_cached(
        "INSERT INTO dedupe (key, id, seen_at)
         SELECT dedupe_key, id, accepted_at FROM entry WHERE number = ?1 AND dedupe_key IS NOT NULL
         ON CONFLICT DO UPDATE SET id = excluded.id, seen_at = excluded.seen_at WHERE excluded.seen_at > seen_at",
    )?;
    remember.execute([number])?;
    Ok(())
}

/// The table's own conditions tell what no store of ours holds.
fn as_unreadable(error: rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => Unreadable { column: "entry" }.into(),
        _ => error.into(),
    }
}

impl Lines {
    fn of(file: &Path) -> Self {
        let file = file.file_name().map_or_else(PathBuf::new, PathBuf::from).display().to_string();
        Self { file, lines: Vec::new() }
    }

    fn add(&mut self, what: &str) {
        if self.lines.len() < UNREADABLE_MAX {
            self.lines.push(format!("{}: {what}", self.file));
        }
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

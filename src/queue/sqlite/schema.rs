//! The tables, and how those of former versions become them.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::{Damage, Failure, Foreign};
use super::former;

/// Marks the file as ours, for `file(1)` and against opening another program's database ("fgDB").
const APPLICATION_ID: i32 = 0x6667_4442;

/// Bytes of a page. [`super::segment::padding`] reckons with it.
pub(super) const PAGE_SIZE: usize = 4_096;

/// The version that is written.
const VERSION: u32 = 4;

/// `content` holds what visitors sent, in segments of several entries (see [`super::segment`]), by the number of the
/// first; it is written once. `reading` holds what was made of an entry again since, `entry` what changes on the way.
/// What is counted and looked up by words (sites, forms, states, reasons) is kept as numbers: `name`, and
/// [`super::codes`].
///
/// `entry_due` has three columns more than it looks things up by, so that what is new among a backlog, old leases and waits
/// are found without reading a row. Of states only what needs a person has an index. `listed` is filled for
/// many entries at once (see [`super::listed`]).
///
/// `outbox` has events, `reader` who reads them, `once` what was emitted (see [`super::outbox`]). A salvage tells the tables
/// apart by the types of their columns, so none of these may look like one of those before.
pub(super) const TABLES: &str = "
CREATE TABLE name (
    number INTEGER PRIMARY KEY,
    text   TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE content (
    number  INTEGER PRIMARY KEY,
    padding BLOB NOT NULL,
    bytes   BLOB NOT NULL
) STRICT;

CREATE TABLE reading (
    number  INTEGER PRIMARY KEY,
    padding BLOB NOT NULL,
    json    TEXT NOT NULL
) STRICT;

CREATE TABLE entry (
    number      INTEGER PRIMARY KEY,
    id          BLOB NOT NULL CHECK (length(id) = 16),
    site        INTEGER NOT NULL,
    form        INTEGER NOT NULL,
    state       INTEGER NOT NULL CHECK ((state = 0) = (due_at IS NOT NULL)),
    reason      INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    due_at      INTEGER,
    waits_from  INTEGER NOT NULL,
    expires_at  INTEGER CHECK (expires_at IS NULL OR state <> 0),
    lease       INTEGER CHECK (lease IS NULL OR state = 0),
    attempts    INTEGER NOT NULL,
    seen        INTEGER NOT NULL,
    place       INTEGER NOT NULL,
    lead_id     TEXT,
    dedupe_key  BLOB,
    history     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_id ON entry (id);
CREATE INDEX entry_due ON entry (site, due_at, accepted_at, lease, waits_from) WHERE state = 0;
CREATE INDEX entry_expiring ON entry (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX entry_open ON entry (state, id) WHERE state IN (1, 3);
CREATE INDEX entry_open_by_site ON entry (site, state, id) WHERE state IN (1, 3);

CREATE TABLE listed (
    site INTEGER NOT NULL,
    id   BLOB NOT NULL,
    PRIMARY KEY (site, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE tally (
    site    INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (site, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    number     INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    topic      INTEGER,
    id         BLOB,
    site       INTEGER,
    form       INTEGER,
    from_state INTEGER,
    to_state   INTEGER,
    reason     INTEGER CHECK ((reason IS NULL) = (topic IS NOT NULL)),
    attempt    INTEGER
) STRICT;

CREATE TABLE reader (
    name TEXT PRIMARY KEY,
    upto INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE once (
    key    TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX once_age ON once (number);

CREATE TABLE note (
    kind     INTEGER NOT NULL,
    key      TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    text     TEXT,
    numbers  TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX note_age ON note (kind, last_at);

CREATE TABLE hold (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    since  INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// What a store of the newest version has in its schema.
const NAMES: [&str; 19] = [
    "name",
    "content",
    "reading",
    "entry",
    "entry_id",
    "entry_due",
    "entry_expiring",
    "entry_open",
    "entry_open_by_site",
    "listed",
    "tally",
    "meta",
    "outbox",
    "reader",
    "once",
    "once_age",
    "note",
    "note_age",
    "hold",
];

/// Names what a store of the newest version has in its schema.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

/// Brings the schema up to date; refuses a newer one and a database that is not ours.
///
/// Of a former version `before` is called while nobody can write, and `after`, with how many entries could not be read,
/// before it is committed.
pub(super) fn migrate(
    connection: &mut Connection,
    before: impl FnOnce() -> Result<(), Failure>,
    after: impl FnOnce(u64) -> Result<(), Failure>,
) -> Result<(), Failure> {
    check_owner(connection)?;
    if check_version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    // Looked up inside the transaction: another process may have done it meanwhile.
    match check_version(&transaction)? {
        VERSION => return Ok(()),
        0 => transaction.execute_batch(TABLES)?,
        former => {
            before()?;
            after(former::bring_over(&transaction, former)?)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}

/// Returns the schema's version unless a newer program has raised it beyond what this one knows.
pub(super) fn check_version(connection: &Connection) -> Result<u32, Failure> {
    let found = connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    if found > VERSION { Err(Failure::Newer { found, known: VERSION }) } else { Ok(found) }
}

/// Tells whether a database is a store of a former version.
pub(super) fn is_former(connection: &Connection) -> Result<bool, Failure> {
    Ok((1..VERSION).contains(&check_version(connection)?))
}

/// Tells whether a database is a store.
pub(super) fn is_ours(connection: &Connection) -> Result<bool, Failure> {
    let owner: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(owner == APPLICATION_ID)
}

fn check_owner(connection: &Connection) -> Result<(), Failure> {
    let owner: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let empty = !connection.prepare("SELECT 1 FROM sqlite_schema")?.exists([])?;
    if owner == APPLICATION_ID || (owner == 0 && empty) {
        return Ok(());
    }
    // Ours all the same, with a header that was written over.
    let ours = "SELECT 1 FROM sqlite_schema WHERE name IN ('entry_due', 'entry_expiring')";
    Err(if connection.prepare(ours)?.exists([])? { Failure::damaged(Damage) } else { Failure::corrupt(Foreign) })
}

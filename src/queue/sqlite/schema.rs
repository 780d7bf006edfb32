//! The tables, as steps from each version to the next.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::{Damage, Failure, Foreign};

/// Marks the file as ours, for `file(1)` and against opening another program's database ("fgDB").
const APPLICATION_ID: i32 = 0x6667_4442;

/// Bytes of a page. [`super::row::padding`] reckons with it.
pub(super) const PAGE_SIZE: usize = 4_096;

/// Each step brings the schema from its index to the next version. Steps that were ever released never change.
const STEPS: [&str; 3] = [V1, V2, V3];

/// `entry_due` has two columns more than it looks things up by: so a start reads no row to find old leases and waits.
/// `AUTOINCREMENT`, because a plain rowid is given again after a delete. `entry` holds what is queried and what changes
/// on the way; `content` what the visitor sent, which is big and rarely written.
const V1: &str = "
CREATE TABLE entry (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    site        TEXT NOT NULL,
    form        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK ((state = 'queued') = (due_at IS NOT NULL)),
    reason      TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    due_at      INTEGER,
    waits_from  INTEGER NOT NULL,
    expires_at  INTEGER CHECK (expires_at IS NULL OR state <> 'queued'),
    lease       INTEGER CHECK (lease IS NULL OR state = 'queued'),
    attempts    INTEGER NOT NULL,
    seen        INTEGER NOT NULL DEFAULT 0,
    lead_id     TEXT,
    dedupe_key  BLOB,
    history     TEXT NOT NULL
) STRICT;
CREATE INDEX entry_due ON entry (site, due_at, lease, waits_from) WHERE state = 'queued';
CREATE INDEX entry_expiring ON entry (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX entry_by_site ON entry (site, state, id);
CREATE INDEX entry_by_state ON entry (state, id);

CREATE TABLE content (
    number  INTEGER PRIMARY KEY,
    padding BLOB NOT NULL,
    json    TEXT NOT NULL,
    body    BLOB NOT NULL
) STRICT;

CREATE TABLE dedupe (
    key     BLOB PRIMARY KEY,
    id      BLOB NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_oldest ON dedupe (seen_at);

CREATE TABLE tally (
    site    TEXT NOT NULL,
    state   TEXT NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (site, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entry_added AFTER INSERT ON entry BEGIN
    INSERT INTO tally (site, state, entries) VALUES (new.site, new.state, 1)
        ON CONFLICT DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER entry_moved AFTER UPDATE OF state ON entry WHEN old.state <> new.state BEGIN
    UPDATE tally SET entries = entries - 1 WHERE site = old.site AND state = old.state;
    INSERT INTO tally (site, state, entries) VALUES (new.site, new.state, 1)
        ON CONFLICT DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entry BEGIN
    DELETE FROM content WHERE number = old.number;
    DELETE FROM dedupe WHERE key = old.dedupe_key AND id = old.id;
    UPDATE tally SET entries = entries - 1 WHERE site = old.site AND state = old.state;
END;
";

/// Finds what is new among a backlog; holds all that is asked, so that no row is read for it.
const V2: &str = "
CREATE INDEX entry_new ON entry (site, accepted_at, due_at) WHERE state = 'queued';
";

/// What is known of an entry before it is entered (see [`super::arrival`]); nothing for those of former versions.
const V3: &str = "
ALTER TABLE content ADD COLUMN arrived TEXT;
";

/// What a store of the newest version has in its schema.
const NAMES: [&str; 15] = [
    "entry",
    "entry_due",
    "entry_new",
    "entry_expiring",
    "entry_by_site",
    "entry_by_state",
    "content",
    "dedupe",
    "dedupe_oldest",
    "tally",
    "meta",
    "entry_added",
    "entry_moved",
    "entry_removed",
    "sqlite_sequence",
];

/// Names what a store of the newest version has in its schema.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter()
}

/// Brings the schema up to date; refuses a newer one and a database that is not ours.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    check_owner(connection)?;
    for (version, step) in (1_u32..).zip(STEPS) {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        // Looked up inside the transaction: another process may have done the step meanwhile.
        if check_version(&transaction)? < version {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Returns the schema's version unless a newer program has raised it beyond what this one knows.
pub(super) fn check_version(connection: &Connection) -> Result<u32, Failure> {
    let found = connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known { Err(Failure::Newer { found, known }) } else { Ok(found) }
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
    let ours = "SELECT 1 FROM sqlite_schema WHERE name IN ('entry_by_state', 'dedupe_oldest')";
    Err(if connection.prepare(ours)?.exists([])? { Failure::damaged(Damage) } else { Failure::corrupt(Foreign) })
}

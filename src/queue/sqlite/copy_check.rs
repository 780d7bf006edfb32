//! Whether a file is a whole copy of a store: looked at before it counts as a backup, and before it is restored.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::failure::{Damage, Failure, Foreign};
use super::row::unsigned;
use super::schema;
use super::{arrival, former};
use crate::queue::StoreError;

/// Checks every page and index of a copy that nobody writes to; returns how many entries it holds.
///
/// Nothing is made beside it: the folder of backups may not be writable. Blocks as long as reading the whole file takes.
pub fn check_copy(file: &Path) -> Result<u64, StoreError> {
    Ok(check(file)?)
}

fn check(file: &Path) -> Result<u64, Failure> {
    // Immutable: the copy is in the log's mode, and opening it otherwise would make a log and its index beside it.
    let mut uri = String::from("file:");
    for byte in std::path::absolute(file)?.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    if !schema::is_ours(&connection)? {
        return Err(Failure::corrupt(Foreign));
    }
    schema::check_version(&connection)?;
    let first: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    // SQLite's words for what is wrong are left out: they help nobody without the file.
    if first != "ok" {
        return Err(Failure::damaged(Damage));
    }
    count(&connection)
}

/// Counts what needs sending or a person; an entry that has yet to be entered is one of them.
pub(super) fn count_waiting(connection: &Connection) -> Result<u64, Failure> {
    let states = if schema::is_former(connection)? { "'queued', 'held'" } else { "0, 1" };
    let count = format!("SELECT count(*) FROM entry WHERE state IN ({states})");
    let waiting: i64 = connection.query_row(&count, [], |row| row.get(0))?;
    Ok(unsigned(waiting) + count_not_entered(connection)?)
}

/// Counts what is entered and what has yet to be.
pub(super) fn count(connection: &Connection) -> Result<u64, Failure> {
    let entered: i64 = connection.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
    Ok(unsigned(entered) + count_not_entered(connection)?)
}

fn count_not_entered(connection: &Connection) -> Result<u64, Failure> {
    if schema::is_former(connection)? {
        former::count_not_entered(connection)
    } else {
        arrival::count_not_entered(connection)
    }
}

//! Which entries a site has, whatever their state: for lists of one site.
//!
//! A site's stretch of the index lies among those of all others, so each entry would change a page of its own. They are
//! put in for many at once; those behind [`upto`] are not in it yet, and who lists looks at them one by one.

use rusqlite::{Connection, params};

use super::arrival;
use super::failure::Failure;
use super::workspace::Workspace;
use crate::lead::EntryId;

/// How many entries may be missing before they are put in while nobody waits.
pub(super) const BEHIND: usize = 4_096;
/// How many may be missing before somebody has to wait for that.
pub(super) const BEHIND_MAX: usize = 32_768;

/// Returns the number of the last entry that is in it.
pub(super) fn upto(connection: &Connection) -> Result<i64, Failure> {
    let mut find = connection.prepare_cached("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'listed'")?;
    Ok(find.query_row([], |row| row.get(0))?)
}

/// Puts in what is behind.
pub(super) fn catch_up(workspace: &mut Workspace) -> Result<(), Failure> {
    workspace.unlisted = 0;
    put_in(&workspace.connection, arrival::entered(&workspace.connection)?)
}

/// Puts in what is behind, up to a number.
pub(super) fn put_in(connection: &Connection, last: i64) -> Result<(), Failure> {
    let mut put = connection.prepare_cached(
        "INSERT OR IGNORE INTO listed (site, id)
            SELECT site, id FROM entry WHERE number > ?1 AND number <= ?2 ORDER BY site, id",
    )?;
    put.execute([upto(connection)?, last])?;
    set_upto(connection, last)
}

/// Says that all are in it up to a number.
pub(super) fn set_upto(connection: &Connection, number: i64) -> Result<(), Failure> {
    let mut set = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('listed', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    set.execute([number])?;
    Ok(())
}

/// Takes an entry out, if it is in.
pub(super) fn remove(connection: &Connection, site: i64, id: EntryId) -> Result<(), Failure> {
    let mut remove = connection.prepare_cached("DELETE FROM listed WHERE site = ?1 AND id = ?2")?;
    remove.execute(params![site, id.as_bytes()])?;
    Ok(())
}

/// Files an entry under another site, if it is in.
pub(super) fn assign(connection: &Connection, from: i64, to: i64, id: EntryId) -> Result<(), Failure> {
    let mut assign = connection.prepare_cached("UPDATE OR IGNORE listed SET site = ?2 WHERE site = ?1 AND id = ?3")?;
    assign.execute(params![from, to, id.as_bytes()])?;
    Ok(())
}

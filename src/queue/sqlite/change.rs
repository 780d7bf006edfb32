//! Settling leases, operators' changes, and removal.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::failure::Failure;
use super::row::{Content, padding, read_received, read_standing, to_json, write_standing};
use super::writer::Workspace;
use crate::lead::{EntryId, SiteId};
use crate::queue::standing::Standing;
use crate::queue::{Change, Reading, Set, Settlement};

/// Most bytes that a probe writes.
const PROBED_MAX: usize = 4 * 1_024 * 1_024;
/// No entry has this number.
const PROBE_NUMBER: i64 = -1;

/// Ends the lease of an entry.
pub(super) fn settle(
    workspace: &mut Workspace,
    id: EntryId,
    token: u64,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Set, Failure> {
    let Some((number, mut standing)) = find(&workspace.connection, id)? else { return Ok(Set::Lost) };
    let set = standing.settle(token, settlement.clone(), now);
    if set.is_done() {
        write_standing(&workspace.connection, number, &standing)?;
        workspace.woke = true;
    }
    Ok(set)
}

/// Changes an entry as an operator wants.
pub(super) fn amend(
    workspace: &mut Workspace,
    id: EntryId,
    revision: u64,
    change: &Change,
    now: Timestamp,
) -> Result<Set, Failure> {
    let Some((number, mut standing)) = find(&workspace.connection, id)? else { return Ok(Set::Lost) };
    let set = standing.amend(revision, change, now);
    if set.is_done() {
        write_standing(&workspace.connection, number, &standing)?;
        match change {
            Change::Retry { reading } | Change::Amend { reading } | Change::Hold { reading, .. } => {
                write_reading(&workspace.connection, number, reading)?;
            }
            Change::Assign { site } => assign(&workspace.connection, number, site)?,
            Change::Drop { .. } | Change::SiteBack => {}
        }
        workspace.woke = true;
    }
    Ok(set)
}

/// Removes entries, whatever their state.
pub(super) fn erase(workspace: &mut Workspace, ids: &[EntryId]) -> Result<usize, Failure> {
    let mut delete = workspace.connection.prepare_cached("DELETE FROM entry WHERE id = ?1")?;
    let mut erased = 0;
    for id in ids {
        erased += delete.execute([id.as_bytes()])?;
    }
    Ok(erased)
}

/// Removes entries whose keeping time is over.
pub(super) fn expire(workspace: &mut Workspace, now: Timestamp, limit: usize) -> Result<usize, Failure> {
    let mut delete = workspace.connection.prepare_cached(
        "DELETE FROM entry WHERE number IN
            (SELECT number FROM entry WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2)",
    )?;
    Ok(delete.execute(params![now.as_millisecond(), u32::try_from(limit).unwrap_or(u32::MAX)])?)
}

/// Writes something, to see whether that works; where an append lately found no room, as much as that wanted.
///
/// Returns how much that was: what is written for it must be taken away by [`end_probe`], in another transaction.
pub(super) fn probe(workspace: &mut Workspace) -> Result<usize, Failure> {
    let mut write = workspace.connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('probes', 1) ON CONFLICT DO UPDATE SET value = value + 1",
    )?;
    write.execute([])?;
    let bytes = workspace.missing.min(PROBED_MAX);
    if bytes > 0 {
        let mut write = workspace.connection.prepare_cached(
            "INSERT OR REPLACE INTO content (number, padding, json, body) VALUES (?1, zeroblob(?2), '', x'')",
        )?;
        write.execute(params![PROBE_NUMBER, u32::try_from(bytes).unwrap_or(u32::MAX)])?;
    }
    Ok(bytes)
}

/// Takes away what [`probe`] wrote.
pub(super) fn end_probe(workspace: &mut Workspace) -> Result<(), Failure> {
    workspace.connection.prepare_cached("DELETE FROM content WHERE number = ?1")?.execute([PROBE_NUMBER])?;
    workspace.missing = 0;
    Ok(())
}

/// Files an entry under another site; its state must be written by now.
fn assign(connection: &Connection, number: i64, site: &SiteId) -> Result<(), Failure> {
    // The triggers that keep the tally look at the state alone.
    let mut leave = connection.prepare_cached(
        "UPDATE tally SET entries = entries - 1
            WHERE (site, state) = (SELECT site, state FROM entry WHERE number = ?1)",
    )?;
    let mut file = connection.prepare_cached("UPDATE entry SET site = ?2 WHERE number = ?1")?;
    let mut join = connection.prepare_cached(
        "INSERT INTO tally (site, state, entries) SELECT site, state, 1 FROM entry WHERE number = ?1
            ON CONFLICT DO UPDATE SET entries = entries + 1",
    )?;
    leave.execute([number])?;
    file.execute(params![number, site.as_str()])?;
    join.execute([number])?;
    Ok(())
}

fn find(connection: &Connection, id: EntryId) -> Result<Option<(i64, Standing)>, Failure> {
    let mut find = connection.prepare_cached("SELECT * FROM entry WHERE id = ?1")?;
    let mut rows =
        find.query_and_then([id.as_bytes()], |row| Ok::<_, Failure>((row.get("number")?, read_standing(row)?)))?;
    rows.next().transpose()
}

/// Writes a reading beside what was received, which stays: they share a row.
fn write_reading(connection: &Connection, number: i64, reading: &Reading) -> Result<(), Failure> {
    let mut find = connection.prepare_cached("SELECT json, body FROM content WHERE number = ?1")?;
    let received = find.query_and_then([number], read_received)?.next().transpose()?;
    let received = received.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (json, body) = (to_json(&Content { received: &received, reading })?, &*received.body);
    let mut update = connection
        .prepare_cached("UPDATE content SET padding = ?2, json = ?3, body = ?4, arrived = NULL WHERE number = ?1")?;
    update.execute(params![number, padding(json.len(), body.len(), None), json, body])?;
    Ok(())
}

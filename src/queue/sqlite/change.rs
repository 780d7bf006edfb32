//! Settling leases, operators' changes, and removal.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::failure::Failure;
use super::listed;
use super::notes;
use super::outbox;
use super::recent::Leased;
use super::row::{
    STANDING_BY_ID, STANDING_COLUMNS, code, keep_reading, read_standing, reading_to_json, received, write_standing,
};
use super::segment::{self, Segments, Spot};
use super::writer::Workspace;
use crate::lead::{EntryId, SiteId};
use crate::queue::{Change, Reading, Set, Settlement, State};

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
    let known = workspace.recent.take_leased(id);
    let Some(mut found) = known.map_or_else(|| find(&workspace.connection, id), |known| Ok(Some(known)))? else {
        return Ok(Set::Lost);
    };
    let set = found.standing.settle(token, settlement.clone(), now);
    if let Set::Done(transition) = set {
        write_back(workspace, &found, transition.from)?;
        outbox::changed(workspace, found.number, &transition)?;
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
    workspace.recent.take_leased(id);
    let Some(mut found) = find(&workspace.connection, id)? else { return Ok(Set::Lost) };
    let set = found.standing.amend(revision, change, now);
    if let Set::Done(transition) = set {
        write_back(workspace, &found, transition.from)?;
        match change {
            Change::Retry { reading } | Change::Amend { reading } | Change::Hold { reading, .. } => {
                read_anew(workspace, id, &found, reading)?;
            }
            Change::Assign { site } => assign(workspace, &found, id, site)?,
            Change::Drop { .. } | Change::SiteBack => {}
        }
        outbox::changed(workspace, found.number, &transition)?;
    }
    Ok(set)
}

fn write_back(workspace: &mut Workspace, found: &Leased, from: State) -> Result<(), Failure> {
    let Leased { number, site, accepted_at, ref standing, .. } = *found;
    workspace.recent.take(number);
    write_standing(&workspace.connection, number, standing, accepted_at)?;
    if from != standing.state {
        workspace.tally.note(site, from, -1);
        workspace.tally.note(site, standing.state, 1);
    }
    workspace.woke = true;
    Ok(())
}

/// Keeps what was made of an entry again, and none of what was made of it before: an operator may have corrected that.
fn read_anew(workspace: &mut Workspace, id: EntryId, found: &Leased, reading: &Reading) -> Result<(), Failure> {
    let connection = &workspace.connection;
    let spot = Spot { number: found.number, place: found.place, id };
    let json = Segments::of(connection).about_received(spot)?;
    let traceparent = received(&json, Vec::new())?.traceparent;
    keep_reading(connection, found.number, &reading_to_json(traceparent.as_deref(), reading)?)?;
    segment::wipe_reading(connection, spot)
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    pub(super) entries: usize,
    /// Those whose bytes could not be found, since the store is damaged there.
    pub(super) unfound: usize,
}

/// Removes entries, whatever their state.
pub(super) fn erase(workspace: &mut Workspace, ids: &[EntryId]) -> Result<Removed, Failure> {
    let mut erased = Removed::default();
    for id in ids {
        let mut find = workspace.connection.prepare_cached("SELECT number FROM entry WHERE id = ?1")?;
        let number = find.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
        drop(find);
        if let Some(number) = number {
            remove(workspace, number, &mut erased)?;
        }
    }
    Ok(erased)
}

/// Removes entries and notes whose keeping time is over.
pub(super) fn expire(workspace: &mut Workspace, now: Timestamp, limit: usize) -> Result<usize, Failure> {
    let mut find = workspace
        .connection
        .prepare_cached("SELECT number FROM entry WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2")?;
    let most = u32::try_from(limit).unwrap_or(u32::MAX);
    let numbers = find.query_map(params![now.as_millisecond(), most], |row| row.get(0))?;
    let numbers: Vec<i64> = numbers.collect::<Result<_, _>>()?;
    drop(find);
    for number in &numbers {
        outbox::expires(workspace, *number, now)?;
        remove(workspace, *number, &mut Removed::default())?;
    }
    notes::expire(&workspace.connection, now, limit)?;
    Ok(numbers.len())
}

/// Removes one entry with all that belongs to it.
fn remove(workspace: &mut Workspace, number: i64, removed: &mut Removed) -> Result<(), Failure> {
    let Workspace { connection, recent, tally, .. } = workspace;
    // Others of its segment may be moved.
    recent.clear();
    let mut delete =
        connection.prepare_cached("DELETE FROM entry WHERE number = ?1 RETURNING id, site, state, place")?;
    let mut rows = delete.query([number])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    let id = EntryId::from_bytes(row.get(0)?);
    let site = row.get(1)?;
    let place = row.get(3)?;
    tally.note(site, code(row, 2, "state")?, -1);
    drop(rows);
    removed.entries += 1;
    listed::remove(connection, site, id)?;
    connection.prepare_cached("DELETE FROM reading WHERE number = ?1")?.execute([number])?;
    match segment::remove(connection, Spot { number, place, id }) {
        // One that can't be found keeps neither itself nor others from going.
        Err(Failure::Corrupt(_)) => {
            tracing::error!(entry.number = number, "what an entry held that was removed cannot be found in the store");
            removed.unfound += 1;
            Ok(())
        }
        done => done,
    }
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
        let mut write = workspace
            .connection
            .prepare_cached("INSERT OR REPLACE INTO content (number, padding, bytes) VALUES (?1, zeroblob(?2), x'')")?;
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

/// Files an entry under another site; its standing is written by now.
fn assign(workspace: &mut Workspace, found: &Leased, id: EntryId, site: &SiteId) -> Result<(), Failure> {
    let Workspace { connection, names, tally, .. } = workspace;
    let to = names.number(connection, site.as_str())?;
    connection.prepare_cached("UPDATE entry SET site = ?2 WHERE number = ?1")?.execute([found.number, to])?;
    listed::assign(connection, found.site, to, id)?;
    tally.note(found.site, found.standing.state, -1);
    tally.note(to, found.standing.state, 1);
    Ok(())
}

fn find(connection: &Connection, id: EntryId) -> Result<Option<Leased>, Failure> {
    const AT: usize = STANDING_COLUMNS;
    let mut find = connection.prepare_cached(STANDING_BY_ID)?;
    let mut rows = find.query_and_then([id.as_bytes()], |row| {
        let (standing, accepted_at) = read_standing(row)?;
        let number = row.get(AT)?;
        let site = row.get(AT + 1)?;
        let place = row.get(AT + 2)?;
        Ok::<_, Failure>(Leased { number, site, place, accepted_at, standing })
    })?;
    rows.next().transpose()
}

//! Leasing entries.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::check::Watch;
use super::failure::Failure;
use super::row::{SELECT_HEAD_BY_NUMBER, read_head, read_standing, text, unsigned, write_standing};
use super::writer::Workspace;
use crate::lead::SiteId;
use crate::queue::standing::later;
use crate::queue::turns::{self, Lanes};
use crate::queue::{CLAIM_MAX, Claim, Lease};

/// Of each site, this many of those that have been due longest are put in order of their age.
///
/// Beyond that a backlog is worked off in the order it became due: to order it all would read it all at each claim.
const ORDERED_MAX: usize = CLAIM_MAX;

const DUE: &str = "SELECT number FROM entry INDEXED BY entry_due
    WHERE state = 'queued' AND site = ?1 AND due_at <= ?2 ORDER BY due_at, number LIMIT ?3";
/// Looks only at what is new, however long the backlog behind it.
const DUE_AND_NEW: &str = "SELECT number FROM entry INDEXED BY entry_new
    WHERE state = 'queued' AND site = ?1 AND accepted_at >= ?4 AND due_at <= ?2 ORDER BY accepted_at, number LIMIT ?3";

const SELECT_STANDING: &str = "SELECT * FROM entry WHERE number = ?1";

/// Leases entries that are due.
pub(super) fn claim(workspace: &mut Workspace, claim: &Claim) -> Result<Vec<Lease>, Failure> {
    let Claim { max, lease, now, accepted_since, quota: _ } = *claim;
    if workspace.memory.clock.went_back(now) {
        rewind(&workspace.connection, now)?;
    }
    let last_site = workspace.memory.last_sites.of(accepted_since);
    let lanes = due(&workspace.connection, last_site.as_ref(), claim, &workspace.damage)?;
    let (numbers, last) = turns::take(lanes, max);
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    *last_site = last;
    let token = next_token(&workspace.connection)?;
    let mut leases = Vec::with_capacity(numbers.len());
    for number in numbers {
        leases.extend(lease_one(workspace, number, token, lease, now)?);
    }
    Ok(leases)
}

/// Takes back the leases that dead processes left.
pub(super) fn release_all(connection: &Connection) -> Result<(), Failure> {
    let mut leased = connection
        .prepare("SELECT number FROM entry INDEXED BY entry_due WHERE state = 'queued' AND lease IS NOT NULL")?;
    let numbers: Vec<i64> = leased.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for number in numbers {
        let mut find = connection.prepare_cached(SELECT_STANDING)?;
        match find.query_and_then([number], read_standing)?.next().transpose() {
            Ok(Some(mut standing)) => {
                standing.release();
                write_standing(connection, number, &standing)?;
            }
            Ok(None) => {}
            // Its lease runs out in time, and the next claim says what is wrong.
            Err(Failure::Corrupt(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// Ends waits of a site.
pub(super) fn hasten(workspace: &mut Workspace, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, Failure> {
    let mut hasten = workspace.connection.prepare_cached(
        "UPDATE entry SET due_at = ?2, waits_from = ?2 WHERE number IN (
            SELECT number FROM entry INDEXED BY entry_due
            WHERE state = 'queued' AND site = ?1 AND due_at > ?2 AND lease IS NULL
            ORDER BY due_at, number LIMIT ?3)",
    )?;
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    let hastened = hasten.execute(params![site.as_str(), now.as_millisecond(), max])?;
    workspace.woke |= hastened > 0;
    Ok(hastened)
}

/// Begins waits anew that seem to have begun in the future.
fn rewind(connection: &Connection, now: Timestamp) -> Result<(), Failure> {
    let mut rewind = connection.prepare_cached(
        "UPDATE entry INDEXED BY entry_due SET due_at = ?1 + (due_at - waits_from), waits_from = ?1
         WHERE state = 'queued' AND waits_from > ?1",
    )?;
    rewind.execute([now.as_millisecond()])?;
    Ok(())
}

/// Finds what is due, site by site, beginning after the one whose turn was last.
fn due(
    connection: &Connection,
    last_site: Option<&SiteId>,
    claim: &Claim,
    damage: &Watch,
) -> Result<Lanes<SiteId, i64>, Failure> {
    let mut lanes = Vec::new();
    let (mut site, mut wrapped) = (last_site.cloned(), last_site.is_none());
    while lanes.len() < claim.max {
        match next_site(connection, site.as_ref())? {
            Some(next) => {
                if wrapped && last_site.is_some_and(|last| next > *last) {
                    break;
                }
                site = Some(next.clone());
                let most = claim.quota.of(&next);
                if most == 0 {
                    continue;
                }
                let mut lane = oldest_due(connection, &next, claim)?;
                lane.retain(|number| !damage.has_row(*number));
                lane.truncate(most);
                if !lane.is_empty() {
                    lanes.push((next, lane));
                }
            }
            None if wrapped => break,
            None => (site, wrapped) = (None, true),
        }
    }
    Ok(lanes)
}

/// Returns the first site by name after another that has anything queued.
fn next_site(connection: &Connection, after: Option<&SiteId>) -> Result<Option<SiteId>, Failure> {
    let mut next = connection.prepare_cached(
        "SELECT site FROM entry INDEXED BY entry_due WHERE state = 'queued' AND site > ?1 ORDER BY site LIMIT 1",
    )?;
    let after = after.map_or("", SiteId::as_str);
    let mut sites = next.query_and_then([after], |row| text(row, "site", |text| SiteId::parse(text).ok()))?;
    sites.next().transpose()
}

fn oldest_due(connection: &Connection, site: &SiteId, claim: &Claim) -> Result<VecDeque<i64>, Failure> {
    let (now, max) = (claim.now.as_millisecond(), ORDERED_MAX as u32);
    let mut numbers: Vec<i64> = match claim.accepted_since {
        None => {
            let mut due = connection.prepare_cached(DUE)?;
            let rows = due.query_map(params![site.as_str(), now, max], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        }
        Some(since) => {
            let mut due = connection.prepare_cached(DUE_AND_NEW)?;
            let rows = due.query_map(params![site.as_str(), now, max, since.as_millisecond()], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        }
    };
    numbers.sort_unstable();
    Ok(numbers.into())
}

/// Returns a token that was never given before, by any process.
fn next_token(connection: &Connection) -> Result<u64, Failure> {
    let mut next = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('claims', 1) ON CONFLICT DO UPDATE SET value = value + 1
         RETURNING value",
    )?;
    Ok(unsigned(next.query_row([], |row| row.get(0))?))
}

/// Leases one entry. One that cannot be read is leased to nobody: it must not keep the others waiting.
fn lease_one(
    workspace: &Workspace,
    number: i64,
    token: u64,
    lease: Duration,
    now: Timestamp,
) -> Result<Option<Lease>, Failure> {
    match try_lease(&workspace.connection, number, token, lease, now) {
        Err(Failure::Corrupt(_)) => put_off(&workspace.connection, number, lease, now)?,
        // The whole claim has failed with it; the next one passes over the row.
        Err(failure @ Failure::Damaged(_)) => {
            workspace.damage.note_row(number);
            return Err(failure);
        }
        leased => return leased,
    }
    tracing::error!(entry.number = number, "an entry of the store cannot be read; it is not sent");
    Ok(None)
}

fn try_lease(
    connection: &Connection,
    number: i64,
    token: u64,
    lease: Duration,
    now: Timestamp,
) -> Result<Option<Lease>, Failure> {
    let mut find = connection.prepare_cached(SELECT_STANDING)?;
    let Some(mut standing) = find.query_and_then([number], read_standing)?.next().transpose()? else { return Ok(None) };
    standing.claim(token, lease, now);
    write_standing(connection, number, &standing)?;
    let mut find = connection.prepare_cached(SELECT_HEAD_BY_NUMBER)?;
    let head = find.query_and_then([number], read_head)?.next().transpose()?;
    Ok(head.map(|head| Lease { head, token }))
}

fn put_off(connection: &Connection, number: i64, lease: Duration, now: Timestamp) -> Result<(), Failure> {
    let until = later(now, lease).as_millisecond();
    let mut put_off = connection.prepare_cached("UPDATE entry SET due_at = ?2, lease = NULL WHERE number = ?1")?;
    put_off.execute(params![number, until])?;
    Ok(())
}

//! Leasing entries.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, params};

use super::check::Watch;
use super::entering::{self, Entering};
use super::failure::Failure;
use super::names::{self, Names};
use super::recent::{Appended, Leased, Recent};
use super::row::{
    HEAD_BY_NUMBER, PLACE, SITE_NUMBER, STANDING_BY_NUMBER, UPDATE_LEASE, read_beside, read_standing, unsigned,
    write_lease, write_standing,
};
use super::segment::Segments;
use super::writer::Workspace;
use crate::lead::SiteId;
use crate::queue::standing::{Beside, Standing, later};
use crate::queue::turns::{self, Lanes};
use crate::queue::{CLAIM_MAX, Claim, Lease};

/// Of each site, this many of those that have been due longest are put in order of their age.
///
/// Beyond that a backlog is worked off in the order it became due: to order it all would read it all at each claim.
const ORDERED_MAX: usize = CLAIM_MAX;

const DUE: &str = "SELECT number FROM entry INDEXED BY entry_due
    WHERE state = 0 AND site = ?1 AND due_at <= ?2 ORDER BY due_at, number LIMIT ?3";
/// What is new is due since it was accepted: the oldest first.
const DUE_SINCE: &str = "SELECT number, accepted_at FROM entry INDEXED BY entry_due
    WHERE state = 0 AND site = ?1 AND due_at BETWEEN ?4 AND ?2 ORDER BY due_at LIMIT ?3";
/// Or a little before where the clock was set back, by [`EARLY_MAX`](crate::queue::claim::EARLY_MAX) at most; and where older leads became due since, it is among what became due last:
/// a backlog that becomes due at once keeps nobody waiting.
const DUE_LAST: &str = "SELECT number, accepted_at FROM entry INDEXED BY entry_due
    WHERE state = 0 AND site = ?1 AND due_at BETWEEN ?4 - 600000 AND ?2 ORDER BY due_at DESC LIMIT ?3";
/// So many are looked at for what is new, each way.
const DUE_SINCE_MAX: i64 = 256;
const DUE_LAST_MAX: i64 = 4_096;

/// Leases entries that are due. What waits to be entered is, and what of it is due gets its row as it is leased.
pub(super) fn claim(workspace: &mut Workspace, claim: &Claim) -> Result<Vec<Lease>, Failure> {
    if workspace.memory.clock.went_back(claim.now) {
        entering::enter(workspace)?;
        workspace.recent.clear();
        rewind(&workspace.connection, claim.now)?;
    }
    let entering = Entering::begin(workspace)?;
    let is_halfway = !entering.is_empty();
    let leases = lease(workspace, claim, entering);
    workspace.spoilt |= leases.is_err() && is_halfway;
    leases
}

fn lease(workspace: &mut Workspace, claim: &Claim, entering: Entering) -> Result<Vec<Lease>, Failure> {
    let Claim { max, lease, now, accepted_since, quota: _ } = *claim;
    let last_site = workspace.memory.last_sites.of(accepted_since).clone();
    let lanes = due(workspace, last_site.as_ref(), claim, &entering)?;
    let (numbers, last) = turns::take(lanes, max.min(CLAIM_MAX));
    if numbers.is_empty() {
        entering.end(workspace, &HashMap::new())?;
        return Ok(Vec::new());
    }
    *workspace.memory.last_sites.of(accepted_since) = last;
    let token = next_token(&workspace.connection)?;
    let mut leased = HashMap::new();
    for number in &numbers {
        if let Some(arrival) = entering.arrival(*number) {
            let mut standing = arrival.standing()?;
            standing.claim(token, lease, now);
            leased.insert(*number, standing);
        }
    }
    entering.end(workspace, &leased)?;
    let mut leases = Vec::with_capacity(numbers.len());
    let Workspace { connection, damage, recent, names, .. } = workspace;
    let find = connection.prepare_cached(HEAD_BY_NUMBER)?;
    let update = connection.prepare_cached(UPDATE_LEASE)?;
    let segments = Segments::of(connection);
    let mut leasing = Leasing { connection, find, update, segments, damage, recent, names, leased, token, lease, now };
    for number in numbers {
        leases.extend(leasing.one(number)?);
    }
    Ok(leases)
}

/// Takes back the leases that dead processes left.
pub(super) fn release_all(connection: &Connection) -> Result<(), Failure> {
    let mut leased =
        connection.prepare("SELECT number FROM entry INDEXED BY entry_due WHERE state = 0 AND lease IS NOT NULL")?;
    let numbers: Vec<i64> = leased.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for number in numbers {
        let mut find = connection.prepare_cached(STANDING_BY_NUMBER)?;
        match find.query_and_then([number], read_standing)?.next().transpose() {
            Ok(Some((mut standing, accepted_at))) => {
                standing.release();
                write_standing(connection, number, &standing, accepted_at)?;
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
pub(super) fn make_due(workspace: &mut Workspace, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, Failure> {
    let Some(site) = names::find(&workspace.connection, site.as_str())? else { return Ok(0) };
    let mut make_due = workspace.connection.prepare_cached(
        "UPDATE entry SET due_at = ?2, waits_from = ?2 WHERE number IN (
            SELECT number FROM entry INDEXED BY entry_due
            WHERE state = 0 AND site = ?1 AND due_at > ?2 AND lease IS NULL
            ORDER BY due_at, number LIMIT ?3)",
    )?;
    let max = u32::try_from(max).unwrap_or(u32::MAX);
    workspace.recent.clear();
    let made_due = make_due.execute(params![site, now.as_millisecond(), max])?;
    workspace.woke |= made_due > 0;
    Ok(made_due)
}

/// Begins waits anew that seem to have begun in the future.
fn rewind(connection: &Connection, now: Timestamp) -> Result<(), Failure> {
    let mut rewind = connection.prepare_cached(
        "UPDATE entry INDEXED BY entry_due SET due_at = ?1 + (due_at - waits_from), waits_from = ?1
         WHERE state = 0 AND waits_from > ?1",
    )?;
    rewind.execute([now.as_millisecond()])?;
    Ok(())
}

/// Finds what is due, site by site, beginning after the one whose turn was last.
fn due(
    workspace: &mut Workspace,
    last_site: Option<&SiteId>,
    claim: &Claim,
    entering: &Entering,
) -> Result<Lanes<SiteId, i64>, Failure> {
    let Workspace { connection, tally, damage, .. } = workspace;
    let mut fresh = entering.fresh(claim.now, claim.accepted_since);
    let mut lanes = Vec::new();
    for (site, number, queued) in tally.in_turn(connection, last_site)? {
        if lanes.len() >= claim.max.min(CLAIM_MAX) {
            break;
        }
        let most = claim.quota.of(site);
        if most == 0 {
            continue;
        }
        let fresh = fresh.remove(&number).unwrap_or_default();
        let has_older = queued > fresh.queued;
        let mut lane = if has_older { oldest_due(connection, number, claim, damage.rows())? } else { Vec::new() };
        // Their numbers are higher.
        lane.extend(fresh.due);
        lane.retain(|number| !damage.has_row(*number));
        lane.truncate(most);
        if !lane.is_empty() {
            lanes.push((site.clone(), lane.into()));
        }
    }
    Ok(lanes)
}

fn oldest_due(connection: &Connection, site: i64, claim: &Claim, damaged: usize) -> Result<Vec<i64>, Failure> {
    // Rows that can't be leased may be the first of all.
    let max = ORDERED_MAX + damaged;
    let mut numbers = match claim.accepted_since {
        None => {
            let mut due = connection.prepare_cached(DUE)?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = due.query_map(params![site, claim.now.as_millisecond(), max], |row| row.get(0))?;
            rows.collect::<Result<Vec<i64>, _>>()?
        }
        Some(since) => new_due(connection, site, claim, since, damaged)?,
    };
    numbers.sort_unstable();
    Ok(numbers)
}

/// Finds what is due and was accepted since.
fn new_due(
    connection: &Connection,
    site: i64,
    claim: &Claim,
    since: Timestamp,
    damaged: usize,
) -> Result<Vec<i64>, Failure> {
    let since = since.as_millisecond();
    let now = claim.now.as_millisecond();
    let mut new = Vec::new();
    for (sql, most) in [(DUE_SINCE, DUE_SINCE_MAX), (DUE_LAST, DUE_LAST_MAX)] {
        let mut due = connection.prepare_cached(sql)?;
        let mut rows = due.query(params![site, now, most, since])?;
        new.clear();
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? >= since {
                new.push(row.get(0)?);
            }
        }
        if new.len() >= claim.max + damaged {
            break;
        }
    }
    Ok(new)
}

/// Returns a token that was never given before, by any process.
fn next_token(connection: &Connection) -> Result<u64, Failure> {
    let mut next = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('claims', 1) ON CONFLICT DO UPDATE SET value = value + 1
         RETURNING value",
    )?;
    Ok(unsigned(next.query_row([], |row| row.get(0))?))
}

/// A claim that found what is due.
struct Leasing<'w> {
    connection: &'w Connection,
    find: CachedStatement<'w>,
    update: CachedStatement<'w>,
    segments: Segments<'w>,
    damage: &'w Watch,
    recent: &'w mut Recent,
    names: &'w mut Names,
    /// How those stand whose rows were written as they are leased.
    leased: HashMap<i64, Standing>,
    token: u64,
    lease: Duration,
    now: Timestamp,
}

impl Leasing<'_> {
    /// Leases one entry. One that cannot be read is leased to nobody: it must not keep the others waiting.
    fn one(&mut self, number: i64) -> Result<Option<Lease>, Failure> {
        match self.try_one(number) {
            Err(Failure::Corrupt(_)) => self.put_off(number)?,
            // The whole claim has failed with it; the next one passes over the row.
            Err(failure @ Failure::Damaged(_)) => {
                self.damage.note_row(number);
                return Err(failure);
            }
            leased => return leased,
        }
        tracing::error!(entry.number = number, "an entry of the store cannot be read; it is not sent");
        Ok(None)
    }

    fn try_one(&mut self, number: i64) -> Result<Option<Lease>, Failure> {
        let written = self.leased.remove(&number);
        let Some((beside, mut leased)) = self.read(number, written.as_ref())? else { return Ok(None) };
        if written.is_none() {
            leased.standing.claim(self.token, self.lease, self.now);
            write_lease(&mut self.update, number, &leased.standing, leased.accepted_at)?;
        }
        let head = leased.standing.clone().into_head(beside);
        self.recent.lease(head.id, leased);
        Ok(Some(Lease { head, token: self.token }))
    }

    fn read(&mut self, number: i64, written: Option<&Standing>) -> Result<Option<(Beside, Leased)>, Failure> {
        if let Some(Appended { arrival, place, traceparent, reading, .. }) = self.recent.take(number) {
            let standing = written.map_or_else(|| arrival.standing(), |standing| Ok(standing.clone()))?;
            let accepted_at = arrival.accepted_at;
            let site = self.names.number(self.connection, arrival.site.as_str())?;
            let beside = arrival.beside(traceparent, reading)?;
            return Ok(Some((beside, Leased { number, site, place, accepted_at, standing })));
        }
        let mut rows = self.find.query([number])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (standing, accepted_at) = read_standing(row)?;
        let beside = read_beside(row, &mut self.segments)?;
        let site = row.get(SITE_NUMBER)?;
        let place = row.get(PLACE)?;
        Ok(Some((beside, Leased { number, site, place, accepted_at, standing })))
    }

    fn put_off(&mut self, number: i64) -> Result<(), Failure> {
        self.recent.clear();
        let until = later(self.now, self.lease).as_millisecond();
        let mut put_off =
            self.connection.prepare_cached("UPDATE entry SET due_at = ?2, lease = NULL WHERE number = ?1")?;
        put_off.execute(params![number, until])?;
        Ok(())
    }
}

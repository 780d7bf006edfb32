//! Leases end and operators change entries: read, judged by the rules that every store shares, written back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::batch::Job;
use super::failure::{Contended, Failure};
use super::row::{STANDING, Stored, detail_of, now, read_id, read_standing, time, to_json, uuid};
use super::write::{Told, Written, write};
use crate::lead::EntryId;
use crate::queue::standing::whole_millisecond;
use crate::queue::unreadable::Unreadable;
use crate::queue::{Change, Lease, Set, Settlement};

/// How often an entry is read again that others change meanwhile.
const TRIES_MAX: usize = 8;

/// A lease that ends.
pub(super) struct Ending {
    id: EntryId,
    token: u64,
    settlement: Settlement,
    now: Timestamp,
}

impl Ending {
    pub(super) fn new(lease: &Lease, settlement: Settlement, now: Timestamp) -> Self {
        Self { id: lease.head.id, token: lease.token, settlement, now: whole_millisecond(now) }
    }
}

/// Entries as they stand, by id, and the present behind the last column.
fn standings() -> String {
    format!("SELECT {STANDING}, {} FROM formgate.entry e WHERE e.id = ANY($1)", now!("$2"))
}

/// Where the present is.
const NOW: usize = super::row::BEHIND_STANDING;

/// Leases that end together.
type Batch = Vec<Job<Ending, Set>>;

/// Ends a batch of leases: each is told what became of its entry.
pub(super) async fn settle(core: Arc<Core>, jobs: Batch) {
    let mut left = jobs;
    while !left.is_empty() {
        let (batch, later) = of_entries_of_their_own(left);
        settle_batch(&core, batch).await;
        left = later;
    }
}

/// Two leases of one entry end one after the other.
fn of_entries_of_their_own(jobs: Batch) -> (Batch, Batch) {
    let mut ids = HashSet::new();
    jobs.into_iter().partition(|job| ids.insert(job.what.id))
}

async fn settle_batch(core: &Core, batch: Batch) {
    let mut left = batch;
    for _ in 0..TRIES_MAX {
        match try_to_settle(core, &left).await {
            Ok(mut ended) => {
                let mut others = Vec::new();
                for job in left {
                    match ended.remove(&job.what.id) {
                        Some(set) => job.end(set),
                        None => others.push(job),
                    }
                }
                left = others;
            }
            Err(failure) => return left.into_iter().for_each(|job| job.end(Err(failure.clone()))),
        }
        if left.is_empty() {
            return;
        }
    }
    left.into_iter().for_each(|job| job.end(Err(Failure::unavailable(Contended))));
}

/// Settles what it can; what somebody else changed meanwhile is not among what it returns.
async fn try_to_settle(
    core: &Core,
    jobs: &[Job<Ending, Set>],
) -> Result<HashMap<EntryId, Result<Set, Failure>>, Failure> {
    let ids = jobs.iter().map(|job| job.what.id);
    let mut found = read(core, ids, jobs.first().map_or(Timestamp::MAX, |job| job.what.now)).await?;
    let mut ended = HashMap::new();
    let mut changes = Vec::new();
    for Job { what: Ending { id, token, settlement, now }, .. } in jobs {
        let (mut stored, clock) = match found.remove(id) {
            Some(Ok(found)) => found,
            // Only this one ends so: the others' leads would be sent again.
            Some(Err(unreadable)) => {
                ended.insert(*id, Err(unreadable.into()));
                continue;
            }
            None => {
                ended.insert(*id, Ok(Set::Lost));
                continue;
            }
        };
        let now = if core.goes_by_server() { clock } else { *now };
        let mut change = Written::in_place(&stored, stored.standing.revision);
        let set = stored.standing.settle(*token, settlement.clone(), now);
        ended.insert(*id, Ok(set));
        if set.is_done() {
            change.standing = stored.standing;
            change.told = Told::of(set, core.filter());
            changes.push(change);
        }
    }
    let written = write(&core.database, &mut changes).await?;
    for change in changes.iter().filter(|change| !written.contains(&change.id)) {
        ended.remove(&change.id);
    }
    Ok(ended)
}

/// Reads how entries stand, each with the present.
async fn read(
    core: &Core,
    ids: impl Iterator<Item = EntryId>,
    now: Timestamp,
) -> Result<HashMap<EntryId, Result<(Stored, Timestamp), Unreadable>>, Failure> {
    let ids: Vec<Uuid> = ids.map(uuid).collect();
    let now = core.now(now);
    let rows = core.database.query(&standings(), &[(&ids, Type::UUID_ARRAY), (&now, Type::INT8)]).await?;
    let read = |row: &Row| Ok((read_standing(row)?, time(row.get(NOW), "now")?));
    Ok(rows.iter().map(|row| (read_id(row), read(row))).collect())
}

/// Changes an entry as an operator wants.
pub(super) async fn amend(
    core: &Core,
    id: EntryId,
    revision: u64,
    change: Change,
    now: Timestamp,
) -> Result<Set, Failure> {
    let reading = match &change {
        Change::Retry { reading } | Change::Amend { reading } | Change::Hold { reading, .. } => Some(&**reading),
        Change::Drop { .. } | Change::Assign { .. } | Change::SiteBack => None,
    };
    let mut found = read(core, [id].into_iter(), now).await?;
    let Some(found) = found.remove(&id) else { return Ok(Set::Lost) };
    let (mut stored, clock) = found?;
    let now = if core.goes_by_server() { clock } else { whole_millisecond(now) };
    let mut written = Written::in_place(&stored, stored.standing.revision);
    let set = stored.standing.amend(revision, &change, now);
    if !set.is_done() {
        return Ok(set);
    }
    written.standing = stored.standing;
    written.told = Told::of(set, core.filter());
    written.reading = reading.map(to_json).transpose()?;
    written.detail = detail_of(&written.standing, reading);
    if let Change::Assign { site } = change {
        written.site = site;
    }
    // Somebody who changed it meanwhile made another revision of it than the caller knows.
    let is_written = write(&core.database, &mut [written]).await?.contains(&id);
    Ok(if is_written { set } else { Set::Lost })
}

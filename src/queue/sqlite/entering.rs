//! Entering what was appended in the books: the rows of `entry`, for many entries together.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::arrival::{Arrival, Waits, set_entered, write_segment};
use super::failure::Failure;
use super::row::{NewRow, Row, TOGETHER, insert_entries};
use super::workspace::Workspace;
use crate::queue::standing::Standing;

/// Enters what waits.
pub(super) fn enter(workspace: &mut Workspace) -> Result<(), Failure> {
    let entering = Entering::begin(workspace)?;
    entering.end(workspace, &HashMap::new())
}

/// What waited and is about to be entered: counted already, without rows yet, so that a claim can lease what is due. If anything
/// fails in between, the whole transaction must be rolled back, since these entries wait nowhere any more.
pub(super) struct Entering(Vec<Enters>);

/// One of them, with the numbers of its site and form.
struct Enters {
    waits: Waits,
    site: i64,
    form: i64,
}

/// Of a site, those that are about to be entered and wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) queued: i64,
    /// Those that are due, the oldest first.
    pub(super) due: Vec<i64>,
}

impl Entering {
    /// Takes what waits.
    pub(super) fn begin(workspace: &mut Workspace) -> Result<Self, Failure> {
        Self::take(workspace).inspect_err(|_| workspace.spoilt = true)
    }

    fn take(workspace: &mut Workspace) -> Result<Self, Failure> {
        write_segment(workspace)?;
        let Workspace { connection, names, tally, waiting, .. } = workspace;
        let waiting = waiting.take();
        let mut entering = Vec::with_capacity(waiting.len());
        for waits in waiting {
            let site = names.number(connection, waits.arrival.site.as_str())?;
            let form = names.number(connection, waits.arrival.form.as_str())?;
            tally.note(site, waits.arrival.state_and_reason().0, 1);
            entering.push(Enters { waits, site, form });
        }
        Ok(Self(entering))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what of each site waits to be sent, and is due at a time and was accepted since another.
    pub(super) fn fresh(&self, now: Timestamp, since: Option<Timestamp>) -> HashMap<i64, Fresh, RandomState> {
        let mut fresh = HashMap::<_, Fresh, _>::default();
        let since = since.map_or(i64::MIN, Timestamp::as_millisecond);
        for Enters { waits, site, .. } in self.0.iter().filter(|enters| enters.waits.arrival.is_queued()) {
            let of_site = fresh.entry(*site).or_default();
            of_site.queued += 1;
            if (since..=now.as_millisecond()).contains(&waits.arrival.accepted_at) {
                of_site.due.push(waits.number);
            }
        }
        fresh
    }

    /// Returns what is known of an entry, if it is one of them.
    pub(super) fn arrival(&self, number: i64) -> Option<&Arrival> {
        let at = self.0.binary_search_by_key(&number, |enters| enters.waits.number).ok()?;
        self.0.get(at).map(|enters| &*enters.waits.arrival)
    }

    /// Gives each its row, as it arrived or as it was leased.
    pub(super) fn end(self, workspace: &mut Workspace, leased: &HashMap<i64, Standing>) -> Result<(), Failure> {
        self.write(workspace, leased).inspect_err(|_| workspace.spoilt = true)
    }

    fn write(self, workspace: &mut Workspace, leased: &HashMap<i64, Standing>) -> Result<(), Failure> {
        let Some(last) = self.0.last().map(|enters| enters.waits.number) else { return Ok(()) };
        let window = workspace.options.dedupe_window;
        let Workspace { connection, keys, newest, .. } = workspace;
        for entering in self.0.chunks(TOGETHER) {
            let standing = |enters: &Enters| match leased.get(&enters.waits.number) {
                Some(standing) => Ok(standing.clone()),
                None => enters.waits.arrival.standing(),
            };
            let standings = entering.iter().map(standing).collect::<Result<Vec<_>, _>>()?;
            let mut rows = Vec::with_capacity(TOGETHER);
            for (Enters { waits: Waits { number, place, arrival }, site, form }, standing) in
                entering.iter().zip(&standings)
            {
                let Arrival { id, accepted_at, dedupe_key: key, .. } = **arrival;
                let row = Row { id, site: *site, form: *form, accepted_at, seen: 0, place: *place, key };
                rows.push(NewRow { number: *number, row, standing });
                *newest = (*newest).max(Some(id));
                if !window.is_zero() {
                    keys.add(*number, id, accepted_at, key, window);
                }
            }
            insert_entries(connection, &rows)?;
        }
        set_entered(connection, last)?;
        workspace.unlisted += self.0.len();
        Ok(())
    }
}

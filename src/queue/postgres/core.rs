//! What all parts of a store use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::StoreClock;
use super::database::Database;
use super::row::number_of;
use crate::lead::SiteId;
use crate::queue::standing::{Clock, whole_millisecond};
use crate::queue::turns::LastSites;
use crate::queue::{MoveFilter, NoteKind, State};

/// What all parts of a store use.
pub(super) struct Core {
    pub(super) database: Database,
    pub(super) runtime: Handle,
    pub(super) dedupe_window: Duration,
    pub(super) clock_source: StoreClock,
    pub(super) max_size: Option<u64>,
    pub(super) is_full: AtomicBool,
    pub(super) met_unreadable: AtomicBool,
    /// All indexes are known to be there.
    pub(super) has_indexes: AtomicBool,
    pub(super) filter: Mutex<MoveFilter>,
    pub(super) clock: Mutex<Clock>,
    pub(super) last_sites: Mutex<LastSites>,
    pub(super) notes_counted: Mutex<HashMap<NoteKind, CountedNotes>>,
    pub(super) changed: watch::Sender<u64>,
    /// Something happened that the other gateways should look for.
    pub(super) hint: Notify,
}

/// What is known of how many notes there are of a kind.
#[derive(Clone, Copy)]
pub(super) struct CountedNotes {
    pub(super) there: u64,
    /// Begun by this process since.
    pub(super) begun: u64,
}

impl Core {
    /// Returns the present as statements take it: none where they are to look at the server's clock.
    pub(super) fn now(&self, callers: Timestamp) -> Option<i64> {
        (!self.goes_by_server()).then(|| whole_millisecond(callers).as_millisecond())
    }

    pub(super) fn goes_by_server(&self) -> bool {
        self.clock_source == StoreClock::Server
    }

    pub(super) fn filter(&self) -> MoveFilter {
        *self.filter.lock()
    }

    pub(super) fn window_ms(&self) -> i64 {
        // Far from the end: statements multiply it.
        i64::try_from(self.dedupe_window.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 8)
    }

    /// Returns the states in which an arrival is told.
    pub(super) fn told_arrivals(&self) -> Vec<i16> {
        let filter = self.filter();
        let told = [State::Queued, State::Held].into_iter().filter(|state| filter.lets(None, Some(*state)));
        told.map(number_of).collect()
    }

    pub(super) fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells whether the clock that counts went back since the last claim of this process.
    pub(super) fn went_back(&self, now: Timestamp) -> bool {
        self.clock.lock().went_back(now)
    }

    pub(super) fn last_site(&self, accepted_since: Option<Timestamp>) -> Option<SiteId> {
        self.last_sites.lock().of(accepted_since).clone()
    }

    pub(super) fn set_last_site(&self, accepted_since: Option<Timestamp>, site: Option<SiteId>) {
        if site.is_some() {
            *self.last_sites.lock().of(accepted_since) = site;
        }
    }

    pub(super) fn note_unreadable(&self) {
        self.met_unreadable.store(true, Ordering::Relaxed);
    }

    /// Notes that a note of a kind may have been begun; tells whether there may now be too many of them.
    pub(super) fn should_count_notes(&self, kind: NoteKind) -> bool {
        let mut counted = self.notes_counted.lock();
        let Some(known) = counted.get_mut(&kind) else { return true };
        known.begun += 1;
        let room = kind.limits().notes_max.saturating_sub(known.there);
        known.begun >= room
    }

    pub(super) fn notes_counted(&self, kind: NoteKind, there: u64) {
        self.notes_counted.lock().insert(kind, CountedNotes { there, begun: 0 });
    }

    pub(super) fn forget_notes_counted(&self, kind: NoteKind) {
        self.notes_counted.lock().remove(&kind);
    }
}

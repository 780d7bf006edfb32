//! Entries in PostgreSQL, which several gateways on several machines may share.
//!
//! ```text
//! database   connections, and what a server must promise            schema    the tables, made in numbered steps
//! transaction   several statements that belong together
//! batch      what comes together goes into one statement            row       what a row says
//! append     new entries             claim   leases                 write     changes, by compare-and-set
//! settle     leases end, operators change entries                   removal   erased and expired
//! list       looked up, listed, counted      filter                 causes    what needs a person, by its cause
//! upkeep     counts added up, room looked at                        indexes   made beside the gateways' work
//! events     recorded, numbered, read     notes     holds           listen    hints from the other gateways
//! ```
//!
//! An entry is changed by reading it, applying the rules that every store shares, and writing it back where its revision is still
//! the same: no lock is held between two round trips. Of several gateways the server's clock decides who holds what.

mod append;

mod batch;

mod beside;

mod carry;

mod carry_beside;

mod causes;

mod claim;

mod core;

mod database;

mod events;

mod failure;

mod filter;

mod holds;

mod indexes;

mod list;

mod listen;

mod notes;

mod removal;

mod row;

mod schema;

mod settle;

mod transaction;

mod upkeep;

mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use self::append::Arrival;
use self::batch::Batches;
use self::core::Core;
use self::database::Database;
use self::events::Emitting;
use self::failure::Failure;
use self::holds::Asking;
use self::settle::Ending;
use super::cause;
use super::{
    Appended, CauseQuery, Causes, Change, Claim, Counts, DedupeKey, Entry, Extent, Filter, Lease, MAKE_DUE_MAX,
    MoveFilter, NewEntry, Order, Page, Set, Settlement, Store, StoreError,
};
use crate::lead::{EntryId, SiteId};
use crate::postgres_url::PostgresUrl;

/// So many batches of appends, and of leases that end, are under way at once.
const APPENDS_AT_ONCE: usize = 3;
const SETTLES_AT_ONCE: usize = 2;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the same submission counts as the same; zero: always anew.
    pub dedupe_window: Duration,
    /// Most bytes in use; roughly, since they are counted now and then.
    pub max_size: Option<u64>,
    pub clock: StoreClock,
}

/// Whose clock decides who holds what, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreClock {
    /// The server's: the clocks of several gateways differ.
    Server,
    /// That of whoever calls, who is alone: for tests.
    Caller,
}

/// Keeps entries in PostgreSQL.
pub struct PostgresStore {
    core: Arc<Core>,
    appends: Batches<Arrival, Appended>,
    settles: Batches<Ending, Set>,
    emits: Batches<Emitting, bool>,
    asks: Batches<Asking, bool>,
}

impl PostgresStore {
    /// Makes ready to use a store, on the current runtime. Nothing is connected yet: [`prepare`](Self::prepare) does that, or
    /// whatever is asked for first.
    pub fn open(url: &PostgresUrl, options: Options) -> Result<Self, StoreError> {
        let Options { dedupe_window, max_size, clock } = options;
        let runtime = Handle::try_current().map_err(Failure::unavailable)?;
        let core = Arc::new(Core {
            database: Database::new(url, runtime.clone())?,
            runtime: runtime.clone(),
            dedupe_window,
            clock_source: clock,
            max_size,
            is_full: AtomicBool::new(false),
            met_unreadable: AtomicBool::new(false),
            has_indexes: AtomicBool::new(false),
            filter: Mutex::new(MoveFilter::ALL),
            clock: Mutex::default(),
            last_sites: Mutex::default(),
            notes_counted: Mutex::default(),
            changed: watch::Sender::new(0),
            hint: Notify::new(),
        });
        let of = || Arc::clone(&core);
        let appending = of();
        let settling = of();
        let emitting = of();
        let asking = of();
        let appends = Batches::begin(&runtime, APPENDS_AT_ONCE, Arrival::size, move |jobs| {
            append::append(Arc::clone(&appending), jobs)
        });
        let settles =
            Batches::begin(&runtime, SETTLES_AT_ONCE, |_| 0, move |jobs| settle::settle(Arc::clone(&settling), jobs));
        let emits = Batches::begin(&runtime, 1, |_| 0, move |jobs| events::emit(Arc::clone(&emitting), jobs));
        let asks = Batches::begin(&runtime, 1, |_| 0, move |jobs| holds::hold(Arc::clone(&asking), jobs));
        runtime.spawn(listen::listen(Arc::downgrade(&core)));
        runtime.spawn(upkeep::keep(Arc::downgrade(&core)));
        runtime.spawn(indexes::keep(Arc::downgrade(&core)));
        Ok(Self { core, appends, settles, emits, asks })
    }

    /// Connects, sees to it that the tables are there and of a version that this program can use, and that the server keeps what
    /// it says it has written.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        Ok(self.core.database.query("SELECT 1", &[]).await.map(drop)?)
    }

    fn wake(&self) {
        self.core.wake();
        self.core.hint.notify_one();
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        if self.core.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        let arrival = Arrival::new(entry, dedupe, self.core.dedupe_window)?;
        let appended = self.appends.run(arrival).await?;
        if matches!(appended, Appended::New(_)) {
            self.wake();
        }
        Ok(appended)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        Ok(claim::claim(&self.core, claim).await?)
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        let set = self.settles.run(Ending::new(lease, settlement, now)).await?;
        self.wake();
        Ok(set)
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        let made_due = claim::make_due(&self.core, site, max.min(MAKE_DUE_MAX), now).await?;
        self.wake();
        Ok(made_due)
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        Ok(list::get(&self.core, id).await?)
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(list::scan(&self.core, filter, order, cursor, limit).await?)
    }

    async fn scan_sites(&self, sites: &[SiteId], filter: &Filter, limit: usize) -> Result<Vec<Page>, StoreError> {
        Ok(list::scan_sites(&self.core, sites, filter, limit).await?)
    }

    async fn causes(&self, query: CauseQuery<'_>) -> Result<Causes, StoreError> {
        match indexes::are_there(&self.core).await? {
            true => Ok(causes::causes(&self.core, query).await?),
            false => cause::count_heads(self, query).await,
        }
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        let set = settle::amend(&self.core, id, revision, change, now).await?;
        self.wake();
        Ok(set)
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        removal::erase(&self.core, ids).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(removal::expire(&self.core, now, limit).await?)
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        Ok(list::counts(&self.core).await?)
    }

    async fn extent(&self) -> Result<Extent, StoreError> {
        Ok(list::extent(&self.core).await?)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.core.changed.subscribe()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        const PROBE: &str = "UPDATE formgate.probe SET at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        upkeep::look_at_room(&self.core).await?;
        if self.core.is_full.load(Ordering::Relaxed) {
            return Err(StoreError::Full);
        }
        Ok(self.core.database.query(PROBE, &[]).await.map(drop)?)
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        let is_damaged = self.core.met_unreadable.load(Ordering::Relaxed);
        Ok(is_damaged
            .then(|| StoreError::Corrupt("entries that this program can't read were met".into()))
            .into_iter()
            .collect())
    }
}

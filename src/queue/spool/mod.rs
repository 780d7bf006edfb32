//! Leads are taken while the store that gateways share is away: they go into a spool on this machine, and from there into the
//! store once it is back.
//!
//! No plugin posts again what was refused, so a refused post is a lost lead. [`SpoolingStore`] is a [`Store`] that wraps
//! another: `append` is the only method that does without it. The spool is an [`SqliteStore`], so what it takes is
//! fsynced.
//!
//! # When an append goes into the spool
//!
//! | the store | the append |
//! |---|---|
//! | has not answered within [`ANSWER_TIME`] | is spooled; it may have been committed all the same, and its id tells |
//! | answers with an error, whichever | is spooled: also where it is full, its disk is full, part of it is damaged, or a newer gateway has changed its tables |
//! | failed before, or the spool still holds something | is spooled at once, without waiting |
//!
//! The spool is bounded by its own `max_size`; beyond it appends are refused as by any full store.
//!
//! # How what is spooled gets into the store
//!
//! [`SpoolingStore::run`] asks the store whether it is back, with a growing wait of up to [`PROBE_MAX`], and then carries
//! entries over, oldest first. While the spool holds anything, new appends go behind it. The last batch is carried while
//! appends wait, and the next one goes to the store again.
//!
//! A batch is carried in, and only then erased from the spool; so a crash at any point loses nothing. What is there already
//! is found by its id, and so nothing is there twice. One whose key the store has seen within its window is a
//! duplicate, and counted; after a crash between the two steps, or an answer that was lost, counted once too often.
//!
//! An entry that the store refuses although it is ready stays in the spool; the others pass it by, and it is tried again
//! every minute. `problems` tells of it.
//!
//! # What a spool can't do
//!
//! What lies in it isn't sent, listed or counted before it is in the store. `get` and `erase` reach the spool of this gateway
//! alone, not those of others.

mod carrier;

mod remote;

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, RwLock, watch};
use tokio::time::{Instant, timeout};

use self::words::in_words;
use super::carry::CarryingStore;
use super::sqlite::SqliteStore;
use super::standing::later;
use super::{
    Appended, CauseQuery, Causes, Change, Claim, Counts, DedupeKey, Entry, Extent, Filter, Lease, NewEntry, Order,
    Page, Salvaged, Set, Settlement, Store, StoreError,
};
use crate::lead::{EntryId, SiteId};

/// How long the store may take to answer an append, or whether it is ready.
pub const ANSWER_TIME: Duration = Duration::from_secs(2);
/// The longest wait before the store is asked again whether it is back.
pub const PROBE_MAX: Duration = Duration::from_secs(1);

/// Keeps entries in another store, and in a spool on this machine while that is away. Clones are the same store.
#[derive(Clone)]
pub struct SpoolingStore(Arc<Shared>);

struct Shared {
    remote: Arc<dyn CarryingStore>,
    spool: Arc<SqliteStore>,
    /// Whether appends go to the store: it answers, and nothing lies in the spool.
    is_direct: AtomicBool,
    /// Held by each append into the spool, and alone by whoever makes appends go to the store again.
    gate: RwLock<()>,
    /// Held while entries are between spool and store: what is erased meanwhile would come back.
    carrying: tokio::sync::Mutex<()>,
    told: Mutex<Told>,
    /// Tells the carrier that there is something to do.
    wake: Notify,
    opened: (Timestamp, Instant),
}

/// What is known of the store and of the spool.
#[derive(Debug, Default)]
struct Told {
    away: Option<Away>,
    /// Entries that the store refuses although it is ready, and when each is tried again.
    refused: BTreeMap<EntryId, Instant>,
    /// Why it refused the last of them.
    refusal: Option<String>,
    /// Entries of the spool that can't be read.
    unreadable: BTreeSet<EntryId>,
}

/// Since when the store is away, and what it said last.
#[derive(Clone, Debug)]
struct Away {
    since: Timestamp,
    /// Whether it answers at all.
    is_silent: bool,
    error: String,
}

/// How the spool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Since when the store is away; none: it answers, and what is spooled is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_since: Option<Timestamp>,
    /// What the store said last, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Entries in the spool, and the bytes that it takes.
    pub entries: u64,
    pub bytes: u64,
    /// When the first of them was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// How many of them the store refuses although it is ready, or can't be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The store didn't answer in time.
#[derive(Debug, thiserror::Error)]
#[error("it didn't answer within {} s", ANSWER_TIME.as_secs())]
pub(super) struct Silent;

impl SpoolingStore {
    /// Wraps a store. Until [`run`](Self::run) has looked into the spool, appends go there.
    pub fn new(remote: Arc<dyn CarryingStore>, spool: Arc<SqliteStore>, opened_at: Timestamp) -> Self {
        Self(Arc::new(Shared {
            remote,
            spool,
            is_direct: AtomicBool::new(false),
            gate: RwLock::default(),
            carrying: tokio::sync::Mutex::default(),
            told: Mutex::default(),
            wake: Notify::new(),
            opened: (opened_at, Instant::now()),
        }))
    }

    /// Merges back what can be read of spools that were set aside; it is carried into the store like all that is spooled.
    pub async fn salvage(&self) -> Result<Salvaged, StoreError> {
        let salvaged = self.0.spool.salvage().await;
        self.0.wake.notify_one();
        salvaged
    }

    /// Carries what is spooled into the store whenever that answers, until `stopping` says true.
    pub async fn run(&self, stopping: watch::Receiver<bool>) {
        self.0.keep_carrying(stopping).await;
    }

    /// Tells whether appends go to the store, as far as is known.
    pub fn is_direct(&self) -> bool {
        self.0.is_direct.load(Ordering::Acquire)
    }

    /// Tells how the spool is; none where the store answers and nothing is spooled.
    pub async fn status(&self) -> Result<Option<SpoolStatus>, StoreError> {
        self.0.status().await
    }
}

impl Shared {
    /// Returns the time as the process began with it.
    fn now(&self) -> Timestamp {
        let (at, since) = self.opened;
        later(at, since.elapsed())
    }

    /// Remembers that the store is away, and sends appends into the spool.
    fn note_away(&self, error: &StoreError) {
        let now = self.now();
        let is_silent = matches!(error, StoreError::Unavailable(cause) if cause.is::<Silent>());
        let error = in_words(error);
        let mut told = self.told.lock();
        // Under the lock, as the other way round: both must say the same.
        self.is_direct.store(false, Ordering::Release);
        if told.away.is_none() {
            tracing::warn!(error, "store.away: leads go into the spool on this machine until the store is back");
        }
        let since = told.away.as_ref().map_or(now, |away| away.since);
        told.away = Some(Away { since, is_silent, error });
        drop(told);
        self.wake.notify_one();
    }

    /// Returns the store, unless it is known to answer nothing: then nobody need wait for that.
    fn answering(&self) -> Result<&dyn CarryingStore, StoreError> {
        match &self.told.lock().away {
            Some(Away { is_silent: true, .. }) => Err(StoreError::Unavailable(Box::new(Silent))),
            _ => Ok(&*self.remote),
        }
    }

    /// Notes that the store answers again, though not all that is spooled is in it yet.
    fn note_answer(&self) {
        if let Some(away) = &mut self.told.lock().away {
            away.is_silent = false;
        }
    }

    fn is_away(&self) -> bool {
        self.told.lock().away.is_some()
    }

    /// Waits for the store, but not for longer than [`ANSWER_TIME`]; remembers where it is away.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let silent = |_elapsed| Err(StoreError::Unavailable(Box::new(Silent)));
        timeout(ANSWER_TIME, answer).await.unwrap_or_else(silent).inspect_err(|error| self.note_away(error))
    }

    /// Forgets of entries that have left the spool that they were refused.
    fn forget_refused(&self, ids: &[EntryId]) {
        let mut told = self.told.lock();
        told.refused.retain(|id, _| !ids.contains(id));
        told.unreadable.retain(|id| !ids.contains(id));
        if told.refused.is_empty() {
            told.refusal = None;
        }
    }

    async fn append_to_spool(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        let _open = self.gate.read().await;
        // Before it is there: whoever makes appends go to the store again waits for the gate, and then sees it.
        self.is_direct.store(false, Ordering::Release);
        let appended = self.spool.append(entry, dedupe).await;
        self.wake.notify_one();
        appended
    }

    async fn status(&self) -> Result<Option<SpoolStatus>, StoreError> {
        let counts = self.spool.counts().await?;
        let entries = counts.iter().map(|count| count.entries).sum();
        let (away, refused, refusal) = {
            let told = self.told.lock();
            (told.away.clone(), (told.refused.len() + told.unreadable.len()) as u64, told.refusal.clone())
        };
        if away.is_none() && entries == 0 {
            return Ok(None);
        }
        let bytes = self.spool.extent().await?.bytes;
        let first = self.spool.scan(&Filter::default(), Order::Oldest, None, 1).await?.heads.pop();
        let oldest = first.map(|head| head.accepted_at);
        let error = away.as_ref().map(|away| away.error.clone()).or(refusal);
        Ok(Some(SpoolStatus { away_since: away.map(|away| away.since), error, entries, bytes, oldest, refused }))
    }
}

#[async_trait]
impl Store for SpoolingStore {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        let shared = &*self.0;
        if shared.is_direct.load(Ordering::Acquire)
            && let Ok(appended) = shared.ask(shared.remote.append(entry.clone(), dedupe)).await
        {
            return Ok(appended);
        }
        match shared.append_to_spool(entry.clone(), dedupe).await {
            // It goes before what is spooled, which is better than to refuse it.
            Err(error) if shared.answering().is_ok() => {
                shared.ask(shared.remote.append(entry, dedupe)).await.map_err(|_spooled_otherwise| error)
            }
            appended => appended,
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        self.0.answering()?.claim(claim).await
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        self.0.remote.settle(lease, settlement, now).await
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        self.0.answering()?.make_due(site, max, now).await
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        // The store's goes first: one that is on its way is in both, and may have been sent.
        let there = match self.0.answering() {
            Ok(store) => store.get(id).await,
            Err(error) => Err(error),
        };
        if let Ok(Some(_)) = there {
            return there;
        }
        match self.0.spool.get(id).await? {
            None => there,
            spooled => Ok(spooled),
        }
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.answering()?.scan(filter, order, cursor, limit).await
    }

    async fn scan_sites(&self, sites: &[SiteId], filter: &Filter, limit: usize) -> Result<Vec<Page>, StoreError> {
        self.0.answering()?.scan_sites(sites, filter, limit).await
    }

    async fn causes(&self, query: CauseQuery<'_>) -> Result<Causes, StoreError> {
        self.0.answering()?.causes(query).await
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        self.0.remote.amend(id, revision, change, now).await
    }

    /// Erases from both. Where the store is away it fails, though what was in the spool is gone: an append that the store
    /// didn't answer may be there too.
    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        let _nothing_on_its_way = self.0.carrying.lock().await;
        let spooled = self.0.spool.erase(ids).await;
        self.0.forget_refused(ids);
        let (spooled, mut places) = erased_and_left(spooled)?;
        let (there, left_there) = erased_and_left(self.0.remote.erase(ids).await)?;
        places.extend(left_there);
        let erased = spooled + there;
        if places.is_empty() { Ok(erased) } else { Err(StoreError::Remains { erased, places }) }
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.0.answering()?.expire(now, limit).await
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        self.0.answering()?.counts().await
    }

    async fn extent(&self) -> Result<Extent, StoreError> {
        self.0.answering()?.extent().await
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.remote.changed()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let shared = &*self.0;
        if shared.is_direct.load(Ordering::Acquire) && shared.ask(shared.remote.ready()).await.is_ok() {
            return Ok(());
        }
        match shared.spool.ready().await {
            Err(error) if shared.answering().is_ok() => {
                shared.ask(shared.remote.ready()).await.map_err(|_spooled_otherwise| error)
            }
            ready => ready,
        }
    }

    async fn problems(&self) -> Result<Vec<StoreError>, StoreError> {
        let shared = &*self.0;
        let mut problems = shared.spool.problems().await?;
        if let Some(status) = shared.status().await? {
            problems.push(StoreError::Away(Box::new(status)));
        }
        if !shared.is_away() {
            problems.extend(shared.ask(shared.remote.problems()).await.unwrap_or_default());
        }
        Ok(problems)
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.0.remote.ended() => {}
            () = self.0.spool.ended() => {}
        }
    }
}

/// Takes apart what came of an erasure: how many were erased, and the places where bytes remain.
fn erased_and_left(erased: Result<usize, StoreError>) -> Result<(usize, Vec<String>), StoreError> {
    match erased {
        Err(StoreError::Remains { erased, places }) => Ok((erased, places)),
        erased => Ok((erased?, Vec::new())),
    }
}

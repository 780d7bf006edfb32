//! A store that forgets when the process ends: for tests and the demo, and the model of what [`Store`] means.

mod carry;

mod notes;

mod outbox;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::claim::EARLY_MAX;
use super::standing::{Beside, Clock, Standing, forget_until, is_duplicate, later, whole_millisecond};
use super::turns::{self, LastSites};
use super::{
    Appended, Change, Claim, Counts, DedupeKey, DedupePrefix, EXPIRE_MAX, Entry, Filter, Happened, Head, Lease,
    MAKE_DUE_MAX, Move, NewEntry, Order, PAGE_MAX, Page, Reading, Set, Settlement, State, Store, StoreError,
    Transition,
};
use crate::lead::{EntryId, FormId, SiteId};
use crate::received::Received;
use notes::{KeptHolds, KeptNotes};
use outbox::KeptEvents;

/// What the demo and most tests want: the default of `[queue].dedupe`.
const DEDUPE_WINDOW: Duration = Duration::from_secs(600);

/// Keeps entries in memory.
#[derive(Debug)]
pub struct MemoryStore {
    dedupe_window: Duration,
    kept: Mutex<Kept>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<EntryId, Record>,
    first_seen: HashMap<DedupePrefix, (EntryId, Timestamp)>,
    clock: Clock,
    appends: u64,
    claims: u64,
    last_sites: LastSites,
    outbox: KeptEvents,
    notes: KeptNotes,
    holds: KeptHolds,
}

#[derive(Debug)]
struct Record {
    /// Says which came first.
    number: u64,
    site: SiteId,
    form: FormId,
    accepted_at: Timestamp,
    seen: u32,
    reading: Reading,
    received: Received,
    key: Option<DedupePrefix>,
    standing: Standing,
}

impl MemoryStore {
    /// Makes an empty store; a window of zero turns deduplication off.
    pub fn new(dedupe_window: Duration) -> Self {
        Self { dedupe_window, kept: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// Does what a kill and a new start do to a store on disk: nobody holds a lease, or anything else, any more.
    pub fn restart(&self) {
        let mut kept = self.kept.lock();
        for record in kept.records.values_mut() {
            record.standing.release();
        }
        kept.clock = Clock::default();
        kept.last_sites = LastSites::default();
        kept.holds = KeptHolds::default();
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(DEDUPE_WINDOW)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, entry: NewEntry, dedupe: Option<DedupeKey>) -> Result<Appended, StoreError> {
        let appended = self.kept.lock().append(entry, dedupe, self.dedupe_window)?;
        if matches!(appended, Appended::New(_)) {
            self.wake();
        }
        Ok(appended)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Lease>, StoreError> {
        Ok(self.kept.lock().claim(&claim.cut()))
    }

    async fn settle(&self, lease: &Lease, settlement: Settlement, now: Timestamp) -> Result<Set, StoreError> {
        let mut kept = self.kept.lock();
        let id = lease.head.id;
        let set = match kept.records.get_mut(&id) {
            Some(record) => record.standing.settle(lease.token, settlement, whole_millisecond(now)),
            None => Set::Lost,
        };
        kept.tell(id, set);
        self.wake();
        Ok(set)
    }

    async fn make_due(&self, site: &SiteId, max: usize, now: Timestamp) -> Result<usize, StoreError> {
        let made_due = self.kept.lock().make_due(site, max.min(MAKE_DUE_MAX), whole_millisecond(now));
        self.wake();
        Ok(made_due)
    }

    async fn get(&self, id: EntryId) -> Result<Option<Entry>, StoreError> {
        Ok(self.kept.lock().records.get(&id).map(|record| record.entry(id)))
    }

    async fn scan(
        &self,
        filter: &Filter,
        order: Order,
        cursor: Option<EntryId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let kept = self.kept.lock();
        let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let passing = |(_, record): &(&EntryId, &Record)| record.passes(filter);
        let head = |(id, record): (&EntryId, &Record)| record.head(*id);
        let mut heads: Vec<_> = match order {
            Order::Oldest => {
                kept.records.range((from, Bound::Unbounded)).filter(passing).take(limit + 1).map(head).collect()
            }
            Order::Newest => {
                kept.records.range((Bound::Unbounded, from)).rev().filter(passing).take(limit + 1).map(head).collect()
            }
        };
        let more = heads.len() > limit;
        heads.truncate(limit);
        let next = heads.last().map(|head| head.id).filter(|_| more);
        Ok(Page { heads, unreadable: Vec::new(), next })
    }

    async fn amend(&self, id: EntryId, revision: u64, change: Change, now: Timestamp) -> Result<Set, StoreError> {
        let mut kept = self.kept.lock();
        let Some(record) = kept.records.get_mut(&id) else { return Ok(Set::Lost) };
        let set = record.standing.amend(revision, &change, whole_millisecond(now));
        match change {
            _ if !set.is_done() => {}
            Change::Retry { reading } | Change::Amend { reading } | Change::Hold { reading, .. } => {
                record.reading = *reading;
            }
            Change::Assign { site } => record.site = site,
            Change::Drop { .. } | Change::SiteBack => {}
        }
        kept.tell(id, set);
        self.wake();
        Ok(set)
    }

    async fn erase(&self, ids: &[EntryId]) -> Result<usize, StoreError> {
        Ok(self.kept.lock().remove(ids))
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let now = whole_millisecond(now);
        let limit = limit.min(EXPIRE_MAX);
        let mut kept = self.kept.lock();
        kept.notes.expire(now, limit);
        let expiry = |(id, record): (&EntryId, &Record)| Some((record.standing.expires_at?, *id));
        let mut expired: Vec<_> = kept.records.iter().filter_map(expiry).filter(|(at, _)| *at <= now).collect();
        expired.sort_unstable();
        let ids: Vec<_> = expired.into_iter().map(|(_, id)| id).take(limit).collect();
        let Kept { records, outbox, .. } = &mut *kept;
        for (id, record) in ids.iter().filter_map(|id| Some((id, records.get(id)?))) {
            outbox.record(now, || Happened::Moved(Move { from: Some(record.standing.state), ..record.moved(*id) }));
        }
        Ok(kept.remove(&ids))
    }

    async fn counts(&self) -> Result<Vec<Counts>, StoreError> {
        let mut counts: BTreeMap<(SiteId, State), Counts> = BTreeMap::new();
        for record in self.kept.lock().records.values() {
            let (site, state) = (record.site.clone(), record.standing.state);
            let oldest = (state == State::Queued).then_some(record.accepted_at);
            let fresh = Counts { site: site.clone(), state, entries: 0, oldest };
            let of_both = counts.entry((site, state)).or_insert(fresh);
            of_both.entries += 1;
            of_both.oldest = of_both.oldest.min(oldest);
        }
        Ok(counts.into_values().collect())
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Kept {
    fn append(&mut self, entry: NewEntry, dedupe: Option<DedupeKey>, window: Duration) -> Result<Appended, StoreError> {
        let accepted_at = whole_millisecond(entry.accepted_at);
        let forgotten = forget_until(accepted_at, window);
        self.first_seen.retain(|_, (_, at)| *at > forgotten);
        let key = dedupe.map(DedupePrefix::from);
        if let Some(first) = self.count_seen(key, accepted_at, window, 1) {
            return Ok(Appended::Duplicate(first));
        }
        let id = entry.id;
        if self.records.contains_key(&id) {
            return Err(StoreError::Unavailable(Box::new(RepeatedId)));
        }
        if let Some(key) = key.filter(|_| !window.is_zero()) {
            self.first_seen.insert(key, (id, accepted_at));
        }
        self.appends += 1;
        let standing = Standing::new(&entry);
        let NewEntry { site, form, reading, received, .. } = entry;
        let number = self.appends;
        let record = Record { number, site, form, accepted_at, seen: 0, reading, received, key, standing };
        let to = Some(record.standing.state);
        self.outbox.record(accepted_at, || Happened::Moved(Move { to, ..record.moved(id) }));
        self.records.insert(id, record);
        Ok(Appended::New(id))
    }

    /// Counts more sights of the entry that had a key first within the window, and returns it.
    fn count_seen(
        &mut self,
        key: Option<DedupePrefix>,
        accepted_at: Timestamp,
        window: Duration,
        times: u32,
    ) -> Option<EntryId> {
        let (first, _) = self.first_seen.get(&key?).filter(|(_, at)| is_duplicate(*at, accepted_at, window))?;
        let record = self.records.get_mut(first)?;
        record.seen = record.seen.saturating_add(times);
        Some(*first)
    }

    fn claim(&mut self, claim: &Claim) -> Vec<Lease> {
        let Claim { max, lease, now, accepted_since, ref quota } = *claim;
        if self.clock.went_back(now) {
            self.records.values_mut().for_each(|record| record.standing.rewind(now));
        }
        let mut lanes: turns::Lanes<SiteId, EntryId> = Vec::new();
        for (site, mut entries) in self.due(claim) {
            entries.sort_unstable();
            let most = quota.of(&site);
            lanes.push((site, entries.into_iter().map(|(_, id)| id).take(most).collect::<VecDeque<_>>()));
        }
        let last_site = self.last_sites.of(accepted_since);
        let after_last = lanes.partition_point(|(site, _)| Some(site) <= last_site.as_ref());
        lanes.rotate_left(after_last);
        let (ids, last) = turns::take(lanes, max);
        *last_site = last.or(last_site.take());
        self.claims += 1;
        ids.into_iter().filter_map(|id| self.lease(id, lease, now)).collect()
    }

    /// Finds what is due, by site.
    fn due(&self, claim: &Claim) -> BTreeMap<SiteId, Vec<(u64, EntryId)>> {
        let Claim { max, now, accepted_since, .. } = *claim;
        let mut due: BTreeMap<SiteId, Vec<(u64, EntryId)>> = BTreeMap::new();
        // Those that were due before they are new: the clock was set back.
        let mut early: BTreeMap<SiteId, Vec<(u64, EntryId)>> = BTreeMap::new();
        for (id, record) in &self.records {
            let Some(due_at) = record.standing.due_at.filter(|at| *at <= now) else { continue };
            let by_site = match accepted_since {
                Some(since) if record.accepted_at < since || later(due_at, EARLY_MAX) < since => continue,
                Some(since) if due_at < since => &mut early,
                _ => &mut due,
            };
            by_site.entry(record.site.clone()).or_default().push((record.number, *id));
        }
        for (site, entries) in early {
            let others = due.entry(site).or_default();
            if others.len() < max {
                others.extend(entries);
            }
        }
        due.retain(|_, entries| !entries.is_empty());
        due
    }

    fn make_due(&mut self, site: &SiteId, max: usize, now: Timestamp) -> usize {
        let waiting = self.records.values_mut().filter(|record| record.site == *site);
        let waiting = waiting.filter_map(|record| Some((record.standing.waits_until(now)?, record.number, record)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(until, number, _)| (*until, *number));
        waiting.into_iter().take(max).map(|(_, _, record)| record.standing.make_due(now)).count()
    }

    fn lease(&mut self, id: EntryId, lease: Duration, now: Timestamp) -> Option<Lease> {
        let record = self.records.get_mut(&id)?;
        record.standing.claim(self.claims, lease, now);
        Some(Lease { head: record.head(id), token: self.claims })
    }

    /// Records what became of an entry.
    fn tell(&mut self, id: EntryId, set: Set) {
        if let Set::Done(Transition { from, to, attempt, recorded: true, at, .. }) = set
            && let Some(record) = self.records.get(&id)
        {
            let moved = || Move { from: Some(from), to: Some(to), attempt, ..record.moved(id) };
            self.outbox.record(at, || Happened::Moved(moved()));
        }
    }

    fn remove(&mut self, ids: &[EntryId]) -> usize {
        self.first_seen.retain(|_, (id, _)| !ids.contains(id));
        ids.iter().filter(|id| self.records.remove(id).is_some()).count()
    }
}

impl Record {
    /// What every event about it says.
    fn moved(&self, entry: EntryId) -> Move {
        let site = self.site.clone();
        let form = self.form.clone();
        let reason = self.standing.reason;
        Move { entry, site, form, from: None, to: None, reason, attempt: None }
    }

    fn entry(&self, id: EntryId) -> Entry {
        Entry { head: self.head(id), received: self.received.clone() }
    }

    fn head(&self, id: EntryId) -> Head {
        self.standing.clone().into_head(self.beside(id))
    }

    fn beside(&self, id: EntryId) -> Beside {
        Beside {
            id,
            site: self.site.clone(),
            form: self.form.clone(),
            accepted_at: self.accepted_at,
            seen: self.seen,
            traceparent: self.received.traceparent.clone(),
            reading: self.reading.clone(),
        }
    }

    fn passes(&self, filter: &Filter) -> bool {
        filter.site.as_ref().is_none_or(|site| *site == self.site)
            && filter.form.as_ref().is_none_or(|form| *form == self.form)
            && filter.state.is_none_or(|state| state == self.standing.state)
            && filter.reason.is_none_or(|reason| reason == self.standing.reason)
            && filter.since.is_none_or(|since| since <= self.accepted_at)
            && filter.until.is_none_or(|until| self.accepted_at < until)
    }
}

/// Two appends with one id: the caller's fault.
#[derive(Debug, thiserror::Error)]
#[error("the id is taken")]
struct RepeatedId;

//! `store copy`: everything of one store into another, resumable and verified.
//!
//! Entries go first, by id and in batches, each of which is in the target whole or not at all; then events with their
//! readers, and notes. Done again it goes on where it was stopped, and what is there already stays as it is.
//!
//! Both stores must be quiet: a lead that either of them sends or takes meanwhile is missed, or sent twice.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::lead::{EntryId, SiteId};
use crate::queue::carry::{CARRY_BESIDE_MAX, CarryingStore};
use crate::queue::{
    CARRY_MAX, Carried, CarriedAs, CarriedEvents, CarriedIn, EVENTS_MAX, Filter, GatewayName, GatewayNote, NOTES_MAX,
    Note, NoteKind, Order, PAGE_MAX, Reader, State, StoreError, gateway_notes,
};

/// Within which a gateway that runs has written its note again.
const GATEWAYS_LOOK: Duration = Duration::from_secs(4);
/// Ids of unreadable entries that are named.
const NAMED_MAX: usize = 100;

/// What a copy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStep {
    Entries,
    Events,
    Notes,
    Verify,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    pub step: CopyStep,
    pub done: u64,
    /// How many there are; none where nobody knows.
    pub of: Option<u64>,
}

/// A store that was copied, and is the same in both places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Entries of the target.
    pub entries: u64,
    /// How many of them this run copied.
    pub new: u64,
    pub events: u64,
    pub notes: u64,
    /// SHA-256 over the digests of all entries by id, in hexadecimal: the same in every kind of store.
    pub digest: String,
    /// Entries of the source that can't be read, and so are not in the target.
    pub unreadable: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_ids: Vec<EntryId>,
}

/// Why a store was not copied, or not entirely.
#[derive(Debug, thiserror::Error)]
pub enum NotCopied {
    #[error("the target has entries that the source doesn't have, such as {0}")]
    OtherEntries(EntryId),
    #[error("the target has events, or readers of events, of its own: a gateway has run on it")]
    OtherEvents,
    #[error(
        "the target differs from the source: {missing} entries are missing, {differing} are not as they are in the source"
    )]
    Differs { missing: u64, differing: u64 },
    #[error("the target counts other leads per site and state than the source")]
    Counts,
    #[error("the source can't be read")]
    Source(#[source] StoreError),
    #[error("the target can't be read or written")]
    Target(#[source] StoreError),
}

/// Copies a store into another and compares the two.
pub async fn copy(
    from: &dyn CarryingStore,
    to: &dyn CarryingStore,
    mut progress: impl FnMut(CopyProgress),
) -> Result<Copied, NotCopied> {
    let of = Some(sum(&counts(from).await.map_err(NotCopied::Source)?));
    let after = resume_after(from, to).await?;
    check_events(from, to).await?;
    let mut copied = Copied::default();
    let mut report = |step, done, of| progress(CopyProgress { step, done, of });
    copy_entries(from, to, after, &mut copied, |done| report(CopyStep::Entries, done, of)).await?;
    copy_events(from, to, &mut copied, |done| report(CopyStep::Events, done, None)).await?;
    copy_notes(from, to, &mut copied, |done| report(CopyStep::Notes, done, None)).await?;
    verify(from, to, &mut copied, |done| report(CopyStep::Verify, done, of)).await?;
    Ok(copied)
}

/// Returns the gateways that use a store, by their notes: each running one writes its own again every second.
///
/// Looked at twice, so that no clock matters.
pub async fn running_gateways(store: &dyn CarryingStore) -> Result<Vec<GatewayName>, StoreError> {
    let before = gateway_notes(store).await?;
    if !before.iter().any(|note| GatewayNote::read(note).is_some()) {
        return Ok(Vec::new());
    }
    tokio::time::sleep(GATEWAYS_LOOK).await;
    let after = gateway_notes(store).await?;
    let is_newer = |note: &&Note| !before.iter().any(|old| (&old.key, old.last_at) == (&note.key, note.last_at));
    Ok(after.iter().filter(is_newer).filter_map(GatewayNote::read).map(|(name, _)| name).collect())
}

/// Returns the entry up to which the target has all that the source has; none: it has not even the first.
async fn resume_after(from: &dyn CarryingStore, to: &dyn CarryingStore) -> Result<Option<EntryId>, NotCopied> {
    let mut source = Ids::of(from);
    let mut target = Ids::of(to);
    let mut after = None;
    let mut has_gap = false;
    while let Some(there) = target.next().await.map_err(NotCopied::Target)? {
        loop {
            let here = source.next().await.map_err(NotCopied::Source)?;
            match here.map(|here| here.cmp(&there)) {
                Some(Ordering::Less) => has_gap = true,
                Some(Ordering::Equal) => break,
                Some(Ordering::Greater) | None => return Err(NotCopied::OtherEntries(there)),
            }
        }
        if !has_gap {
            after = Some(there);
        }
    }
    Ok(after)
}

/// Makes sure that the numbers of the source's events are free in the target, or are those of the same events.
async fn check_events(from: &dyn CarryingStore, to: &dyn CarryingStore) -> Result<(), NotCopied> {
    let (last, readers) = last_event(from).await.map_err(NotCopied::Source)?;
    let (last_there, readers_there) = last_event(to).await.map_err(NotCopied::Target)?;
    let is_of_source =
        |reader: &Reader| readers.iter().any(|other| (&other.name, other.upto) == (&reader.name, reader.upto));
    if last_there <= last && readers_there.iter().all(is_of_source) { Ok(()) } else { Err(NotCopied::OtherEvents) }
}

/// Returns the number of the last event, as far as anybody reads them, and who does.
async fn last_event(store: &dyn CarryingStore) -> Result<(u64, Vec<Reader>), StoreError> {
    let readers = store.readers().await?;
    let last = match readers.first() {
        Some(reader) => reader.upto + reader.behind,
        None => store.events(0, 1).await?.upto,
    };
    Ok((last, readers))
}

async fn copy_entries(
    from: &dyn CarryingStore,
    to: &dyn CarryingStore,
    mut after: Option<EntryId>,
    copied: &mut Copied,
    mut report: impl FnMut(u64),
) -> Result<(), NotCopied> {
    let mut done = 0;
    loop {
        let page = from.carry_out(after, CARRY_MAX).await.map_err(NotCopied::Source)?;
        let carried_in = to.carry_in(&page.entries, CarriedAs::Copy).await.map_err(NotCopied::Target)?;
        copied.new += carried_in.iter().filter(|carried| **carried == CarriedIn::New).count() as u64;
        done += (page.entries.len() + page.unreadable.len()) as u64;
        report(done);
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Copies the events that somebody has not read yet, and the keys of those that were told once.
async fn copy_events(
    from: &dyn CarryingStore,
    to: &dyn CarryingStore,
    copied: &mut Copied,
    mut report: impl FnMut(u64),
) -> Result<(), NotCopied> {
    let mut upto = 0;
    loop {
        let page = from.events(upto, EVENTS_MAX).await.map_err(NotCopied::Source)?;
        let is_last = page.events.is_empty();
        upto = page.upto;
        copied.events += page.events.len() as u64;
        let part = CarriedEvents { last: upto, events: page.events, ..CarriedEvents::default() };
        to.carry_events_in(&part).await.map_err(NotCopied::Target)?;
        report(copied.events);
        if is_last {
            break;
        }
    }
    let mut after = Some(0);
    while let Some(from_on) = after {
        let page = from.carry_once_out(from_on, CARRY_BESIDE_MAX).await.map_err(NotCopied::Source)?;
        let part = CarriedEvents { once: page.keys, ..CarriedEvents::default() };
        to.carry_events_in(&part).await.map_err(NotCopied::Target)?;
        after = page.next;
    }
    // Last: who reads must find the events there.
    let readers = from.readers().await.map_err(NotCopied::Source)?;
    let readers = readers.into_iter().map(|reader| (reader.name, reader.upto)).collect();
    let part = CarriedEvents { readers, ..CarriedEvents::default() };
    to.carry_events_in(&part).await.map_err(NotCopied::Target)
}

async fn copy_notes(
    from: &dyn CarryingStore,
    to: &dyn CarryingStore,
    copied: &mut Copied,
    mut report: impl FnMut(u64),
) -> Result<(), NotCopied> {
    // Which gateways use the source is none of the target's business.
    for kind in NoteKind::ALL.into_iter().filter(|kind| *kind != NoteKind::Gateway) {
        let mut after = None;
        loop {
            let notes = from.notes(kind, "", after.as_ref(), NOTES_MAX).await.map_err(NotCopied::Source)?;
            to.carry_notes_in(kind, &notes).await.map_err(NotCopied::Target)?;
            copied.notes += notes.len() as u64;
            report(copied.notes);
            let is_last = notes.len() < NOTES_MAX;
            after = notes.into_iter().next_back().map(|note| note.key);
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Compares every entry of the two, and how many there are of each site and state.
async fn verify(
    from: &dyn CarryingStore,
    to: &dyn CarryingStore,
    copied: &mut Copied,
    mut report: impl FnMut(u64),
) -> Result<(), NotCopied> {
    let mut source = Leaving::of(from);
    let mut target = Leaving::of(to);
    let mut digest = Sha256::new();
    let mut missing = 0;
    let mut differing = 0;
    let mut there = target.next().await.map_err(NotCopied::Target)?;
    while let Some(here) = source.next().await.map_err(NotCopied::Source)? {
        match there.as_ref().map(|there| there.id().cmp(&here.id())) {
            Some(Ordering::Less) => break,
            Some(Ordering::Equal) => {
                let of_both = (here.digest().map_err(NotCopied::Source)?, digest_of(there.as_ref())?);
                differing += u64::from(Some(of_both.0) != of_both.1);
                digest.update(of_both.0);
                copied.entries += 1;
                report(copied.entries);
                there = target.next().await.map_err(NotCopied::Target)?;
            }
            Some(Ordering::Greater) | None => missing += 1,
        }
    }
    if let Some(other) = there {
        return Err(NotCopied::OtherEntries(other.id()));
    }
    if missing + differing + target.unreadable > 0 {
        return Err(NotCopied::Differs { missing, differing: differing + target.unreadable });
    }
    copied.digest = hex::encode(digest.finalize());
    copied.unreadable = source.unreadable;
    copied.unreadable_ids = source.unreadable_ids;
    // What can't be read is counted in the source, and is not in the target.
    let is_whole = copied.unreadable == 0;
    let here = counts(from).await.map_err(NotCopied::Source)?;
    let there = counts(to).await.map_err(NotCopied::Target)?;
    if is_whole && here != there { Err(NotCopied::Counts) } else { Ok(()) }
}

fn digest_of(carried: Option<&Carried>) -> Result<Option<[u8; 32]>, NotCopied> {
    carried.map(Carried::digest).transpose().map_err(NotCopied::Target)
}

async fn counts(store: &dyn CarryingStore) -> Result<BTreeMap<(SiteId, State), u64>, StoreError> {
    let counts = store.counts().await?.into_iter().filter(|count| count.entries > 0);
    Ok(counts.map(|count| ((count.site, count.state), count.entries)).collect())
}

fn sum(counts: &BTreeMap<(SiteId, State), u64>) -> u64 {
    counts.values().sum()
}

/// The ids of a store's entries, in order.
struct Ids<'a> {
    store: &'a dyn CarryingStore,
    page: VecDeque<EntryId>,
    next: Option<EntryId>,
    is_last: bool,
}

impl<'a> Ids<'a> {
    fn of(store: &'a dyn CarryingStore) -> Self {
        Self { store, page: VecDeque::new(), next: None, is_last: false }
    }

    async fn next(&mut self) -> Result<Option<EntryId>, StoreError> {
        while self.page.is_empty() && !self.is_last {
            let page = self.store.scan(&Filter::default(), Order::Oldest, self.next, PAGE_MAX).await?;
            let mut ids: Vec<_> = page.heads.iter().map(|head| head.id).chain(page.unreadable).collect();
            ids.sort_unstable();
            self.page = ids.into();
            self.next = page.next;
            self.is_last = page.next.is_none();
        }
        Ok(self.page.pop_front())
    }
}

/// A store's entries, in order, with what can't be read.
struct Leaving<'a> {
    store: &'a dyn CarryingStore,
    page: VecDeque<Carried>,
    next: Option<EntryId>,
    is_last: bool,
    unreadable: u64,
    unreadable_ids: Vec<EntryId>,
}

impl<'a> Leaving<'a> {
    fn of(store: &'a dyn CarryingStore) -> Self {
        Self { store, page: VecDeque::new(), next: None, is_last: false, unreadable: 0, unreadable_ids: Vec::new() }
    }

    async fn next(&mut self) -> Result<Option<Carried>, StoreError> {
        while self.page.is_empty() && !self.is_last {
            let page = self.store.carry_out(self.next, CARRY_MAX).await?;
            self.unreadable += page.unreadable.len() as u64;
            let room = NAMED_MAX.saturating_sub(self.unreadable_ids.len());
            self.unreadable_ids.extend(page.unreadable.into_iter().take(room));
            self.page = page.entries.into();
            self.next = page.next;
            self.is_last = page.next.is_none();
        }
        Ok(self.page.pop_front())
    }
}

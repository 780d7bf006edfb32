//! What posts from pages take of the store: 5 % of `max_size` for each form, since anybody can forge an origin.
//!
//! Each such entry's size is added to a note of its form and day, so that a restart forgets nothing; posts with a
//! credential pay nothing for it. What notes can't know is what operators erased or dropped: where they say that a form is
//! over its share, its entries are counted, and the notes believed for as many as there are (decision 0024).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::{
    Filter, Merge, NOTES_MAX, NoteChange, NoteKind, NumbersMerge, Order, PAGE_MAX, Store, StoreError, TextMerge,
};

/// A form gets one part in so many of the store.
const PARTS: u64 = 20;
/// How long what was found out about a form is believed.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// Most entries counted at a look. Where there are as many, the notes are believed: to count on would keep visitors waiting.
const COUNTED_MAX: u64 = 50_000;
/// What an entry takes beside its content and its lead: its history, its place in the indices.
const BESIDE: u64 = 1024;

/// A form of a site.
pub(in crate::accept) type FormKey = (SiteId, FormId);

/// What each form's posts from pages take. Clones share it.
#[derive(Clone, Default)]
pub(in crate::accept) struct StoreShare(Arc<Mutex<HashMap<FormKey, Arc<tokio::sync::Mutex<FormShare>>>>>);

/// What one form's posts take.
#[derive(Default)]
struct FormShare {
    bytes: u64,
    /// When the notes were last read; none: never.
    refreshed: Option<Instant>,
}

/// Of a form's notes: how many entries, and their bytes.
#[derive(Clone, Copy, Default)]
struct Noted {
    entries: u64,
    bytes: u64,
}

impl StoreShare {
    /// Tells whether the form may take more of the store.
    ///
    /// Where the store can't tell, it may: then the store will refuse the entry itself.
    pub(in crate::accept) async fn has_room(
        &self,
        store: &dyn Store,
        form: &FormKey,
        queue: &config::Queue,
        now: Timestamp,
    ) -> bool {
        let max = queue.max_size / PARTS;
        let share = self.of(form);
        let mut share = share.lock().await;
        let is_fresh = share.refreshed.is_some_and(|at| at.elapsed() < REFRESH);
        if !is_fresh && let Ok(bytes) = measure(store, form, max, oldest(queue, now)).await {
            *share = FormShare { bytes, refreshed: Some(Instant::now()) };
            if bytes >= max {
                let (site, form) = (form.0.as_str(), form.1.as_str());
                tracing::warn!(
                    site,
                    form,
                    bytes,
                    "form.full: its posts from pages take 5 % of max_size, more get 429; if they are spam, erase them"
                );
            }
        }
        share.bytes < max
    }

    /// Adds an entry that was stored, of so many bytes received.
    pub(in crate::accept) async fn add(&self, store: &dyn Store, form: &FormKey, received: u64, now: Timestamp) {
        // What was received, and about as much again as lead and extras.
        let bytes = received.saturating_mul(2).saturating_add(BESIDE);
        let share = self.of(form);
        let mut share = share.lock().await;
        share.bytes = share.bytes.saturating_add(bytes);
        let day = now.to_zoned(TimeZone::UTC).date();
        let merge = Merge { text: TextMerge::Keep, numbers: NumbersMerge::Add(vec![1, bytes]) };
        let noted = match NoteChange::new(NoteKind::PageForm, &format!("{}{day}", prefix(form)), merge) {
            Ok(change) => store.note(&change, now).await.map_err(|error| error.to_string()),
            Err(invalid) => Err(invalid.to_string()),
        };
        if let Err(error) = noted {
            tracing::warn!(error, "form.share_unnoted: a restart forgets the size of one entry");
        }
    }

    fn of(&self, form: &FormKey) -> Arc<tokio::sync::Mutex<FormShare>> {
        Arc::clone(self.0.lock().entry(form.clone()).or_default())
    }
}

fn prefix((site, form): &FormKey) -> String {
    format!("{site}/{form}/")
}

/// Returns the first day whose entries may still be there.
fn oldest(queue: &config::Queue, now: Timestamp) -> String {
    let keep = queue.keep.delivered.max(queue.keep.held).max(queue.keep.dead);
    let longest = keep.saturating_add(queue.retry.give_up_after);
    let since = now.checked_sub(longest).unwrap_or(Timestamp::MIN);
    since.to_zoned(TimeZone::UTC).date().to_string()
}

/// Returns the bytes that a form's posts from pages take, at least where that is less than `max`.
async fn measure(store: &dyn Store, form: &FormKey, max: u64, oldest: String) -> Result<u64, StoreError> {
    let notes = store.notes(NoteKind::PageForm, &prefix(form), None, NOTES_MAX).await?;
    let since = format!("{}{oldest}", prefix(form));
    let recent = notes.iter().filter(|note| note.key.as_str() >= since.as_str());
    let noted = recent.fold(Noted::default(), |sum, note| {
        let number = |at: usize| note.numbers.get(at).copied().unwrap_or_default();
        Noted { entries: sum.entries.saturating_add(number(0)), bytes: sum.bytes.saturating_add(number(1)) }
    });
    if noted.bytes < max {
        return Ok(noted.bytes);
    }
    let average = (noted.bytes / noted.entries.max(1)).max(1);
    // So many suffice to know that it is over its share.
    let enough = (max / average).saturating_add(1).min(noted.entries).min(COUNTED_MAX);
    let there = count(store, form, enough).await?;
    Ok(if there >= enough { noted.bytes } else { there.saturating_mul(average) })
}

/// Counts a form's entries, up to `enough`.
async fn count(store: &dyn Store, (site, form): &FormKey, enough: u64) -> Result<u64, StoreError> {
    let filter = Filter { site: Some(site.clone()), form: Some(form.clone()), ..Filter::default() };
    let mut cursor: Option<EntryId> = None;
    let mut found = 0_u64;
    while found < enough {
        let page = store.scan(&filter, Order::Newest, cursor, PAGE_MAX).await?;
        found = found.saturating_add((page.heads.len() + page.unreadable.len()) as u64);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Keep, Queue, Retry, StoreUrl};
    use crate::queue::memory::MemoryStore;
    use crate::queue::{Appended, NewEntry, Reading, Reason, State};
    use crate::received::Received;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Each form may have five entries without content.
    fn queue() -> Queue {
        Queue {
            url: StoreUrl::Memory,
            retry: Retry { first: DAY, max: DAY, give_up_after: DAY },
            keep: Keep { delivered: DAY, held: 3 * DAY, dead: DAY },
            dedupe: Duration::ZERO,
            max_size: 20 * 5 * BESIDE,
        }
    }

    fn at(days: u32) -> Timestamp {
        Timestamp::UNIX_EPOCH.checked_add(20_000 * DAY + DAY * days).expect("a time")
    }

    fn form(name: &str) -> FormKey {
        (SiteId::parse("acme").expect("a site"), FormId::parse(name).expect("a form"))
    }

    /// Stores an entry of the form, as a post from a page does.
    async fn post(share: &StoreShare, store: &MemoryStore, form: &FormKey, number: u64, now: Timestamp) -> EntryId {
        let id = EntryId::new(number, &[0; 10]);
        let entry = NewEntry {
            id,
            site: form.0.clone(),
            form: form.1.clone(),
            state: State::Held,
            reason: Reason::Spam,
            accepted_at: now,
            keep: None,
            reading: Reading::default(),
            received: Received::default(),
        };
        assert_eq!(store.append(entry, None).await.expect("appended"), Appended::New(id));
        share.add(store, form, 0, now).await;
        id
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_its_share_and_a_restart_forgets_nothing() {
        let (store, queue, share) = (MemoryStore::new(Duration::ZERO), queue(), StoreShare::default());
        let (contact, other) = (form("contact"), form("contact-2"));
        for number in 0..5 {
            assert!(share.has_room(&store, &contact, &queue, at(0)).await, "{number}");
            post(&share, &store, &contact, number, at(0)).await;
        }
        assert!(!share.has_room(&store, &contact, &queue, at(0)).await);
        assert!(share.has_room(&store, &other, &queue, at(0)).await);
        let restarted = StoreShare::default();
        assert!(!restarted.has_room(&store, &contact, &queue, at(0)).await);
        assert!(restarted.has_room(&store, &other, &queue, at(0)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_operators_erase_counts_no_more_once_it_is_looked_at_again() {
        let (store, queue, share) = (MemoryStore::new(Duration::ZERO), queue(), StoreShare::default());
        let contact = form("contact");
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(post(&share, &store, &contact, number, at(0)).await);
        }
        assert!(!share.has_room(&store, &contact, &queue, at(0)).await);
        assert_eq!(store.erase(&ids[..4]).await.expect("erased"), 4);
        assert!(!share.has_room(&store, &contact, &queue, at(0)).await, "it was looked at just now");
        tokio::time::advance(REFRESH).await;
        for number in 10..13 {
            assert!(share.has_room(&store, &contact, &queue, at(0)).await, "{number}");
            post(&share, &store, &contact, number, at(0)).await;
        }
        assert!(!share.has_room(&store, &contact, &queue, at(0)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_have_expired_counts_no_more() {
        let (store, queue, share) = (MemoryStore::new(Duration::ZERO), queue(), StoreShare::default());
        let contact = form("contact");
        for number in 0..5 {
            post(&share, &store, &contact, number, at(0)).await;
        }
        // Queued for a day, held for three.
        for (day, has_room) in [(4, false), (5, true)] {
            tokio::time::advance(REFRESH).await;
            assert_eq!(share.has_room(&store, &contact, &queue, at(day)).await, has_room, "day {day}");
        }
    }
}

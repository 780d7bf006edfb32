//! What posts from pages take of the store: 5 % of `max_size` for each form, since anybody can forge an origin.
//!
//! Each such entry says how much it took, and that is added to a note of its form and day, so that a restart forgets
//! nothing; posts with a credential pay nothing for it. What notes can't know is what operators erased: where they say that a
//! form is over its share, its entries are looked at, and the notes are told how much is gone (decision 0024).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config;
use crate::lead::{FormId, SiteId};
use crate::queue::{
    Filter, Merge, NOTES_MAX, NewEntry, NoteChange, NoteKind, NumbersMerge, Order, PAGE_MAX, Store, StoreError,
    TextMerge,
};

/// A form gets one part in so many of the store.
const PARTS: u64 = 20;
/// How long what was found out about a form is believed.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// Most entries looked at in one go. Of days that are further back the notes are believed: to look on would keep visitors
/// waiting.
const LOOKED_AT_MAX: usize = 50_000;
/// What an entry takes beside its content and its lead: its row, its places in the indices, and the page of the file that
/// it fills up. Measured with SQLite, where each is committed alone.
const BESIDE: u64 = 4 * 1024;

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
        if !is_fresh && let Ok(bytes) = measure(store, form, max, oldest(queue, now), now).await {
            *share = FormShare { bytes, refreshed: Some(Instant::now()) };
            if bytes >= max {
                let site = form.0.as_str();
                let form = form.1.as_str();
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

    /// Adds an entry that was stored, which takes so many bytes.
    pub(in crate::accept) async fn add(&self, store: &dyn Store, form: &FormKey, bytes: u64, accepted_at: Timestamp) {
        let share = self.of(form);
        let mut share = share.lock().await;
        share.bytes = share.bytes.saturating_add(bytes);
        let noted = note(store, form, day_of(accepted_at), vec![1, bytes], accepted_at).await;
        if let Err(error) = noted {
            tracing::warn!(error, "form.share_unnoted: a restart forgets the size of one entry");
        }
    }

    fn of(&self, form: &FormKey) -> Arc<tokio::sync::Mutex<FormShare>> {
        Arc::clone(self.0.lock().entry(form.clone()).or_default())
    }
}

/// Returns the bytes that an entry takes of the store.
pub(in crate::accept) fn bytes_of(entry: &NewEntry) -> u64 {
    // What has no JSON isn't stored at all.
    let [received, reading] = [serde_json::to_vec(&entry.received), serde_json::to_vec(&entry.reading)]
        .map(|json| json.map_or(0, |json| json.len()));
    (received + reading + entry.received.body.len()) as u64 + BESIDE
}

fn prefix((site, form): &FormKey) -> String {
    format!("{site}/{form}/")
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Returns the first day whose entries may still be there.
fn oldest(queue: &config::Queue, now: Timestamp) -> Date {
    let keep = queue.keep.delivered.max(queue.keep.held).max(queue.keep.dead);
    let longest = keep.saturating_add(queue.retry.give_up_after);
    day_of(now.checked_sub(longest).unwrap_or(Timestamp::MIN))
}

/// Adds to the note of a form's day: entries, their bytes, and what of these is gone.
async fn note(store: &dyn Store, form: &FormKey, day: Date, numbers: Vec<u64>, now: Timestamp) -> Result<(), String> {
    let merge = Merge { text: TextMerge::Keep, numbers: NumbersMerge::Add(numbers) };
    let change = NoteChange::new(NoteKind::PageForm, &format!("{}{day}", prefix(form)), merge);
    let change = change.map_err(|invalid| invalid.to_string())?;
    store.note(&change, now).await.map_err(|error| error.to_string())
}

/// Returns the bytes that a form's posts from pages take, at least where that is less than `max`.
async fn measure(store: &dyn Store, form: &FormKey, max: u64, oldest: Date, now: Timestamp) -> Result<u64, StoreError> {
    let noted = noted(store, form, oldest).await?;
    if noted.values().sum::<u64>() < max {
        return Ok(noted.values().sum());
    }
    let seen = look(store, form, max).await?;
    let mut bytes = 0_u64;
    for (day, noted) in noted {
        let there = seen.days.get(&day).copied().unwrap_or_default();
        let is_known = seen.since.is_none_or(|since| day > since);
        bytes = bytes.saturating_add(if is_known { there } else { noted.max(there) });
        let gone = noted.saturating_sub(there);
        // What can't be noted is found out again.
        if is_known && gone > 0 && note(store, form, day, vec![0, 0, gone], now).await.is_err() {
            break;
        }
    }
    Ok(bytes)
}

/// Returns what the notes say that each day's entries take.
async fn noted(store: &dyn Store, form: &FormKey, oldest: Date) -> Result<BTreeMap<Date, u64>, StoreError> {
    let prefix = prefix(form);
    let notes = store.notes(NoteKind::PageForm, &prefix, None, NOTES_MAX).await?;
    let of_day = notes.iter().filter_map(|note| {
        let day: Date = note.key.as_str().strip_prefix(&prefix)?.parse().ok()?;
        let number = |at: usize| note.numbers.get(at).copied().unwrap_or_default();
        Some((day, number(1).saturating_sub(number(2))))
    });
    Ok(of_day.filter(|(day, _)| *day >= oldest).collect())
}

/// What a look at a form's entries found.
struct Seen {
    /// What those from pages take, by the day they came.
    days: BTreeMap<Date, u64>,
    /// Only what came after this day was looked at; none: all of it.
    since: Option<Date>,
}

/// Looks at a form's entries, the newest first, until they prove that those from pages take `max`.
async fn look(store: &dyn Store, (site, form): &FormKey, max: u64) -> Result<Seen, StoreError> {
    let filter = Filter { site: Some(site.clone()), form: Some(form.clone()), ..Filter::default() };
    let mut seen = Seen { days: BTreeMap::new(), since: None };
    let (mut cursor, mut looked_at, mut bytes, mut last) = (None, 0, 0_u64, Date::MAX);
    loop {
        let page = store.scan(&filter, Order::Newest, cursor, PAGE_MAX).await?;
        looked_at += page.heads.len() + page.unreadable.len();
        for head in &page.heads {
            last = day_of(head.accepted_at);
            let of_page = head.reading.page_bytes;
            bytes = bytes.saturating_add(of_page);
            *seen.days.entry(last).or_default() += of_page;
        }
        cursor = page.next;
        if cursor.is_none() {
            return Ok(seen);
        }
        if looked_at >= LOOKED_AT_MAX || bytes >= max {
            seen.since = Some(last);
            return Ok(seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Keep, Queue, Retry, StoreUrl};
    use crate::lead::EntryId;
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
        post_of(BESIDE, share, store, form, number, now).await
    }

    /// The same of so many bytes; zero: as a plugin does.
    async fn post_of(
        bytes: u64,
        share: &StoreShare,
        store: &MemoryStore,
        form: &FormKey,
        number: u64,
        now: Timestamp,
    ) -> EntryId {
        let id = EntryId::new(now.as_millisecond().unsigned_abs() + number, &[0; 10]);
        let entry = NewEntry {
            id,
            site: form.0.clone(),
            form: form.1.clone(),
            state: State::Held,
            reason: Reason::Spam,
            accepted_at: now,
            keep: None,
            reading: Reading { page_bytes: bytes, ..Reading::default() },
            received: Received::default(),
        };
        assert_eq!(store.append(entry, None).await.expect("appended"), Appended::New(id));
        if bytes > 0 {
            share.add(store, form, bytes, now).await;
        }
        id
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_its_share_and_a_restart_forgets_nothing() {
        let store = MemoryStore::new(Duration::ZERO);
        let queue = queue();
        let share = StoreShare::default();
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
        let store = MemoryStore::new(Duration::ZERO);
        let queue = queue();
        let share = StoreShare::default();
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
        let store = MemoryStore::new(Duration::ZERO);
        let queue = queue();
        let share = StoreShare::default();
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

    /// The flood that is gone was of large posts, and what is still there is of plugins and of small ones.
    #[tokio::test(start_paused = true)]
    async fn after_a_flood_is_erased_only_what_is_there_counts_on_all_the_days_that_the_notes_hold_it() {
        let store = MemoryStore::new(Duration::ZERO);
        let queue = queue();
        let share = StoreShare::default();
        let contact = form("contact");
        let flood = post_of(5 * BESIDE, &share, &store, &contact, 0, at(0)).await;
        for number in 1..20 {
            post_of(0, &share, &store, &contact, number, at(0)).await;
        }
        assert!(!share.has_room(&store, &contact, &queue, at(0)).await);
        assert_eq!(store.erase(&[flood]).await.expect("erased"), 1);
        tokio::time::advance(REFRESH).await;
        for number in 20..24 {
            assert!(share.has_room(&store, &contact, &queue, at(1)).await, "{number}");
            post(&share, &store, &contact, number, at(1)).await;
            tokio::time::advance(REFRESH).await;
        }
        assert!(share.has_room(&store, &contact, &queue, at(1)).await, "four of five");
        let noted = noted(&store, &contact, oldest(&queue, at(1))).await.expect("notes");
        assert_eq!(noted.into_values().collect::<Vec<_>>(), [0, 4 * BESIDE], "the notes know what is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn of_what_is_further_back_than_is_looked_at_the_notes_are_believed() {
        let store = MemoryStore::new(Duration::ZERO);
        let queue = queue();
        let share = StoreShare::default();
        let contact = form("contact");
        for number in 0..3 {
            post(&share, &store, &contact, number, at(0)).await;
        }
        for number in 0..LOOKED_AT_MAX as u64 {
            post_of(0, &share, &store, &contact, number, at(1)).await;
        }
        for (number, has_room) in [(0, true), (1, true), (2, false)] {
            tokio::time::advance(REFRESH).await;
            assert_eq!(share.has_room(&store, &contact, &queue, at(2)).await, has_room, "{number}");
            post(&share, &store, &contact, number, at(2)).await;
        }
    }

    #[test]
    fn all_that_is_stored_counts() {
        let id = EntryId::new(1, &[0; 10]);
        let received = Received::from_parts("POST", None, [("referer", &[0xff; 9_000][..])], "a=1".into());
        let state = State::Held;
        let reason = Reason::Spam;
        let (site, form) = form("contact");
        let accepted_at = at(0);
        let reading = Reading { oddities: vec!["x".repeat(500)], ..Reading::default() };
        let entry = NewEntry { id, site, form, state, reason, accepted_at, keep: None, reading, received };
        let bytes = bytes_of(&entry) - BESIDE;
        assert!((2_046 + 500 + 3..2_900).contains(&bytes), "{bytes}");
    }
}

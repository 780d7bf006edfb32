//! From what was counted to changes of notes, and into the store.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;

use super::day::NAMELESS;
use super::{DayCounts, DayKey, FormCounts, Refusals, SiteCounts, TokenPrefix};
use crate::lead::{FormId, SiteId};
use crate::queue::{Key, Merge, NoteChange, NoteKind, NumbersMerge, Store, StoreError, TextMerge};

/// Changes that are written at a time: others have their turn between two of them.
const CHUNK: usize = 100;

/// The name of the right to write what was refused.
const REFUSALS_TURN: &str = "activity/refused";
/// How long it is kept at the most: much longer than the times of two gateways' newest figures differ.
const TURN_TIME: Duration = Duration::from_secs(2 * 60);
/// How often it is asked for, and how long is waited in between.
const TURN_TRIES: usize = 10;
const TURN_WAIT: Duration = Duration::from_millis(50);

/// Changes that are not in the store yet.
#[derive(Default)]
pub(super) struct Unwritten(VecDeque<Change>);

/// A change that is to be written.
pub(super) enum Change {
    /// Of one note, as of a time.
    Note(NoteChange, Timestamp),
    /// What was refused of a site, by the key of its note: a change only together with what the note has.
    Refusals(String, Refusals),
}

impl Unwritten {
    pub(super) fn take_in(&mut self, changes: impl Iterator<Item = Change>) {
        self.0.extend(changes);
    }

    /// Writes all of them; what can't be written stays.
    pub(super) async fn write(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let refused = |change: &Change| match change {
            Change::Refusals(_, refusals) => Some(refusals.total()?.1),
            Change::Note(..) => None,
        };
        let Some(newest) = self.0.iter().filter_map(refused).max() else { return self.write_all(store).await };
        // What is read first and then written anew would take away what another gateway wrote meanwhile.
        let turn = Turn::take(store, newest).await?;
        let written = self.write_all(store).await;
        turn.end(store).await;
        written
    }

    async fn write_all(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        while !self.0.is_empty() {
            let mut chunk = Vec::new();
            let mut taken = 0;
            for change in self.0.iter().take(CHUNK) {
                chunk.extend(change.of_note(store).await?);
                taken += 1;
            }
            // Only what the store has is forgotten, whatever ends this.
            store.note_all(&chunk).await?;
            self.0.drain(..taken);
        }
        Ok(())
    }
}

impl Change {
    async fn of_note(&self, store: &dyn Store) -> Result<Option<(NoteChange, Timestamp)>, StoreError> {
        let (key, refusals) = match self {
            Self::Note(change, at) => return Ok(Some((change.clone(), *at))),
            Self::Refusals(key, refusals) => (key, refusals),
        };
        let Some((count, last_at)) = refusals.total() else { return Ok(None) };
        // Keys that only begin with it come behind it.
        let known = store.notes(NoteKind::Refused, key, None, 1).await?.pop().filter(|note| note.key.as_str() == key);
        let text = TextMerge::Latest(refusals.text(known.as_ref()));
        Ok(note_change(NoteKind::Refused, key, text, vec![count], last_at))
    }
}

/// Returns the key of the note that tells when posts to a site were last refused; without a site, to sites that don't exist.
pub fn refused_key(site: Option<&SiteId>) -> String {
    site.map_or(NAMELESS, SiteId::as_str).to_owned()
}

/// Returns the key of a token's note.
pub fn token_key(site: &SiteId, token: TokenPrefix) -> String {
    format!("{site}/{token}")
}

/// Returns what the keys of the notes of a site's forms begin with.
pub fn form_prefix(site: &SiteId) -> String {
    format!("{site}/")
}

/// Reads the site and the form of a form's note.
pub fn form_of_key(key: &str) -> Option<(SiteId, FormId)> {
    let (site, form) = key.split_once('/')?;
    Some((SiteId::parse(site).ok()?, FormId::parse(form).ok()?))
}

/// Makes changes of what was counted of a site.
pub(super) fn changes(site: Option<&SiteId>, counts: SiteCounts) -> Vec<Change> {
    let mut changes = Vec::new();
    let named = counts.forms.iter().map(|(form, counts)| (Some(form), counts));
    for (form, counts) in named.chain([(None, &counts.others)]) {
        changes.extend(day_changes(site, form, counts));
        if let (Some(site), Some(form), Some(posts)) = (site, form, counts.posts) {
            let text = counts.mapping.as_deref().map_or(TextMerge::Keep, |name| TextMerge::Latest(shortened(name)));
            let key = format!("{}{form}", form_prefix(site));
            changes.extend(change(NoteKind::Form, &key, text, vec![posts.count], posts.last_at));
        }
    }
    for (token, uses) in &counts.tokens {
        let key = site.map(|site| token_key(site, *token));
        let added = key.and_then(|key| change(NoteKind::Token, &key, TextMerge::Keep, vec![uses.count], uses.last_at));
        changes.extend(added);
    }
    if counts.refused.total().is_some() {
        changes.push(Change::Refusals(refused_key(site), counts.refused));
    }
    changes
}

/// The right to write what was refused, of all gateways and processes that share a store.
struct Turn {
    name: Key,
    holder: Key,
}

impl Turn {
    /// Waits for it; `now` may be the time of what is written.
    async fn take(store: &dyn Store, now: Timestamp) -> Result<Self, StoreError> {
        let key = |text: &str| Key::parse(text).map_err(|invalid| StoreError::Unavailable(invalid.into()));
        let turn = Self { name: key(REFUSALS_TURN)?, holder: key(&format!("{:032x}", rand::random::<u128>()))? };
        for _ in 0..TURN_TRIES {
            if store.hold(&turn.name, &turn.holder, TURN_TIME, now).await? {
                return Ok(turn);
            }
            tokio::time::sleep(TURN_WAIT).await;
        }
        Err(StoreError::Unavailable("other gateways write what was refused".into()))
    }

    async fn end(self, store: &dyn Store) {
        // Where that fails, the others wait until it is over.
        drop(store.release(&self.name, &self.holder).await);
    }
}

/// Returns the changes of a form's days.
fn day_changes(site: Option<&SiteId>, form: Option<&FormId>, counts: &FormCounts) -> impl Iterator<Item = Change> {
    let mut days: BTreeMap<Date, (DayCounts, Timestamp)> = BTreeMap::new();
    for (hour, counts) in &counts.hours {
        let (day, of_day) = hour.day();
        let (sums, at) = days.entry(day).or_insert_with(|| (DayCounts::default(), hour.begin()));
        sums.add(of_day, *counts);
        *at = (*at).max(hour.begin());
    }
    days.into_iter().filter_map(move |(day, (counts, at))| {
        let key = DayKey { day, site: site.cloned(), form: form.cloned() };
        change(NoteKind::Daily, &key.text(), TextMerge::Keep, counts.numbers(), at)
    })
}

fn change(kind: NoteKind, key: &str, text: TextMerge, numbers: Vec<u64>, at: Timestamp) -> Option<Change> {
    note_change(kind, key, text, numbers, at).map(|(change, at)| Change::Note(change, at))
}

/// Every key and text here is within the bounds of its kind; what were not would only be left out of the figures.
fn note_change(
    kind: NoteKind,
    key: &str,
    text: TextMerge,
    numbers: Vec<u64>,
    at: Timestamp,
) -> Option<(NoteChange, Timestamp)> {
    let merge = Merge { text, numbers: NumbersMerge::Add(numbers) };
    NoteChange::new(kind, key, merge).ok().map(|change| (change, at))
}

/// Cuts a mapping's name to what a note takes.
fn shortened(name: &str) -> String {
    let mut end = name.len().min(NoteKind::Form.limits().text_max);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}

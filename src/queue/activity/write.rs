//! From what was counted to changes of notes, and into the store.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use jiff::civil::Date;

use super::day::NAMELESS;
use super::{DayCounts, DayKey, FormCounts, SiteCounts, TokenPrefix};
use crate::lead::{FormId, SiteId};
use crate::queue::{Merge, NoteChange, NoteKind, NumbersMerge, Store, StoreError, TextMerge};

/// Changes that are written at a time: others have their turn between two of them.
const CHUNK: usize = 100;

/// Changes that are not in the store yet.
#[derive(Default)]
pub(super) struct Unwritten(VecDeque<(NoteChange, Timestamp)>);

impl Unwritten {
    pub(super) fn take_in(&mut self, changes: impl Iterator<Item = (NoteChange, Timestamp)>) {
        self.0.extend(changes);
    }

    /// Writes all of them; what can't be written stays.
    pub(super) async fn write(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        while !self.0.is_empty() {
            let chunk: Vec<_> = self.0.iter().take(CHUNK).cloned().collect();
            // Only what the store has is forgotten, whatever ends this.
            store.note_all(&chunk).await?;
            self.0.drain(..chunk.len());
        }
        Ok(())
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

/// Makes changes of what was counted of a site; each with the time of what it tells.
pub(super) fn changes(site: Option<&SiteId>, counts: &SiteCounts) -> Vec<(NoteChange, Timestamp)> {
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
    if let Some(refused) = &counts.refused {
        let text = TextMerge::Latest(refused.reason.to_owned());
        changes.extend(change(NoteKind::Refused, &refused_key(site), text, vec![refused.count], refused.at));
    }
    changes
}

/// Returns the changes of a form's days.
fn day_changes(
    site: Option<&SiteId>,
    form: Option<&FormId>,
    counts: &FormCounts,
) -> impl Iterator<Item = (NoteChange, Timestamp)> {
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

/// Every key and text here is within the bounds of its kind; what were not would only be left out of the figures.
fn change(
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

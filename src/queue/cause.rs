//! What needs a person, counted by its cause: the state, the reason, and what the reason leaves open.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Attempt, Event, Filter, Head, Order, Reading, Reason, State, Store, StoreError};
use crate::lead::{Code, EntryId, FieldError, LeadField, SiteId};

/// Longest detail, in characters: a cause stands in a table.
pub const DETAIL_MAX: usize = 200;
/// Most causes that are told apart; what has another is in none.
pub const CAUSES_MAX: usize = 1_000;
/// Heads that are read at a time where they alone tell the cause.
const PAGE: usize = 250;

/// Which entries are counted by their cause.
#[derive(Clone, Copy, Debug)]
pub struct CauseQuery<'a> {
    /// Of the states, `Held` and `Dead` alone are looked at. Without a state and a reason, what an operator dropped isn't
    /// counted: it needs nobody.
    pub filter: &'a Filter,
    /// Of these sites alone; none: of all.
    pub sites: Option<&'a BTreeSet<SiteId>>,
    /// Most entries that are counted; which of more is up to the store.
    pub max: usize,
}

/// Entries with one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub state: State,
    pub reason: Reason,
    /// What the reason leaves open, as [`Head::detail`] says it.
    pub detail: String,
    /// How many of each site there are.
    pub sites: BTreeMap<SiteId, u64>,
    /// When the first of them was accepted.
    pub oldest: Timestamp,
    /// One of them.
    pub example: EntryId,
}

/// What needs a person, by its cause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes {
    /// In no order.
    pub causes: Vec<Cause>,
    /// Those whose cause can't be told, since they can't be read. A store that keeps the cause apart doesn't look.
    pub unreadable: Vec<EntryId>,
    /// There may be more entries, or causes, than were counted.
    pub has_more: bool,
}

impl Head {
    /// Says what the reason of the entry's state leaves open: the errors of what was posted, a rule's words, or the last answer of
    /// KaiCalls. Empty where the reason says all. No value of the submission is in it.
    ///
    /// PostgreSQL keeps these words. A release that changes them needs a step of its schema that forgets them
    /// (`SET detail_revision = NULL`), or the same cause is in two groups.
    pub fn detail(&self) -> String {
        let of_reading = of_reading(self.reason, &self.reading);
        of_reading.or_else(|| of_history(self.reason, &self.history)).unwrap_or_default()
    }
}

/// Says what of the reading led to the reason, if that did.
pub(super) fn of_reading(reason: Reason, reading: &Reading) -> Option<String> {
    let detail = match reason {
        Reason::Invalid => in_words(&reading.errors),
        Reason::Undecodable | Reason::Uncertain => {
            reading.errors.first().map(|error| error.detail.clone()).unwrap_or_default()
        }
        Reason::HoldRule => reading.hold_rule.clone().unwrap_or_default(),
        _ => return None,
    };
    Some(short(&detail))
}

/// Says which attempt led to the reason, if one did.
pub(super) fn of_history(reason: Reason, history: &[Event]) -> Option<String> {
    let is_answer = matches!(reason, Reason::Refused | Reason::GaveUp);
    let last = history.iter().rev().find_map(|event| event.attempt.as_ref()).filter(|_| is_answer)?;
    Some(short(&Attempt::in_words(last)))
}

/// Tells whether it is the reading that led to a reason.
pub(super) fn is_of_reading(reason: Reason) -> bool {
    of_reading(reason, &Reading::default()).is_some()
}

fn in_words(errors: &[FieldError]) -> String {
    let word = |error: &FieldError| match error.field.map(LeadField::as_str) {
        Some(field) => format!("{field} {}", error.code.as_str()),
        None if error.code == Code::NoFields => "the request had no fields".to_owned(),
        None => error.code.as_str().to_owned(),
    };
    errors.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// PostgreSQL has no text with a NUL in it, and all stores give the same words.
fn short(words: &str) -> String {
    words.chars().take(DETAIL_MAX).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl CauseQuery<'_> {
    /// Returns the states that are looked at.
    pub(super) fn states(&self) -> Vec<State> {
        let wanted = |state: &State| self.filter.state.is_none_or(|of_filter| of_filter == *state);
        [State::Held, State::Dead].into_iter().filter(wanted).collect()
    }

    /// Tells whether what an operator dropped counts.
    pub(super) fn takes_dropped(&self) -> bool {
        self.filter.state.is_some() || self.filter.reason.is_some()
    }

    /// Tells whether an entry of a site counts that is in its state for a reason.
    pub(super) fn takes(&self, reason: Reason, site: &SiteId) -> bool {
        (self.takes_dropped() || reason != Reason::Dropped) && self.sites.is_none_or(|sites| sites.contains(site))
    }
}

/// Counts by the entries' heads, page after page.
pub(super) async fn count_heads(store: &(impl Store + ?Sized), query: CauseQuery<'_>) -> Result<Causes, StoreError> {
    let mut counter = CauseCounter::default();
    let mut left = query.max;
    for state in query.states() {
        let filter = Filter { state: Some(state), ..query.filter.clone() };
        let mut cursor = None;
        loop {
            if left == 0 {
                return Ok(counter.finish(true));
            }
            let page = store.scan(&filter, Order::Oldest, cursor, PAGE.min(left)).await?;
            left = left.saturating_sub((page.heads.len() + page.unreadable.len()).max(1));
            page.heads.iter().filter(|head| query.takes(head.reason, &head.site)).for_each(|head| counter.add(head));
            counter.note_unreadable(page.unreadable);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(counter.finish(false))
}

/// Causes while entries are counted into them.
#[derive(Default)]
pub(super) struct CauseCounter {
    causes: BTreeMap<(State, Reason, String), Cause>,
    found: Causes,
}

impl CauseCounter {
    /// Counts an entry in, unless there are too many causes.
    pub(super) fn add(&mut self, head: &Head) {
        let Head { id, site, state, reason, accepted_at, .. } = head;
        self.add_all(Cause {
            state: *state,
            reason: *reason,
            detail: head.detail(),
            sites: [(site.clone(), 1)].into(),
            oldest: *accepted_at,
            example: *id,
        });
    }

    /// Notes those that can't be read.
    pub(super) fn note_unreadable(&mut self, ids: Vec<EntryId>) {
        self.found.unreadable.extend(ids);
    }

    /// Counts some with one cause in, unless there are too many causes.
    pub(super) fn add_all(&mut self, cause: Cause) {
        let key = (cause.state, cause.reason, cause.detail.clone());
        let Some(found) = self.causes.get_mut(&key) else {
            let has_room = self.causes.len() < CAUSES_MAX;
            self.found.has_more |= !has_room;
            if has_room {
                self.causes.insert(key, cause);
            }
            return;
        };
        found.oldest = found.oldest.min(cause.oldest);
        for (site, entries) in cause.sites {
            *found.sites.entry(site).or_default() += entries;
        }
    }

    /// Returns what was counted.
    pub(super) fn finish(self, has_more: bool) -> Causes {
        let has_more = has_more || self.found.has_more;
        Causes { causes: self.causes.into_values().collect(), has_more, ..self.found }
    }
}

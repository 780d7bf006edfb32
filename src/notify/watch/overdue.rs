//! `lead.overdue`: every lead that has been queued for too long, exactly once.
//!
//! Leads are looked through in the order in which they came, each once: up to where, is remembered across a restart. One
//! that an operator queued again later is behind that place; those are remembered apart, and looked for at a start. An
//! event's key keeps a lead from being told twice where both meet.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Watch;
use crate::clock::later;
use crate::config::Config;
use crate::event::EventType;
use crate::lead::EntryId;
use crate::notify::alarm::{Alarm, Alarms};
use crate::notify::routing;
use crate::queue::{Emission, Filter, Head, Order, PAGE_MAX, Reason, State, StoreError};

/// The note that says up to where leads were looked through.
const KEY: &str = "overdue";
/// Leads queued again that are remembered; with more, all that is queued is looked through once these are told.
const REQUEUED_MAX: usize = 100_000;
/// Pages of leads that one look reads; it goes on with the next.
const PAGES_MAX: usize = 10;

/// Up to where leads were looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Watermark {
    /// Those that were accepted before then.
    before: Timestamp,
    /// The last of them.
    last: Option<String>,
}

/// What is looked through next.
pub(super) struct Overdue {
    watermark: Watermark,
    /// Leads that were queued again, or were passed before their time: since when they are queued.
    requeued: BTreeSet<(Timestamp, EntryId)>,
    /// There were more of these than are remembered.
    has_more: bool,
    /// All that is queued is looked through once more, from behind this one on, for leads that were queued again.
    again_from: Option<Option<EntryId>>,
}

impl Overdue {
    pub(super) fn begin(alarms: &Alarms) -> Self {
        let detail = alarms.get(KEY).map(|alarm| alarm.detail.clone());
        let watermark = detail.and_then(|detail| serde_json::from_value(detail).ok()).unwrap_or_default();
        Self { watermark, requeued: BTreeSet::new(), has_more: false, again_from: Some(None) }
    }

    pub(super) fn requeued(&mut self, id: EntryId, at: Timestamp) {
        if self.requeued.len() < REQUEUED_MAX {
            self.requeued.insert((at, id));
        } else {
            self.has_more = true;
        }
    }
}

impl Watch {
    /// Tells which leads have waited for too long.
    pub(super) async fn look_at_waiting_leads(&mut self, config: &Config, now: Timestamp) -> Result<(), StoreError> {
        let Some(after) = config.alerts.overdue.filter(|_| routing::wants(config, EventType::LeadOverdue)) else {
            return Ok(());
        };
        let Ok(cutoff) = now.checked_sub(after) else { return Ok(()) };
        self.look_through_new(after, cutoff, now).await?;
        self.look_through_requeued(after, now).await?;
        self.look_through_all(after, cutoff, now).await
    }

    /// Goes on where it was looked before.
    async fn look_through_new(&mut self, after: Duration, cutoff: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        // The clock was set back, or leads may wait for longer: what comes now has a place before.
        if cutoff < self.overdue.watermark.before {
            let begin = u64::try_from(cutoff.as_millisecond()).unwrap_or_default();
            let begin = EntryId::new(begin, &[0; 10]).to_string();
            // An id begins with its time, so a later one is a greater text too.
            let last = self.overdue.watermark.last.take().map(|last| last.min(begin));
            self.overdue.watermark = Watermark { before: cutoff, last };
        }
        let filter = Filter { state: Some(State::Queued), until: Some(cutoff), ..Filter::default() };
        let before = self.overdue.watermark.clone();
        let mut cursor = before.last.as_deref().and_then(EntryId::parse);
        for _ in 0..PAGES_MAX {
            let page = self.reader.store.scan(&filter, Order::Oldest, cursor, PAGE_MAX).await?;
            self.tell_overdue(&page.heads, |_head, since| now >= later(since, after), now).await?;
            self.remember_early(&page.heads, after, now);
            cursor = page.next.or_else(|| page.heads.last().map(|head| head.id)).or(cursor);
            if page.next.is_none() {
                self.overdue.watermark.before = cutoff;
                break;
            }
        }
        self.overdue.watermark.last = cursor.map(|id| id.to_string());
        if self.overdue.watermark.last != before.last {
            let detail = serde_json::to_value(&self.overdue.watermark).unwrap_or_default();
            let store = self.reader.store.clone();
            self.alarms.raise(&*store, KEY, Alarm { since: now, detail }, now).await;
        }
        Ok(())
    }

    /// Looks at leads that were queued again, once they have waited for long enough.
    async fn look_through_requeued(&mut self, after: Duration, now: Timestamp) -> Result<(), StoreError> {
        while let Some((at, id)) = self.overdue.requeued.first().copied()
            && now >= later(at, after)
        {
            if let Some(entry) = self.reader.store.get(id).await? {
                self.tell_overdue(&[entry.head], |_head, since| now >= later(since, after), now).await?;
            }
            self.overdue.requeued.pop_first();
        }
        if self.overdue.requeued.is_empty() && std::mem::take(&mut self.overdue.has_more) {
            self.overdue.again_from = Some(None);
        }
        Ok(())
    }

    /// Looks through all that is queued for leads that were queued again: who remembered them is gone.
    async fn look_through_all(&mut self, after: Duration, cutoff: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let filter = Filter { state: Some(State::Queued), until: Some(cutoff), ..Filter::default() };
        for _ in 0..PAGES_MAX {
            let Some(cursor) = self.overdue.again_from else { return Ok(()) };
            let page = self.reader.store.scan(&filter, Order::Oldest, cursor, PAGE_MAX).await?;
            self.remember_early(&page.heads, after, now);
            let is_requeued = |head: &Head, since| since > head.accepted_at && now >= later(since, after);
            self.tell_overdue(&page.heads, is_requeued, now).await?;
            self.overdue.again_from = page.next.map(Some);
        }
        Ok(())
    }

    /// Remembers leads that are due later than others that came with them.
    fn remember_early(&mut self, heads: &[Head], after: Duration, now: Timestamp) {
        for head in heads {
            let since = queued_since(head);
            if now < later(since, after) {
                self.overdue.requeued(head.id, since);
            }
        }
    }

    /// Records an event for each lead that is meant.
    async fn tell_overdue(
        &mut self,
        heads: &[Head],
        is_meant: impl Fn(&Head, Timestamp) -> bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let meant = heads.iter().filter(|head| head.state == State::Queued && is_meant(head, queued_since(head)));
        let events: Vec<_> = meant
            .map(|head| {
                let emission = Emission {
                    event: EventType::LeadOverdue,
                    entry: Some(head.id),
                    site: Some(head.site.clone()),
                    form: Some(head.form.clone()),
                };
                (emission, format!("overdue/{}", head.id))
            })
            .collect();
        super::emit_all(&self.reader.store, events, now).await
    }
}

/// Returns since when a lead is queued: since it came, or since it was queued again.
fn queued_since(head: &Head) -> Timestamp {
    let again = head.history.iter().rev().find(|event| event.begins_anew() || event.reason == Reason::SiteBack);
    again.map_or(head.accepted_at, |event| event.at)
}

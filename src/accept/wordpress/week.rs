//! The leads of a site's last week, for the widget: the newest, and how many.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::lead::{EntryId, SiteId};
use crate::queue::{Filter, Head, Order, Reason, State, Store, StoreError};

/// Most entries that are read, the newest: of a site with more in a week, only these are counted.
pub(super) const ENTRIES_MAX: usize = 1_000;
/// How far it looks back.
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A store lists the oldest first, so the week is read in spans, the newest first and each twice as long as the last.
const FIRST_SPAN: Duration = Duration::from_secs(60);
/// Entries fetched at once; each may be as large as `max_body`.
const PAGE: usize = 20;
/// Leads that are listed.
const RECENT: usize = 5;

/// What the widget shows. No `Debug`: it holds names.
#[derive(Default)]
pub(super) struct Week {
    /// At most [`ENTRIES_MAX`].
    pub(super) leads: usize,
    /// The newest first.
    pub(super) recent: Vec<WidgetLead>,
}

/// A lead as KaiCalls' dashboard widget shows it. No `Debug`: it holds a name.
#[derive(Serialize)]
pub(in crate::accept) struct WidgetLead {
    name: String,
    created_at: Timestamp,
}

impl Week {
    /// Reads a site's week.
    pub(super) async fn read(store: &dyn Store, site: &SiteId, now: Timestamp) -> Result<Self, StoreError> {
        let (mut week, mut left) = (Self::default(), ENTRIES_MAX);
        let (mut until, mut back) = (None, FIRST_SPAN);
        while left > 0 {
            let back_to = back.min(WEEK);
            let since = now.checked_sub(back_to).unwrap_or(Timestamp::MIN);
            let filter = Filter { site: Some(site.clone()), since: Some(since), until, ..Filter::default() };
            week.read_span(store, &filter, &mut left).await?;
            if back_to == WEEK {
                break;
            }
            (until, back) = (Some(since), back * 2);
        }
        Ok(week)
    }

    async fn read_span(&mut self, store: &dyn Store, filter: &Filter, left: &mut usize) -> Result<(), StoreError> {
        let mut newest = VecDeque::new();
        // Ids begin with the time, so that what is older than the span is not even looked at.
        let first = filter.since.and_then(|since| u64::try_from(since.as_millisecond()).ok()?.checked_sub(1));
        let mut cursor = first.map(|before| EntryId::new(before, &[u8::MAX; 10]));
        while *left > 0 {
            let page = store.scan(filter, Order::Oldest, cursor, PAGE.min(*left)).await?;
            *left -= (page.heads.len() + page.unreadable.len()).min(*left);
            for lead in page.heads.iter().filter_map(shown) {
                self.leads += 1;
                newest.push_front(lead);
                newest.truncate(RECENT);
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        self.recent.extend(newest);
        self.recent.truncate(RECENT);
        Ok(())
    }
}

/// What is held for want of a lead is none, and what may be another site's is nobody's yet.
fn shown(head: &Head) -> Option<WidgetLead> {
    if head.state == State::Held && head.reason == Reason::Ambiguous {
        return None;
    }
    Some(WidgetLead { name: head.reading.lead.as_ref()?.name().to_owned(), created_at: head.accepted_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::{Draft, FormId, Lead};
    use crate::queue::memory::MemoryStore;
    use crate::queue::{Appended, NewEntry, Reading};
    use crate::received::Received;

    const NOW: i64 = 1_790_000_000;

    async fn add(store: &MemoryStore, number: u8, seconds_ago: i64, name: Option<&str>) {
        let accepted_at = Timestamp::from_second(NOW - seconds_ago).expect("a time");
        let lead = name.map(|name| {
            let name = Some(name);
            let email = Some("jane@example.com");
            Lead::check(Draft { name, email, ..Draft::default() }).expect("a lead").lead
        });
        let new = NewEntry {
            id: EntryId::new(accepted_at.as_millisecond().unsigned_abs(), &[number; 10]),
            site: SiteId::parse("acme").expect("a slug"),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Held,
            reason: Reason::Invalid,
            accepted_at,
            keep: None,
            reading: Reading { lead, ..Reading::default() },
            received: Received::default(),
        };
        assert!(matches!(store.append(new, None).await, Ok(Appended::New(_))));
    }

    async fn week(store: &MemoryStore) -> (usize, Vec<String>) {
        let now = Timestamp::from_second(NOW).expect("a time");
        let week = Week::read(store, &SiteId::parse("acme").expect("a slug"), now).await.expect("read");
        (week.leads, week.recent.into_iter().map(|lead| lead.name).collect())
    }

    #[tokio::test]
    async fn the_newest_leads_are_shown_wherever_in_the_week_they_came() {
        let store = MemoryStore::default();
        let ago = [0, 59, 60, 61, 3_600, 86_400, 604_800, 604_801];
        for (number, seconds_ago) in (0..).zip(ago) {
            add(&store, number, seconds_ago, Some(&format!("{seconds_ago} s ago"))).await;
        }
        add(&store, 99, 5, None).await;
        let newest = ["0 s ago", "59 s ago", "60 s ago", "61 s ago", "3600 s ago"].map(str::to_owned);
        assert_eq!(week(&store).await, (7, newest.to_vec()));
    }

    #[tokio::test]
    async fn of_more_than_the_most_the_oldest_are_not_counted() {
        let store = MemoryStore::default();
        for number in 0..1_200_i64 {
            add(&store, (number % 200) as u8, 86_400 - number * 60, Some(&format!("the {number}th"))).await;
        }
        let (leads, recent) = week(&store).await;
        assert_eq!((leads, recent.first().map(String::as_str)), (ENTRIES_MAX, Some("the 1199th")));
        assert_eq!(recent.last().map(String::as_str), Some("the 1195th"));
    }
}

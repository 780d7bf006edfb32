//! Going through the store in pages: bounded in memory, in how much is looked at, and able to go on later.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::query::Query;
use super::summary::settled;
use super::text::SearchText;
use crate::lead::EntryId;
use crate::queue::{Filter, Head, Order, Page, State, Store, StoreError};
use crate::telemetry;

/// Heads that are held in memory at a time.
const PAGE: usize = 50;
/// The same where most of the time would go into asking for the next.
const LARGE_PAGE: usize = 250;

/// From where a walk goes on: a stage of it, and the entry after which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    stage: usize,
    after: Option<EntryId>,
}

/// Text that isn't a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("isn't a cursor")]
pub struct InvalidCursor;

/// A way through the entries that a query means, by id within each stage: the oldest first unless told otherwise.
pub(super) struct Walk<'a> {
    pub(super) store: &'a dyn Store,
    query: Query,
    stages: &'a [Option<State>],
    order: Order,
    /// Behind what was given.
    at: Cursor,
    /// What was fetched and not given, and where the store goes on after it.
    fetched: VecDeque<Head>,
    behind: Option<Cursor>,
    /// How many entries are fetched at a time, and how many more may be.
    page: usize,
    left: usize,
    pub(super) looked_at: usize,
    /// When it fetches no more; the entries that are there are given.
    until: Option<Instant>,
    /// Those that can't be read: of the pages before, and of the last one.
    unreadable: Vec<EntryId>,
    unreadable_of_page: Vec<EntryId>,
}

impl<'a> Walk<'a> {
    /// Begins, or goes on. Each stage is a state to go through, or all of them; a state of the query's goes before.
    pub(super) fn new(
        store: &'a dyn Store,
        query: &Query,
        stages: &'a [Option<State>],
        from: Option<Cursor>,
        looked_at_max: usize,
    ) -> Self {
        let stages = if query.filter.state.is_some() { &[None] } else { stages };
        let at = from.unwrap_or(Cursor { stage: 0, after: None });
        let (fetched, behind) = (VecDeque::new(), Some(at));
        Self {
            store,
            query: query.clone(),
            stages,
            order: Order::Oldest,
            at,
            fetched,
            behind,
            page: PAGE,
            left: looked_at_max,
            looked_at: 0,
            until: None,
            unreadable: Vec::new(),
            unreadable_of_page: Vec::new(),
        }
    }

    /// The same walk, begun at the other end.
    pub(super) fn in_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same walk with fewer statements, for whoever only counts what it gives; a text is searched for as ever.
    pub(super) fn in_large_pages(self) -> Self {
        let page = if self.query.text.is_none() { LARGE_PAGE } else { PAGE };
        Self { page, ..self }
    }

    /// The same walk, which fetches no more once so much time has passed: to search is slow, and somebody waits.
    pub(super) fn within(self, time: Duration) -> Self {
        Self { until: Some(Instant::now() + time), ..self }
    }

    /// Gives the next entry; none at the end, or where enough were looked at.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, StoreError> {
        loop {
            if let Some(head) = self.fetched.pop_front() {
                self.at.after = Some(head.id);
                return Ok(Some(head));
            }
            let Some(at) = self.behind.filter(|at| at.stage < self.stages.len()) else { return Ok(None) };
            self.at = at;
            let is_late = self.looked_at > 0 && self.until.is_some_and(|until| until <= Instant::now());
            if self.left == 0 || is_late {
                return Ok(None);
            }
            self.fetch().await?;
        }
    }

    /// Returns from where to go on; none where everything was given.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        match self.fetched.is_empty() {
            false => Some(self.at),
            true => self.behind.filter(|at| at.stage < self.stages.len()),
        }
    }

    /// Returns those that can't be read, as far as the walk has come: what is behind the cursor is met again.
    pub(super) fn unreadable(&self) -> Vec<EntryId> {
        let is_before = |id: EntryId| match self.order {
            Order::Oldest => Some(id) < self.at.after,
            Order::Newest => self.at.after.is_some_and(|after| after < id),
        };
        let is_passed = |id: &&EntryId| self.fetched.is_empty() || is_before(**id);
        self.unreadable.iter().chain(self.unreadable_of_page.iter().filter(is_passed)).copied().collect()
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        let Cursor { stage, after } = self.at;
        let of_stage = self.stages.get(stage).copied().flatten();
        let filter = Filter { state: self.query.filter.state.or(of_stage), ..self.query.filter.clone() };
        let limit = self.page.min(self.left);
        let Page { heads, unreadable, next } = self.store.scan(&filter, self.order, after, limit).await?;
        let looked_at = heads.len() + unreadable.len();
        self.left = self.left.saturating_sub(looked_at.max(1));
        self.looked_at += looked_at;
        self.unreadable.extend(std::mem::replace(&mut self.unreadable_of_page, unreadable));
        self.behind = Some(match next {
            Some(after) => Cursor { stage, after: Some(after) },
            None => Cursor { stage: stage + 1, after: None },
        });
        let heads = self.of_the_cause(heads);
        self.fetched = match self.query.text.clone() {
            None => heads.into(),
            Some(text) => self.searched(heads, &text).await?,
        };
        Ok(())
    }

    /// Leaves those that are held or dead for the cause that is asked for.
    fn of_the_cause(&self, mut heads: Vec<Head>) -> Vec<Head> {
        if let Some(wanted) = &self.query.cause {
            heads.retain(|head| head.state != State::Queued && settled(head) == *wanted);
        }
        heads
    }

    /// Leaves those in which a text stands. What was received is read only where the lead doesn't hold the text.
    async fn searched(&mut self, heads: Vec<Head>, text: &SearchText) -> Result<VecDeque<Head>, StoreError> {
        let panicked = |error: telemetry::Panicked| StoreError::Corrupt(error.into());
        let sought = text.clone();
        // Long texts and large bodies take a while; requests must not wait for it.
        let look = move || heads.into_iter().map(|head| (sought.stands_in_reading(&head.reading), head)).collect();
        let heads: Vec<(bool, Head)> = telemetry::blocking(look).await.map_err(panicked)?;
        let mut found = VecDeque::new();
        for (stands_in_lead, head) in heads {
            if stands_in_lead {
                found.push_back(head);
                continue;
            }
            match self.store.get(head.id).await {
                Ok(Some(entry)) => {
                    let sought = text.clone();
                    let stands = telemetry::blocking(move || sought.stands_in(&entry)).await.map_err(panicked)?;
                    found.extend(stands.then_some(head));
                }
                // It was erased meanwhile.
                Ok(None) => {}
                Err(StoreError::Corrupt(_)) => self.unreadable_of_page.push(head.id),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Some(after) => write!(f, "{}.{after}", self.stage),
            None => write!(f, "{}", self.stage),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (stage, after) = text.split_once('.').map_or((text, None), |(stage, after)| (stage, Some(after)));
        let is_digit = stage.len() == 1 && stage.bytes().all(|byte| byte.is_ascii_digit());
        let stage = stage.parse().ok().filter(|_| is_digit).ok_or(InvalidCursor)?;
        let after = after.map(|after| EntryId::parse(after).ok_or(InvalidCursor)).transpose()?;
        Ok(Self { stage, after })
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let id = EntryId::new(7, &[1; 10]);
        for cursor in [Cursor { stage: 1, after: Some(id) }, Cursor { stage: 0, after: None }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", ".", "x", "-1", "+1", "12", "0.", "0.nonsense", "0.0198."] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}

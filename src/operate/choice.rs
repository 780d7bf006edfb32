//! Which entries a verb is for, and what became of each: by their ids, or by a filter and then page by page.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::find::{NotFound, find};
use super::lead_view::LeadView;
use super::query::{BadQuery, FilterAsked, Query};
use super::walk::{Cursor, Walk};
use crate::lead::{FormId, SiteId};
use crate::queue::{Entry, Head, State, Store, StoreError};

/// Most ids of one call.
pub const IDS_MAX: usize = 500;
/// Length of an id as it is written.
const ID_MAX: usize = 36;
/// Entries that one call is for, unless it says otherwise.
pub const PAGE_DEFAULT: usize = 100;
/// Most entries that one call is for.
pub const PAGE_MAX: usize = 500;
/// How long one call goes on before it says from where to go on.
const PAGE_TIME: Duration = Duration::from_secs(5);
/// Most entries that one call looks at.
const LOOKED_AT_MAX: usize = 5_000;

/// Which entries a verb is for. No `Debug`: a query may hold somebody's name.
pub enum Choice {
    /// Ids, or beginnings of them.
    Ids(Vec<String>),
    Query(Query),
}

/// A choice that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChoice {
    #[error("name either ids or a filter")]
    Neither,
    #[error("at most {IDS_MAX} ids at once")]
    TooMany,
    #[error("--again needs ids")]
    AgainByFilter,
    #[error("the rate must be between 1 and {} leads per second", super::RATE_MAX)]
    Rate,
    #[error("no site `{0}` in the configuration")]
    UnknownSite(String),
    #[error("too many ids for one call at this rate; name fewer")]
    TooSlow,
    #[error(transparent)]
    Query(#[from] BadQuery),
}

impl Choice {
    /// Understands what is asked for; an empty filter means every entry, no filter and no id is a mistake.
    pub fn read(ids: &[String], filter: Option<&FilterAsked>, now: Timestamp) -> Result<Self, BadChoice> {
        match (ids.is_empty(), filter) {
            (false, None) if ids.len() > IDS_MAX => Err(BadChoice::TooMany),
            (false, None) => Ok(Self::Ids(ids.to_vec())),
            (true, Some(filter)) => Ok(Self::Query(filter.read(now)?)),
            _ => Err(BadChoice::Neither),
        }
    }

    /// Returns the ids, as far as they are any: nothing else that was given gets into the audit.
    pub(super) fn ids(&self) -> Vec<String> {
        let is_id =
            |id: &&String| id.len() <= ID_MAX && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        match self {
            Self::Ids(ids) => ids.iter().filter(is_id).take(IDS_MAX).cloned().collect(),
            Self::Query(_) => Vec::new(),
        }
    }

    /// Says what was chosen, for the audit.
    pub(super) fn words(&self) -> (Option<String>, Option<usize>) {
        match self {
            Self::Ids(ids) => (None, Some(ids.len())),
            Self::Query(query) => (Some(query.words()), None),
        }
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryOutcome {
    /// It is on its way.
    Queued,
    /// It is held again, as it is now understood.
    Held,
    Dropped,
    /// There was nothing to do.
    Unchanged,
    /// The verb is not for it as it stands.
    Skipped,
    /// It is being sent just now.
    Busy,
    /// There is no such entry.
    Missing,
    /// It can't be read.
    Unreadable,
}

/// What became of an entry, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// As it was given where there is no such entry.
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<FormId>,
    /// The state it was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    pub outcome: EntryOutcome,
    /// Why, where that needs to be said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The lead that it had; only said of a dry run, and so is the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<LeadView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<LeadView>,
}

impl Done {
    pub(super) fn of(head: &Head, outcome: EntryOutcome, why: impl Into<String>) -> Self {
        Self {
            id: head.id.to_string(),
            site: Some(head.site.clone()),
            form: Some(head.form.clone()),
            state: Some(head.state),
            outcome,
            why: why.into(),
            before: None,
            after: None,
        }
    }

    /// Said where somebody else erased it at the same time.
    pub(super) fn erased(head: &Head) -> Self {
        Self::of(head, EntryOutcome::Missing, "it was erased in the meantime")
    }

    pub(super) fn missing(id: String, why: &NotFound) -> Self {
        Self::unknown(id, EntryOutcome::Missing, why.to_string())
    }

    fn unreadable(id: String) -> Self {
        Self::unknown(id, EntryOutcome::Unreadable, "the store is damaged here; only erase removes it".to_owned())
    }

    fn unknown(id: String, outcome: EntryOutcome, why: String) -> Self {
        Self { id, site: None, form: None, state: None, outcome, why, before: None, after: None }
    }
}

/// The chosen entries one after the other, within the bounds of one call.
pub(super) enum Picker<'a> {
    Ids { store: &'a dyn Store, ids: std::vec::IntoIter<String> },
    Walk { walk: Box<Walk<'a>>, left: usize, until: Instant },
}

impl<'a> Picker<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        choice: &Choice,
        stages: &'a [Option<State>],
        from: Option<Cursor>,
        limit: Option<usize>,
    ) -> Self {
        match choice {
            Choice::Ids(ids) => Self::Ids { store, ids: ids.clone().into_iter() },
            Choice::Query(query) => Self::Walk {
                walk: Box::new(Walk::new(store, query, stages, from, LOOKED_AT_MAX)),
                left: limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX),
                until: Instant::now() + PAGE_TIME,
            },
        }
    }

    /// Gives the next entry's head, or what was said of an id that has none.
    pub(super) async fn next(&mut self) -> Result<Option<Result<Head, Done>>, StoreError> {
        match self {
            Self::Ids { .. } => Ok(match self.next_whole().await? {
                Some(Ok(entry)) => Some(Ok(entry.head)),
                Some(Err(done)) => Some(Err(done)),
                None => None,
            }),
            Self::Walk { .. } => Ok(self.next_walked().await?.map(Ok)),
        }
    }

    /// The same with what was received.
    pub(super) async fn next_whole(&mut self) -> Result<Option<Result<Entry, Done>>, StoreError> {
        if let Self::Ids { store, ids } = self {
            let Some(id) = ids.next() else { return Ok(None) };
            return match find(*store, &id).await {
                Err(StoreError::Corrupt(_)) => Ok(Some(Err(Done::unreadable(id)))),
                found => Ok(Some(found?.map_err(|why| Done::missing(id, &why)))),
            };
        }
        let Some(head) = self.next_walked().await? else { return Ok(None) };
        Ok(Some(match self.store().get(head.id).await {
            Err(StoreError::Corrupt(_)) => Err(Done::unreadable(head.id.to_string())),
            found => found?.ok_or_else(|| Done::erased(&head)),
        }))
    }

    async fn next_walked(&mut self) -> Result<Option<Head>, StoreError> {
        match self {
            Self::Ids { .. } | Self::Walk { left: 0, .. } => Ok(None),
            Self::Walk { until, .. } if *until <= Instant::now() => Ok(None),
            Self::Walk { walk, left, .. } => {
                *left -= 1;
                walk.next().await
            }
        }
    }

    fn store(&self) -> &'a dyn Store {
        match self {
            Self::Ids { store, .. } => *store,
            Self::Walk { walk, .. } => walk.store,
        }
    }

    /// Says what was passed over because it can't be read.
    pub(super) fn passed_over(&self) -> Vec<Done> {
        match self {
            Self::Ids { .. } => Vec::new(),
            Self::Walk { walk, .. } => {
                walk.unreadable().into_iter().map(|id| Done::unreadable(id.to_string())).collect()
            }
        }
    }

    /// Returns from where the next call goes on.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Ids { .. } => None,
            Self::Walk { walk, .. } => walk.cursor(),
        }
    }
}

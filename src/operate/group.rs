//! `list --group reason`: the list of work. What needs a person, by its cause, over all sites, and what holds leads back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held_back::HeldBack;
use super::query::Query;
use super::summary::{cause, of_reason};
use super::waiting::{Situation, WaitStatus, WaitsFor};
use super::walk::Walk;
use crate::lead::{EntryId, SiteId};
use crate::queue::{Cause, CauseQuery, Head, Reason, State, Store, StoreError};

/// Most entries that are grouped.
const LOOKED_AT_MAX: usize = 100_000;
/// Most groups; further causes are counted in none.
const GROUPS_MAX: usize = 1_000;
/// Sites that a group names.
const SITES_NAMED: usize = 20;
/// What needs a person.
const STAGES: &[Option<State>] = &[Some(State::Held), Some(State::Dead)];

/// Entries with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub cause: String,
    pub state: State,
    pub reason: Reason,
    /// What queued ones wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    pub leads: u64,
    /// How many sites they are of.
    pub sites: usize,
    /// The first of these, by name.
    pub site_names: Vec<SiteId>,
    pub oldest: Timestamp,
    /// One of them, to look at.
    pub example: EntryId,
}

/// All groups, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    pub groups: Vec<Group>,
    /// Those that can't be read, and so are in no group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<EntryId>,
    /// There is more than was looked at.
    pub has_more: bool,
}

/// Groups what is held or dead by its cause, and what waits for more than its turn; with a state or a reason in the
/// query, what is meant by that. What an operator dropped is done with: it counts only where the query asks for it.
pub async fn groups(store: &dyn Store, query: &Query, situation: &Situation) -> Result<Groups, StoreError> {
    groups_of(store, query, situation, None).await
}

/// Groups as [`groups`] does, of some sites alone.
pub(super) async fn groups_of(
    store: &dyn Store,
    query: &Query,
    situation: &Situation,
    sites: Option<&BTreeSet<SiteId>>,
) -> Result<Groups, StoreError> {
    let is_work = query.filter.state.is_none() && query.filter.reason.is_none();
    let settled = async {
        let is_looked_for = query.text.is_some() || query.cause.is_some();
        let is_of_heads = is_looked_for || matches!(query.filter.state, Some(State::Queued | State::Delivered));
        match is_of_heads {
            true => by_head(store, query, situation, sites).await,
            false => by_cause(store, query, sites).await,
        }
    };
    let held_back = async {
        match is_work && query.text.is_none() {
            true => HeldBack { store, query, situation, sites }.gather().await,
            false => Ok(Gathering::default()),
        }
    };
    // The store reads for one while the other counts.
    let ((mut gathered, unreadable), held_back) = tokio::try_join!(settled, held_back)?;
    gathered.take_in(held_back);
    let has_more = gathered.has_more;
    Ok(Groups { groups: gathered.finish(), unreadable, has_more })
}

/// Groups what is held or dead as the store counts it.
async fn by_cause(
    store: &dyn Store,
    query: &Query,
    sites: Option<&BTreeSet<SiteId>>,
) -> Result<(Gathering, Vec<EntryId>), StoreError> {
    let found = store.causes(CauseQuery { filter: &query.filter, sites, max: LOOKED_AT_MAX }).await?;
    let mut gathered = Gathering { has_more: found.has_more, ..Gathering::default() };
    for Cause { state, reason, detail, sites, oldest, example } in found.causes {
        let cause = of_reason(reason, &detail);
        for (site, leads) in &sites {
            gathered.add(cause.clone(), None, &Counted { site, state, reason, leads: *leads, oldest, example });
        }
    }
    Ok((gathered, found.unreadable))
}

/// Groups what only its heads tell.
async fn by_head(
    store: &dyn Store,
    query: &Query,
    situation: &Situation,
    sites: Option<&BTreeSet<SiteId>>,
) -> Result<(Gathering, Vec<EntryId>), StoreError> {
    let is_work = query.filter.state.is_none() && query.filter.reason.is_none();
    let is_meant = |head: &Head| {
        !(is_work && head.reason == Reason::Dropped) && sites.is_none_or(|sites| sites.contains(&head.site))
    };
    let mut walk = Walk::new(store, query, STAGES, None, LOOKED_AT_MAX).in_large_pages();
    let mut gathered = Gathering::default();
    while let Some(head) = walk.next().await? {
        if is_meant(&head) {
            let waits_for = (head.state == State::Queued).then(|| WaitStatus::of(&head, situation).waits_for);
            gathered.add(cause(&head, situation), waits_for, &Counted::one(&head));
        }
    }
    gathered.has_more |= walk.cursor().is_some();
    Ok((gathered, walk.unreadable()))
}

/// Groups while entries are counted into them.
#[derive(Default)]
pub(super) struct Gathering {
    groups: BTreeMap<(State, Reason, String), GroupBuilder>,
    /// There were too many causes, or not all entries could be counted.
    pub(super) has_more: bool,
}

struct GroupBuilder {
    group: Group,
    sites: BTreeSet<SiteId>,
}

/// Entries of a site that are counted into a group together.
pub(super) struct Counted<'a> {
    pub(super) site: &'a SiteId,
    pub(super) state: State,
    pub(super) reason: Reason,
    pub(super) leads: u64,
    pub(super) oldest: Timestamp,
    /// One of the group, though it may be another site's.
    pub(super) example: EntryId,
}

impl<'a> Counted<'a> {
    pub(super) fn one(head: &'a Head) -> Self {
        let Head { id, site, state, reason, accepted_at, .. } = head;
        Self { site, state: *state, reason: *reason, leads: 1, oldest: *accepted_at, example: *id }
    }
}

impl Gathering {
    /// Counts entries in, unless there are too many causes.
    pub(super) fn add(&mut self, cause: String, waits_for: Option<WaitsFor>, counted: &Counted<'_>) {
        let Counted { site, state, reason, leads, oldest, example } = *counted;
        let key = (state, reason, cause);
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.has_more = true;
            return;
        }
        let cause = key.2.clone();
        let fresh =
            || Group { cause, state, reason, waits_for, leads: 0, sites: 0, site_names: Vec::new(), oldest, example };
        let builder = self.groups.entry(key).or_insert_with(|| GroupBuilder { group: fresh(), sites: BTreeSet::new() });
        builder.group.leads += leads;
        builder.group.oldest = builder.group.oldest.min(oldest);
        if !builder.sites.contains(site) {
            builder.sites.insert(site.clone());
        }
    }

    /// Adds the groups of entries in other states, unless there are too many.
    fn take_in(&mut self, other: Self) {
        let room = GROUPS_MAX.saturating_sub(self.groups.len());
        self.has_more |= other.has_more || other.groups.len() > room;
        self.groups.extend(other.groups.into_iter().take(room));
    }

    /// Returns the groups, the largest first.
    fn finish(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.into_values().map(GroupBuilder::finish).collect();
        groups.sort_by(|one, other| other.leads.cmp(&one.leads).then_with(|| one.cause.cmp(&other.cause)));
        groups
    }
}

impl GroupBuilder {
    fn finish(self) -> Group {
        let site_names = self.sites.iter().take(SITES_NAMED).cloned().collect();
        Group { sites: self.sites.len(), site_names, ..self.group }
    }
}

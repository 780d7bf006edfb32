//! `list --group reason`: what needs a person, by its cause, over all sites.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::summary::{cause, last_attempt};
use super::walk::Walk;
use crate::lead::{EntryId, SiteId};
use crate::queue::{AttemptResult, Entry, Filter, Order, Reason, State, Store, StoreError};

/// Most entries that are grouped.
const LOOKED_AT_MAX: usize = 100_000;
/// Most groups; further causes are counted in none.
const GROUPS_MAX: usize = 1_000;
/// Sites that a group names.
const SITES_NAMED: usize = 20;
/// Queued entries of a site in which a refused key is looked for: the oldest are tried first.
const TRIED_FIRST: usize = 20;
/// What needs a person.
const STAGES: &[Option<State>] = &[Some(State::Held), Some(State::Dead)];

/// Entries with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub cause: String,
    pub state: State,
    pub reason: Reason,
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

struct Gathered {
    group: Group,
    sites: BTreeSet<SiteId>,
}

/// Groups what is held or dead by its cause, and what waits because a site's keys were refused; with a state in the
/// query, what is in that.
pub async fn groups(store: &dyn Store, query: &Query) -> Result<Groups, StoreError> {
    let mut walk = Walk::new(store, query, STAGES, None, LOOKED_AT_MAX);
    let mut gathered = BTreeMap::new();
    let mut has_more = false;
    while let Some(entry) = walk.next().await? {
        has_more |= !gather(&mut gathered, &entry, cause(&entry), 1);
    }
    has_more |= walk.cursor().is_some();
    if query.filter.state.is_none() && query.filter.reason.is_none() && query.text.is_none() {
        has_more |= !refused_keys(store, query, &mut gathered).await?;
    }
    let mut groups: Vec<Group> = gathered.into_values().map(Gathered::finish).collect();
    groups.sort_by(|one, other| other.leads.cmp(&one.leads).then_with(|| one.cause.cmp(&other.cause)));
    Ok(Groups { groups, unreadable: walk.unreadable(), has_more })
}

type Gathering = BTreeMap<(State, Reason, String), Gathered>;

/// Counts entries in; false where there are too many causes.
fn gather(gathered: &mut Gathering, entry: &Entry, cause: String, leads: u64) -> bool {
    let key = (entry.state, entry.reason, cause);
    if gathered.len() >= GROUPS_MAX && !gathered.contains_key(&key) {
        return false;
    }
    let group = Group {
        cause: key.2.clone(),
        state: entry.state,
        reason: entry.reason,
        leads: 0,
        sites: 0,
        site_names: Vec::new(),
        oldest: entry.accepted_at,
        example: entry.id,
    };
    let gathered = gathered.entry(key).or_insert(Gathered { group, sites: BTreeSet::new() });
    gathered.group.leads += leads;
    gathered.group.oldest = gathered.group.oldest.min(entry.accepted_at);
    gathered.sites.insert(entry.site.clone());
    true
}

/// Adds the sites whose keys KaiCalls refuses: one of their leads was tried, and all of them wait.
async fn refused_keys(store: &dyn Store, query: &Query, gathered: &mut Gathering) -> Result<bool, StoreError> {
    let mut all_in = true;
    let wanted = |site: &SiteId| query.filter.site.as_ref().is_none_or(|wanted| wanted == site);
    let plain = Filter { site: None, ..query.filter.clone() } == Filter::default();
    let queued = store.counts().await?.into_iter().filter(|count| count.state == State::Queued && wanted(&count.site));
    for count in queued {
        let filter = Filter { site: Some(count.site), state: Some(State::Queued), ..query.filter.clone() };
        let page = store.scan(&filter, Order::Oldest, None, TRIED_FIRST).await?;
        let is_refused = |entry: &&Entry| last_attempt(entry).is_some_and(|it| it.result == AttemptResult::KeyRefused);
        if let Some(tried) = page.entries.iter().find(is_refused) {
            // With a form or a time in the query only what was seen is known to fit.
            let leads = if plain { count.entries } else { page.entries.len() as u64 };
            all_in &= plain || page.next.is_none();
            let waiting = Entry { reason: Reason::Accepted, ..tried.clone() };
            all_in &= gather(gathered, &waiting, cause(&waiting), leads);
        }
    }
    Ok(all_in)
}

impl Gathered {
    fn finish(self) -> Group {
        let site_names = self.sites.iter().take(SITES_NAMED).cloned().collect();
        Group { sites: self.sites.len(), site_names, ..self.group }
    }
}

//! `list --group reason`: the list of work. What needs a person, by its cause, over all sites, and what holds leads back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::summary::{cause, last_attempt};
use super::waiting::{self, Situation, WaitStatus, WaitsFor};
use super::walk::Walk;
use crate::lead::{EntryId, SiteId};
use crate::queue::{AttemptResult, Counts, Filter, Head, Order, Reason, State, Store, StoreError};

/// Most entries that are grouped.
const LOOKED_AT_MAX: usize = 100_000;
/// Most groups; further causes are counted in none.
const GROUPS_MAX: usize = 1_000;
/// Sites that a group names.
const SITES_NAMED: usize = 20;
/// Queued entries of a site in which a refused key is looked for: the oldest are tried first.
const TRIED_FIRST: usize = 20;
/// Queued entries in which those are counted that wait, where a site's count alone doesn't say.
const COUNTED_MAX: usize = 10_000;
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

/// A group while entries are counted into it.
struct GroupBuilder {
    group: Group,
    sites: BTreeSet<SiteId>,
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
    let is_meant = |site: &SiteId| sites.is_none_or(|sites| sites.contains(site));
    let mut walk = Walk::new(store, query, STAGES, None, LOOKED_AT_MAX);
    let mut gathered = BTreeMap::new();
    let mut has_more = false;
    let is_work = query.filter.state.is_none() && query.filter.reason.is_none();
    while let Some(head) = walk.next().await? {
        if (is_work && head.reason == Reason::Dropped) || !is_meant(&head.site) {
            continue;
        }
        let waits_for = (head.state == State::Queued).then(|| WaitStatus::of(&head, situation).waits_for);
        has_more |= !gather(&mut gathered, &head, (cause(&head, situation), waits_for), 1);
    }
    has_more |= walk.cursor().is_some();
    if is_work && query.text.is_none() {
        let held_back = HeldBack { store, query, situation, sites };
        has_more |= !held_back.gather(&mut gathered).await?;
    }
    let mut groups: Vec<Group> = gathered.into_values().map(GroupBuilder::finish).collect();
    groups.sort_by(|one, other| other.leads.cmp(&one.leads).then_with(|| one.cause.cmp(&other.cause)));
    Ok(Groups { groups, unreadable: walk.unreadable(), has_more })
}

type Gathering = BTreeMap<(State, Reason, String), GroupBuilder>;

/// Counts entries in; false where there are too many causes.
fn gather(gathered: &mut Gathering, head: &Head, (cause, waits_for): (String, Option<WaitsFor>), leads: u64) -> bool {
    let key = (head.state, head.reason, cause);
    if gathered.len() >= GROUPS_MAX && !gathered.contains_key(&key) {
        return false;
    }
    let group = Group {
        cause: key.2.clone(),
        state: head.state,
        reason: head.reason,
        waits_for,
        leads: 0,
        sites: 0,
        site_names: Vec::new(),
        oldest: head.accepted_at,
        example: head.id,
    };
    let gathered = gathered.entry(key).or_insert(GroupBuilder { group, sites: BTreeSet::new() });
    gathered.group.leads += leads;
    gathered.group.oldest = gathered.group.oldest.min(head.accepted_at);
    gathered.sites.insert(head.site.clone());
    true
}

/// Queued leads that wait for more than their turn.
struct HeldBack<'a> {
    store: &'a dyn Store,
    query: &'a Query,
    situation: &'a Situation,
    sites: Option<&'a BTreeSet<SiteId>>,
}

/// Why the leads of a site are held back.
struct Cause {
    waits_for: WaitsFor,
    words: String,
    /// All queued leads of the site, not only those with the same cause of their own.
    is_of_whole_site: bool,
}

impl HeldBack<'_> {
    /// Adds them; false where not all could be counted.
    async fn gather(&self, gathered: &mut Gathering) -> Result<bool, StoreError> {
        let is_wanted = |site: &SiteId| {
            self.query.filter.site.as_ref().is_none_or(|wanted| wanted == site)
                && self.sites.is_none_or(|sites| sites.contains(site))
        };
        let counts = self.store.counts().await?.into_iter();
        let mut all_in = true;
        for count in counts.filter(|count| count.state == State::Queued && is_wanted(&count.site)) {
            all_in &= self.gather_site(&count, gathered).await?;
        }
        Ok(all_in)
    }

    async fn gather_site(&self, count: &Counts, gathered: &mut Gathering) -> Result<bool, StoreError> {
        let filter = Filter { site: Some(count.site.clone()), state: Some(State::Queued), ..self.query.filter.clone() };
        let page = self.store.scan(&filter, Order::Oldest, None, TRIED_FIRST).await?;
        let Some(cause) = self.cause(&page.heads) else { return Ok(true) };
        let is_plain = Filter { site: None, ..self.query.filter.clone() } == Filter::default();
        if is_plain && cause.is_of_whole_site {
            let Some(example) = page.heads.first() else { return Ok(true) };
            return Ok(add(gathered, example, &cause, count.entries));
        }
        // With a form or a time in the query, or with keys for some forms only, each has to be looked at.
        let query = Query { filter, text: None, ..Query::default() };
        let mut walk = Walk::new(self.store, &query, &[None], None, COUNTED_MAX);
        let mut all_in = true;
        while let Some(head) = walk.next().await? {
            let waits_for = WaitStatus::of(&head, self.situation).waits_for;
            if cause.is_of_whole_site || waits_for == cause.waits_for {
                all_in &= add(gathered, &head, &cause, 1);
            }
        }
        Ok(all_in && walk.cursor().is_none())
    }

    /// Says why a site's leads are held back, told by the first of them; none where they are on their way.
    fn cause(&self, first: &[Head]) -> Option<Cause> {
        let situation = self.situation;
        let oldest = first.first()?;
        let whole = |waits_for, words| Some(Cause { waits_for, words, is_of_whole_site: true });
        let Some(site) = situation.config.sites.get(&oldest.site) else {
            let words = format!("{}; its leads are held after a day", waiting::SITE_GONE);
            return whole(WaitsFor::Configuration, words);
        };
        if situation.config.missing.upstream {
            return whole(WaitsFor::Delivery, waiting::NO_UPSTREAM.to_owned());
        }
        let lacks_keys = |head: &Head| site.keys_of(&head.form).is_none();
        if first.iter().any(lacks_keys) {
            let words = waiting::NO_KEYS.to_owned();
            let is_of_whole_site = site.form_keys.is_empty();
            return Some(Cause { waits_for: WaitsFor::SecretKey, words, is_of_whole_site });
        }
        let was_refused = |head: &Head| {
            last_attempt(head).filter(|last| last.result == AttemptResult::KeyRefused).map(|last| last.in_words())
        };
        let Some(sending) = &situation.sending else {
            return match first.iter().find_map(was_refused) {
                Some(words) => whole(WaitsFor::Keys, format!("key refused: {words}")),
                None => whole(WaitsFor::Gateway, waiting::NO_GATEWAY.to_owned()),
            };
        };
        if let Some(paused) = sending.paused_sites.get(&oldest.site) {
            let own = site.keys.as_ref().map(|keys| keys.public());
            let keys = paused.iter().max_by_key(|keys| Some(keys.public_key.as_str()) == own)?;
            let is_of_whole_site = site.form_keys.is_empty();
            return Some(Cause { waits_for: WaitsFor::Keys, words: waiting::refused(keys), is_of_whole_site });
        }
        if let Some(outage) = &sending.upstream {
            return whole(WaitsFor::Upstream, situation.outage(outage));
        }
        if let Some(holdup) = sending.failing_sites.get(&oldest.site) {
            return whole(WaitsFor::Site, situation.failing(holdup));
        }
        // After a start nobody has been refused yet; the store knows who was.
        let is_waiting = |head: &&Head| WaitStatus::of(head, situation).waits_for == WaitsFor::Retry;
        let refused = first.iter().filter(is_waiting).find_map(was_refused)?;
        whole(WaitsFor::Keys, format!("key refused: {refused}"))
    }
}

/// Counts leads in under the cause of their site.
fn add(gathered: &mut Gathering, head: &Head, cause: &Cause, leads: u64) -> bool {
    // One group, whatever became of each before.
    let reason = if cause.waits_for == WaitsFor::Configuration { Reason::SiteGone } else { Reason::Accepted };
    let head = Head { reason, ..head.clone() };
    gather(gathered, &head, (cause.words.clone(), Some(cause.waits_for)), leads)
}

impl GroupBuilder {
    fn finish(self) -> Group {
        let site_names = self.sites.iter().take(SITES_NAMED).cloned().collect();
        Group { sites: self.sites.len(), site_names, ..self.group }
    }
}

//! What holds queued leads back, site by site: for the list of work.
//!
//! The configuration and the sender often tell why all of a site's leads wait; then no lead is looked at but one, as an example
//! of them all. Where they don't, the first leads of the site do.

use std::collections::{BTreeMap, BTreeSet};

use super::group::{Counted, Gathering};
use super::query::Query;
use super::waiting::{self, Situation, WaitStatus, WaitsFor};
use super::walk::Walk;
use crate::config::Site;
use crate::lead::{EntryId, SiteId};
use crate::queue::{AttemptResult, Counts, Filter, Head, Order, Reason, SendingStatus, State, Store, StoreError};

/// Queued entries of a site in which a refused key is looked for: the oldest are tried first, and where keys are refused, what was
/// refused is left.
const TRIED_FIRST: usize = 5;
/// The same where forms have keys of their own: the oldest may all be of one form.
const TRIED_FIRST_OF_FORMS: usize = 20;
/// Entries in which one is sought that can be read, as an example.
const LOOKED_AT_FOR_EXAMPLE: usize = 20;
/// Entries that are asked for at once, of several sites, and held in memory.
const ENTRIES_AT_ONCE: usize = 500;
/// Queued entries in which those are counted that wait, where a site's count alone doesn't say.
const COUNTED_MAX: usize = 10_000;

/// Queued leads that wait for more than their turn.
pub(super) struct HeldBack<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) query: &'a Query,
    pub(super) situation: &'a Situation,
    pub(super) sites: Option<&'a BTreeSet<SiteId>>,
}

/// Why the leads of a site are held back.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct WaitCause {
    waits_for: WaitsFor,
    words: String,
    /// All queued leads of the site, not only those with the same cause of their own.
    is_of_whole_site: bool,
}

impl HeldBack<'_> {
    /// Groups them.
    pub(super) async fn gather(&self) -> Result<Gathering, StoreError> {
        let is_wanted = |site: &SiteId| {
            self.query.filter.site.as_ref().is_none_or(|wanted| wanted == site)
                && self.sites.is_none_or(|sites| sites.contains(site))
        };
        let counts = self.store.counts().await?.into_iter();
        let queued: Vec<_> = counts.filter(|count| count.state == State::Queued && is_wanted(&count.site)).collect();
        let mut told: BTreeMap<WaitCause, Vec<&Counts>> = BTreeMap::new();
        let mut untold = Vec::new();
        for count in &queued {
            match self.told(&count.site).filter(|_| self.means_whole_sites()) {
                Some(cause) => told.entry(cause).or_default().push(count),
                None => untold.push(count),
            }
        }
        let mut gathered = Gathering::default();
        for (cause, counts) in &told {
            if let Some(example) = self.example(counts).await? {
                counts.iter().for_each(|count| self.add_site(cause, count, example, &mut gathered));
            }
        }
        let (of_forms, others): (Vec<_>, Vec<_>) =
            untold.into_iter().partition(|count| self.has_form_keys(&count.site));
        for (counts, tried_first) in [(of_forms, TRIED_FIRST_OF_FORMS), (others, TRIED_FIRST)] {
            for counts in counts.chunks(ENTRIES_AT_ONCE / tried_first) {
                let sites: Vec<_> = counts.iter().map(|count| count.site.clone()).collect();
                let pages = self.store.scan_sites(&sites, &self.queued(), tried_first).await?;
                for (count, page) in counts.iter().zip(&pages) {
                    self.gather_site(count, &page.heads, &mut gathered).await?;
                }
            }
        }
        Ok(gathered)
    }

    fn has_form_keys(&self, site: &SiteId) -> bool {
        self.situation.config.sites.get(site).is_some_and(|site| !site.form_keys.is_empty())
    }

    /// Tells whether the query means all queued leads of a site, or none.
    fn means_whole_sites(&self) -> bool {
        Filter { site: None, ..self.query.filter.clone() } == Filter::default()
    }

    fn queued(&self) -> Filter {
        Filter { state: Some(State::Queued), ..self.query.filter.clone() }
    }

    /// Finds one lead of these sites; none where all have left the queue since they were counted.
    async fn example(&self, counts: &[&Counts]) -> Result<Option<EntryId>, StoreError> {
        for count in counts {
            let filter = Filter { site: Some(count.site.clone()), ..self.queued() };
            // The first may be unreadable.
            let page = self.store.scan(&filter, Order::Oldest, None, LOOKED_AT_FOR_EXAMPLE).await?;
            if let Some(head) = page.heads.first() {
                return Ok(Some(head.id));
            }
        }
        Ok(None)
    }

    /// Adds those of a site, whose first are given.
    async fn gather_site(&self, count: &Counts, first: &[Head], gathered: &mut Gathering) -> Result<(), StoreError> {
        let Some(example) = first.first() else { return Ok(()) };
        let Some(cause) = self.told(&count.site).or_else(|| self.found(first)) else { return Ok(()) };
        if self.means_whole_sites() && cause.is_of_whole_site {
            self.add_site(&cause, count, example.id, gathered);
            return Ok(());
        }
        // With a form or a time in the query, or with keys for some forms only, each has to be looked at.
        let filter = Filter { site: Some(count.site.clone()), ..self.queued() };
        let query = Query { filter, text: None, ..Query::default() };
        let mut walk = Walk::new(self.store, &query, &[None], None, COUNTED_MAX).in_large_pages();
        while let Some(head) = walk.next().await? {
            let waits_for = WaitStatus::of(&head, self.situation).waits_for;
            if cause.is_of_whole_site || waits_for == cause.waits_for {
                add(gathered, &cause, Counted::one(&head));
            }
        }
        gathered.has_more |= walk.cursor().is_some();
        Ok(())
    }

    /// Adds all queued leads of a site.
    fn add_site(&self, cause: &WaitCause, count: &Counts, example: EntryId, gathered: &mut Gathering) {
        let Counts { site, state, entries, oldest } = count;
        // None where the last has just left the queue.
        let oldest = oldest.unwrap_or(self.situation.now);
        let reason = Reason::Accepted;
        add(gathered, cause, Counted { site, state: *state, reason, leads: *entries, oldest, example });
    }

    /// Says why all leads of a site are held back, as far as the configuration and the sender tell.
    fn told(&self, site: &SiteId) -> Option<WaitCause> {
        let config = &self.situation.config;
        let Some(site) = config.sites.get(site) else {
            let words = format!("{}; its leads are held after a day", waiting::SITE_GONE);
            return Some(WaitCause::of_site(WaitsFor::Configuration, words));
        };
        if config.missing.upstream {
            return Some(WaitCause::of_site(WaitsFor::Delivery, waiting::NO_UPSTREAM));
        }
        if !site.form_keys.is_empty() {
            // It depends on the form of each.
            return None;
        }
        if site.keys.is_none() {
            return Some(WaitCause::of_site(WaitsFor::SecretKey, waiting::NO_KEYS));
        }
        self.held_by_sender(site, self.situation.sending.as_ref()?)
    }

    /// Says why a site's leads are held back that is in the configuration, told by the first of them; none where they are on
    /// their way.
    fn found(&self, first: &[Head]) -> Option<WaitCause> {
        let situation = self.situation;
        let site = situation.config.sites.get(&first.first()?.site)?;
        if first.iter().any(|head| site.keys_of(&head.form).is_none()) {
            let is_of_whole_site = site.form_keys.is_empty();
            return Some(WaitCause { is_of_whole_site, ..WaitCause::of_site(WaitsFor::SecretKey, waiting::NO_KEYS) });
        }
        let was_refused = |head: &Head| {
            head.last_attempt().filter(|last| last.result == AttemptResult::KeyRefused).map(|last| last.in_words())
        };
        let key_refused = |words| WaitCause::of_site(WaitsFor::Keys, format!("key refused: {words}"));
        let Some(sending) = &situation.sending else {
            let refused = first.iter().find_map(was_refused).map(key_refused);
            return refused.or_else(|| Some(WaitCause::of_site(WaitsFor::Gateway, waiting::NO_GATEWAY)));
        };
        if let Some(cause) = self.held_by_sender(site, sending) {
            return Some(cause);
        }
        // After a start nobody has been refused yet; the store knows who was.
        let is_waiting = |head: &&Head| WaitStatus::of(head, situation).waits_for == WaitsFor::Retry;
        first.iter().filter(is_waiting).find_map(was_refused).map(key_refused)
    }

    /// Says what the sender holds a site's leads back for.
    fn held_by_sender(&self, site: &Site, sending: &SendingStatus) -> Option<WaitCause> {
        let own = site.keys.as_ref().map(|keys| keys.public());
        let paused = sending.paused_sites.get(&site.id).into_iter().flatten();
        if let Some(keys) = paused.max_by_key(|keys| Some(keys.public_key.as_str()) == own) {
            let is_of_whole_site = site.form_keys.is_empty();
            return Some(WaitCause { is_of_whole_site, ..WaitCause::of_site(WaitsFor::Keys, waiting::refused(keys)) });
        }
        if let Some(outage) = &sending.upstream {
            return Some(WaitCause::of_site(WaitsFor::Upstream, self.situation.outage(outage)));
        }
        let holdup = sending.failing_sites.get(&site.id)?;
        Some(WaitCause::of_site(WaitsFor::Site, self.situation.failing(holdup)))
    }
}

impl WaitCause {
    fn of_site(waits_for: WaitsFor, words: impl Into<String>) -> Self {
        Self { waits_for, words: words.into(), is_of_whole_site: true }
    }
}

/// Counts leads in under the cause of their site.
fn add(gathered: &mut Gathering, cause: &WaitCause, counted: Counted<'_>) {
    // One group, whatever became of each before.
    let reason = if cause.waits_for == WaitsFor::Configuration { Reason::SiteGone } else { Reason::Accepted };
    gathered.add(cause.words.clone(), Some(cause.waits_for), &Counted { reason, ..counted });
}

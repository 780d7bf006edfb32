//! Asking KaiCalls what arrived: one look at a site's widget serves all its leads that wonder.
//!
//! A look is kept for a moment, good or bad, so that a backlog of such leads asks once and not once each. What the store
//! knows is read after the widget, and only where the widget shows a lead's name: what came into the widget before that
//! read was claimed before it too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::super::admission::Admission;
use super::super::history;
use super::evidence::{self, Finding, Known, Shown};
use crate::clock::{Clock, later, until};
use crate::config::Config;
use crate::destination::KeyPair;
use crate::kaicalls::{Answer, Client, Envelope, Reply};
use crate::lead::{EntryId, SiteId};
use crate::queue::{Filter, Head, Order, Store};

/// Longest time for all of it; the lead is posted after it at the latest.
pub(super) const SURVEY_MAX: Duration = Duration::from_secs(15);
/// Longest time for the widget's answer, and for what the store knows.
const STEP_MAX: Duration = Duration::from_secs(5);
/// How long a look serves other leads.
const LOOK_KEPT: Duration = Duration::from_secs(10);
/// Most entries of a site that are read; where it has more, nothing is confirmed.
const ENTRIES_MAX: u64 = 5_000;
/// Entries read at once; each may be as large as `max_body`.
const PAGE: usize = 20;

/// Finds out whether leads that may have arrived are there.
pub(in crate::send) struct Confirmation {
    store: Arc<dyn Store>,
    client: Client,
    admission: Arc<Admission>,
    clock: Clock,
    surveys: Surveys,
}

/// The last look at each site's widget, by its public key.
#[derive(Default)]
struct Surveys {
    sites: Mutex<HashMap<(SiteId, String), Arc<Place>>>,
}

/// Whoever looks holds it; the others wait for what is seen.
type Place = tokio::sync::Mutex<Option<Arc<Look>>>;

struct Look {
    asked_at: Timestamp,
    /// None where the widget told nothing of use.
    shown: Option<Shown>,
    known: OnceCell<Option<Known>>,
}

impl Surveys {
    fn place(&self, site: &SiteId, keys: &KeyPair, now: Timestamp) -> Arc<Place> {
        let mut sites = self.sites.lock();
        // Somebody looks, or is about to, where another holds the place.
        let is_of_use = |place: &Arc<Place>| {
            let is_fresh = || place.try_lock().is_ok_and(|look| look.as_ref().is_some_and(|look| look.is_fresh(now)));
            Arc::strong_count(place) > 1 || is_fresh()
        };
        sites.retain(|_, place| is_of_use(place));
        Arc::clone(sites.entry((site.clone(), keys.public().to_owned())).or_default())
    }
}

impl Look {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.asked_at == now || until(later(self.asked_at, LOOK_KEPT), now, LOOK_KEPT).is_some()
    }
}

impl Confirmation {
    pub(in crate::send) fn new(store: Arc<dyn Store>, client: Client, admission: Arc<Admission>, clock: Clock) -> Self {
        Self { store, client, admission, clock, surveys: Surveys::default() }
    }

    /// Lets another clock tell the time.
    pub(in crate::send) fn with_clock(&self, clock: Clock) -> Self {
        Self::new(Arc::clone(&self.store), self.client.clone(), Arc::clone(&self.admission), clock)
    }

    /// Finds out whether a lead that may have arrived is there.
    pub(in crate::send) async fn find(&self, config: &Config, keys: &KeyPair, head: &Head) -> Finding {
        let finding = timeout(SURVEY_MAX, self.look_for(config, keys, head)).await;
        finding.ok().flatten().unwrap_or(Finding::Unknown)
    }

    async fn look_for(&self, config: &Config, keys: &KeyPair, head: &Head) -> Option<Finding> {
        let lead = head.reading.lead.as_ref()?;
        let look = self.look(config, keys, head).await;
        let shown = look.shown.as_ref()?;
        if !shown.has(lead.name()) {
            return Some(Finding::NotShown);
        }
        if !evidence::is_all_kept(head, config.queue.keep, self.clock.now()) {
            return None;
        }
        let longest = config.upstream.timeout;
        let read = async || timeout(STEP_MAX, self.known(&head.site, shown, longest)).await.ok().flatten();
        let known = look.known.get_or_init(read).await.as_ref()?;
        Some(shown.judge(head, lead.name(), known, longest))
    }

    /// Returns a look at the widget that is fresh, and no sooner after the lead's last attempt than may be asked.
    async fn look(&self, config: &Config, keys: &KeyPair, head: &Head) -> Arc<Look> {
        let place = self.surveys.place(&head.site, keys, self.clock.now());
        let mut last = place.lock().await;
        let asked_at = self.clock.now();
        let fits = |look: &Look| look.is_fresh(asked_at) && history::confirm_wait(head, look.asked_at).is_none();
        if let Some(look) = last.as_ref().filter(|look| fits(look)) {
            return Arc::clone(look);
        }
        self.admission.count_request(config, asked_at);
        let reply = timeout(STEP_MAX, self.client.dashboard_widget(keys)).await;
        let shown = match reply {
            Ok(Reply::Answered(Answer {
                status: 200, envelope: Envelope::Success(widget), date: Some(date), ..
            })) => Some(Shown::read(&widget, (asked_at, self.clock.now()), date)),
            _ => None,
        };
        tracing::debug!(site = %head.site, told = shown.is_some(), "send.widget_asked");
        let look = Arc::new(Look { asked_at, shown, known: OnceCell::new() });
        Arc::clone(last.insert(look))
    }

    /// Reads what the store knows of a site; none where that is too much, or can't be read.
    async fn known(&self, site: &SiteId, shown: &Shown, longest: Duration) -> Option<Known> {
        let counts = self.store.counts().await.ok()?;
        let entries: u64 = counts.iter().filter(|count| count.site == *site).map(|count| count.entries).sum();
        if entries > ENTRIES_MAX {
            return None;
        }
        let filter = Filter { site: Some(site.clone()), ..Filter::default() };
        let (mut known, mut cursor, mut read): (_, Option<EntryId>, u64) = (Known::new(longest), None, 0);
        while read <= ENTRIES_MAX {
            // What can't be read may be what the widget shows.
            let page = self
                .store
                .scan(&filter, Order::Oldest, cursor, PAGE)
                .await
                .ok()
                .filter(|page| page.unreadable.is_empty())?;
            page.heads.iter().for_each(|head| known.add(head, shown));
            read += page.heads.len() as u64;
            cursor = page.next;
            if cursor.is_none() {
                return Some(known);
            }
        }
        None
    }
}

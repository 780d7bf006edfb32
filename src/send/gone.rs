//! Leads of a site that has left the configuration: queued for a day, then held, and sent by themselves once it is back.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::clock::{later, until};
use super::worker::{Chain, Sender};
use crate::config::Keep;
use crate::lead::SiteId;
use crate::queue::{Change, Filter, HASTEN_MAX, Head, Order, Reason, SITE_GONE_MAX, Settlement, State, StoreError};

/// Held leads that are queued again at a time, and the rest after them: neither the store nor KaiCalls is flooded.
const PAGE: usize = 100;
const PAGE_REST: Duration = Duration::from_secs(1);

/// The sites whose leads this sender has found to wait for the site.
#[derive(Default)]
pub(super) struct GoneSites {
    seen: Mutex<BTreeSet<SiteId>>,
}

impl GoneSites {
    /// Says how a lease of a site that is gone ends.
    pub(super) fn settlement(&self, head: &Head, keep: Keep, now: Timestamp) -> Settlement {
        // A clock that was set back since shortens no lead's day.
        let since = head.site_gone_since().unwrap_or(now).min(now);
        match until(later(since, SITE_GONE_MAX), now, SITE_GONE_MAX) {
            Some(after) => {
                self.seen.lock().insert(head.site.clone());
                Settlement::SiteGone { after }
            }
            None => Settlement::Held { reason: Reason::SiteGone, attempt: None, keep: keep.held },
        }
    }

    fn take_if(&self, is_back: impl Fn(&SiteId) -> bool) -> BTreeSet<SiteId> {
        let mut seen = self.seen.lock();
        let back = seen.iter().filter(|site| is_back(site)).cloned().collect();
        seen.retain(|site| !is_back(site));
        back
    }
}

impl Sender {
    /// Makes the queued leads due whose site is back with a new configuration.
    pub(super) async fn send_returned(&self) {
        let config = self.config.load_full();
        for site in self.gone_sites.take_if(|site| config.sites.contains_key(site)) {
            tracing::info!(%site, "send.site_back: the site is in the configuration again, its queued leads go on");
            self.hasten(&site, HASTEN_MAX).await;
        }
    }

    /// Finds what waits for a site that is back, also from before this process: queued leads become due, held ones are
    /// queued again.
    pub(super) async fn bring_back(self) {
        let done = async {
            self.find_returned().await?;
            self.queue_held().await
        };
        if let Err(error) = done.await {
            let error = Chain(&error);
            tracing::error!(%error, "send.site_back_failed: leads of a site that is back wait for the next reload");
        }
    }

    async fn find_returned(&self) -> Result<(), StoreError> {
        let config = self.config.load_full();
        let counts = self.store.counts().await?;
        let queued = counts.into_iter().filter(|count| count.state == State::Queued);
        for site in queued.map(|count| count.site).filter(|site| config.sites.contains_key(site)) {
            let filter = Filter {
                site: Some(site.clone()),
                state: Some(State::Queued),
                reason: Some(Reason::SiteGone),
                ..Filter::default()
            };
            if !self.store.scan(&filter, Order::Oldest, None, 1).await?.heads.is_empty() {
                self.hasten(&site, HASTEN_MAX).await;
            }
        }
        Ok(())
    }

    async fn queue_held(&self) -> Result<(), StoreError> {
        let filter = Filter { state: Some(State::Held), reason: Some(Reason::SiteGone), ..Filter::default() };
        let (mut cursor, mut queued) = (None, 0_usize);
        loop {
            let page = self.store.scan(&filter, Order::Oldest, cursor, PAGE).await?;
            let config = self.config.load_full();
            let is_back = |head: &&Head| config.sites.get(&head.site).is_some_and(|site| site.deliver);
            for head in page.heads.iter().filter(is_back) {
                let set = self.store.amend(head.id, head.revision, Change::SiteBack, self.clock.now()).await?;
                queued += usize::from(set.is_done());
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
            tokio::time::sleep(PAGE_REST).await;
        }
        if queued > 0 {
            tracing::info!(leads = queued, "send.site_back: leads held because their site was gone are queued again");
        }
        Ok(())
    }
}

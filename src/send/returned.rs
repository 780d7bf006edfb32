//! What waits from before: leads of a site that has left the configuration and is back, which go on or are queued again, and
//! those whose keys were refused.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::chain::Chain;
use super::history;
use super::ownership::HeldPartitions;
use super::settle::make_due;
use crate::clock::Clock;
use crate::config::Config;
use crate::lead::SiteId;
use crate::queue::{Change, Filter, Head, MAKE_DUE_MAX, Order, Reason, State, Store, StoreError};

/// Held leads that are queued again at a time, and the rest after them: neither the store nor KaiCalls is flooded.
const PAGE: usize = 100;
const PAGE_REST: Duration = Duration::from_secs(1);

/// Queued leads of a site in which a refused key is looked for: the oldest are tried first.
const TRIED_FIRST: usize = 20;
/// Sites that are asked about at once.
const SITES_AT_ONCE: usize = 25;

/// Finds what waits for a site that is back, also from before this process. Each gateway does so for the sites that it sends for.
pub(super) async fn bring_back(
    store: Arc<dyn Store>,
    config: Arc<ArcSwap<Config>>,
    held: HeldPartitions,
    clock: Clock,
) {
    let done = async {
        find_queued(&*store, &config.load_full(), &held, &clock).await?;
        queue_held(&*store, &config, &held, &clock).await
    };
    if let Err(error) = done.await {
        let error = Chain(&error);
        tracing::error!(%error, "send.site_back_failed: leads of a site that is back wait for the next reload");
    }
}

/// Makes the queued leads due that wait for a site.
async fn find_queued(
    store: &dyn Store,
    config: &Config,
    held: &HeldPartitions,
    clock: &Clock,
) -> Result<(), StoreError> {
    let counts = store.counts().await?;
    let queued = counts.into_iter().filter(|count| count.state == State::Queued);
    let is_back = |site: &SiteId| config.sites.contains_key(site) && held.has_site(site);
    for site in queued.map(|count| count.site).filter(is_back) {
        let filter = Filter {
            site: Some(site.clone()),
            state: Some(State::Queued),
            reason: Some(Reason::SiteGone),
            ..Filter::default()
        };
        if !store.scan(&filter, Order::Oldest, None, 1).await?.heads.is_empty() {
            make_due(store, &site, MAKE_DUE_MAX, clock.now()).await;
        }
    }
    Ok(())
}

/// Ends the waits of sites whose keys were refused before this gateway sent for them: nobody here knows any more that they are
/// paused, and would end the waits when their keys change. Their leads are tried at once, with the keys that there are now.
pub(super) async fn end_key_waits(
    store: &dyn Store,
    config: &Config,
    held: &HeldPartitions,
    now: Timestamp,
) -> Result<(), StoreError> {
    let counts = store.counts().await?;
    let queued = counts.iter().filter(|count| count.state == State::Queued && count.entries > 0);
    let is_ours = |site: &&SiteId| config.sites.get(*site).is_some_and(|site| site.deliver) && held.has_site(site);
    let sites: Vec<SiteId> = queued.map(|count| &count.site).filter(is_ours).cloned().collect();
    let filter = Filter { state: Some(State::Queued), ..Filter::default() };
    for some in sites.chunks(SITES_AT_ONCE) {
        let pages = store.scan_sites(some, &filter, TRIED_FIRST).await?;
        for (site, page) in some.iter().zip(pages) {
            if page.heads.iter().any(history::is_key_refused) {
                make_due(store, site, MAKE_DUE_MAX, now).await;
            }
        }
    }
    Ok(())
}

/// Queues the leads again that were held because their site was gone.
async fn queue_held(
    store: &dyn Store,
    config: &ArcSwap<Config>,
    held: &HeldPartitions,
    clock: &Clock,
) -> Result<(), StoreError> {
    let filter = Filter { state: Some(State::Held), reason: Some(Reason::SiteGone), ..Filter::default() };
    let mut cursor = None;
    let mut queued = 0_usize;
    loop {
        let page = store.scan(&filter, Order::Oldest, cursor, PAGE).await?;
        let config = config.load_full();
        let is_back =
            |head: &&Head| config.sites.get(&head.site).is_some_and(|site| site.deliver) && held.has_site(&head.site);
        for head in page.heads.iter().filter(is_back) {
            let set = store.amend(head.id, head.revision, Change::SiteBack, clock.now()).await?;
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

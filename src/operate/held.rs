//! Held entries, run through the pipeline again: how many would pass by the configuration of now.

use std::sync::Arc;

use super::again::Remade;
use crate::config::Config;
use crate::queue::{Entry, Filter, Head, Order, Reason, State, Store, StoreError};
use crate::telemetry;

/// Most entries that are looked at: so many have a person busy for days.
const LOOKED_AT_MAX: usize = 10_000;
/// Heads that are held in memory at a time.
const PAGE: usize = 50;

/// What a look at the held entries found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recheck {
    /// Those that would be sent, if somebody had them tried again.
    pub would_pass: usize,
    pub looked_at: usize,
    /// There are more than were looked at.
    pub has_more: bool,
}

/// Counts the held entries that would pass now. Nothing is changed.
pub async fn recheck_held(store: &dyn Store, config: &Arc<Config>) -> Result<Recheck, StoreError> {
    let filter = Filter { state: Some(State::Held), ..Filter::default() };
    let (mut found, mut cursor) = (Recheck::default(), None);
    loop {
        let page = store.scan(&filter, Order::Oldest, cursor, PAGE).await?;
        found.looked_at += page.heads.len() + page.unreadable.len();
        for head in page.heads.iter().filter(|head| may_pass(config, head)) {
            let entry = match store.get(head.id).await {
                Ok(Some(entry)) => entry,
                // Erased meanwhile, or it can't be read: it wouldn't be sent.
                Ok(None) | Err(StoreError::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            let config = Arc::clone(config);
            // Large bodies take a while; requests must not wait for it.
            let passes = telemetry::blocking(move || would_pass(&config, &entry)).await;
            found.would_pass += usize::from(passes.unwrap_or_default());
        }
        cursor = page.next;
        if cursor.is_none() || found.looked_at >= LOOKED_AT_MAX {
            return Ok(Recheck { has_more: cursor.is_some(), ..found });
        }
    }
}

/// Tells whether another mapping may let an entry pass, as far as its head says.
fn may_pass(config: &Config, head: &Head) -> bool {
    // Held for what no mapping changes; and nobody knows of the last two whether they were delivered.
    let stays = matches!(
        head.reason,
        Reason::OverLimit | Reason::OtherHost | Reason::Ambiguous | Reason::Salvaged | Reason::Restored
    );
    !stays && config.sites.get(&head.site).is_some_and(|site| site.deliver)
}

fn would_pass(config: &Config, entry: &Entry) -> bool {
    config.sites.get(&entry.head.site).is_some_and(|site| Remade::of(config, site, entry).hold.is_none())
}

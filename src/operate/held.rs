//! Held entries, run through the pipeline again: how many would pass by the configuration of now.

use std::sync::Arc;

use super::again::Remade;
use crate::config::Config;
use crate::queue::{Entry, Filter, Order, Reason, State, Store, StoreError};
use crate::telemetry;

/// Most entries that are looked at: so many have a person busy for days.
const LOOKED_AT_MAX: usize = 10_000;
/// Entries that are held in memory at a time.
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
        found.looked_at += page.entries.len() + page.unreadable.len();
        let config = Arc::clone(config);
        let passing = move || page.entries.iter().filter(|entry| would_pass(&config, entry)).count();
        // Large bodies take a while; requests must not wait for it.
        found.would_pass += telemetry::blocking(passing).await.unwrap_or_default();
        cursor = page.next;
        if cursor.is_none() || found.looked_at >= LOOKED_AT_MAX {
            return Ok(Recheck { has_more: cursor.is_some(), ..found });
        }
    }
}

fn would_pass(config: &Config, entry: &Entry) -> bool {
    let Some(site) = config.sites.get(&entry.site).filter(|site| site.deliver) else { return false };
    match entry.reason {
        // Held for what no mapping changes; and nobody knows of the last two whether they were delivered.
        Reason::OverLimit | Reason::OtherHost | Reason::Ambiguous | Reason::Salvaged | Reason::Restored => false,
        _ => Remade::of(config, site, entry).hold.is_none(),
    }
}

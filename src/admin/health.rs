//! Is it alive, is it ready, how does it go: `/livez`, `/readyz` and `/metrics`, for whoever reaches the listener.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::timeout;

use super::Admin;
use super::reply::Reply;
use crate::lead::SiteId;
use crate::operate::{self, Process, Status};
use crate::queue::{Counts, State, StoreError};
use crate::telemetry::{Depth, SiteDepth};

/// How long the store may take to say that it is ready, or to count.
const STORE_TIME: Duration = Duration::from_secs(2);

/// Why the store is not ready.
enum Unready {
    Slow,
    Failed(StoreError),
}

impl Admin {
    /// Ready is: the store can be written. That the configuration is loaded shows in our being here at all; KaiCalls
    /// being away is no reason to turn submissions away.
    pub(super) async fn readyz(&self, verbose: bool) -> Reply {
        let store = match timeout(STORE_TIME, self.store.ready()).await {
            Ok(ready) => ready.map_err(Unready::Failed),
            Err(_elapsed) => Err(Unready::Slow),
        };
        let words = store.as_ref().map_or_else(Unready::words, |()| "ok".to_owned());
        let (status, word) = match &store {
            Ok(()) => (StatusCode::OK, "ready"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        };
        if store.is_ok() && !verbose {
            return Reply::text("ok");
        }
        let reasons: Vec<&str> = store.as_ref().err().map(Unready::reason).into_iter().collect();
        let sites = self.config.load().sites.len();
        let checks = json!({ "config": "ok", "store": words });
        Reply::json(status, &json!({ "status": word, "checks": checks, "reasons": reasons, "sites": sites }))
    }

    /// Tells how the gateway is, for people.
    pub(super) async fn status(&self, brief: bool) -> Status {
        let unready = match timeout(STORE_TIME, self.store.ready()).await {
            Ok(ready) => ready.err().map(Unready::Failed),
            Err(_elapsed) => Some(Unready::Slow),
        };
        let (config, sending) = (self.config.load_full(), self.sending.borrow().clone());
        let process = Process {
            version: env!("CARGO_PKG_VERSION"),
            since: self.since,
            degraded: self.metrics.degraded(),
            sending: &sending,
            unready: unready.as_ref().map(Unready::words),
            brief,
        };
        operate::status(&*self.store, &config, process, Timestamp::now()).await
    }

    pub(super) async fn metrics(&self) -> Reply {
        let config = self.config.load();
        self.metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
        if let Ok(Ok(counts)) = timeout(STORE_TIME, self.store.counts()).await {
            let now = Timestamp::now();
            self.metrics.depth(depth(&counts, now));
            let paused = &self.sending.borrow().paused_sites;
            let mut by_site: HashMap<&str, Vec<Counts>> = HashMap::new();
            for count in &counts {
                by_site.entry(count.site.as_str()).or_default().push(count.clone());
            }
            self.metrics.site_depths(|site| {
                let Depth { queued, held, oldest_queued, .. } =
                    depth(by_site.get(site).map_or(&[], Vec::as_slice), now);
                let is_paused = paused.keys().any(|paused| paused.as_str() == site);
                SiteDepth { queued, held, oldest_queued_seconds: oldest_queued.as_secs_f64(), is_paused }
            });
        }
        match self.metrics.text() {
            Ok(body) => Reply::whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body),
            Err(_unwritable) => {
                Reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "The metrics cannot be written")
            }
        }
    }
}

/// Sums the counts of all sites.
fn depth(counts: &[Counts], now: Timestamp) -> Depth {
    let mut depth = Depth::default();
    for count in counts.iter().filter(|count| count.entries > 0) {
        let sum = match count.state {
            State::Queued => &mut depth.queued,
            State::Held => &mut depth.held,
            State::Delivered => &mut depth.delivered,
            State::Dead => &mut depth.dead,
        };
        *sum += count.entries;
        if count.state == State::Queued {
            // A clock that was set back gives no age.
            let age = Duration::try_from(now.duration_since(count.oldest)).unwrap_or_default();
            depth.oldest_queued = depth.oldest_queued.max(age);
        }
    }
    depth
}

impl Unready {
    fn words(&self) -> String {
        match self {
            Self::Slow => "the store did not answer in time".to_owned(),
            Self::Failed(error) => error.to_string(),
        }
    }

    /// The same for programs.
    fn reason(&self) -> &'static str {
        match self {
            Self::Slow => "store_slow",
            Self::Failed(StoreError::Full) => "store_full",
            Self::Failed(StoreError::DiskFull) => "disk_full",
            Self::Failed(StoreError::Unavailable(_)) => "store_away",
            Self::Failed(StoreError::SetAside { .. } | StoreError::Remains { .. }) => "store_set_aside",
            Self::Failed(StoreError::Corrupt(_)) => "store_corrupt",
            Self::Failed(StoreError::Newer { .. }) => "store_newer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_that_of_all_sites() {
        let now = Timestamp::from_second(1_000).expect("a time");
        let count = |site: &str, state, entries, oldest| Counts {
            site: SiteId::parse(site).expect("a site"),
            state,
            entries,
            oldest: Timestamp::from_second(oldest).expect("a time"),
        };
        let counts = [
            count("a", State::Queued, 2, 990),
            count("b", State::Queued, 3, 900),
            count("b", State::Dead, 1, 1),
            count("c", State::Queued, 1, 2_000),
        ];
        let oldest_queued = Duration::from_secs(100);
        assert_eq!(depth(&counts, now), Depth { queued: 6, dead: 1, oldest_queued, ..Depth::default() });
    }
}

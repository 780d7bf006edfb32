//! Is it alive, is it ready, how does it go: `/livez`, `/readyz` and `/metrics`, for whoever reaches the listener.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::AdminApp;
use super::reply::ApiReply;
use crate::config::Config;
use crate::lead::SiteId;
use crate::operate::{self, Process, Status};
use crate::queue::{Counts, State, Store, StoreError};
use crate::telemetry::{self, Degraded, Depth, Metrics, SiteDepth};

/// How long the store may take to say what it holds.
const STORE_TIME: Duration = Duration::from_secs(2);
/// How long it may take to say that it is ready: longer than a spool waits for the store behind it, and then looks at itself.
const READY_TIME: Duration = Duration::from_secs(4);
/// How long what the store said holds for whoever asks next: asking it writes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Why the store is not ready.
#[derive(Clone)]
struct Unready {
    words: String,
    /// The same for programs.
    reason: &'static str,
}

/// What the store said last. Whoever asks while it is being asked waits for the same answer.
#[derive(Default)]
pub(super) struct Probe {
    last: Mutex<LastProbe>,
    /// Held while the disk is measured: of one that hangs, no more than one thread waits.
    disk: Arc<Mutex<()>>,
}

/// The last time the store was asked, and its answer.
#[derive(Default)]
struct LastProbe {
    begun: Option<Instant>,
    /// When the answer came, and what it was; none while the asker of `begun` went away.
    told: Option<(Instant, Result<(), Unready>)>,
}

impl Probe {
    async fn ask(&self, store: &dyn Store) -> Result<(), Unready> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &last.told
            && at.elapsed() < PROBE_EVERY
        {
            return answer.clone();
        }
        if let Some(begun) = last.begun {
            // Over already, unless somebody asks and hangs up again and again.
            sleep_until(begun + PROBE_EVERY).await;
        }
        last.told = None;
        last.begun = Some(Instant::now());
        let answer = match timeout(READY_TIME, store.ready()).await {
            Ok(ready) => ready.map_err(|error| Unready::of(&error)),
            Err(_elapsed) => Err(Unready::slow()),
        };
        last.told = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Says, and says no more, that something in the store needs a person.
pub async fn tell_problems(store: &dyn Store, metrics: &Metrics) {
    // Where the store can't tell, what was said stays.
    let Ok(Ok(problems)) = timeout(STORE_TIME, store.problems()).await else { return };
    let has = |wanted: fn(&StoreError) -> bool| problems.iter().any(wanted);
    metrics.set_degraded(Degraded::StoreSetAside, has(|problem| matches!(problem, StoreError::SetAside { .. })));
    metrics.set_degraded(Degraded::StoreDamaged, has(|problem| matches!(problem, StoreError::Corrupt(_))));
    let spool = problems.iter().find_map(|problem| match problem {
        StoreError::Away(spool) => Some(spool),
        _ => None,
    });
    metrics.set_degraded(Degraded::StoreAway, spool.is_some());
    metrics.spooled(spool.map_or(0, |spool| spool.entries), spool.map_or(0, |spool| spool.bytes));
}

impl AdminApp {
    /// Ready is: a submission posted now would be stored. What only needs a person is `degraded`, and no reason for a
    /// balancer to take away a gateway that takes leads; nor is that KaiCalls is away.
    pub(super) async fn readyz(&self) -> ApiReply {
        let store = self.is_taking().await;
        let (status, word) = match &store {
            Ok(()) => (StatusCode::OK, "ready"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        };
        let words = store.as_ref().map_or_else(|unready| unready.words.as_str(), |()| "ok");
        let reasons: Vec<&str> = store.as_ref().err().map(|unready| unready.reason).into_iter().collect();
        let degraded = self.metrics.degraded();
        let config = if degraded.contains(&Degraded::ConfigBroken) { "broken" } else { "ok" };
        let degraded: Vec<&str> = degraded.into_iter().map(Degraded::as_str).collect();
        let sites = self.config.load().sites.len();
        let checks = json!({ "config": config, "store": words });
        let body = json!({
            "status": word,
            "reasons": reasons,
            "degraded": degraded,
            "checks": checks,
            "sites": sites,
        });
        ApiReply::json(status, &body)
    }

    /// Tells whether a submission posted now would be stored, and notices what in the store needs a person.
    async fn is_taking(&self) -> Result<(), Unready> {
        let store = match self.metrics.not_taking() {
            None => self.probe.ask(self.store.store()).await,
            Some(reason) => Err(Unready { words: "not asked".to_owned(), reason: reason.as_str() }),
        };
        tell_problems(self.store.store(), &self.metrics).await;
        store
    }

    /// Tells how the gateway is, for people.
    pub(super) async fn status(&self, brief: bool) -> Status {
        let unready = self.is_taking().await.err();
        tell_problems(self.store.store(), &self.metrics).await;
        if !brief {
            self.write_activity().await;
        }
        let config = self.config.load_full();
        let sending = self.sending.borrow().clone();
        let gateways = self.gateways.borrow().clone();
        let process = Process {
            version: env!("CARGO_PKG_VERSION"),
            since: self.since,
            degraded: self.metrics.degraded(),
            sending: &sending,
            gateways: &gateways,
            unready_reason: unready.as_ref().map(|unready| unready.reason),
            unready: unready.map(|unready| unready.words),
            brief,
        };
        operate::status(self.store.store(), &config, process, Timestamp::now()).await
    }

    pub(super) async fn metrics(&self) -> ApiReply {
        let config = self.config.load_full();
        self.metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
        // At once, since a scrape waits ten seconds by default.
        let (taking, (), ()) = tokio::join!(self.is_taking(), self.measure_depths(), self.measure_room(&config));
        self.metrics.ready(taking.is_ok());
        let measured = Arc::clone(&self.metrics);
        let since = self.since.as_second();
        // It reads files, one for each that is open among them. Without it the rest is told all the same.
        drop(telemetry::blocking(move || measured.measure_process(since)).await);
        match self.metrics.text() {
            Ok(body) => ApiReply::whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body),
            Err(_unwritable) => {
                ApiReply::problem(StatusCode::INTERNAL_SERVER_ERROR, "metrics", "The metrics can't be written")
            }
        }
    }

    async fn measure_depths(&self) {
        let Ok(Ok(counts)) = timeout(STORE_TIME, self.store.store().counts()).await else { return };
        let now = Timestamp::now();
        self.metrics.depth(depth(&counts, now));
        let paused = self.sending.borrow().paused_sites.clone();
        let mut by_site: HashMap<&str, Vec<Counts>> = HashMap::new();
        for count in &counts {
            by_site.entry(count.site.as_str()).or_default().push(count.clone());
        }
        self.metrics.site_depths(|site| {
            let Depth { queued, held, oldest_queued, .. } = depth(by_site.get(site).map_or(&[], Vec::as_slice), now);
            let is_paused = paused.keys().any(|paused| paused.as_str() == site);
            SiteDepth { queued, held, oldest_queued_seconds: oldest_queued.as_secs_f64(), is_paused }
        });
    }

    /// Measures the store, and the disk that it or its spool lies on.
    async fn measure_room(&self, config: &Config) {
        let extent = timeout(STORE_TIME, self.store.store().extent()).await;
        self.metrics.store_size(extent.ok().and_then(Result::ok).map(|extent| extent.bytes), config.queue.max_size);
        let Some(folder) = config.data_folder().map(Path::to_owned) else { return };
        // Another scrape measures it now, or one before met a disk that hangs.
        let Ok(measuring) = Arc::clone(&self.probe.disk).try_lock_owned() else { return };
        let measured = telemetry::blocking(move || {
            let _measuring = measuring;
            rustix::fs::statvfs(&folder).ok()
        });
        let disk = timeout(STORE_TIME, measured).await.ok().and_then(Result::ok).flatten();
        self.metrics.disk_available(disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)));
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
            let age = count.oldest.and_then(|oldest| Duration::try_from(now.duration_since(oldest)).ok());
            depth.oldest_queued = depth.oldest_queued.max(age.unwrap_or_default());
        }
    }
    depth
}

impl Unready {
    fn slow() -> Self {
        Self { words: "the store didn't answer in time".to_owned(), reason: "store_slow" }
    }

    fn of(error: &StoreError) -> Self {
        let reason = match error {
            StoreError::Full => "store_full",
            StoreError::DiskFull => "disk_full",
            StoreError::Unavailable(_) | StoreError::Away(_) | StoreError::Unused { .. } => "store_away",
            StoreError::SetAside { .. } | StoreError::Remains { .. } => "store_set_aside",
            StoreError::Unfit { .. } => "store_unfit",
            StoreError::Corrupt(_) => "store_corrupt",
            StoreError::Newer { .. } => "store_newer",
        };
        Self { words: error.to_string(), reason }
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
            oldest: (state == State::Queued).then(|| Timestamp::from_second(oldest).expect("a time")),
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

//! The configuration follows its files while everything runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::{Config, Diagnostic, Live, Reloaded, Severity, Sources, Watched};
use crate::lead::SiteId;
use crate::operate;
use crate::queue::Store;
use crate::send::Sender;
use crate::telemetry::Metrics;

/// How often the files are looked at; a change is read at the second look that sees it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most problems that are logged one by one.
const PROBLEMS_MAX: usize = 50;

/// Where a configuration came from.
pub struct Origin {
    pub path: PathBuf,
    pub sources: Sources,
    pub watched: Watched,
}

/// Reads the configuration again when its files change, or when it is asked to.
pub(super) struct Follower {
    live: Arc<Live>,
    config: Arc<ArcSwap<Config>>,
    store: Arc<dyn Store>,
    sender: Sender,
    metrics: Arc<Metrics>,
    asked: Arc<Notify>,
}

impl Follower {
    pub(super) fn new(
        Origin { path, sources, watched }: Origin,
        config: Arc<ArcSwap<Config>>,
        store: Arc<dyn Store>,
        sender: Sender,
        metrics: Arc<Metrics>,
        asked: Arc<Notify>,
    ) -> Self {
        let live = Arc::new(Live::new(path, sources, watched, Arc::clone(&config)));
        Self { live, config, store, sender, metrics, asked }
    }

    /// Follows until `stopping` says true.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        // At most one at a time; it ends with this task.
        let mut rechecks = JoinSet::new();
        loop {
            // Being asked is remembered; each other branch only wakes the loop.
            let is_asked = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.asked.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            if (is_asked || self.has_changed().await) && self.reload().await {
                rechecks.shutdown().await;
                rechecks.spawn(recheck(Arc::clone(&self.store), self.config.load_full()));
            }
        }
    }

    async fn has_changed(&self) -> bool {
        let live = Arc::clone(&self.live);
        tokio::task::spawn_blocking(move || live.has_changed()).await.unwrap_or_default()
    }

    /// Reads the files again; tells whether another configuration is in force.
    async fn reload(&self) -> bool {
        let (live, now) = (Arc::clone(&self.live), Timestamp::now());
        let today = now.to_zoned(TimeZone::UTC).date();
        let Ok(reloaded) = tokio::task::spawn_blocking(move || live.reload(today)).await else {
            self.metrics.config_loaded(None);
            tracing::error!("config.reload_failed: it could not be compiled; the last good one stays in force");
            return false;
        };
        let is_sound = !reloaded.diagnostics.prevent_serving();
        self.metrics.config_loaded(is_sound.then(|| now.as_second()));
        tell(&reloaded, self.config.load().sites.len());
        if reloaded.is_in_force {
            let config = self.config.load();
            self.metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
            drop(config);
            self.sender.reloaded().await;
        }
        reloaded.is_in_force
    }
}

fn tell(reloaded: &Reloaded, sites: usize) {
    let diagnostics = &reloaded.diagnostics;
    let errors = diagnostics.count(Severity::Error) + diagnostics.count(Severity::Unresolved);
    let warnings = diagnostics.count(Severity::Warning);
    match (reloaded.is_in_force, errors) {
        (true, 0) => tracing::info!(sites, warnings, "config.reloaded"),
        (true, _) => tracing::error!(
            sites,
            errors,
            warnings,
            "config.reloaded_in_part: what is broken stays as it was; `formgate check` shows it"
        ),
        (false, _) => tracing::error!(
            errors,
            "config.reload_failed: the last good configuration stays in force; `formgate check` shows why"
        ),
    }
    let problems = diagnostics.iter().filter(|problem| problem.severity > Severity::Warning);
    problems.take(PROBLEMS_MAX).for_each(tell_problem);
    if reloaded.is_in_force {
        for site in &reloaded.kept_sites {
            tracing::warn!(%site, "config.site_kept: the site goes on as it was before");
        }
    }
    for key in &reloaded.need_restart {
        tracing::warn!(key, "config.needs_restart: the new value counts after a restart");
    }
}

/// Diagnostics hold no secret: what they show was masked when they were made.
fn tell_problem(problem: &Diagnostic) {
    let place = problem.place.as_ref();
    tracing::error!(
        file = %problem.file.display(),
        line = place.map(|place| place.line),
        column = place.map(|place| place.column),
        hint = problem.hint,
        "config.problem: {}",
        problem.message
    );
}

/// Says how many held entries would pass by now.
async fn recheck(store: Arc<dyn Store>, config: Arc<Config>) {
    match operate::recheck_held(&*store, &config).await {
        Ok(found) if found.looked_at == 0 => {}
        Ok(found) => tracing::info!(
            would_pass = found.would_pass,
            looked_at = found.looked_at,
            has_more = found.has_more,
            "config.held_rechecked: so many held entries would be sent now, if they were tried again"
        ),
        Err(error) => tracing::error!(%error, "config.recheck_failed"),
    }
}

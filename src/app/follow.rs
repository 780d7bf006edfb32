//! The configuration follows its files while everything runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::expiry;
use super::service_manager;
use super::warnings::Warnings;
use crate::config::{
    self, Config, ConfigPart, Diagnostic, Diagnostics, Live, Origin, Reloaded, Severity, StandIn, StandInGroup,
    StandInSource,
};
use crate::lead::SiteId;
use crate::operate;
use crate::queue::Store;
use crate::send::Sender;
use crate::telemetry::{self, Degraded, Metrics, Panicked, catch_async};

/// How often the files are looked at; a change is read at the second look that sees it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a look, as a multiple of how long it took: looking at thousands of files must not cost more than leads do.
const RESTS: u32 = 50;
/// The longest pause.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// A copy that could not be written is tried again at the latest after so many looks.
const COPY_EVERY_LOOKS: u32 = 64;
/// Most problems that are logged one by one.
const PROBLEMS_MAX: usize = 50;
/// Most sites that one line names.
const SITES_NAMED: usize = 20;

/// Reads the configuration again when its files change, or when it is asked to.
#[derive(Clone)]
pub(super) struct Follower {
    live: Arc<Live>,
    config: Arc<ArcSwap<Config>>,
    store: Arc<dyn Store>,
    sender: Sender,
    metrics: Arc<Metrics>,
    asked: Arc<Notify>,
    told: LoggedProblems,
    warnings: Arc<Warnings>,
    /// The copy could not be written; it is tried again at every look.
    copy_failed: bool,
    /// How often it has been looked since the copy failed.
    looks_without_copy: u32,
}

/// The problems logged last, so that each is logged once.
#[derive(Clone, Default)]
struct LoggedProblems {
    /// Each with when it was first seen.
    stand_ins: BTreeMap<StandIn, Timestamp>,
    diagnostics: Diagnostics,
}

impl Follower {
    pub(super) fn new(
        origin: Origin,
        config: Arc<ArcSwap<Config>>,
        store: Arc<dyn Store>,
        sender: Sender,
        metrics: Arc<Metrics>,
        asked: Arc<Notify>,
    ) -> Self {
        let mut told = LoggedProblems::default();
        told.stand_ins(&origin.stand_ins, false, Timestamp::now());
        degrade(&metrics, &config.load(), &origin.stand_ins, origin.is_refused);
        let live = Arc::new(Live::new(origin, Arc::clone(&config)));
        Self {
            live,
            config,
            store,
            sender,
            metrics,
            asked,
            told,
            warnings: Arc::default(),
            copy_failed: false,
            looks_without_copy: 0,
        }
    }

    /// Follows until `stopping` says true.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        self.keep_copy().await;
        // At most one at a time; it ends with this task.
        let mut rechecks = JoinSet::new();
        let mut rest = LOOK_EVERY;
        loop {
            // Being asked is remembered; each other branch only wakes the loop.
            let is_asked = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.asked.notified() => true,
                Some(Ok(Err(panicked))) = rechecks.join_next() => Panicked::resume(panicked),
                () = tokio::time::sleep(rest) => false,
            };
            if is_asked || self.has_changed(&mut rest).await {
                let asked_for = is_asked.then(service_manager::Reloading::begin);
                let is_sound = self.reload(is_asked).await;
                service_manager::in_force(self.config.load().sites.len(), is_sound);
                drop(asked_for);
                rechecks.shutdown().await;
                let recheck = recheck(Arc::clone(&self.store), self.config.load_full());
                rechecks.spawn(catch_async(recheck));
            } else if self.copy_failed {
                self.looks_without_copy = self.looks_without_copy.saturating_add(1);
                // Each try may write the whole copy before it fails: after a second, two, four, then every minute or so.
                if self.looks_without_copy.is_power_of_two() || self.looks_without_copy.is_multiple_of(COPY_EVERY_LOOKS)
                {
                    self.keep_copy().await;
                }
            }
        }
    }

    /// Looks at the files, and says when to look again.
    async fn has_changed(&self, rest: &mut Duration) -> bool {
        let look = |live: &Live| {
            let begun_at = Instant::now();
            (live.has_changed(), begun_at.elapsed())
        };
        let (has_changed, took) = self.aside(look).await.unwrap_or_else(|panicked| panicked.resume());
        // Each look counts for the copy.
        *rest = if self.copy_failed { LOOK_EVERY } else { (took * RESTS).clamp(LOOK_EVERY, LOOK_EVERY_MAX) };
        has_changed
    }

    /// Does work that blocks. Whoever asks goes on panicking where it did, so that the supervisor sees it.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce(&Live) -> T + Send + 'static) -> Result<T, Panicked> {
        let live = Arc::clone(&self.live);
        telemetry::blocking(move || work(&live)).await
    }

    /// Reads the files again, and puts in force what is sound; tells whether all is.
    async fn reload(&mut self, is_asked: bool) -> bool {
        let now = Timestamp::now();
        let previous = self.config.load_full();
        let today = now.to_zoned(TimeZone::UTC).date();
        let reloaded = self.aside(move |live| live.reload(today)).await.unwrap_or_else(|panicked| {
            self.metrics.config_loaded(None);
            tracing::error!("config.reload_failed: the configuration has errors; the last-good version stays in use");
            panicked.resume()
        });
        let is_sound = !reloaded.diagnostics.prevent_serving();
        self.metrics.config_loaded(is_sound.then(|| now.as_second()));
        let config = self.config.load_full();
        self.told.reloaded(&reloaded, config.sites.len(), is_asked);
        for key in config.needs_restart.iter().filter(|key| !previous.needs_restart.contains(key)) {
            tracing::warn!(key, "config.needs_restart: the new value takes effect after a restart");
        }
        tell_gone_sites(&previous, &config);
        self.told.stand_ins(&reloaded.stand_ins, is_asked, now);
        self.warnings.tell(&reloaded.diagnostics);
        degrade(&self.metrics, &config, &reloaded.stand_ins, reloaded.is_refused);
        expiry::record(&config, &self.metrics);
        self.metrics.set_sites(config.sites.keys().map(SiteId::as_str), config.admin.site_metrics);
        self.keep_copy().await;
        self.sender.reloaded().await;
        is_sound
    }

    /// Keeps a copy of what is in force, for a start that finds less. That it can't be kept is told once.
    async fn keep_copy(&mut self) {
        let kept = self.aside(Live::keep_copy).await.unwrap_or_else(|panicked| panicked.resume());
        self.metrics.set_degraded(Degraded::CopyFailed, kept.is_err());
        if let Err(error) = &kept
            && !self.copy_failed
        {
            tracing::error!(%error, "config.copy_failed: the last-good copy can't be written, so the next start may \
                                     not have it");
        }
        self.copy_failed = kept.is_err();
        if !self.copy_failed {
            self.looks_without_copy = 0;
        }
    }
}

/// Says what of the configuration needs a person.
fn degrade(metrics: &Metrics, config: &Config, stand_ins: &[StandIn], is_refused: bool) {
    let is_admin =
        |stand_in: &StandIn| stand_in.part == ConfigPart::Section("admin") && stand_in.by == StandInSource::Default;
    let (keyless, broken): (Vec<_>, Vec<_>) = stand_ins.iter().partition(|stand_in| stand_in.waits_for_keys());
    // One that sends nothing needs none.
    let sends = |part: &ConfigPart| match part {
        ConfigPart::Site(id) => config.sites.get(id).is_some_and(|site| site.deliver),
        _ => false,
    };
    metrics.config_broken(broken.len());
    metrics.set_degraded(Degraded::ConfigBroken, !broken.is_empty());
    metrics.set_degraded(Degraded::KeysMissing, keyless.iter().any(|stand_in| sends(&stand_in.part)));
    metrics.set_degraded(Degraded::RestartNeeded, !config.needs_restart.is_empty());
    metrics.set_degraded(Degraded::ReloadRefused, is_refused);
    metrics.set_degraded(Degraded::DeliveryOff, config.missing.upstream);
    metrics.set_degraded(Degraded::AdminBroken, stand_ins.iter().any(is_admin));
}

impl LoggedProblems {
    fn reloaded(&mut self, reloaded: &Reloaded, sites: usize, is_asked: bool) {
        let diagnostics = &reloaded.diagnostics;
        if *diagnostics == self.diagnostics && diagnostics.prevent_serving() && !is_asked {
            return;
        }
        self.diagnostics = diagnostics.clone();
        let errors = diagnostics.count(Severity::Error) + diagnostics.count(Severity::Unresolved);
        let warnings = diagnostics.count(Severity::Warning);
        if errors == 0 {
            tracing::info!(sites, warnings, "config.reloaded");
        } else if reloaded.is_config_broken {
            tracing::error!(
                sites,
                errors,
                warnings,
                "config.reload_failed: config.toml is broken; its broken parts stay as they were; run `formgate check`"
            );
        } else {
            tracing::error!(
                sites,
                errors,
                warnings,
                "config.reloaded_in_part: broken or missing parts stay as they were; run `formgate check`"
            );
        }
        if reloaded.is_refused {
            tracing::error!(
                "config.reload_refused: too many sites would vanish at once, so all stay; restore their files, or run \
                 `formgate sites remove` for each site to remove"
            );
        }
        let problems = diagnostics.iter().filter(|problem| problem.severity > Severity::Warning);
        problems.take(PROBLEMS_MAX).for_each(tell_problem);
    }

    /// Says what stands in for what, and what no longer has to; all of it to who asks.
    fn stand_ins(&mut self, now_standing: &[StandIn], is_asked: bool, now: Timestamp) {
        let standing: BTreeSet<_> = now_standing.iter().collect();
        let mended: BTreeMap<_, _> = self
            .stand_ins
            .iter()
            .filter(|(told, _)| !standing.contains(told))
            .map(|(told, at)| (told.clone(), *at))
            .collect();
        for StandInGroup { first, parts, .. } in config::gather(mended.keys()).into_iter().take(PROBLEMS_MAX) {
            let file = first.file.display();
            let since = mended.get(first);
            tracing::info!(parts, %file, since = since.map(tracing::field::display), "config.mended");
        }
        self.stand_ins.retain(|told, _| standing.contains(told));
        let to_tell = now_standing.iter().filter(|stand_in| is_asked || !self.stand_ins.contains_key(*stand_in));
        for StandInGroup { first, parts, .. } in config::gather(to_tell).into_iter().take(PROBLEMS_MAX) {
            let StandIn { file, fault, by, .. } = first;
            let since = self.stand_ins.get(first).unwrap_or(&now);
            let file = file.display();
            let fault = fault.as_str();
            let words = by.words();
            tracing::error!(parts, %file, fault, %since, "config.stand_in: {words}; run `formgate check`");
        }
        for stand_in in now_standing {
            self.stand_ins.entry(stand_in.clone()).or_insert(now);
        }
    }
}

/// A site that was taken out on purpose is said too: a changed id looks the same, and its forms are refused then.
fn tell_gone_sites(previous: &Config, config: &Config) {
    let gone: Vec<_> = previous.sites.keys().filter(|id| !config.sites.contains_key(*id)).collect();
    if gone.is_empty() {
        return;
    }
    let names: Vec<_> = gone.iter().take(SITES_NAMED).map(|id| id.as_str()).collect();
    tracing::warn!(
        sites = names.join(", "),
        count = gone.len(),
        "config.sites_gone: posts to these sites are answered 401; their queued leads wait a day for them to come \
         back, then are held"
    );
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
            "config.held_rechecked: held leads are valid now; run `formgate leads retry`"
        ),
        Err(error) => tracing::error!(%error, "config.recheck_failed"),
    }
}

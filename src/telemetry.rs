//! Every metric's name, and how the program logs.
//!
//! Labels are closed enums or site names from the configuration; never anything that came over the wire. No value of a
//! submission and no secret gets here.

mod degraded;
mod ends;
mod expiry;
mod log;
mod names;
mod notify;
mod open_files;
mod panics;
mod pings;
mod process;
mod set;
mod sites;
mod spool;
mod store;
mod submissions;
mod taking;

use std::time::Duration;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use self::degraded::Degradations;
pub use self::degraded::Degraded;
pub use self::ends::{ConfirmationEnd, ConnectionClosed, DeliveryEnd, RequestEnd};
use self::expiry::Expiry;
pub use self::log::{LogError, LogFormat, Logging, dropped_log_lines, log_to_stderr};
pub use self::names::*;
use self::notify::NotifyMetrics;
pub use self::notify::SinkDepth;
pub use self::open_files::OpenFiles;
pub use self::panics::{Panicked, blocking, catch, catch_async, install_panic_hook};
pub use self::pings::{Arrival, ClientHeader, PING_PREFIX, Pings, Shown, ping_origin};
use self::process::ProcessMetrics;
pub use self::set::MetricDescription;
use self::set::MetricSet;
pub use self::sites::SiteDepth;
use self::sites::SiteMetrics;
use self::spool::Spool;
use self::store::StoreMetrics;
use self::submissions::Submissions;
use self::taking::AcceptanceEnd;
pub use self::taking::NotTaking;

const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const AGES: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 1_209_600.0];

/// What the store holds, for the gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub queued: u64,
    pub held: u64,
    pub delivered: u64,
    pub dead: u64,
    /// How long the oldest queued entry has waited; zero where none waits.
    pub oldest_queued: Duration,
}

/// All metrics of the program; one value, shared by whoever counts.
pub struct Metrics {
    registry: Registry,
    submissions: Submissions,
    credentials_refused: IntCounterVec,
    connections_refused: IntCounter,
    connections_closed: IntCounterVec,
    accept_duration: Histogram,
    append_duration: Histogram,
    reading_bytes: IntGauge,
    attempts: IntCounterVec,
    delivery_duration: Histogram,
    lead_age: Histogram,
    queue_entries: IntGaugeVec,
    queue_oldest_age: Gauge,
    sites_paused: IntGauge,
    circuits_open: IntGaugeVec,
    retries: IntCounter,
    confirmations: IntCounterVec,
    config_reloads: IntCounterVec,
    config_loaded_at: Gauge,
    backup_last_success: Gauge,
    backup_failures: IntCounter,
    config_broken: IntGauge,
    degraded: IntGaugeVec,
    degradations: Degradations,
    spool: Spool,
    store: StoreMetrics,
    process: ProcessMetrics,
    task_restarts: IntCounterVec,
    taking: AcceptanceEnd,
    log_lines_dropped: IntCounter,
    site_count: IntGauge,
    gateways: IntGauge,
    partitions_held: IntGauge,
    streams: IntGauge,
    expiry: Expiry,
    sites: SiteMetrics,
    notify: NotifyMetrics,
    pings: Pings,
    described: Vec<MetricDescription>,
}

/// A metric could not be set up: two share a name, or a name is malformed.
#[derive(Debug, thiserror::Error)]
#[error("the metrics can't be set up")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Registers every metric, each at zero.
    #[expect(clippy::too_many_lines, reason = "a list, a line or two for each metric")]
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let set = MetricSet::of(&registry);
        let build = GaugeVec::new(Opts::new(BUILD_INFO, "Always 1; the label is the version."), &["version"])?;
        set.add(build)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let metrics = Self {
            submissions: Submissions::new(&set)?,
            credentials_refused: set.counters(
                CREDENTIALS_REFUSED,
                "Requests without a valid credential, by what was wrong with it.",
                &["fault"],
            )?,
            connections_refused: set
                .add(IntCounter::new(CONNECTIONS_REFUSED, "Connections refused because there were too many.")?)?,
            connections_closed: set.counters(
                CONNECTIONS_CLOSED,
                "Idle connections closed for new ones, by reason.",
                &["reason"],
            )?,
            accept_duration: set.histogram(
                ACCEPT_DURATION,
                "Time from a request's first byte to its reply.",
                SECONDS,
            )?,
            append_duration: set.histogram(STORE_APPEND_DURATION, "Time until a submission was durable.", SECONDS)?,
            reading_bytes: set.add(IntGauge::new(READING_BYTES, "Bytes of bodies being read now.")?)?,
            attempts: set.counters(DELIVERY_ATTEMPTS, "Delivery attempts by result.", &["result"])?,
            delivery_duration: set.histogram(DELIVERY_DURATION, "Duration of a delivery attempt.", SECONDS)?,
            lead_age: set.histogram(LEAD_AGE, "Time from a lead's arrival to its delivery.", AGES)?,
            queue_entries: set.gauges(QUEUE_ENTRIES, "Entries in the store by state.", "state")?,
            queue_oldest_age: set.add(Gauge::new(QUEUE_OLDEST_AGE, "Age of the oldest queued entry.")?)?,
            sites_paused: set.add(IntGauge::new(SITES_PAUSED, "Sites paused because KaiCalls refuses their keys.")?)?,
            circuits_open: set.gauges(CIRCUITS_OPEN, "Open circuits by scope.", "scope")?,
            retries: set.add(IntCounter::new(DELIVERY_RETRIES, "Failed attempts that will be retried.")?)?,
            confirmations: set.counters(
                DELIVERY_CONFIRMATIONS,
                "Leads looked up in KaiCalls before another attempt, by result.",
                &["result"],
            )?,
            config_reloads: set.counters(CONFIG_RELOADS, "Reloads of the configuration by result.", &["result"])?,
            config_loaded_at: set
                .add(Gauge::new(CONFIG_LOADED_AT, "When the configuration was last loaded without an error.")?)?,
            backup_last_success: set.add(Gauge::new(BACKUP_LAST_SUCCESS, "When the last backup succeeded.")?)?,
            backup_failures: set.add(IntCounter::new(BACKUP_FAILURES, "Failed backups.")?)?,
            config_broken: set.add(IntGauge::new(CONFIG_BROKEN, "Broken or missing parts of the configuration.")?)?,
            degraded: set.gauges(DEGRADED, "What needs a person, by reason.", "reason")?,
            degradations: Degradations::default(),
            spool: Spool::new(&set)?,
            store: StoreMetrics::new(&set)?,
            process: ProcessMetrics::new(&set)?,
            task_restarts: set.counters(TASK_RESTARTS, "Background tasks restarted, by task.", &["task"])?,
            taking: AcceptanceEnd::default(),
            log_lines_dropped: set
                .add(IntCounter::new(LOG_LINES_DROPPED, "Log lines dropped because stderr was not read.")?)?,
            gateways: set.add(IntGauge::new(GATEWAYS, "Gateways that share the store and run.")?)?,
            partitions_held: set
                .add(IntGauge::new(PARTITIONS_HELD, "Partitions of the sites that this gateway sends for.")?)?,
            site_count: set.add(IntGauge::new(SITES, "Sites in the configuration.")?)?,
            streams: set.add(IntGauge::new(STREAMS, "Open streams of events.")?)?,
            expiry: Expiry::new(&set)?,
            sites: SiteMetrics::new(&set)?,
            notify: NotifyMetrics::new(&set)?,
            pings: Pings::default(),
            described: set.described(),
            registry: registry.clone(),
        };
        metrics.preset();
        Ok(metrics)
    }

    /// Makes every label that is known beforehand one that is there from the start.
    fn preset(&self) {
        self.circuits(0, false);
        self.submissions.preset();
        for end in DeliveryEnd::ALL {
            self.attempts.with_label_values(&[end.as_str()]).inc_by(0);
        }
        for reason in ConnectionClosed::ALL {
            self.connections_closed.with_label_values(&[reason.as_str()]).inc_by(0);
        }
        for reason in Degraded::ALL {
            self.degraded.with_label_values(&[reason.as_str()]).set(0);
        }
    }

    /// Counts a request to the gateway.
    pub fn request(&self, end: RequestEnd, duration: Duration) {
        self.submissions.count(end);
        self.accept_duration.observe(duration.as_secs_f64());
    }

    /// Counts a request without a valid credential; `fault` is a word of a closed set.
    pub fn credential_refused(&self, fault: &'static str) {
        self.credentials_refused.with_label_values(&[fault]).inc();
    }

    /// Counts a new connection for which there was no place, and no idle one that could leave for it.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts an idle connection that was closed for a new one.
    pub fn connection_closed(&self, reason: ConnectionClosed) {
        self.connections_closed.with_label_values(&[reason.as_str()]).inc();
    }

    /// Records how long the store took to make an entry durable.
    pub fn appended(&self, duration: Duration) {
        self.append_duration.observe(duration.as_secs_f64());
    }

    /// Tells how many bytes of bodies are being read.
    pub fn reading(&self, bytes: u64) {
        self.reading_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a POST to KaiCalls.
    pub fn attempt(&self, end: DeliveryEnd, duration: Duration) {
        self.attempts.with_label_values(&[end.as_str()]).inc();
        self.delivery_duration.observe(duration.as_secs_f64());
    }

    /// Records how old a lead was when it was delivered.
    pub fn delivered_at_age(&self, age: Duration) {
        self.lead_age.observe(age.as_secs_f64());
    }

    /// Tells what the store holds.
    pub fn depth(&self, depth: Depth) {
        let states =
            [("queued", depth.queued), ("held", depth.held), ("delivered", depth.delivered), ("dead", depth.dead)];
        for (state, entries) in states {
            self.queue_entries.with_label_values(&[state]).set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
        self.queue_oldest_age.set(depth.oldest_queued.as_secs_f64());
    }

    /// Tells how many sites are paused.
    pub fn paused(&self, sites: usize) {
        self.sites_paused.set(i64::try_from(sites).unwrap_or(i64::MAX));
    }

    /// Tells how many gateways share the store and run.
    pub fn gateways_seen(&self, gateways: usize) {
        self.gateways.set(i64::try_from(gateways).unwrap_or(i64::MAX));
    }

    /// Tells how many of the sites' partitions this gateway sends for.
    pub fn partitions_held(&self, partitions: u32) {
        self.partitions_held.set(partitions.into());
    }

    /// Tells which circuits are open.
    pub fn circuits(&self, sites: usize, upstream: bool) {
        self.circuits_open.with_label_values(&["site"]).set(i64::try_from(sites).unwrap_or(i64::MAX));
        self.circuits_open.with_label_values(&["upstream"]).set(upstream.into());
    }

    /// Counts an attempt after which a lead is to be tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts a lead that was asked for because it may have arrived.
    pub fn asked(&self, end: ConfirmationEnd) {
        self.confirmations.with_label_values(&[end.as_str()]).inc();
    }

    /// Counts a load of the configuration; `at` is when it succeeded, in seconds since 1970.
    pub fn config_loaded(&self, at: Option<i64>) {
        let result = if at.is_some() { "ok" } else { "failed" };
        self.config_reloads.with_label_values(&[result]).inc();
        if let Some(at) = at {
            self.config_loaded_at.set(seconds(at));
        }
    }

    /// Tells how many sites there are.
    pub fn sites(&self, count: usize) {
        self.site_count.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Tells that somebody begins to watch what happens.
    pub fn stream_opened(&self) {
        self.streams.inc();
    }

    /// Tells that one watches no more.
    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    /// Tells when a listener's certificate expires, in seconds since 1970.
    pub fn certificate_expires(&self, listen: &str, at: i64) {
        self.expiry.certificate(listen, at);
    }

    /// Tells when the tokens of sites expire, in seconds since 1970; series of other sites go.
    pub fn token_expiries<'a>(&self, expiries: impl Iterator<Item = (&'a str, i64)>) {
        self.expiry.tokens(expiries);
    }

    /// Tells when the store was last copied, in seconds since 1970.
    pub fn backed_up(&self, at: i64) {
        self.backup_last_success.set(seconds(at));
    }

    /// Counts a copy of the store that failed.
    pub fn backup_failed(&self) {
        self.backup_failures.inc();
    }

    /// Says how many sites, mappings, tables and files of the configuration are broken or gone.
    pub fn config_broken(&self, parts: usize) {
        self.config_broken.set(i64::try_from(parts).unwrap_or(i64::MAX));
    }

    /// Says that something needs a person, or doesn't any more; a change is logged.
    pub fn set_degraded(&self, reason: Degraded, is_degraded: bool) {
        if self.degradations.set(reason, is_degraded) {
            self.degraded.with_label_values(&[reason.as_str()]).set(is_degraded.into());
        }
    }

    /// Says that there is such a background task, so that the first time it is started again is an increase.
    pub fn task_begun(&self, task: &'static str) {
        self.task_restarts.with_label_values(&[task]).inc_by(0);
    }

    /// Counts a background task that was started again; `task` is a name from the program.
    pub fn task_restarted(&self, task: &'static str) {
        self.task_restarts.with_label_values(&[task]).inc();
    }

    /// Says that this process takes no submission any more.
    pub fn stop_taking(&self, reason: NotTaking) {
        self.taking.end(reason);
    }

    /// Returns why this process takes no submission any more.
    pub fn not_taking(&self) -> Option<NotTaking> {
        self.taking.ended()
    }

    /// Returns what needs a person now.
    pub fn degraded(&self) -> Vec<Degraded> {
        self.degradations.list()
    }

    /// Returns the requests that an operator announced.
    pub fn pings(&self) -> &Pings {
        &self.pings
    }

    /// Describes every metric, in the order in which they are registered.
    pub fn described(&self) -> &[MetricDescription] {
        &self.described
    }

    /// Writes all metrics in Prometheus' text format.
    pub fn text(&self) -> Result<Vec<u8>, MetricsError> {
        self.log_lines_dropped.inc_by(dropped_log_lines().saturating_sub(self.log_lines_dropped.get()));
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float's 53 bits")]
fn seconds(since_1970: i64) -> f64 {
    since_1970 as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_metric_that_was_counted() {
        let metrics = Metrics::new().expect("names are unique");
        metrics.request(RequestEnd::Queued, Duration::from_millis(3));
        metrics.set_sites(["acme"].into_iter(), 1);
        metrics.refused("acme", "unauthorized");
        metrics.attempt(DeliveryEnd::Ambiguous, Duration::from_secs(30));
        metrics.depth(Depth { queued: 7, oldest_queued: Duration::from_secs(90), ..Depth::default() });
        metrics.config_loaded(Some(1_700_000_000));
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        for line in [
            r#"formgate_submissions_received_total{outcome="queued"} 1"#,
            r#"formgate_refused_total{reason="unauthorized",site="acme"} 1"#,
            r#"formgate_delivery_attempts_total{result="ambiguous"} 1"#,
            r#"formgate_queue_entries{state="queued"} 7"#,
            "formgate_queue_oldest_age_seconds 90",
            r#"formgate_config_reload_total{result="ok"} 1"#,
            concat!(r#"formgate_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn a_leads_age_is_told_apart_at_a_minute() {
        let metrics = Metrics::new().expect("names are unique");
        for seconds in [60, 61] {
            metrics.delivered_at_age(Duration::from_secs(seconds));
        }
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        assert!(page.contains("formgate_lead_age_seconds_bucket{le=\"60\"} 1\n"), "{page}");
    }
}

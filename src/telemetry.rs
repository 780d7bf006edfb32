//! Every metric's name, and how the program logs.
//!
//! Labels are closed enums or site names from the configuration; never anything that came over the wire. No value of a
//! submission and no secret gets here.

mod degraded;
mod log;
mod panics;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::degraded::Degradations;
pub use self::degraded::Degraded;
pub use self::log::{LogError, LogFormat, log_to_stderr};
pub use self::panics::{Panicked, catch, catch_async, install_panic_hook};

/// Requests to the gateway by how they ended.
pub const SUBMISSIONS_RECEIVED: &str = "formgate_submissions_received_total";
/// Requests refused, by configured site and reason.
pub const REFUSED: &str = "formgate_refused_total";
/// Connections closed at once because there were too many.
pub const CONNECTIONS_REFUSED: &str = "formgate_connections_refused_total";
/// From a request's first byte to its reply.
pub const ACCEPT_DURATION: &str = "formgate_accept_duration_seconds";
/// How long the store took until an entry was durable.
pub const STORE_APPEND_DURATION: &str = "formgate_store_append_duration_seconds";
/// Bytes of bodies being read now.
pub const READING_BYTES: &str = "formgate_reading_bytes";
/// POSTs to KaiCalls by how they ended.
pub const DELIVERY_ATTEMPTS: &str = "formgate_delivery_attempts_total";
/// How long a POST to KaiCalls took.
pub const DELIVERY_DURATION: &str = "formgate_delivery_duration_seconds";
/// From a lead's arrival to its delivery.
pub const LEAD_AGE: &str = "formgate_lead_age_seconds";
/// Entries in the store by state.
pub const QUEUE_ENTRIES: &str = "formgate_queue_entries";
/// How long the oldest queued entry has waited.
pub const QUEUE_OLDEST_AGE: &str = "formgate_queue_oldest_age_seconds";
/// Sites that are paused because their keys were refused.
pub const SITES_PAUSED: &str = "formgate_sites_paused";
/// Circuits that are open: of so many sites, or of the upstream as a whole.
pub const CIRCUITS_OPEN: &str = "formgate_circuits_open";
/// Attempts after which a lead is to be tried again.
pub const DELIVERY_RETRIES: &str = "formgate_delivery_retries_total";
/// Leads that may have arrived and were asked for, by what was found.
pub const DELIVERY_CONFIRMATIONS: &str = "formgate_delivery_confirmations_total";
/// Reloads of the configuration by result.
pub const CONFIG_RELOADS: &str = "formgate_config_reload_total";
/// When the configuration was last loaded without an error.
pub const CONFIG_LOADED_AT: &str = "formgate_config_last_reload_success_timestamp_seconds";
/// When the store was last copied by `[backup]`; 0: not that this process knows.
pub const BACKUP_LAST_SUCCESS: &str = "formgate_backup_last_success_timestamp_seconds";
/// Copies by `[backup]` that failed.
pub const BACKUP_FAILURES: &str = "formgate_backup_failures_total";
/// 1 for each thing that needs a person while submissions are taken all the same.
pub const DEGRADED: &str = "formgate_degraded";
/// Always 1; its label is the version.
pub const BUILD_INFO: &str = "formgate_build_info";

const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const AGES: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 1_209_600.0];

/// How a request to the gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    Queued,
    Held,
    Duplicate,
    /// Stored as held, and answered with an error.
    Rejected,
    /// Nothing was stored.
    Refused,
    /// Answered without a submission in it: a check of keys, the widget.
    Answered,
    /// Cut off before it had an answer: the gateway stopped, or the connection was closed.
    Aborted,
    /// A panic ended it.
    Panicked,
}

impl RequestEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held => "held",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Refused => "refused",
            Self::Answered => "answered",
            Self::Aborted => "aborted",
            Self::Panicked => "panicked",
        }
    }
}

/// How a POST to KaiCalls ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    Delivered,
    KeyRefused,
    LeadRefused,
    Failed,
    Ambiguous,
}

impl DeliveryEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::KeyRefused => "key_refused",
            Self::LeadRefused => "lead_refused",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What was found where a lead that may have arrived was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationEnd {
    /// It is there, and is not posted again.
    Confirmed,
    /// It is not there.
    NotShown,
    /// It can't be told.
    Unknown,
}

impl ConfirmationEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotShown => "not_shown",
            Self::Unknown => "unknown",
        }
    }
}

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
    submissions: IntCounterVec,
    refused: IntCounterVec,
    connections_refused: IntCounter,
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
    degraded: IntGaugeVec,
    degradations: Degradations,
}

/// A metric could not be set up: two share a name, or a name is malformed.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be set up")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Registers every metric, each at zero.
    #[expect(clippy::too_many_lines, reason = "a list, a line or two for each metric")]
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let set = Set { registry: &registry };
        let metrics = Self {
            submissions: set.counters(
                SUBMISSIONS_RECEIVED,
                "Requests to the gateway by how they ended.",
                &["outcome"],
            )?,
            refused: set.counters(REFUSED, "Requests refused, by configured site and reason.", &["site", "reason"])?,
            connections_refused: set.add(IntCounter::new(CONNECTIONS_REFUSED, "Connections over the cap.")?)?,
            accept_duration: set.histogram(ACCEPT_DURATION, "From first byte to reply.", SECONDS)?,
            append_duration: set.histogram(STORE_APPEND_DURATION, "Until an entry was durable.", SECONDS)?,
            reading_bytes: set.add(IntGauge::new(READING_BYTES, "Bytes of bodies being read now.")?)?,
            attempts: set.counters(DELIVERY_ATTEMPTS, "POSTs to KaiCalls by how they ended.", &["result"])?,
            delivery_duration: set.histogram(DELIVERY_DURATION, "How long a POST to KaiCalls took.", SECONDS)?,
            lead_age: set.histogram(LEAD_AGE, "From a lead's arrival to its delivery.", AGES)?,
            queue_entries: set.gauges(QUEUE_ENTRIES, "Entries in the store by state.", "state")?,
            queue_oldest_age: set.add(Gauge::new(QUEUE_OLDEST_AGE, "How long the oldest queued entry has waited.")?)?,
            sites_paused: set.add(IntGauge::new(SITES_PAUSED, "Sites whose keys were refused.")?)?,
            circuits_open: set.gauges(CIRCUITS_OPEN, "Circuits that are open.", "scope")?,
            retries: set.add(IntCounter::new(DELIVERY_RETRIES, "Attempts after which a lead is tried again.")?)?,
            confirmations: set.counters(
                DELIVERY_CONFIRMATIONS,
                "Leads that may have arrived and were asked for, by what was found.",
                &["result"],
            )?,
            config_reloads: set.counters(CONFIG_RELOADS, "Reloads of the configuration by result.", &["result"])?,
            config_loaded_at: set.add(Gauge::new(CONFIG_LOADED_AT, "When the configuration was last loaded.")?)?,
            backup_last_success: set.add(Gauge::new(BACKUP_LAST_SUCCESS, "When the store was last copied.")?)?,
            backup_failures: set.add(IntCounter::new(BACKUP_FAILURES, "Copies of the store that failed.")?)?,
            degraded: set.gauges(DEGRADED, "What needs a person, by reason.", "reason")?,
            degradations: Degradations::default(),
            registry: registry.clone(),
        };
        metrics.circuits(0, false);
        for reason in Degraded::ALL {
            metrics.degraded.with_label_values(&[reason.as_str()]).set(0);
        }
        let build = GaugeVec::new(Opts::new(BUILD_INFO, "Always 1; the label is the version."), &["version"])?;
        set.add(build)?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        Ok(metrics)
    }

    /// Counts a request to the gateway.
    pub fn request(&self, end: RequestEnd, duration: Duration) {
        self.submissions.with_label_values(&[end.as_str()]).inc();
        self.accept_duration.observe(duration.as_secs_f64());
    }

    /// Counts a refusal; `site` is one of the configuration's.
    pub fn refused(&self, site: &str, reason: &'static str) {
        self.refused.with_label_values(&[site, reason]).inc();
    }

    /// Counts a connection closed because there were too many.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
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
        if let Some(seconds) = at {
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float's 53 bits")]
            self.config_loaded_at.set(seconds as f64);
        }
    }

    /// Tells when the store was last copied, in seconds since 1970.
    pub fn backed_up(&self, at: i64) {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float's 53 bits")]
        self.backup_last_success.set(at as f64);
    }

    /// Counts a copy of the store that failed.
    pub fn backup_failed(&self) {
        self.backup_failures.inc();
    }

    /// Says that something needs a person, or doesn't any more; a change is logged.
    pub fn set_degraded(&self, reason: Degraded, is_degraded: bool) {
        if self.degradations.set(reason, is_degraded) {
            self.degraded.with_label_values(&[reason.as_str()]).set(is_degraded.into());
        }
    }

    /// Returns what needs a person now.
    pub fn degraded(&self) -> Vec<Degraded> {
        self.degradations.list()
    }

    /// Writes all metrics in Prometheus' text format.
    pub fn text(&self) -> Result<Vec<u8>, MetricsError> {
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

struct Set<'a> {
    registry: &'a Registry,
}

impl Set<'_> {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, MetricsError> {
        self.add(IntGaugeVec::new(Opts::new(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_metric_that_was_counted() {
        let metrics = Metrics::new().expect("names are unique");
        metrics.request(RequestEnd::Queued, Duration::from_millis(3));
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
}

//! Metrics with a `site` label: of sites of the configuration alone, and of no more than it allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use parking_lot::{Mutex, RwLock};
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::set::MetricSet;
use super::{Metrics, MetricsError, seconds};

/// Requests to a site that were refused, by reason.
const REFUSED: &str = "formgate_refused_total";
/// Refused requests to a site by what was wrong: unlike `reason`, which the sender is told, it tells one credential's fault
/// from another's.
const SITE_MISTAKES: &str = "formgate_site_mistakes_total";
/// When a site last posted something that was stored, in seconds since 1970.
const SITE_LAST_RECEIVED: &str = "formgate_site_last_received_timestamp_seconds";
/// Submissions of a site that were stored, repeated ones included.
const SITE_RECEIVED: &str = "formgate_site_received_total";
/// Leads of a site that KaiCalls took.
const SITE_DELIVERED: &str = "formgate_site_delivered_total";
/// Entries of a site that are queued or held.
const SITE_ENTRIES: &str = "formgate_site_queue_entries";
/// How long the oldest queued entry of a site has waited.
const SITE_OLDEST_AGE: &str = "formgate_site_queue_oldest_age_seconds";
/// 1 if KaiCalls refuses keys of the site.
const SITE_PAUSED: &str = "formgate_site_paused";

/// What a site has in the store, and whether it is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SiteDepth {
    pub queued: u64,
    pub held: u64,
    pub oldest_queued_seconds: f64,
    pub is_paused: bool,
}

/// The series of the sites that have some.
pub(super) struct SiteMetrics {
    refused: IntCounterVec,
    mistakes: IntCounterVec,
    last_received: GaugeVec,
    received: IntCounterVec,
    delivered: IntCounterVec,
    entries: IntGaugeVec,
    oldest_age: GaugeVec,
    paused: IntGaugeVec,
    /// Nothing is counted of any other: a series that nobody removes would stay for ever.
    sites: RwLock<BTreeMap<String, Series>>,
}

/// The series of one site that a request counts to, so that it looks up no labels.
struct Series {
    received: IntCounter,
    delivered: IntCounter,
    /// There is none before the first submission: zero would be a time, in 1970.
    last_received: OnceLock<Gauge>,
    /// By reason; of a reason, from its first refusal on.
    refused: Mutex<BTreeMap<&'static str, IntCounter>>,
    /// The same by mistake.
    mistakes: Mutex<BTreeMap<&'static str, IntCounter>>,
}

impl SiteMetrics {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        let site = &["site"];
        Ok(Self {
            refused: set.counters(REFUSED, "Refused requests by configured site and reason.", &["site", "reason"])?,
            mistakes: set.counters(
                SITE_MISTAKES,
                "Refused requests by configured site and what was wrong.",
                &["site", "mistake"],
            )?,
            last_received: set.float_gauges(
                SITE_LAST_RECEIVED,
                "When the site's last stored submission arrived.",
                site,
            )?,
            received: set.counters(SITE_RECEIVED, "Stored submissions by site.", site)?,
            delivered: set.counters(SITE_DELIVERED, "Delivered leads by site.", site)?,
            entries: set.gauges_of(SITE_ENTRIES, "Entries by site and state.", &["site", "state"])?,
            oldest_age: set.float_gauges(SITE_OLDEST_AGE, "Age of the site's oldest queued entry.", site)?,
            paused: set.gauges_of(SITE_PAUSED, "1 if KaiCalls refuses keys of the site.", site)?,
            sites: RwLock::default(),
        })
    }

    /// Gives these sites series, and takes them from all others.
    pub(super) fn set_sites(&self, sites: BTreeSet<String>) {
        let mut known = self.sites.write();
        for (site, series) in known.iter().filter(|(site, _)| !sites.contains(*site)) {
            for reason in series.refused.lock().keys() {
                drop(self.refused.remove_label_values(&[site.as_str(), reason]));
            }
            for mistake in series.mistakes.lock().keys() {
                drop(self.mistakes.remove_label_values(&[site.as_str(), mistake]));
            }
            // One that was never counted has none.
            drop(self.last_received.remove_label_values(&[site]));
            drop(self.received.remove_label_values(&[site]));
            drop(self.delivered.remove_label_values(&[site]));
            drop(self.oldest_age.remove_label_values(&[site]));
            drop(self.paused.remove_label_values(&[site]));
            for state in ["queued", "held"] {
                drop(self.entries.remove_label_values(&[site.as_str(), state]));
            }
        }
        known.retain(|site, _| sites.contains(site));
        for site in sites {
            known.entry(site).or_insert_with_key(|site| self.series(site));
        }
    }

    /// Begins the series of a site: from zero on, so that a rate is seen with the first one.
    fn series(&self, site: &str) -> Series {
        self.set(site, SiteDepth::default());
        Series {
            received: self.received.with_label_values(&[site]),
            delivered: self.delivered.with_label_values(&[site]),
            last_received: OnceLock::new(),
            refused: Mutex::default(),
            mistakes: Mutex::default(),
        }
    }

    fn last_received<'a>(&self, site: &str, series: &'a Series) -> &'a Gauge {
        series.last_received.get_or_init(|| self.last_received.with_label_values(&[site]))
    }

    pub(super) fn refused(&self, site: &str, reason: &'static str) {
        if let Some(series) = self.sites.read().get(site) {
            let mut refused = series.refused.lock();
            refused.entry(reason).or_insert_with(|| self.refused.with_label_values(&[site, reason])).inc();
        }
    }

    pub(super) fn mistake(&self, site: &str, mistake: &'static str) {
        if let Some(series) = self.sites.read().get(site) {
            let mut mistakes = series.mistakes.lock();
            mistakes.entry(mistake).or_insert_with(|| self.mistakes.with_label_values(&[site, mistake])).inc();
        }
    }

    pub(super) fn received(&self, site: &str, at_seconds: f64) {
        if let Some(series) = self.sites.read().get(site) {
            series.received.inc();
            self.last_received(site, series).set(at_seconds);
        }
    }

    /// Says when a site last posted before this process began; what came since goes before.
    pub(super) fn received_before(&self, site: &str, at_seconds: f64) {
        if let Some(series) = self.sites.read().get(site) {
            let last = self.last_received(site, series);
            last.set(last.get().max(at_seconds));
        }
    }

    pub(super) fn delivered(&self, site: &str) {
        if let Some(series) = self.sites.read().get(site) {
            series.delivered.inc();
        }
    }

    /// Sets what `depth` says of each site that has series.
    pub(super) fn depths(&self, depth: impl Fn(&str) -> SiteDepth) {
        for site in self.sites.read().keys() {
            self.set(site, depth(site));
        }
    }

    fn set(&self, site: &str, depth: SiteDepth) {
        let whole = |entries| i64::try_from(entries).unwrap_or(i64::MAX);
        self.entries.with_label_values(&[site, "queued"]).set(whole(depth.queued));
        self.entries.with_label_values(&[site, "held"]).set(whole(depth.held));
        self.oldest_age.with_label_values(&[site]).set(depth.oldest_queued_seconds);
        self.paused.with_label_values(&[site]).set(depth.is_paused.into());
    }
}

impl Metrics {
    /// Gives the first `max` of these sites, in the order of their ids, metrics of their own, and takes those of all others.
    pub fn set_sites<'a>(&self, sites: impl Iterator<Item = &'a str>, max: usize) {
        self.sites.set_sites(sites.take(max).map(str::to_owned).collect::<BTreeSet<_>>());
    }

    /// Counts a request to a site that was refused.
    pub fn refused(&self, site: &str, reason: &'static str) {
        self.sites.refused(site, reason);
    }

    /// Counts what was wrong with a request to a site that was refused.
    pub fn mistake(&self, site: &str, mistake: &'static str) {
        self.sites.mistake(site, mistake);
    }

    /// Counts a submission of a site that was stored at a time, in seconds since 1970.
    pub fn site_received(&self, site: &str, at: i64) {
        self.sites.received(site, seconds(at));
    }

    /// Says when a site last posted before this process began.
    pub fn site_received_before(&self, site: &str, at: i64) {
        self.sites.received_before(site, seconds(at));
    }

    /// Counts a lead of a site that KaiCalls took.
    pub fn site_delivered(&self, site: &str) {
        self.sites.delivered(site);
    }

    /// Tells what the store holds of each site that has metrics of its own.
    pub fn site_depths(&self, depth: impl Fn(&str) -> SiteDepth) {
        self.sites.depths(depth);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn of_sites(metrics: &Metrics) -> Vec<String> {
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        page.lines().filter(|line| line.contains(r#"site=""#)).map(str::to_owned).collect()
    }

    #[test]
    fn only_sites_of_the_configuration_have_series_and_lose_them_with_it() {
        let metrics = Metrics::new().expect("metrics");
        metrics.site_received("acme", 5);
        metrics.site_delivered("acme");
        metrics.refused("acme", "unauthorized");
        assert_eq!(of_sites(&metrics), [""; 0]);
        metrics.set_sites(["acme", "beta"].into_iter(), 1);
        metrics.site_received("acme", 1_800_000_000);
        metrics.site_received("beta", 1_800_000_000);
        metrics.site_delivered("acme");
        metrics.site_received_before("acme", 1_700_000_000);
        metrics.refused("acme", "rate_limited");
        metrics.mistake("acme", "expired_token");
        metrics.refused("beta", "rate_limited");
        let depth = SiteDepth { queued: 2, held: 1, oldest_queued_seconds: 90.0, is_paused: true };
        metrics.site_depths(|_site| depth);
        assert_eq!(
            of_sites(&metrics),
            [
                r#"formgate_refused_total{reason="rate_limited",site="acme"} 1"#,
                r#"formgate_site_delivered_total{site="acme"} 1"#,
                r#"formgate_site_last_received_timestamp_seconds{site="acme"} 1800000000"#,
                r#"formgate_site_mistakes_total{mistake="expired_token",site="acme"} 1"#,
                r#"formgate_site_paused{site="acme"} 1"#,
                r#"formgate_site_queue_entries{site="acme",state="held"} 1"#,
                r#"formgate_site_queue_entries{site="acme",state="queued"} 2"#,
                r#"formgate_site_queue_oldest_age_seconds{site="acme"} 90"#,
                r#"formgate_site_received_total{site="acme"} 1"#,
            ]
        );
        metrics.set_sites(["beta"].into_iter(), 1);
        assert!(of_sites(&metrics).iter().all(|line| line.contains(r#"site="beta""#)), "{:?}", of_sites(&metrics));
        metrics.set_sites(["beta"].into_iter(), 0);
        assert_eq!(of_sites(&metrics), [""; 0]);
    }
}

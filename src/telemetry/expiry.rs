//! What ends by itself one day: certificates and tokens.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use prometheus::IntGaugeVec;

use super::set::MetricSet;
use super::{CERTIFICATE_EXPIRY, MetricsError, TOKEN_EXPIRY};

/// When certificates and tokens expire, in seconds since 1970.
pub(super) struct Expiry {
    certificates: IntGaugeVec,
    tokens: IntGaugeVec,
    /// The sites that have a series now.
    sites: Mutex<BTreeSet<String>>,
}

impl Expiry {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            certificates: set.gauges(CERTIFICATE_EXPIRY, "When a listener's certificate expires.", "listen")?,
            tokens: set.gauges(TOKEN_EXPIRY, "When the first of a site's tokens expires.", "site")?,
            sites: Mutex::default(),
        })
    }

    pub(super) fn certificate(&self, listen: &str, at: i64) {
        self.certificates.with_label_values(&[listen]).set(at);
    }

    /// Sets the series of these sites and removes all others.
    pub(super) fn tokens<'a>(&self, expiries: impl Iterator<Item = (&'a str, i64)>) {
        let mut sites = self.sites.lock();
        let mut current = BTreeSet::new();
        for (site, at) in expiries {
            self.tokens.with_label_values(&[site]).set(at);
            current.insert(site.to_owned());
        }
        for gone in sites.difference(&current) {
            // Absent already is as good.
            drop(self.tokens.remove_label_values(&[gone]));
        }
        *sites = current;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn a_site_without_an_expiring_token_has_no_series() {
        let metrics = Metrics::new().expect("metrics");
        let page = || String::from_utf8(metrics.text().expect("a page")).expect("text");
        metrics.token_expiries([("acme", 1_800_000_000), ("beta", 1_900_000_000)].into_iter());
        assert!(page().contains("formgate_token_expiry_timestamp_seconds{site=\"acme\"} 1800000000"), "{}", page());
        metrics.token_expiries([("beta", 1_900_000_001)].into_iter());
        assert!(!page().contains("site=\"acme\"") && page().contains("{site=\"beta\"} 1900000001"), "{}", page());
    }
}

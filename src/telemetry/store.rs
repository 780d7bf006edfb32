//! Whether the store takes submissions, and how much room it has.

use prometheus::{IntGauge, IntGaugeVec};

use super::set::MetricSet;
use super::{DISK_AVAILABLE, Metrics, MetricsError, READY, STORE_BYTES, STORE_MAX_BYTES};

/// Its gauges.
pub(super) struct StoreMetrics {
    ready: IntGauge,
    max_bytes: IntGauge,
    // Without labels, and with no series until something is known: zero bytes would be an alarm.
    bytes: IntGaugeVec,
    disk_available: IntGaugeVec,
}

impl StoreMetrics {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            ready: set.add(IntGauge::new(READY, "1 if a submission posted now would be stored.")?)?,
            max_bytes: set.add(IntGauge::new(STORE_MAX_BYTES, "How large the store may get.")?)?,
            bytes: set.gauges_of(STORE_BYTES, "Bytes of the store in use.", &[])?,
            disk_available: set.gauges_of(DISK_AVAILABLE, "Bytes free on the disk of the data folder.", &[])?,
        })
    }
}

impl Metrics {
    /// Says whether a submission posted now would be stored.
    pub fn ready(&self, is_ready: bool) {
        self.store.ready.set(is_ready.into());
    }

    /// Says how large the store is, where it can tell, and may get.
    pub fn store_size(&self, bytes: Option<u64>, max_bytes: u64) {
        self.store.max_bytes.set(i64::try_from(max_bytes).unwrap_or(i64::MAX));
        set_or_remove(&self.store.bytes, bytes);
    }

    /// Says how much room is on the disk of the data folder, where that is known.
    pub fn disk_available(&self, bytes: Option<u64>) {
        set_or_remove(&self.store.disk_available, bytes);
    }
}

/// Sets a gauge without labels; where nothing is known it has no series.
pub(super) fn set_or_remove(gauge: &IntGaugeVec, value: Option<u64>) {
    match value {
        Some(value) => gauge.with_label_values::<&str>(&[]).set(i64::try_from(value).unwrap_or(i64::MAX)),
        // Absent already is as good.
        None => drop(gauge.remove_label_values::<&str>(&[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_series() {
        let metrics = Metrics::new().expect("metrics");
        let page = || String::from_utf8(metrics.text().expect("a page")).expect("text");
        metrics.store_size(None, 100);
        metrics.disk_available(None);
        assert!(page().contains("\nformgate_store_max_bytes 100\n"), "{}", page());
        assert!(!page().contains("formgate_store_bytes") && !page().contains("formgate_disk_available_bytes"));
        metrics.store_size(Some(80), 100);
        metrics.disk_available(Some(4_096));
        assert!(page().contains("\nformgate_store_bytes 80\n"), "{}", page());
        assert!(page().contains("\nformgate_disk_available_bytes 4096\n"), "{}", page());
        metrics.store_size(None, 100);
        assert!(!page().contains("formgate_store_bytes"), "{}", page());
    }
}

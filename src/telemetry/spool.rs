//! What lies in the spool on this machine.

use prometheus::IntGauge;

use super::names::{SPOOL_BYTES, SPOOL_ENTRIES};
use super::set::MetricSet;
use super::{Metrics, MetricsError};

/// Its gauges.
#[derive(Debug)]
pub(super) struct Spool {
    entries: IntGauge,
    bytes: IntGauge,
}

impl Spool {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            entries: set.add(IntGauge::new(SPOOL_ENTRIES, "Leads in the spool, because the shared store is away.")?)?,
            bytes: set.add(IntGauge::new(SPOOL_BYTES, "Bytes of the spool while it holds leads.")?)?,
        })
    }
}

impl Metrics {
    /// Says how much the spool holds.
    pub fn spooled(&self, entries: u64, bytes: u64) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.spool.entries.set(gauge(entries));
        self.spool.bytes.set(gauge(bytes));
    }
}

//! Metrics of what is told to others, by sink: those of the configuration, and all of sites' own files together.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec};

use super::set::MetricSet;
use super::{Metrics, MetricsError, NOTIFY_BACKLOG, NOTIFY_EVENTS, NOTIFY_FAILING};

/// What waits for a sink, and whether it takes anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkDepth {
    pub backlog: u64,
    pub is_failing: bool,
}

pub(super) struct NotifyMetrics {
    events: IntCounterVec,
    backlog: IntGaugeVec,
    failing: IntGaugeVec,
    /// The sinks that have series now.
    sinks: Mutex<BTreeSet<String>>,
}

impl NotifyMetrics {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            events: set.counters(NOTIFY_EVENTS, "Events by sink and result.", &["sink", "result"])?,
            backlog: set.gauges(NOTIFY_BACKLOG, "Events that wait for a sink.", "sink")?,
            failing: set.gauges(NOTIFY_FAILING, "1 if a sink takes no events.", "sink")?,
            sinks: Mutex::default(),
        })
    }

    fn count(&self, sink: &str, result: &str, events: usize) {
        self.events.with_label_values(&[sink, result]).inc_by(events as u64);
    }

    /// Sets the series of these sinks and removes all others.
    fn depths(&self, depths: &BTreeMap<String, SinkDepth>) {
        let mut sinks = self.sinks.lock();
        for gone in sinks.iter().filter(|sink| !depths.contains_key(*sink)) {
            // Absent already is as good.
            drop(self.backlog.remove_label_values(&[gone]));
            drop(self.failing.remove_label_values(&[gone]));
            for result in ["sent", "lost"] {
                drop(self.events.remove_label_values(&[gone, result]));
            }
        }
        for (sink, depth) in depths {
            if sinks.insert(sink.clone()) {
                self.count(sink, "sent", 0);
                self.count(sink, "lost", 0);
            }
            self.backlog.with_label_values(&[sink]).set(i64::try_from(depth.backlog).unwrap_or(i64::MAX));
            self.failing.with_label_values(&[sink]).set(depth.is_failing.into());
        }
        sinks.retain(|sink| depths.contains_key(sink));
    }
}

impl Metrics {
    /// Counts events that a sink took.
    pub fn notified(&self, sink: &str, events: usize) {
        self.notify.count(sink, "sent", events);
    }

    /// Counts events that were given up.
    pub fn notify_lost(&self, sink: &str, events: usize) {
        self.notify.count(sink, "lost", events);
    }

    /// Tells how each sink does.
    pub fn sink_depths(&self, depths: &BTreeMap<String, SinkDepth>) {
        self.notify.depths(depths);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_has_series_as_long_as_it_is_configured() {
        let metrics = Metrics::new().expect("metrics");
        let page = || String::from_utf8(metrics.text().expect("a page")).expect("text");
        let depth = SinkDepth { backlog: 3, is_failing: true };
        metrics.sink_depths(&BTreeMap::from([("ops".to_owned(), depth)]));
        metrics.notified("ops", 2);
        for line in [
            r#"formgate_notify_backlog{sink="ops"} 3"#,
            r#"formgate_notify_sink_failing{sink="ops"} 1"#,
            r#"formgate_notify_events_total{result="sent",sink="ops"} 2"#,
            r#"formgate_notify_events_total{result="lost",sink="ops"} 0"#,
        ] {
            assert!(page().contains(line), "{}", page());
        }
        metrics.sink_depths(&BTreeMap::new());
        assert!(!page().contains("ops"), "{}", page());
    }
}

//! Making metrics and registering them, in one step each.

use prometheus::core::Collector;
use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::MetricsError;

/// A registry that metrics are added to.
pub(super) struct MetricSet<'a> {
    pub(super) registry: &'a Registry,
}

impl MetricSet<'_> {
    pub(super) fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, MetricsError> {
        self.gauges_of(name, help, &[label])
    }

    pub(super) fn gauges_of(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, MetricsError> {
        self.add(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
}

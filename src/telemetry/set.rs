//! Making metrics and registering them, in one step each.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::MetricsError;

/// A registry that metrics are added to.
pub(super) struct MetricSet<'a> {
    registry: &'a Registry,
    described: RefCell<Vec<MetricDescription>>,
}

/// A metric as it is documented.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricDescription {
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub help: String,
    pub labels: Vec<String>,
    /// The upper bounds of a histogram's buckets, without the infinite one.
    pub buckets: Vec<f64>,
}

impl<'a> MetricSet<'a> {
    pub(super) fn of(registry: &'a Registry) -> Self {
        Self { registry, described: RefCell::default() }
    }

    /// Returns what was added so far.
    pub(super) fn described(&self) -> Vec<MetricDescription> {
        self.described.borrow().clone()
    }

    pub(super) fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(metric.clone()))?;
        self.described.borrow_mut().extend(MetricDescription::of(&metric));
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

impl MetricDescription {
    /// Describes what was just made. Of one with labels no series is there yet, but its type is.
    fn of(metric: &impl Collector) -> Option<Self> {
        let family = metric.collect().into_iter().next()?;
        let labels = metric.desc().first()?.variable_labels.clone();
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let series = family.get_metric().first();
        let buckets = series.map(|series| series.get_histogram().get_bucket()).unwrap_or_default();
        let buckets = buckets.iter().map(|bucket| bucket.upper_bound()).filter(|bound| bound.is_finite()).collect();
        Some(Self { name: family.name().to_owned(), kind, help: family.help().to_owned(), labels, buckets })
    }
}

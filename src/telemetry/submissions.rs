//! Requests to the gateway by how they ended: counted by each of them, so no label is looked up for it.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec};

use super::set::MetricSet;
use super::{MetricsError, RequestEnd, SUBMISSIONS_RECEIVED};

pub(super) struct Submissions {
    by_end: IntCounterVec,
    /// One for each [`RequestEnd`], made with the first request that ends so.
    counters: [OnceLock<IntCounter>; RequestEnd::ALL.len()],
}

impl Submissions {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        let by_end = set.counters(SUBMISSIONS_RECEIVED, "Requests to the gateway by outcome.", &["outcome"])?;
        Ok(Self { by_end, counters: Default::default() })
    }

    /// Begins each outcome at zero, so that the first one is an increase.
    pub(super) fn preset(&self) {
        for end in RequestEnd::ALL {
            self.by_end.with_label_values(&[end.as_str()]).inc_by(0);
        }
    }

    pub(super) fn count(&self, end: RequestEnd) {
        let made = || self.by_end.with_label_values(&[end.as_str()]);
        match self.counters.get(end as usize) {
            Some(counter) => counter.get_or_init(made).inc(),
            None => made().inc(),
        }
    }
}

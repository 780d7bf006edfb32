//! How lanes do: for the log, the metrics, `notify list`, and the other sinks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Lanes;
use super::lane::Lane;
use crate::notify::sink::SinkFailure;
use crate::operate::{SinkState, SinkStatus};
use crate::telemetry::{Metrics, SinkDepth};

/// A sink that takes nothing, and since when.
pub(in crate::notify) struct BadSink {
    pub(in crate::notify) name: String,
    pub(in crate::notify) since: Timestamp,
}

impl Lanes {
    /// Returns the sinks that others should be told of.
    pub(in crate::notify) fn bad(&self, now: Timestamp) -> Vec<BadSink> {
        let mut bad: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for lane in self.lanes.iter().filter(|lane| lane.state.is_bad(now)) {
            let Some(since) = lane.state.gone_at.or_else(|| Some(lane.state.failing.as_ref()?.since)) else { continue };
            let at = bad.entry(&lane.sink.name).or_insert(since);
            *at = since.min(*at);
        }
        bad.into_iter().map(|(name, since)| BadSink { name: name.to_owned(), since }).collect()
    }

    /// Tells the metrics how every sink does.
    pub(in crate::notify) fn tell(&self, metrics: &Metrics) {
        let mut depths: BTreeMap<String, SinkDepth> = BTreeMap::new();
        for lane in &self.lanes {
            let depth = depths.entry(lane.label().to_owned()).or_default();
            depth.backlog += lane.waiting.len() as u64;
            depth.is_failing |= lane.state.failing.is_some() || lane.state.gone_at.is_some();
        }
        metrics.sink_depths(&depths);
    }

    /// Tells how every sink does, in the configuration's order.
    pub(in crate::notify) fn statuses(&self) -> Vec<SinkStatus> {
        let mut statuses: Vec<SinkStatus> = Vec::new();
        for lane in &self.lanes {
            match statuses.last_mut().filter(|status| status.name == lane.sink.name) {
                Some(status) => lane.add_to(status),
                None => {
                    let mut status = SinkStatus::of(&lane.sink);
                    lane.add_to(&mut status);
                    statuses.push(status);
                }
            }
        }
        statuses
    }
}

impl Lane {
    /// The sink's name, for metrics: sites' own sinks are counted together, since there may be thousands.
    pub(super) fn label(&self) -> &str {
        if self.sink.is_of_site_file() { "sites" } else { &self.sink.name }
    }

    pub(super) fn tell_recovered(&self) {
        if self.state.failing.is_some() {
            tracing::info!(sink = self.sink.name, "notify.recovered: the sink takes events again");
        }
    }

    pub(super) fn tell_failing(&self, failure: &SinkFailure) {
        if self.state.failing.is_none() {
            tracing::warn!(
                sink = self.sink.name,
                why = failure.why,
                "notify.failing: the sink takes no events; they are tried for 3 days; see `formgate notify list`"
            );
        }
    }

    /// Notes that it answered 410.
    pub(super) fn is_gone(&mut self, now: Timestamp) {
        tracing::error!(
            sink = self.sink.name,
            "notify.gone: the sink answered 410, so nothing is sent to it until its table changes or formgate is restarted"
        );
        self.state.gone_at = Some(now);
        self.state.lost += self.waiting.len() as u64;
        let all = self.waiting.len();
        self.dealt_with(all);
        self.behind = None;
    }

    fn add_to(&self, status: &mut SinkStatus) {
        status.backlog += self.waiting.len() as u64;
        status.has_more |= self.behind.is_some();
        status.sent += self.state.sent;
        status.lost += self.state.lost;
        status.last_sent_at = status.last_sent_at.max(self.state.sent_at);
        let (state, since, why) = match (&self.state.gone_at, &self.state.failing) {
            (Some(at), _) => (SinkState::Disabled, Some(*at), Some("410 Gone".to_owned())),
            (None, Some(failing)) => (SinkState::Failing, Some(failing.since), Some(failing.why.clone())),
            (None, None) => return,
        };
        if state > status.state {
            status.state = state;
            status.since = since;
            status.error = why;
        }
    }
}

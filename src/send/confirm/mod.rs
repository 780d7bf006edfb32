//! With `[kaicalls].confirm`: a lead that may have arrived is asked for before it is posted again (decision 0008).
//!
//! This is the only part that the rest of the sender knows of. Without the setting each of its functions returns what
//! leaves the sender as it is.

mod evidence;

mod survey;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::deliver::{Delivery, milliseconds, settle};
use super::manners::Learned;
use super::slots::End;
use super::worker::Sender;
use crate::config::Config;
use crate::queue::{Attempt, AttemptResult, Confirmed, HASTEN_MAX, Head, Settlement};
use crate::telemetry::ConfirmationEnd;
pub use evidence::{CONFIRM_AFTER, Finding};
pub(super) use survey::Surveys;

/// Returns how much longer than a POST an attempt may take.
pub(super) fn longest(config: &Config) -> Duration {
    if config.upstream.confirm { survey::SURVEY_MAX } else { Duration::ZERO }
}

/// Returns how long an entry has to wait yet before it may be asked for.
pub(super) fn wait(config: &Config, head: &Head, now: Timestamp) -> Option<Duration> {
    if config.upstream.confirm { evidence::wait(head, now) } else { None }
}

impl Sender {
    /// Settles a lease whose lead turns out to be at KaiCalls already; none where it is to be posted.
    pub(super) async fn settle_by_asking(&self, delivery: &Delivery) -> Option<End> {
        let is_asked_for = delivery.config.upstream.confirm && evidence::is_suspect(&delivery.lease.head);
        if is_asked_for { self.ask(delivery).await } else { None }
    }

    async fn ask(&self, Delivery { config, ready, lease, .. }: &Delivery) -> Option<End> {
        let head = &lease.head;
        let keys = &ready.keys;
        let started = Instant::now();
        let mut cut = self.cut.subscribe();
        let finding = tokio::select! {
            finding = self.confirm(config, keys, head) => Some(finding),
            _ = cut.wait_for(|cut| *cut) => None,
        };
        let Some(finding) = finding else {
            // Nothing was posted.
            let postponed = Settlement::Postponed { after: Duration::ZERO, attempt: None };
            settle(&*self.store, lease, postponed, self.clock.now()).await;
            return Some(End::Cut);
        };
        let site = &head.site;
        let now = self.clock.now();
        let found = end_of(finding);
        self.metrics.asked(found);
        tracing::info!(id = %head.id, %site, trace_id = head.trace_id(), found = found.as_str(), "send.confirm");
        if finding != Finding::Confirmed {
            return None;
        }
        let attempt = Attempt {
            result: AttemptResult::Delivered,
            status: None,
            duration_ms: milliseconds(started.elapsed()),
            words: None,
            confirmed: Some(Confirmed::Widget),
        };
        self.count_delivered(head, now);
        let resumed = self.manners.taken(site, keys);
        self.publish(now);
        let settlement = Settlement::Delivered { lead_id: None, attempt, keep: config.queue.keep.delivered };
        settle(&*self.store, lease, settlement, now).await;
        if resumed == Learned::Resumed {
            self.hasten(site, HASTEN_MAX).await;
        }
        Some(End::Settled)
    }
}

fn end_of(finding: Finding) -> ConfirmationEnd {
    match finding {
        Finding::Confirmed => ConfirmationEnd::Confirmed,
        Finding::NotShown => ConfirmationEnd::NotShown,
        Finding::Unknown => ConfirmationEnd::Unknown,
    }
}

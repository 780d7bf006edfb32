//! `gateway.config_broken`, `.store_degraded`, `.certificate_expiring`, `.backup_failed`, `.degraded`: what `/readyz` calls
//! degraded, and a store that takes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Watch;
use crate::clock::later;
use crate::config::Config;
use crate::event::EventType;
use crate::notify::alarm::{Alarm, degraded_prefix};
use crate::notify::notice::DegradedReason;
use crate::notify::routing::{self, degradation_event};
use crate::queue::{Emission, Key, StoreError};
use crate::telemetry::Degraded;

/// How long the store may take to say whether it takes submissions.
const STORE_TIME: Duration = Duration::from_secs(5);

/// How long somebody may take to finish what he has begun: a site is added before it has its keys, and a file is changed
/// before the restart that it needs.
const WORK_TIME: Duration = Duration::from_secs(10 * 60);

impl Watch {
    /// Tells what needs a person, and remembers what no longer does. What is of the store and not of one gateway is told by
    /// the one that sends events, which `tells` says.
    pub(super) async fn look_at_gateway(&mut self, config: &Config, tells: bool, now: Timestamp) {
        let mut reasons: BTreeMap<EventType, Vec<DegradedReason>> = BTreeMap::new();
        let mut current = Vec::new();
        let now_degraded = self.metrics.degraded();
        self.degraded_since.retain(|reason, _| now_degraded.contains(reason));
        for degraded in now_degraded {
            let since = *self.degraded_since.entry(degraded).or_insert(now);
            let Some(event) = degradation_event(degraded).filter(|_| tells || !is_of_store(degraded)) else { continue };
            let reason = DegradedReason { reason: degraded.as_str().to_owned(), cure: degraded.cure().to_owned() };
            let is_due = !may_be_work(degraded) || now >= later(since, WORK_TIME);
            current.push((event, reason.reason.clone(), is_due));
            reasons.entry(event).or_default().push(reason);
        }
        if tells
            && routing::wants(config, EventType::GatewayStoreDegraded)
            && let Some(reason) = self.store_refuses().await
        {
            current.push((EventType::GatewayStoreDegraded, reason.reason.clone(), true));
            reasons.entry(EventType::GatewayStoreDegraded).or_default().push(reason);
        }
        *self.reader.degraded.lock() = reasons;
        self.tell_degraded(&current, tells, now).await;
    }

    async fn tell_degraded(&mut self, current: &[(EventType, String, bool)], tells: bool, now: Timestamp) {
        let store = self.reader.store.clone();
        let prefix = degraded_prefix(self.reader.gateway.as_ref());
        for (event, reason, is_due) in current {
            let key = format!("{prefix}{reason}");
            if !self.alarms.see(&key) && *is_due {
                // The gateway that sends the event may be another, and reads there why.
                self.alarms.raise(&*store, &key, Alarm { since: now, detail: Value::Null }, now).await;
                if tells {
                    self.emit(Emission::new(*event), &format!("{key}/{}", now.as_millisecond()), now).await;
                } else {
                    self.untold.insert(key, (*event, now));
                }
            }
        }
        let told = self.tell_untold(now).await;
        for (key, _) in self.alarms.keys(&prefix) {
            let is_current = current.iter().any(|(_, reason, _)| key.strip_prefix(&*prefix) == Some(reason));
            // The gateway that sends the event reads in the alarm why.
            let is_being_told = self.untold.contains_key(&key) || told.contains(&key);
            // After a start some take a while to be noticed again.
            if !is_current && !is_being_told && self.is_settled(now) {
                self.alarms.clear(&*store, &key, now).await;
            }
        }
    }

    /// Tells what another gateway has to send, as soon as the store takes it: also what is over by then. Returns what it told.
    pub(in crate::notify) async fn tell_untold(&mut self, now: Timestamp) -> Vec<String> {
        let store = self.reader.store.clone();
        let mut told = Vec::new();
        for (key, (event, since)) in self.untold.clone() {
            let Ok(once) = Key::parse(&format!("{key}/{}", since.as_millisecond())) else { continue };
            // The alarm first: without it the event has no reason.
            if !self.alarms.raise(&*store, &key, Alarm { since, detail: Value::Null }, now).await
                || store.emit(&Emission::new(event), &once, now).await.is_err()
            {
                continue;
            }
            self.untold.remove(&key);
            told.push(key);
        }
        told
    }

    /// Tells why a submission posted now would not be stored; none: it would be.
    async fn store_refuses(&self) -> Option<DegradedReason> {
        let ready = tokio::time::timeout(STORE_TIME, self.reader.store.ready()).await;
        let (reason, cure) = match ready {
            Ok(Ok(())) => return None,
            Ok(Err(StoreError::Full)) => (
                "store_full",
                "the store has reached [queue].max_size, so posts are answered 503 and lost: raise it, or drop leads",
            ),
            Ok(Err(StoreError::DiskFull)) => {
                ("disk_full", "the disk is full, so posts are answered 503 and lost: make room")
            }
            Ok(Err(_)) | Err(_) => (
                "store_unavailable",
                "the store can't be written, so posts are answered 503 and lost: look at its disk and the log",
            ),
        };
        Some(DegradedReason { reason: reason.to_owned(), cure: cure.to_owned() })
    }
}

/// Tells whether somebody may be at work on what is degraded.
fn may_be_work(degraded: Degraded) -> bool {
    matches!(degraded, Degraded::KeysMissing | Degraded::RestartNeeded)
}

/// Tells whether a degradation is of the store that gateways share, and not of one of them.
fn is_of_store(degraded: Degraded) -> bool {
    matches!(degraded, Degraded::StoreSetAside | Degraded::StoreDamaged | Degraded::ConfigsDiffer)
}

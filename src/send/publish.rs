//! Publishing what is held back, for whoever shows leads.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::admission::{Admission, Open};
use super::slots::Slots;
use crate::config::Config;
use crate::queue::SendingStatus;
use crate::telemetry::Metrics;

/// Tells metrics and status how sending stands.
pub(super) struct Publisher {
    admission: Arc<Admission>,
    slots: Arc<Slots>,
    metrics: Arc<Metrics>,
    status: watch::Sender<SendingStatus>,
    last: Mutex<Option<Published>>,
}

/// When this changes the status is published at once.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Published {
    /// Otherwise once a second: making it looks at every site.
    second: i64,
    open: Open,
    paused: usize,
}

impl Publisher {
    pub(super) fn new(admission: Arc<Admission>, slots: Arc<Slots>, metrics: Arc<Metrics>) -> Self {
        Self { admission, slots, metrics, status: watch::Sender::default(), last: Mutex::default() }
    }

    /// Returns what is held back, and why: up to a second old while the sender runs.
    pub(super) fn status(&self) -> watch::Receiver<SendingStatus> {
        self.status.subscribe()
    }

    pub(super) fn publish(&self, config: &Config, now: Timestamp) {
        let (open, paused) = self.admission.tell(&self.metrics);
        let next = Published { second: now.as_second(), open, paused };
        if self.last.lock().replace(next) == Some(next) {
            return;
        }
        let status = self.admission.status(config, self.slots.held(), now);
        self.status.send_if_modified(|published| {
            let is_new = *published != status;
            *published = status;
            is_new
        });
    }
}

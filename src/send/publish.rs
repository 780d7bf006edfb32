//! Publishing what is held back, for whoever shows leads.

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::circuit::Open;
use super::worker::Sender;
use crate::queue::SendingStatus;

/// The last published status, and what it was published for.
#[derive(Default)]
pub(super) struct Publisher {
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

impl Sender {
    /// Returns what is held back, and why: up to a second old while the sender runs.
    pub fn status(&self) -> watch::Receiver<SendingStatus> {
        self.publisher.status.subscribe()
    }

    /// Tells metrics and status how sending stands.
    pub(super) fn publish(&self, now: Timestamp) {
        let (open, paused) = self.manners.tell(&self.metrics);
        let next = Published { second: now.as_second(), open, paused };
        if self.publisher.last.lock().replace(next) == Some(next) {
            return;
        }
        let status = self.manners.status(&self.config.load(), now);
        self.publisher.status.send_if_modified(|published| {
            let is_new = *published != status;
            *published = status;
            is_new
        });
    }
}

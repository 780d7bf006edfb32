//! When to look for what is due.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::flight::Claimed;
use super::settle::STORE_REST;

/// How often is looked for what is due, should a hint be lost.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Claims are no closer than this: so one takes several leads, and costs what it would for one.
const CLAIM_EVERY: Duration = Duration::from_millis(4);

/// What a claim brought.
pub(super) struct Found {
    pub(super) claimed: Vec<Claimed>,
    /// There was as much as was asked for, or leads wait for others of their site: when one ends there may be more.
    pub(super) has_more: bool,
    pub(super) failed: bool,
}

pub(super) type Claiming = Pin<Box<dyn Future<Output = Found> + Send>>;

/// When to look for what is due.
pub(super) struct Looking {
    claiming: Option<Claiming>,
    /// There may be something now, and it is looked for as soon as there is room.
    is_due: bool,
    has_more: bool,
    /// One has ended since the claim that is under way began.
    has_ended: bool,
    /// Looked for then at the latest.
    at: Instant,
    /// No claim begins before.
    not_before: Instant,
}

impl Looking {
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self { claiming: None, is_due: true, has_more: false, has_ended: false, at: now + POLL, not_before: now }
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// There may be something now.
    pub(super) fn hint(&mut self) {
        self.is_due = true;
    }

    /// One has ended, so that there is room for another, of its site too.
    pub(super) fn ended(&mut self) {
        self.has_ended = true;
        self.is_due |= self.has_more;
    }

    pub(super) fn may_begin(&self) -> bool {
        self.claiming.is_none() && self.is_due && self.not_before <= Instant::now()
    }

    pub(super) fn begin(&mut self, claiming: Claiming) {
        self.claiming = Some(claiming);
        self.is_due = false;
        self.has_ended = false;
        self.not_before = Instant::now() + CLAIM_EVERY;
    }

    /// Looks again after a while, unless something is hinted at.
    pub(super) fn rest(&mut self, wait: Duration) {
        self.is_due = false;
        self.at = Instant::now() + wait;
    }

    /// Returns when it is time to look, where nothing else wakes: soon where a claim is only too early, else at each poll, so
    /// that what nobody told of is noticed too.
    pub(super) fn at(&self) -> Instant {
        let is_early = self.claiming.is_none() && self.is_due && self.not_before > Instant::now();
        if is_early { self.not_before.min(self.at) } else { self.at }
    }

    /// It is time.
    pub(super) fn time_came(&mut self) {
        self.is_due = true;
        if self.at <= Instant::now() {
            self.at = Instant::now() + POLL;
        }
    }

    /// Waits for the claim that is under way; for ever where none is. Dropped, the claim stays under way.
    pub(super) async fn found(&mut self) -> Found {
        match &mut self.claiming {
            None => std::future::pending().await,
            Some(claiming) => {
                let found = claiming.await;
                self.claiming = None;
                found
            }
        }
    }

    pub(super) fn take_claiming(&mut self) -> Option<Claiming> {
        self.claiming.take()
    }

    pub(super) fn learn(&mut self, found: &Found) {
        self.has_more = found.has_more;
        self.at = Instant::now() + POLL;
        if found.failed {
            self.not_before = Instant::now() + STORE_REST;
            self.is_due = true;
        } else if !found.claimed.is_empty() || (found.has_more && self.has_ended) {
            self.is_due = true;
        }
    }
}

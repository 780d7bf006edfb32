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
    pub(super) claiming: Option<Claiming>,
    /// There may be something now, and it is looked for as soon as there is room.
    pub(super) is_due: bool,
    pub(super) has_more: bool,
    /// Else then.
    at: Instant,
    /// No claim begins before.
    not_before: Instant,
}

impl Looking {
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self { claiming: None, is_due: true, has_more: false, at: now + POLL, not_before: now }
    }

    pub(super) fn may_begin(&self) -> bool {
        self.claiming.is_none() && self.is_due && self.not_before <= Instant::now()
    }

    pub(super) fn begin(&mut self, claiming: Claiming) {
        self.claiming = Some(claiming);
        self.is_due = false;
        self.not_before = Instant::now() + CLAIM_EVERY;
    }

    /// Returns when to wake up, where nothing else does: what is due and has no room waits for one that ends.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match self.is_due {
            _ if self.claiming.is_some() => None,
            true => Some(self.not_before).filter(|at| *at > Instant::now()),
            false => Some(self.at),
        }
    }

    pub(super) fn rest(&mut self, wait: Duration) {
        self.is_due = false;
        self.at = Instant::now() + wait;
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

    pub(super) fn learn(&mut self, found: &Found) {
        self.has_more = found.has_more;
        if found.failed {
            self.rest(STORE_REST);
        } else if found.claimed.is_empty() {
            self.at = Instant::now() + POLL;
        } else {
            self.is_due = true;
        }
    }
}

/// Waits until a time; for ever where none is given.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

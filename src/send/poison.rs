//! An attempt that panics still settles its lease, and an entry whose attempts panic again and again is held.

use std::time::Duration;

use tokio::time::Instant;

use super::deliver::settle;
use super::retry;
use super::slots::End;
use super::worker::Sender;
use crate::queue::{Attempt, Lease, Reason, Settlement};
use crate::telemetry::{DeliveryEnd, Panicked, catch_async};

/// An entry is held with the panic of so many attempts.
pub const PANICS_MAX: usize = 3;

impl Sender {
    /// Makes an attempt, and settles its lease where it panics.
    pub(super) async fn guard(&self, lease: &Lease, attempt: impl Future<Output = End>) -> End {
        let started = Instant::now();
        match catch_async(attempt).await {
            Ok(end) => end,
            Err(panicked) => self.settle_panicked(lease, &panicked, started.elapsed()).await,
        }
    }

    /// Settles a lease whose attempt panicked: the lead may have arrived.
    pub(super) async fn settle_panicked(&self, lease: &Lease, panicked: &Panicked, duration: Duration) -> End {
        let head = &lease.head;
        let config = self.config.load_full();
        let now = self.clock.now();
        let before = head.attempts_since_queued().filter(|(_, attempt)| attempt.has_panicked());
        let panics = before.count() + 1;
        let attempt = Attempt::panicked(duration);
        self.metrics.attempt(DeliveryEnd::Ambiguous, duration);
        tracing::error!(
            id = %head.id,
            site = %head.site,
            form = %head.form,
            panics,
            location = panicked.location,
            "send.panicked: a bug in formgate ended the attempt; the lead is tried again, and held after {PANICS_MAX} panics"
        );
        let settlement = if panics >= PANICS_MAX {
            Settlement::Held { reason: Reason::Poison, attempt: Some(attempt), keep: config.queue.keep.held }
        } else {
            self.metrics.retried();
            let after = retry::delay(config.queue.retry, head.attempts, None, rand::random());
            Settlement::Again { after, attempt }
        };
        settle(&*self.store, lease, settlement, now).await;
        End::Settled
    }
}

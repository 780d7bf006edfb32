//! An attempt that panics still settles its lease, and an entry whose attempts panic again and again is held.
//!
//! A panic's message may quote what a visitor typed, so it is dropped unread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::deliver::settle;
use super::retry;
use super::slots::End;
use super::worker::Sender;
use crate::queue::{Attempt, Lease, Reason, Settlement};
use crate::telemetry::DeliveryEnd;

/// An entry is held with the panic of so many attempts.
pub const PANICS_MAX: usize = 3;

/// Runs a future to its end; none where it panics.
async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        // After a panic it is not polled again, so nobody sees what it left half done but for what locks guard.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_message) => Poll::Ready(None),
        }
    })
    .await
}

/// Does something; none where it panics.
pub(super) fn do_unless_it_panics<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Sender {
    /// Makes an attempt, and settles its lease where it panics.
    pub(super) async fn guard(&self, lease: &Lease, attempt: impl Future<Output = End>) -> End {
        let started = Instant::now();
        match unless_it_panics(attempt).await {
            Some(end) => end,
            None => self.settle_panicked(lease, started.elapsed()).await,
        }
    }

    /// Settles a lease whose attempt panicked: the lead may have arrived.
    pub(super) async fn settle_panicked(&self, lease: &Lease, duration: Duration) -> End {
        let (entry, config, now) = (&lease.entry, self.config.load_full(), self.clock.now());
        let before = entry.attempts_since_queued().filter(|(_, attempt)| attempt.has_panicked());
        let panics = before.count() + 1;
        let attempt = Attempt::panicked(duration);
        self.metrics.attempt(DeliveryEnd::Ambiguous, duration);
        tracing::error!(
            id = %entry.id,
            site = %entry.site,
            form = %entry.form,
            panics,
            "send.panicked: a bug in formgate ended the attempt; the lead is tried again, and held after {PANICS_MAX} panics"
        );
        let settlement = if panics >= PANICS_MAX {
            Settlement::Held { reason: Reason::Poison, attempt: Some(attempt), keep: config.queue.keep.held }
        } else {
            self.metrics.retried();
            let after = retry::delay(config.queue.retry, entry.attempts, None, rand::random());
            Settlement::Again { after, attempt }
        };
        settle(&*self.store, lease, settlement, now).await;
        End::Settled
    }
}

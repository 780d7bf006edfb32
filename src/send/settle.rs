//! Writing down how a lease ended, and ending the waits of a site's leads.

use std::time::Duration;

use jiff::Timestamp;

use super::chain::Chain;
use crate::lead::SiteId;
use crate::queue::{Lease, MAKE_DUE_MAX, Set, Settlement, Store, StoreError};

/// How much longer than the longest attempt a lease lasts.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(60);
/// How long is waited after the store failed.
pub(super) const STORE_REST: Duration = Duration::from_secs(1);
/// Rounds in which a site's waits are ended, [`MAKE_DUE_MAX`] a round; what is left comes up by itself.
const MAKE_DUE_ROUNDS: usize = 1_000;

/// Writes a lease's end down, as of when it ended. Where the store is away it is tried until the lease has run out.
pub(super) async fn settle(store: &dyn Store, lease: &Lease, settlement: &Settlement, ended_at: Timestamp) {
    for _ in 0..LEASE_MARGIN.as_secs() {
        match store.settle(lease, settlement.clone(), ended_at).await {
            Ok(Set::Done(_)) => return,
            Ok(Set::Lost) => {
                tracing::warn!(id = %lease.head.id, "queue.lease_lost: another attempt holds the entry now");
                return;
            }
            Err(StoreError::Corrupt(source)) => {
                tracing::error!(id = %lease.head.id, error = %Chain(&*source), "queue.settle_failed");
                return;
            }
            Err(error) => {
                tracing::error!(id = %lease.head.id, error = %Chain(&error), "queue.settle_failed: tried again");
                tokio::time::sleep(STORE_REST).await;
            }
        }
    }
}

/// Ends the waits of a site's leads: all, or only so many as are to be tried.
pub(super) async fn make_due(store: &dyn Store, site: &SiteId, max: usize, now: Timestamp) {
    for _ in 0..MAKE_DUE_ROUNDS {
        match store.make_due(site, max, now).await {
            Ok(MAKE_DUE_MAX) => {}
            Ok(_) => return,
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%site, %error, "queue.make_due_failed: the site's leads come up as their waits end");
                return;
            }
        }
    }
}

//! Claiming: as much of what is due as there is room for, of the sites that this gateway sends for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::chain::Chain;
use super::confirm;
use super::deliver::Deliverer;
use super::flight::{Claimed, IN_HAND_MAX};
use super::looking::Found;
use super::settle::LEASE_MARGIN;
use super::slots::Slot;
use super::worker::Sender;
use crate::config::Config;
use crate::queue::{Claim, Lease, Quota};

/// How long a lead counts as new.
const NEW: Duration = Duration::from_secs(10 * 60);

/// How many leads of a kind may be on their way, and how many more.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) slot: Slot,
    pub(super) places: usize,
    pub(super) free: usize,
}

impl Sender {
    /// Claims up to so many leads, as far as there is room.
    pub(super) async fn claim(self, config: Arc<Config>, [any, new]: [Room; 2], leads: usize, now: Timestamp) -> Found {
        let mut found = self.take(&config, any, leads, now).await;
        // Where there was less than asked for, nothing else is due, unless a site's share was used up.
        if found.has_more {
            let leads = leads.saturating_sub(found.claimed.len());
            let more = self.take(&config, new, leads, now).await;
            found.claimed.extend(more.claimed);
            found.failed = more.failed;
        }
        found
    }

    /// Claims up to so many leads for slots of a kind; none where the store failed.
    async fn take(&self, config: &Config, room: Room, leads: usize, now: Timestamp) -> Found {
        let Deliverer { store, admission, .. } = &self.deliverer;
        let Room { slot, places, free } = room;
        let max = free.min(leads);
        if max == 0 {
            return Found { claimed: Vec::new(), has_more: true, failed: false };
        }
        // None of them is given back before the claim has ended.
        let (partitions, _claiming) = admission.held().begin_claim();
        let quota = Quota { partitions, ..admission.quota(config, slot, places, now) };
        let claim = Claim {
            max,
            lease: lease(config),
            now,
            accepted_since: (slot == Slot::New).then(|| new_since(now)),
            quota,
        };
        let leases = match store.claim(&claim).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "queue.claim_failed: leads wait until the store answers again");
                return Found { claimed: Vec::new(), has_more: true, failed: true };
            }
        };
        let claimed_at = Instant::now();
        let placed = |lease: Lease| Claimed {
            share_place: admission.share_place(slot, &lease.head.site, now),
            under_way: admission.held().begin_lead(&lease.head.site),
            lease,
            slot,
            claimed_at,
        };
        let claimed: Vec<Claimed> = leases.into_iter().map(placed).collect();
        let has_more = claimed.len() == max || admission.holds_back(config, slot, places);
        Found { claimed, has_more, failed: false }
    }
}

/// Returns since when leads are new.
pub(super) fn new_since(now: Timestamp) -> Timestamp {
    now.checked_sub(NEW).unwrap_or(Timestamp::MIN)
}

/// Returns how long a lease lasts: the time in hand, that of the longest attempt, and that to write down its end.
fn lease(config: &Config) -> Duration {
    IN_HAND_MAX + config.upstream.timeout + confirm::longest(config) + LEASE_MARGIN
}

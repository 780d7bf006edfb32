//! How often: the gateway as a whole, an address without a valid credential, a site.
//!
//! What was counted outlives a reload that leaves `[limits]` as it was.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use super::address::subscriber;
use crate::config::{Limit, Limits};
use crate::lead::SiteId;

/// After so many checks of addresses those long gone are forgotten.
const FORGET_EVERY: u32 = 4096;

/// The limiters. Clones count together.
#[derive(Clone)]
pub(super) struct Limiters(Arc<ArcSwap<Counted>>);

struct Counted {
    limits: Limits,
    gateway: DefaultDirectRateLimiter,
    clients: DefaultKeyedRateLimiter<IpAddr>,
    sites: DefaultKeyedRateLimiter<SiteId>,
    checks: AtomicU32,
}

/// Over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Which one, as the answer's headers call it.
    pub(super) policy: &'static str,
    pub(super) limit: Limit,
    /// When one more is let in.
    pub(super) wait: Duration,
}

impl Limiters {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Counted::new(limits))))
    }

    /// Counts a request.
    pub(super) fn gateway(&self, limits: &Limits) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.gateway.check().map_err(|until| over("gateway", limits.gateway, &until))
    }

    /// Counts a request without a valid credential.
    pub(super) fn client(&self, limits: &Limits, address: IpAddr) -> Result<(), Over> {
        let counted = self.counted(limits);
        if counted.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            counted.clients.retain_recent();
            counted.clients.shrink_to_fit();
        }
        counted.clients.check_key(&subscriber(address)).map_err(|until| over("client", limits.client, &until))
    }

    /// Counts a submission of a site.
    pub(super) fn site(&self, limits: &Limits, site: &SiteId) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.sites.check_key(site).map_err(|until| over("site", limits.site, &until))
    }

    fn counted(&self, limits: &Limits) -> Arc<Counted> {
        let counted = self.0.load_full();
        if counted.limits == *limits {
            return counted;
        }
        let anew = Arc::new(Counted::new(*limits));
        self.0.store(Arc::clone(&anew));
        anew
    }
}

impl Counted {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            gateway: RateLimiter::direct(quota(limits.gateway)),
            clients: RateLimiter::keyed(quota(limits.client)),
            sites: RateLimiter::keyed(quota(limits.site)),
            checks: AtomicU32::new(0),
        }
    }
}

fn quota(limit: Limit) -> Quota {
    let each = (limit.rate.per / limit.rate.count.get()).max(Duration::from_nanos(1));
    Quota::with_period(each).expect("a period that is not zero").allow_burst(limit.burst)
}

fn over(
    policy: &'static str,
    limit: Limit,
    until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>,
) -> Over {
    Over { policy, limit, wait: until.wait_time_from(DefaultClock::default().now()) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::{OverLimit, Rate};

    fn limits(burst: u32) -> Limits {
        let count = NonZeroU32::MIN;
        let rate = Rate { count, per: Duration::from_secs(3600) };
        let limit = Limit { rate, burst: NonZeroU32::new(burst).expect("a burst") };
        Limits { gateway: limit, client: limit, site: limit, over_site: OverLimit::Slow }
    }

    #[test]
    fn over_the_burst_the_wait_is_told() {
        let limits = limits(2);
        let limiters = Limiters::new(limits);
        assert_eq!([limiters.gateway(&limits), limiters.gateway(&limits)], [Ok(()), Ok(())]);
        let over = limiters.gateway(&limits).expect_err("over");
        assert_eq!(over.policy, "gateway");
        assert!(over.wait > Duration::from_secs(3500) && over.wait <= Duration::from_secs(3600), "{over:?}");
    }

    #[test]
    fn addresses_and_sites_are_counted_apart_and_a_subscriber_as_one() {
        let limits = limits(1);
        let limiters = Limiters::new(limits);
        let client = |text: &str| limiters.client(&limits, text.parse().expect("an address")).is_ok();
        assert!(client("192.0.2.1") && client("192.0.2.2") && !client("192.0.2.1"));
        assert!(client("2001:db8::1") && !client("2001:db8::2"));
        let site = |text: &str| limiters.site(&limits, &SiteId::parse(text).expect("a site")).is_ok();
        assert!(site("a") && site("b") && !site("a"));
    }

    #[test]
    fn what_was_counted_outlives_a_reload_that_changes_no_limit() {
        let limiters = Limiters::new(limits(1));
        assert!(limiters.gateway(&limits(1)).is_ok());
        assert!(limiters.gateway(&limits(1)).is_err());
        assert!(limiters.gateway(&limits(3)).is_ok());
    }
}

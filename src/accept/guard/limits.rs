//! How often: the gateway as a whole, an address without a valid credential, a site, a form that pages post.
//!
//! What pages post, anybody can forge. It is counted apart, against half of a site's limit and half of the gateway's, so that
//! it never uses up what plugins may send.
//!
//! What was counted outlives a reload, but for the limits that it changes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::accept::browser::FormKey;
use crate::config::{Limit, Limits, Rate};
use crate::http::subscriber;
use crate::lead::SiteId;

/// After so many checks of addresses those long gone are forgotten.
const FORGET_EVERY: u32 = 4096;
/// Most addresses remembered for being over their limit.
const BARRED_MAX: usize = 4096;

/// The limiters. Clones count together.
#[derive(Clone)]
pub(in crate::accept) struct Limiters(Arc<ArcSwap<RateLimiters>>);

/// The limiters of one version of the configuration.
struct RateLimiters {
    limits: Limits,
    gateway: Arc<DefaultDirectRateLimiter>,
    clients: Arc<Clients>,
    sites: Arc<DefaultKeyedRateLimiter<SiteId>>,
    page_forms: Arc<DefaultKeyedRateLimiter<FormKey>>,
    site_pages: Arc<DefaultKeyedRateLimiter<SiteId>>,
    pages: Arc<DefaultDirectRateLimiter>,
}

/// Addresses without a valid credential.
struct Clients {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicU32,
    /// Addresses that went over their limit, and until when nothing of theirs is read.
    barred: Mutex<HashMap<IpAddr, Instant>>,
}

/// Over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) struct Over {
    /// Which one, as the answer's headers call it.
    pub(in crate::accept) policy: &'static str,
    pub(in crate::accept) limit: Limit,
    /// When one more is let in.
    pub(in crate::accept) wait: Duration,
}

impl Limiters {
    pub(in crate::accept) fn new(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(RateLimiters::new(limits))))
    }

    /// Counts a request.
    pub(in crate::accept) fn gateway(&self, limits: &Limits) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.gateway.check().map_err(|until| over("gateway", limits.gateway, &until))
    }

    /// Counts a request without a valid credential.
    pub(in crate::accept) fn client(&self, limits: &Limits, address: IpAddr) -> Result<(), Over> {
        let clients = Arc::clone(&self.counted(limits).clients);
        if clients.checks.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            clients.limiter.retain_recent();
            clients.limiter.shrink_to_fit();
        }
        let checked = clients.limiter.check_key(&subscriber(address));
        checked
            .map_err(|until| over("client", limits.client, &until))
            .inspect_err(|over| clients.bar(address, over.wait))
    }

    /// Tells whether an address is over its limit now, and counts nothing: its request may turn out to be signed.
    pub(in crate::accept) fn barred(&self, limits: &Limits, address: IpAddr) -> Result<(), Over> {
        let until = self.counted(limits).clients.barred.lock().get(&subscriber(address)).copied();
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(wait) if !wait.is_zero() => Err(Over { policy: "client", limit: limits.client, wait }),
            _ => Ok(()),
        }
    }

    /// Counts a submission of a site.
    pub(in crate::accept) fn site(&self, limits: &Limits, site: &SiteId) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.sites.check_key(site).map_err(|until| over("site", limits.site, &until))
    }

    /// Counts a post of a form from a page.
    pub(in crate::accept) fn page_form(&self, limits: &Limits, form: &FormKey) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.page_forms.check_key(form).map_err(|until| over("form", limits.browser, &until))
    }

    /// Counts a post from a page of a site.
    pub(in crate::accept) fn pages_of_site(&self, limits: &Limits, site: &SiteId) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.site_pages.check_key(site).map_err(|until| over("site", half(limits.site), &until))
    }

    /// Counts a post from a page.
    pub(in crate::accept) fn pages(&self, limits: &Limits) -> Result<(), Over> {
        let counted = self.counted(limits);
        counted.pages.check().map_err(|until| over("gateway", half(limits.gateway), &until))
    }

    fn counted(&self, limits: &Limits) -> Arc<RateLimiters> {
        let counted = self.0.load_full();
        if counted.limits == *limits {
            return counted;
        }
        let anew = Arc::new(counted.under(*limits));
        self.0.store(Arc::clone(&anew));
        anew
    }
}

impl RateLimiters {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            gateway: Arc::new(RateLimiter::direct(quota(limits.gateway))),
            clients: Arc::new(Clients::new(limits.client)),
            sites: Arc::new(RateLimiter::keyed(quota(limits.site))),
            page_forms: Arc::new(RateLimiter::keyed(quota(limits.browser))),
            site_pages: Arc::new(RateLimiter::keyed(quota(half(limits.site)))),
            pages: Arc::new(RateLimiter::direct(quota(half(limits.gateway)))),
        }
    }

    /// Counts on under other limits; those that have changed begin anew.
    fn under(&self, limits: Limits) -> Self {
        let mut anew = Self::new(limits);
        if limits.gateway == self.limits.gateway {
            anew.gateway = Arc::clone(&self.gateway);
            anew.pages = Arc::clone(&self.pages);
        }
        if limits.client == self.limits.client {
            anew.clients = Arc::clone(&self.clients);
        }
        if limits.site == self.limits.site {
            anew.sites = Arc::clone(&self.sites);
            anew.site_pages = Arc::clone(&self.site_pages);
        }
        if limits.browser == self.limits.browser {
            anew.page_forms = Arc::clone(&self.page_forms);
        }
        anew
    }
}

impl Clients {
    fn new(limit: Limit) -> Self {
        Self { limiter: RateLimiter::keyed(quota(limit)), checks: AtomicU32::new(0), barred: Mutex::default() }
    }

    /// Where there is no room to remember one more, it is read and counted, as at first.
    fn bar(&self, address: IpAddr, wait: Duration) {
        let now = Instant::now();
        let mut barred = self.barred.lock();
        if barred.len() >= BARRED_MAX {
            barred.retain(|_, until| *until > now);
        }
        if barred.len() < BARRED_MAX {
            barred.insert(subscriber(address), now + wait);
        }
    }
}

/// Returns what pages get of a limit.
fn half(Limit { rate, burst }: Limit) -> Limit {
    let rate = Rate { per: rate.per.saturating_mul(2), ..rate };
    Limit { rate, burst: NonZeroU32::new(burst.get() / 2).unwrap_or(NonZeroU32::MIN) }
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
    use super::*;
    use crate::config::OverLimit;
    use crate::lead::FormId;

    fn limits(burst: u32) -> Limits {
        let count = NonZeroU32::MIN;
        let rate = Rate { count, per: Duration::from_secs(3600) };
        let limit = Limit { rate, burst: NonZeroU32::new(burst).expect("a burst") };
        Limits { gateway: limit, client: limit, site: limit, over_site: OverLimit::Slow, browser: limit }
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
    fn pages_get_half_and_use_up_nothing_of_what_plugins_have() {
        let limits = limits(4);
        let limiters = Limiters::new(limits);
        let site = SiteId::parse("acme").expect("a site");
        let of_site: Vec<_> = (0..3).map(|_| limiters.pages_of_site(&limits, &site)).collect();
        let of_all: Vec<_> = (0..3).map(|_| limiters.pages(&limits)).collect();
        for counted in [of_site, of_all] {
            assert_eq!(counted[..2], [Ok(()), Ok(())]);
            let over = counted[2].expect_err("over");
            assert_eq!(over.limit.burst.get(), 2);
            assert!(over.wait > Duration::from_secs(7_000), "at half the rate: {over:?}");
        }
        assert!((0..4).all(|_| limiters.site(&limits, &site).is_ok() && limiters.gateway(&limits).is_ok()));
        let reloaded = Limits { over_site: OverLimit::Hold, ..limits };
        assert!(limiters.pages(&reloaded).is_err() && limiters.pages_of_site(&reloaded, &site).is_err());
        assert!(limiters.pages_of_site(&limits, &SiteId::parse("other").expect("a site")).is_ok());
    }

    #[test]
    fn who_is_over_the_limit_is_barred_until_one_more_is_let_in() {
        let limits = limits(1);
        let limiters = Limiters::new(limits);
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|ip| ip.parse().expect("an address"));
        assert!(limiters.client(&limits, one).is_ok());
        assert_eq!(limiters.barred(&limits, one), Ok(()), "its allowance is used up and not passed");
        let over = limiters.client(&limits, one).expect_err("over");
        let barred = limiters.barred(&limits, same).expect_err("barred");
        assert_eq!((barred.policy, barred.limit), (over.policy, over.limit));
        assert!(barred.wait <= over.wait && barred.wait > Duration::from_secs(3500), "{barred:?}");
        assert_eq!(limiters.barred(&limits, other), Ok(()));
    }

    #[test]
    fn what_was_counted_outlives_a_reload_but_for_the_limit_that_it_changes() {
        let before = limits(1);
        let limiters = Limiters::new(before);
        let [address, site] = ["192.0.2.1", "acme"];
        let (address, site) = (address.parse().expect("an address"), SiteId::parse(site).expect("a site"));
        let form = (site.clone(), FormId::fallback());
        let taken = |limits: &Limits| {
            let gateway = limiters.gateway(limits).is_ok();
            let form = limiters.page_form(limits, &form).is_ok();
            let of_site = limiters.site(limits, &site).is_ok();
            [gateway, limiters.client(limits, address).is_ok(), of_site, form]
        };
        assert_eq!(taken(&before), [true; 4]);
        assert_eq!(taken(&before), [false; 4]);
        let other_word = Limits { over_site: OverLimit::Hold, ..before };
        assert_eq!(taken(&other_word), [false; 4]);
        assert!(limiters.barred(&other_word, address).is_err());
        let other_gateway = Limits { gateway: limits(3).gateway, ..other_word };
        assert_eq!(taken(&other_gateway), [true, false, false, false]);
        let other_client = Limits { client: limits(3).client, ..other_gateway };
        assert_eq!(taken(&other_client), [true, true, false, false]);
        let other_site = Limits { site: limits(3).site, ..other_client };
        assert_eq!(taken(&other_site), [true, true, true, false]);
        let other_form = Limits { browser: limits(3).browser, ..other_site };
        assert_eq!(taken(&other_form), [false, true, true, true]);
    }
}

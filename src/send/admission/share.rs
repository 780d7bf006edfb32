//! A site's share of what may be under way: small until KaiCalls answers for it, then as much as it can use.
//!
//! An API that never answers for one site's keys would else hold every slot until its time is out. So a site begins with
//! [`FIRST`] leads at once, gets one more with each answer while its share is in use, and begins anew with a failure.
//! A quarter is always left to the other sites.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::super::slots::{Slot, most_of};
use crate::clock::{later, until};
use crate::lead::SiteId;

/// So many leads of a site may be under way, in each kind of slot, before any was answered.
pub(super) const FIRST: usize = 4;
/// A site that had nothing to send for so long begins anew: an answer of long ago says nothing of today.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The shares of all sites that have leads under way.
#[derive(Default)]
pub(super) struct Shares {
    sites: Mutex<HashMap<(Slot, SiteId), Share>>,
}

struct Share {
    under_way: usize,
    most: usize,
    /// When the last of its leads was claimed.
    begun_at: Timestamp,
}

/// A lead's place in its site's share, until it is dropped.
pub(in crate::send) struct SharePlace {
    shares: Arc<Shares>,
    slot: Slot,
    site: SiteId,
    end: SharePlaceEnd,
}

/// What a place was used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SharePlaceEnd {
    /// Nothing: its lead had to wait.
    Unused,
    Sent,
    Answered,
}

impl Shares {
    /// Takes a place.
    pub(super) fn begin(self: &Arc<Self>, slot: Slot, site: &SiteId, now: Timestamp) -> SharePlace {
        let mut sites = self.sites.lock();
        let fresh = Share { under_way: 0, most: FIRST, begun_at: now };
        let share = sites.entry((slot, site.clone())).or_insert(fresh);
        share.under_way += 1;
        share.begun_at = now;
        SharePlace { shares: Arc::clone(self), slot, site: site.clone(), end: SharePlaceEnd::Unused }
    }

    /// Returns how many more leads of any one site may begin, and the sites for which it is another number. Those are few, so that
    /// the quota of each claim stays small however many sites there are.
    pub(super) fn left(
        &self,
        slot: Slot,
        places: usize,
        sites: usize,
        now: Timestamp,
    ) -> (usize, HashMap<SiteId, usize>) {
        let most = most_of(places, sites);
        let mut sites = self.sites.lock();
        let is_fresh = |share: &Share| until(later(share.begun_at, REMEMBERED), now, REMEMBERED).is_some();
        sites.retain(|_, share| share.under_way > 0 || share.begun_at == now || is_fresh(share));
        let each = FIRST.min(most);
        let of_slot = |((of, site), share): (&(Slot, SiteId), &Share)| {
            let left = share.most.min(most).saturating_sub(share.under_way);
            (*of == slot && left != each).then(|| (site.clone(), left))
        };
        (each, sites.iter().filter_map(of_slot).collect())
    }

    /// Tells whether any site's share is used up.
    pub(super) fn any_used_up(&self, slot: Slot, places: usize, sites: usize) -> bool {
        let most = most_of(places, sites);
        self.sites.lock().iter().any(|((of, _), share)| *of == slot && share.under_way >= share.most.min(most))
    }

    fn ended(&self, slot: Slot, site: &SiteId, end: SharePlaceEnd) {
        let mut sites = self.sites.lock();
        let Entry::Occupied(mut entry) = sites.entry((slot, site.clone())) else { return };
        let share = entry.get_mut();
        match end {
            SharePlaceEnd::Sent => share.most = FIRST,
            SharePlaceEnd::Answered if share.under_way >= share.most => share.most += 1,
            SharePlaceEnd::Answered | SharePlaceEnd::Unused => {}
        }
        share.under_way = share.under_way.saturating_sub(1);
        if share.under_way == 0 && share.most == FIRST {
            // As it began.
            entry.remove();
        }
    }
}

impl SharePlace {
    pub(super) fn site(&self) -> &SiteId {
        &self.site
    }

    /// Notes that the lead is sent: dropped without an answer, the place counts as one of a failure.
    pub(super) fn sent(self) -> Self {
        self.ending(SharePlaceEnd::Sent)
    }

    /// Ends it: KaiCalls took or refused the lead.
    pub(super) fn answered(self) {
        drop(self.ending(SharePlaceEnd::Answered));
    }

    fn ending(mut self, end: SharePlaceEnd) -> Self {
        self.end = end;
        self
    }
}

impl Drop for SharePlace {
    fn drop(&mut self) {
        self.shares.ended(self.slot, &self.site, self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn left(shares: &Shares, name: &str) -> usize {
        let (each, of) = shares.left(Slot::Any, 16, 2, at(0));
        of.get(&site(name)).copied().unwrap_or(each)
    }

    #[test]
    fn a_share_grows_with_answers_while_it_is_in_use_and_leaves_a_quarter_to_others() {
        let shares = Arc::new(Shares::default());
        let acme = site("acme");
        let mut places: Vec<_> = (0..FIRST).map(|_| shares.begin(Slot::Any, &acme, at(0))).collect();
        assert_eq!((left(&shares, "acme"), left(&shares, "beta")), (0, FIRST));
        assert!(shares.any_used_up(Slot::Any, 16, 2) && !shares.any_used_up(Slot::New, 16, 2));
        for _ in 0..20 {
            places.remove(0).sent().answered();
            places.extend((0..left(&shares, "acme")).map(|_| shares.begin(Slot::Any, &acme, at(0))));
        }
        assert_eq!(places.len(), 12);
        assert_eq!(
            shares.left(Slot::Any, 16, 1, at(0)).1.get(&acme),
            Some(&1),
            "one site alone has all, once it needs them"
        );
        // One that was not used changes nothing.
        drop(places.pop());
        assert_eq!(left(&shares, "acme"), 1);
        places.push(shares.begin(Slot::Any, &acme, at(0)));
        // A failure: no more until all but the first few have ended.
        drop(places.pop().map(SharePlace::sent));
        assert_eq!(left(&shares, "acme"), 0);
        places.truncate(FIRST - 1);
        assert_eq!(left(&shares, "acme"), 1);
    }

    #[test]
    fn sites_that_stand_as_they_began_are_not_named() {
        let shares = Arc::new(Shares::default());
        let names: Vec<_> = (0..100).map(|number| site(&format!("site-{number}"))).collect();
        let places: Vec<_> = names.iter().map(|name| shares.begin(Slot::Any, name, at(0))).collect();
        assert_eq!(shares.left(Slot::Any, 16, 100, at(0)).1.len(), 100, "each has one fewer left");
        places.into_iter().for_each(|place| place.sent().answered());
        assert_eq!(shares.left(Slot::Any, 16, 100, at(0)), (FIRST, HashMap::new()));
        assert!(shares.sites.lock().is_empty());
    }

    #[test]
    fn a_site_with_nothing_to_send_is_forgotten_after_a_while_and_begins_anew() {
        let shares = Arc::new(Shares::default());
        let acme = site("acme");
        let use_up = |now| {
            let places: Vec<_> = (0..FIRST).map(|_| shares.begin(Slot::New, &acme, now)).collect();
            places.into_iter().for_each(|place| place.sent().answered());
        };
        use_up(at(0));
        let of = |seconds| shares.left(Slot::New, 16, 9, at(seconds)).1.get(&acme).copied();
        assert_eq!([of(0), of(9)], [Some(FIRST + 1); 2]);
        assert_eq!(of(10), None);
        assert!(shares.sites.lock().is_empty());
        assert_eq!(shares.left(Slot::New, 2, 9, at(10)), (2, HashMap::new()), "of two places both: a quarter is none");
        // A clock that is set back forgets, too.
        use_up(at(100));
        assert_eq!([of(100), of(50)], [Some(FIRST + 1), None]);
    }
}

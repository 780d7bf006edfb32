//! A site's share of the slots: small until KaiCalls answers for it, then as much as it can use.
//!
//! An API that never answers for one site's keys would else hold every slot until its time is out. So a site begins with
//! [`FIRST`] leads at once, gets one more with each answer while its share is in use, and begins anew with a failure.
//! A quarter of the slots is always left to the other sites.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::slots::Slot;
use crate::lead::SiteId;

/// So many leads of a site may be under way, in each kind of slot, before any was answered.
pub(super) const FIRST: usize = 4;

/// The shares of all sites that have leads under way.
#[derive(Default)]
pub(super) struct Shares {
    sites: Mutex<HashMap<(Slot, SiteId), Share>>,
}

struct Share {
    under_way: usize,
    most: usize,
}

/// An attempt's place in its site's share, until it is dropped.
pub(super) struct Seat {
    shares: Arc<Shares>,
    slot: Slot,
    site: SiteId,
    was_answered: bool,
}

/// Returns the most that one of several sites gets of so many slots.
fn most_of(slots: usize, sites: usize) -> usize {
    if sites > 1 { slots - slots / 4 } else { slots }
}

impl Shares {
    /// Takes a place.
    pub(super) fn begin(self: &Arc<Self>, slot: Slot, site: &SiteId) -> Seat {
        let mut sites = self.sites.lock();
        sites.entry((slot, site.clone())).or_insert(Share { under_way: 0, most: FIRST }).under_way += 1;
        Seat { shares: Arc::clone(self), slot, site: site.clone(), was_answered: false }
    }

    /// Returns how many more leads of each site that has some under way may begin, and how many of any other.
    pub(super) fn left(&self, slot: Slot, slots: usize, sites: usize) -> (usize, HashMap<SiteId, usize>) {
        let most = most_of(slots, sites);
        let of_slot = |((of, site), share): (&(Slot, SiteId), &Share)| {
            (*of == slot).then(|| (site.clone(), share.most.min(most).saturating_sub(share.under_way)))
        };
        (FIRST.min(most), self.sites.lock().iter().filter_map(of_slot).collect())
    }

    /// Tells whether any site's share is used up.
    pub(super) fn any_used_up(&self, slot: Slot, slots: usize, sites: usize) -> bool {
        let most = most_of(slots, sites);
        self.sites.lock().iter().any(|((of, _), share)| *of == slot && share.under_way >= share.most.min(most))
    }

    /// Counts the attempts under way.
    pub(super) fn under_way(&self) -> usize {
        self.sites.lock().values().map(|share| share.under_way).sum()
    }

    fn ended(&self, slot: Slot, site: &SiteId, was_answered: bool) {
        let mut sites = self.sites.lock();
        let name = (slot, site.clone());
        let Some(share) = sites.get_mut(&name) else { return };
        if !was_answered {
            share.most = FIRST;
        } else if share.under_way >= share.most {
            share.most += 1;
        }
        share.under_way = share.under_way.saturating_sub(1);
        // Whoever pauses begins anew: an answer of long ago says nothing of today.
        if share.under_way == 0 {
            sites.remove(&name);
        }
    }
}

impl Seat {
    /// Notes that KaiCalls took or refused the lead.
    pub(super) fn answered(&mut self) {
        self.was_answered = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shares.ended(self.slot, &self.site, self.was_answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(name: &str) -> SiteId {
        SiteId::parse(name).expect("a slug")
    }

    fn left(shares: &Shares, name: &str) -> usize {
        let (each, of) = shares.left(Slot::Any, 16, 2);
        of.get(&site(name)).copied().unwrap_or(each)
    }

    #[test]
    fn a_share_grows_with_answers_while_it_is_in_use_and_leaves_a_quarter_to_others() {
        let (shares, acme) = (Arc::new(Shares::default()), site("acme"));
        let mut seats: Vec<_> = (0..FIRST).map(|_| shares.begin(Slot::Any, &acme)).collect();
        assert_eq!((left(&shares, "acme"), left(&shares, "beta")), (0, FIRST));
        assert!(shares.any_used_up(Slot::Any, 16, 2) && !shares.any_used_up(Slot::New, 16, 2));
        for _ in 0..20 {
            let mut seat = seats.remove(0);
            seat.answered();
            drop(seat);
            seats.extend((0..left(&shares, "acme")).map(|_| shares.begin(Slot::Any, &acme)));
        }
        assert_eq!(seats.len(), 12);
        assert_eq!(shares.left(Slot::Any, 16, 1).1.get(&acme), Some(&1), "one site alone has all, once it needs them");
        // A failure: no more until all but the first few have ended.
        drop(seats.pop());
        assert_eq!(left(&shares, "acme"), 0);
        seats.truncate(FIRST - 1);
        assert_eq!(left(&shares, "acme"), 1);
    }

    #[test]
    fn a_site_with_nothing_under_way_is_forgotten_and_begins_anew() {
        let (shares, acme) = (Arc::new(Shares::default()), site("acme"));
        let mut seats: Vec<_> = (0..FIRST).map(|_| shares.begin(Slot::New, &acme)).collect();
        seats.iter_mut().for_each(Seat::answered);
        drop(seats);
        assert!(shares.sites.lock().is_empty());
        assert_eq!(shares.left(Slot::New, 2, 9), (2, HashMap::new()), "of two slots both: a quarter is none");
    }
}

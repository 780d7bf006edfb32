//! How fast: each site at its limit's rate, all together at `[kaicalls].rate`.
//!
//! A site's lead that came too soon after the others gets a place in line and waits for it in the store. So a flood costs
//! one wait per lead, and leads keep their order. What counts is when leads came: those that piled up while KaiCalls was
//! away came no faster than at any other time, and go out as fast as they can. The rate of all limits what is claimed, so
//! nothing waits in hand.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock::{later, until};
use crate::config::{Limit, Rate};
use crate::lead::{EntryId, SiteId};
use crate::queue::{PARTITIONS, Partitions};

/// Most leads of a site that have a place in line; further ones ask again when the line has moved on.
const PLACES_MAX: usize = 4096;
/// A place that nobody has taken for so long is given up: its lead was dropped, erased or delivered by hand.
const PLACE_KEPT: Duration = Duration::from_secs(60 * 60);

/// So many at once, and one more each period: the generic cell rate algorithm.
#[derive(Clone, Copy)]
struct Bucket {
    /// When the last one taken would have come, had all come evenly.
    even: Timestamp,
}

impl Bucket {
    /// Returns how long until one may be taken that came at a time.
    fn wait(&self, limit: Limit, came_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let ahead = until(self.begins(limit, came_at, now), now, longest(limit))?;
        Some(ahead.saturating_sub(period(limit.rate) * (limit.burst.get() - 1))).filter(|wait| !wait.is_zero())
    }

    /// Returns when one that came at a time would have come, had all come evenly. A time that nobody can wait for was
    /// set by a clock that has been put back since.
    fn begins(&self, limit: Limit, came_at: Timestamp, now: Timestamp) -> Timestamp {
        let came_at = came_at.min(now);
        if self.even > later(now, longest(limit)) { came_at } else { self.even.max(came_at) }
    }

    /// Returns how many may be taken now.
    fn room(&self, limit: Limit, now: Timestamp) -> u32 {
        let mut ahead = *self;
        (0..limit.burst.get())
            .take_while(|_| {
                let free = ahead.wait(limit, now, now).is_none();
                ahead.take(limit, now, now);
                free
            })
            .count()
            .try_into()
            .unwrap_or(u32::MAX)
    }

    fn take(&mut self, limit: Limit, came_at: Timestamp, now: Timestamp) {
        self.even = later(self.begins(limit, came_at, now), period(limit.rate));
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { even: Timestamp::MIN }
    }
}

fn period(rate: Rate) -> Duration {
    (rate.per / rate.count.get()).max(Duration::from_nanos(1))
}

/// Returns the longest wait there is.
fn longest(limit: Limit) -> Duration {
    period(limit.rate) * (PLACES_MAX as u32).saturating_add(limit.burst.get())
}

/// The lines of all sites.
#[derive(Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<SiteId, Line>>,
}

#[derive(Default)]
struct Line {
    bucket: Bucket,
    places: HashMap<EntryId, Timestamp>,
}

impl Lines {
    /// Counts a lead that is to be sent; returns how long it has to wait for its place instead, where that is so.
    pub(super) fn wait(
        &self,
        site: &SiteId,
        (id, came_at): (EntryId, Timestamp),
        limit: Limit,
        now: Timestamp,
    ) -> Option<Duration> {
        let mut lines = self.lines.lock();
        let line = lines.entry(site.clone()).or_default();
        if let Some(place) = line.places.remove(&id) {
            let wait = until(place, now, period(limit.rate) * PLACES_MAX as u32)?;
            line.places.insert(id, place);
            return Some(wait);
        }
        let wait = line.bucket.wait(limit, came_at, now);
        if let Some(wait) = wait {
            if line.places.len() >= PLACES_MAX {
                line.places.retain(|_, place| later(*place, PLACE_KEPT) > now);
            }
            if line.places.len() >= PLACES_MAX {
                return Some(wait);
            }
            line.places.insert(id, later(now, wait));
        }
        line.bucket.take(limit, came_at, now);
        wait
    }

    /// Returns the sites whose rate is used up, and when a lead that came now would go.
    pub(super) fn over_rate(&self, limit: Limit, now: Timestamp) -> BTreeMap<SiteId, Timestamp> {
        let lines = self.lines.lock();
        let over = lines.iter().filter_map(|(site, line)| Some((site.clone(), line.bucket.wait(limit, now, now)?)));
        over.map(|(site, wait)| (site, later(now, wait))).collect()
    }

    /// Forgets sites that are gone.
    pub(super) fn retain(&self, keep: impl Fn(&SiteId) -> bool) {
        self.lines.lock().retain(|site, _| keep(site));
    }
}

/// The rate of all leads together.
#[derive(Default)]
pub(super) struct GlobalRateLimit {
    bucket: Mutex<Bucket>,
}

impl GlobalRateLimit {
    /// Returns how many leads may be sent now, and how long until one more may.
    pub(super) fn room(&self, rate: Rate, now: Timestamp) -> (usize, Option<Duration>) {
        let (limit, bucket) = (with_burst(rate), self.bucket.lock());
        (usize::try_from(bucket.room(limit, now)).unwrap_or(usize::MAX), bucket.wait(limit, now, now))
    }

    /// Counts a lead that is sent.
    pub(super) fn begin(&self, rate: Rate, now: Timestamp) {
        self.bucket.lock().take(with_burst(rate), now, now);
    }
}

/// Returns a gateway's part of the rate of all, by the partitions it sends for. Of none it has none: it claims nothing.
pub(super) fn part_of(rate: Rate, held: Partitions) -> Rate {
    let per = rate.per.saturating_mul(u32::from(PARTITIONS)) / held.len().max(1);
    Rate { per, ..rate }
}

/// What a second allows may go out at once: the worker need not wake for each.
fn with_burst(rate: Rate) -> Limit {
    let a_second = 1_000_000_000 / period(rate).as_nanos().max(1);
    let burst = u32::try_from(a_second).unwrap_or(u32::MAX).clamp(1, 1_000);
    Limit { rate, burst: burst.try_into().unwrap_or(std::num::NonZeroU32::MIN) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::queue::Partition;

    fn limit(count: u32, burst: u32) -> Limit {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Limit { rate: Rate { count: number(count), per: Duration::from_secs(60) }, burst: number(burst) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000 + seconds).expect("a time")
    }

    fn id(number: u8) -> EntryId {
        EntryId::new(1, &[number; 10])
    }

    #[test]
    fn leads_over_the_rate_get_places_in_line_and_newcomers_stand_behind() {
        let (lines, site) = (Lines::default(), SiteId::parse("acme").expect("a site"));
        let wait = |lead, now| lines.wait(&site, (id(lead), at(now)), limit(6, 2), at(now)).map(|wait| wait.as_secs());
        assert_eq!([wait(1, 0), wait(2, 0)], [None, None]);
        assert_eq!([wait(3, 0), wait(4, 0), wait(5, 1)], [Some(10), Some(20), Some(29)]);
        // Too early: the place stays.
        assert_eq!(wait(3, 9), Some(1));
        // A newcomer at the time of another's place does not take it.
        assert_eq!(wait(6, 10), Some(30));
        assert_eq!([wait(3, 10), wait(4, 20), wait(5, 30), wait(6, 40)], [None; 4]);
        assert_eq!(wait(7, 40), Some(10));
        assert_eq!([wait(8, 1_000), wait(9, 1_000)], [None, None]);
    }

    #[test]
    fn what_came_slowly_and_had_to_wait_for_something_else_goes_at_once() {
        let (lines, site) = (Lines::default(), SiteId::parse("acme").expect("a site"));
        let wait = |lead, came_at| lines.wait(&site, (id(lead), at(came_at)), limit(6, 2), at(1_000));
        // Ten seconds apart, as the limit says.
        assert!((0..100).all(|lead| wait(lead, i64::from(lead) * 10).is_none()));
        // A flood that came before: its places are in line with the time it came.
        let (lines, came_at) = (Lines::default(), at(960));
        let wait = |lead| lines.wait(&site, (id(lead), came_at), limit(6, 2), at(1_000)).map(|wait| wait.as_secs());
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(wait), [None, None, None, None, None, None, Some(10), Some(20)]);
    }

    #[test]
    fn a_line_has_an_end() {
        let (lines, site) = (Lines::default(), SiteId::parse("acme").expect("a site"));
        for number in 0..=PLACES_MAX as u64 + 9 {
            let id = EntryId::new(number, &[0; 10]);
            let _waits: Option<Duration> = lines.wait(&site, (id, at(0)), limit(60, 1), at(0));
        }
        assert_eq!(lines.lines.lock().get(&site).map(|line| line.places.len()), Some(PLACES_MAX));
        let later = at(3_600 * 3);
        assert_eq!(lines.wait(&site, (id(1), later), limit(60, 1), later), None);
    }

    #[test]
    fn a_clock_set_back_strands_nobody() {
        let (lines, site) = (Lines::default(), SiteId::parse("acme").expect("a site"));
        let wait = |lead, now| lines.wait(&site, (id(lead), at(now)), limit(60, 1), at(now));
        assert_eq!(wait(1, 1_000_000), None);
        assert!(wait(2, 1_000_000).is_some());
        assert_eq!([wait(2, 0), wait(3, 0)], [None, None]);
    }

    #[test]
    fn all_together_keep_the_rate_and_a_second_may_go_at_once() {
        let together = GlobalRateLimit::default();
        let rate = limit(120, 1).rate;
        assert_eq!(together.room(rate, at(0)), (2, None));
        together.begin(rate, at(0));
        assert_eq!(together.room(rate, at(0)), (1, None));
        together.begin(rate, at(0));
        assert_eq!(together.room(rate, at(0)), (0, Some(Duration::from_millis(500))));
        assert_eq!(together.room(rate, at(1)), (2, None));
        let slow = limit(1, 1).rate;
        assert_eq!(part_of(rate, Partitions::ALL), rate);
        let thirds = [22, 21, 21].map(|held| part_of(rate, Partition::all().take(held).collect()));
        let in_an_hour = |rate: &Rate| 3_600.0 / period(*rate).as_secs_f64();
        assert_eq!(thirds.iter().map(in_an_hour).sum::<f64>().round(), 7_200.0, "120 a minute together");
        assert_eq!(GlobalRateLimit::default().room(slow, at(0)), (1, None));
    }
}

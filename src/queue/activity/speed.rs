//! Speed to lead: how long leads take from the submit to KaiCalls, as a histogram.
//!
//! A bucket's upper bound is about twice its lower one. A median or percentile is interpolated within its bucket, so it is off by
//! less than the bucket is wide: at most by a factor of two, and below a second by a second.

use std::time::Duration;

/// Upper bounds of the buckets in seconds, each itself in its bucket. They are part of the notes' layout: a changed one would
/// change what was counted before.
pub const SPEED_BOUNDS: [u32; 20] =
    [1, 2, 4, 8, 15, 30, 60, 120, 240, 480, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400, 172_800, 259_200];
/// The last bucket has what took longer than any bound.
pub const SPEED_BUCKETS: usize = SPEED_BOUNDS.len() + 1;

/// How many leads were delivered how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeedToLead([u64; SPEED_BUCKETS]);

impl SpeedToLead {
    /// Reads the counts of the buckets; those that are missing are zero.
    pub(super) fn read(counts: impl Iterator<Item = u64>) -> Self {
        let mut buckets = [0; SPEED_BUCKETS];
        buckets.iter_mut().zip(counts).for_each(|(bucket, count)| *bucket = count);
        Self(buckets)
    }

    pub(super) fn counts(&self) -> &[u64] {
        &self.0
    }

    /// Counts a lead that took so long.
    pub fn count(&mut self, took: Duration) {
        let is_within = |bound: &u32| took <= Duration::from_secs((*bound).into());
        let bucket = SPEED_BOUNDS.iter().position(is_within).unwrap_or(SPEED_BOUNDS.len());
        if let Some(count) = self.0.get_mut(bucket) {
            *count += 1;
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count = count.saturating_add(more));
    }

    /// Returns how many leads there are.
    pub fn leads(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns how long half of the leads took at most; none without leads.
    pub fn median(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// Returns how long 95 of 100 leads took at most; none without leads. Past three days it is three days.
    pub fn p95(&self) -> Option<Duration> {
        self.quantile(0.95)
    }

    /// Returns the share of the leads that took at most so long, from 0 to 1; none without leads. Exact at a bound, such as
    /// 60 s, and interpolated between two.
    pub fn within(&self, limit: Duration) -> Option<f64> {
        let limit = limit.as_secs_f64();
        let inside: f64 = self.buckets().map(|bucket| bucket.leads * bucket.share_below(limit)).sum();
        self.sum().map(|sum| inside / sum)
    }

    fn quantile(&self, quantile: f64) -> Option<Duration> {
        let mut rank = self.sum()? * quantile;
        let mut last = 0.0;
        for bucket in self.buckets().filter(|bucket| bucket.leads > 0.0) {
            last = bucket.at(rank / bucket.leads);
            if rank <= bucket.leads {
                break;
            }
            rank -= bucket.leads;
        }
        Some(Duration::from_secs_f64(last))
    }

    fn sum(&self) -> Option<f64> {
        (self.leads() > 0).then(|| self.buckets().map(|bucket| bucket.leads).sum())
    }

    fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let lower = std::iter::once(0.0).chain(SPEED_BOUNDS.map(f64::from));
        let upper = SPEED_BOUNDS.map(|bound| Some(f64::from(bound))).into_iter().chain([None]);
        lower.zip(upper).zip(self.0).map(|((lower, upper), count)| Bucket { lower, upper, leads: float(count) })
    }
}

/// A bucket, as it is interpolated; the last is open.
#[derive(Clone, Copy)]
struct Bucket {
    lower: f64,
    upper: Option<f64>,
    leads: f64,
}

impl Bucket {
    /// Returns the time below which a part of its leads is.
    fn at(&self, part: f64) -> f64 {
        self.upper.map_or(self.lower, |upper| self.lower + (upper - self.lower) * part.clamp(0.0, 1.0))
    }

    /// Returns the part of its leads that took at most so long.
    fn share_below(&self, limit: f64) -> f64 {
        self.upper.map_or(0.0, |upper| ((limit - self.lower) / (upper - self.lower)).clamp(0.0, 1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "past 2^53 leads a share is as good as one less")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(seconds: &[f64]) -> SpeedToLead {
        let mut speed = SpeedToLead::default();
        seconds.iter().for_each(|seconds| speed.count(Duration::from_secs_f64(*seconds)));
        speed
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_lead() {
        assert_eq!(speed(&[]).median(), None);
        assert_eq!(speed(&[0.4]).median(), Some(Duration::from_millis(500)), "the middle of its bucket");
        // 19 within a second, one after an hour: 95 of 100 are within a second, half within a bit more than half of one.
        let mut all = vec![0.2; 19];
        all.push(3_600.0);
        assert_eq!(speed(&all).p95(), Some(Duration::from_secs(1)));
        assert_eq!(speed(&all).median(), Some(Duration::from_secs_f64(10.0 / 19.0)));
        assert_eq!(speed(&[50.0, 50.0]).p95(), Some(Duration::from_secs_f64(30.0 + 0.95 * 30.0)));
        assert_eq!(speed(&[10e6]).median(), Some(Duration::from_secs(259_200)), "nothing is known past the last bound");
        assert_eq!(speed(&[0.5, 10e6]).p95(), Some(Duration::from_secs(259_200)));
    }

    #[test]
    fn a_quantile_is_off_by_a_factor_of_two_at_most() {
        for tenths in 11..600 {
            let took = f64::from(tenths * tenths) / 10.0;
            let median = speed(&[took; 7]).median().expect("leads").as_secs_f64();
            assert!(median / took <= 2.0 && took / median <= 2.0, "{took} s, and {median} s are told");
        }
    }

    #[test]
    fn a_share_within_a_bound_is_exact() {
        let speed = speed(&[0.1, 59.9, 60.0, 60.1]);
        assert_eq!(speed.within(Duration::from_secs(60)), Some(0.75));
        assert_eq!(speed.within(Duration::from_secs(90)), Some(0.875), "half of what is between one and two minutes");
        assert_eq!(speed.within(Duration::ZERO), Some(0.0));
        assert_eq!(SpeedToLead::default().within(Duration::from_secs(60)), None);
    }
}

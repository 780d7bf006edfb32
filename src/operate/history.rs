//! What came in and went out in the last 24 hours and 14 days: the columns of a chart.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::figures::each_note;
use crate::lead::SiteId;
use crate::queue::activity::{DayCounts, DayKey, HOURS, Hour};
use crate::queue::{Note, NoteKind, Store, StoreError};

/// How many days a history covers; the last one is today, in UTC.
pub const HISTORY_DAYS: usize = 14;
/// How many hours it tells apart; the last one is the running hour.
pub const HISTORY_HOURS: usize = 24;
/// What is counted is written twice a minute, so that a day changes no more an hour after its end.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// What happened in each of the last hours and days, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub hours: Vec<Period>,
    pub days: Vec<Period>,
}

/// What happened in an hour, or in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    pub begin: Timestamp,
    /// Submissions that were stored, without duplicates and spam.
    pub received: u64,
    /// Leads that KaiCalls took.
    pub delivered: u64,
    /// Posts that were refused.
    pub refused: u64,
}

/// Remembers the days that are over: of a large fleet, each is made of thousands of notes.
#[derive(Clone, Default)]
pub struct HistoryReader {
    settled: Arc<Mutex<BTreeMap<Date, Day>>>,
}

/// A day of some sites: received, delivered and refused, hour by hour.
#[derive(Clone, Copy, Default)]
struct Day([[u64; 3]; HOURS]);

impl HistoryReader {
    /// Reads the history of all sites.
    pub async fn read(&self, store: &dyn Store, now: Timestamp) -> Result<History, StoreError> {
        let mut days = BTreeMap::new();
        for date in dates(now) {
            let known = self.settled.lock().get(&date).copied();
            let day = match known {
                Some(day) => day,
                None => Day::read(store, &DayKey::prefix(date)).await?,
            };
            if is_settled(date, now) {
                self.settled.lock().insert(date, day);
            }
            days.insert(date, day);
        }
        self.settled.lock().retain(|date, _| days.contains_key(date));
        Ok(History::of(&days, now))
    }
}

/// Reads the history of one site.
pub async fn history_of(store: &dyn Store, site: &SiteId, now: Timestamp) -> Result<History, StoreError> {
    let mut days = BTreeMap::new();
    for date in dates(now) {
        days.insert(date, Day::read(store, &DayKey::prefix_of_site(date, Some(site))).await?);
    }
    Ok(History::of(&days, now))
}

/// Returns the days of a history, the oldest first.
fn dates(now: Timestamp) -> Vec<Date> {
    let (mut date, _) = Hour::of(now).day();
    let mut dates = vec![date];
    while let Some(before) = date.yesterday().ok().filter(|_| dates.len() < HISTORY_DAYS) {
        dates.push(before);
        date = before;
    }
    dates.reverse();
    dates
}

fn is_settled(date: Date, now: Timestamp) -> bool {
    let end = Hour::of_day(date, HOURS).begin();
    now.duration_since(end) > SETTLED_AFTER
}

impl Day {
    async fn read(store: &dyn Store, prefix: &str) -> Result<Self, StoreError> {
        let mut day = Self::default();
        let mut add = |note: Note| {
            let counts = DayCounts::read(&note.numbers);
            for (of_day, hour) in day.0.iter_mut().enumerate() {
                let counts = counts.hour(of_day);
                for (sum, count) in hour.iter_mut().zip([counts.taken, counts.delivered, counts.refused]) {
                    *sum += count;
                }
            }
        };
        each_note(store, NoteKind::Daily, prefix, &mut add).await?;
        Ok(day)
    }

    fn period(begin: Timestamp, hours: &[[u64; 3]]) -> Period {
        let mut period = Period { begin, received: 0, delivered: 0, refused: 0 };
        for [received, delivered, refused] in hours {
            period.received += received;
            period.delivered += delivered;
            period.refused += refused;
        }
        period
    }
}

impl History {
    fn of(days: &BTreeMap<Date, Day>, now: Timestamp) -> Self {
        let hour = |back: usize| {
            let hour = Hour::of(now).back(i64::try_from(back).unwrap_or_default());
            let (date, of_day) = hour.day();
            let counts = days.get(&date).and_then(|day| day.0.get(of_day)).copied().unwrap_or_default();
            Day::period(hour.begin(), &[counts])
        };
        Self {
            hours: (0..HISTORY_HOURS).rev().map(hour).collect(),
            days: days.iter().map(|(date, day)| Day::period(Hour::of_day(*date, 0).begin(), &day.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lead::FormId;
    use crate::queue::activity::{Activity, LeadEnd, PostEnd, StoredPost};
    use crate::queue::memory::MemoryStore;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[tokio::test]
    async fn each_hour_and_day_has_its_own_column() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let activity = Activity::default();
        let [acme, beta] = ["acme", "beta"].map(|id| SiteId::parse(id).expect("a site"));
        let form = FormId::parse("contact").expect("a form");
        let post = StoredPost { form: &form, mapping: None, token: None, end: PostEnd::Queued };
        for time in ["2026-11-16T23:59:59Z", "2026-11-17T00:00:00Z", "2026-11-29T11:00:00Z", "2026-11-30T10:05:00Z"] {
            activity.stored(&acme, post, at(time));
        }
        activity.stored(&beta, post, at("2026-11-30T10:10:00Z"));
        let end = LeadEnd::Delivered { took: Duration::from_secs(1) };
        activity.settled(&acme, &form, end, at("2026-11-30T10:11:00Z"));
        activity.flush(&store).await.expect("written");
        let now = at("2026-11-30T10:30:00Z");
        let reader = HistoryReader::default();
        let history = reader.read(&*store, now).await.expect("read");
        let received = |periods: &[Period]| periods.iter().map(|period| period.received).collect::<Vec<_>>();
        assert_eq!(history.days.len(), HISTORY_DAYS);
        assert_eq!(received(&history.days)[..1], [1], "the day before the first is left out");
        assert_eq!(received(&history.days)[12..], [1, 2]);
        assert_eq!(history.hours.len(), HISTORY_HOURS);
        assert_eq!((received(&history.hours)[0], received(&history.hours)[23]), (1, 2));
        assert_eq!(history.hours[23].delivered, 1);
        assert_eq!(history.hours[23].begin, at("2026-11-30T10:00:00Z"));
        let of_beta = history_of(&*store, &beta, now).await.expect("read");
        assert_eq!((received(&of_beta.days)[13], of_beta.days[13].delivered), (1, 0));
        // Days that are over are read once; today is read each time.
        activity.stored(&acme, post, at("2026-11-17T00:00:00Z"));
        activity.stored(&acme, post, at("2026-11-30T10:31:00Z"));
        activity.flush(&store).await.expect("written");
        let again = reader.read(&*store, now).await.expect("read");
        assert_eq!((received(&again.days)[0], received(&again.days)[13]), (1, 3));
    }
}

//! What sites did in the last 24 hours and seven days, from the notes that the gateways write.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::lead::SiteId;
use crate::queue::activity::{DayCounts, DayKey, HOURS, Hour};
use crate::queue::{Key, NOTES_MAX, Note, NoteKind, Store, StoreError};

/// Most notes that one answer is made of: 5,000 sites with ten forms each for eight days are fewer.
const NOTES_READ_MAX: usize = 500_000;

const DAY_HOURS: i64 = 24;
const WEEK_HOURS: i64 = 7 * DAY_HOURS;

/// What happened in some time, to the hour: the running hour counts whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Submissions that were stored, without duplicates.
    pub taken: u64,
    /// Leads that KaiCalls took.
    pub delivered: u64,
    /// Posts that were refused.
    pub refused: u64,
}

/// The last 24 hours, and the last seven days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows {
    pub(super) day: Window,
    pub(super) week: Window,
}

impl Window {
    fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.delivered += other.delivered;
        self.refused += other.refused;
    }
}

/// Of which sites windows are read.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    AllSites,
    /// One site; without one, what belongs to no site of the configuration.
    Of(Option<&'a SiteId>),
}

impl Scope<'_> {
    fn prefix(self, day: Date) -> String {
        match self {
            Self::AllSites => DayKey::prefix(day),
            Self::Of(site) => DayKey::prefix_of_site(day, site),
        }
    }
}

/// Reads the windows of sites.
pub(super) async fn windows(
    store: &dyn Store,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<HashMap<Option<SiteId>, Windows>, StoreError> {
    windows_of(store, scope, now, |_key| true).await
}

/// Reads the windows of sites, of those forms that are meant.
pub(super) async fn windows_of(
    store: &dyn Store,
    scope: Scope<'_>,
    now: Timestamp,
    is_meant: impl Fn(&DayKey) -> bool + Send + Sync,
) -> Result<HashMap<Option<SiteId>, Windows>, StoreError> {
    let this_hour = Hour::of(now);
    let week_begins = this_hour.back(WEEK_HOURS - 1);
    let day_begins = this_hour.back(DAY_HOURS - 1);
    let (mut day, _) = week_begins.day();
    let (today, _) = this_hour.day();
    let mut windows: HashMap<Option<SiteId>, Windows> = HashMap::new();
    while day <= today {
        let midnight = Hour::of_day(day, 0);
        let mut add = |note: Note| {
            let Some(key) = DayKey::read(note.key.as_str()).filter(|key| is_meant(key)) else { return };
            let counts = DayCounts::read(&note.numbers);
            let windows = windows.entry(key.site).or_default();
            for of_day in 0..HOURS {
                let hour = midnight.forth(of_day);
                if hour < week_begins || hour > this_hour {
                    continue;
                }
                let counts = counts.hour(of_day);
                let sum = Window { taken: counts.taken, delivered: counts.delivered, refused: counts.refused };
                windows.week.add(sum);
                if hour >= day_begins {
                    windows.day.add(sum);
                }
            }
        };
        each_note(store, NoteKind::Daily, &scope.prefix(day), &mut add).await?;
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    Ok(windows)
}

/// Reads the notes of a kind whose keys begin with a text, page by page.
pub(super) async fn each_note(
    store: &dyn Store,
    kind: NoteKind,
    prefix: &str,
    give: &mut (dyn FnMut(Note) + Send),
) -> Result<(), StoreError> {
    let mut after: Option<Key> = None;
    for _ in 0..NOTES_READ_MAX / NOTES_MAX {
        let page = store.notes(kind, prefix, after.as_ref(), NOTES_MAX).await?;
        let is_last = page.is_empty();
        after = page.last().map(|note| note.key.clone());
        page.into_iter().for_each(&mut *give);
        if is_last {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::lead::FormId;
    use crate::queue::activity::{Activity, LeadEnd, Mistake, PostEnd, RefusedPost, Sender, StoredPost};
    use crate::queue::memory::MemoryStore;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[tokio::test]
    async fn a_window_ends_with_the_running_hour_and_begins_with_a_whole_one() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let activity = Activity::default();
        let [acme, beta] = ["acme", "beta"].map(|id| SiteId::parse(id).expect("a site"));
        let form = FormId::parse("contact").expect("a form");
        let post = StoredPost { form: &form, mapping: None, token: None, end: PostEnd::Queued };
        for time in [
            "2026-11-23T10:59:59Z", // before the week
            "2026-11-23T11:00:00Z", // in the week
            "2026-11-29T10:59:59Z", // before the day
            "2026-11-29T11:00:00Z", // in the day
            "2026-11-30T10:59:59Z",
        ] {
            activity.stored(&acme, post, at(time));
        }
        let took = Duration::from_secs(1);
        activity.settled(&acme, &form, LeadEnd::Delivered { took }, at("2026-11-30T10:00:00Z"));
        let refused = |mistake| RefusedPost { mistake, status: 401, sender: &Sender::default };
        activity.refused(Some(&acme), &refused(Mistake::UnknownToken), at("2026-11-30T10:00:00Z"));
        activity.refused(None, &refused(Mistake::UnknownSite), at("2026-11-30T10:00:00Z"));
        activity.stored(&beta, post, at("2026-11-30T10:00:00Z"));
        activity.flush(&store).await.expect("written");
        let now = at("2026-11-30T10:30:00Z");
        let all = windows(&*store, Scope::AllSites, now).await.expect("read");
        let week = Window { taken: 4, delivered: 1, refused: 1 };
        let of_acme = Windows { day: Window { taken: 2, ..week }, week };
        assert_eq!(all.get(&Some(acme.clone())), Some(&of_acme));
        assert_eq!(all.get(&None).map(|windows| windows.day.refused), Some(1));
        assert_eq!(all.len(), 3);
        let one = windows(&*store, Scope::Of(Some(&acme)), now).await.expect("read");
        assert_eq!((one.len(), one.get(&Some(acme))), (1, Some(&of_acme)));
        let nobody = windows(&*store, Scope::Of(None), now).await.expect("read");
        assert_eq!((nobody.len(), nobody.get(&None)), (1, all.get(&None)));
    }
}

//! `digest`: what became of some days' submissions, for people who don't look every day.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::figures::each_note;
use super::group::groups_of;
use super::query::Query;
use super::waiting::Situation;
use crate::lead::SiteId;
use crate::queue::activity::{ACTIVITY_SITES_MAX, DayCounts, DayKey, HourCounts};
use crate::queue::{Filter, Note, NoteKind, Reason, State, Store, StoreError};

/// Most days of a digest: of more, the last.
pub const DAYS_MAX: usize = 92;
/// Most causes that are named.
const CAUSES_MAX: usize = 20;
/// Most sites with a row.
const ROWS_MAX: usize = 50;
/// What the share is of that is called fast.
const FAST: Duration = Duration::from_secs(60);

/// What became of some days' submissions. Names and order of its keys are a promise.
///
/// Each number is the sum of the daily counts that the store keeps; a lead counts on the day it was delivered, and one that was
/// held and then sent counts in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// The first day, of UTC.
    pub from: Date,
    /// The last one, which counts too.
    pub to: Date,
    /// Submissions that were stored, without duplicates and spam.
    pub received: u64,
    pub delivered: u64,
    /// Of those received, those that were held.
    pub held: u64,
    /// Leads that the sender gave up.
    pub dead: u64,
    pub duplicates: u64,
    pub spam: u64,
    /// Posts to sites of the configuration that were refused.
    pub refused: u64,
    /// Posts to sites that don't exist that were refused; only where all sites are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_unknown: Option<u64>,
    /// From the submit to KaiCalls, interpolated within a bucket of a histogram; none without a delivered lead.
    pub median_seconds: Option<f64>,
    pub p95_seconds: Option<f64>,
    /// The share of the delivered leads that took a minute at most, from 0 to 1.
    pub within_minute: Option<f64>,
    /// What needs a person now, by cause, the largest first.
    pub needs_person: Vec<NeedsPerson>,
    /// The sites at which anything happened: those with most trouble first.
    pub sites: Vec<DigestSite>,
    /// Further sites, for which there was no row any more.
    pub more_sites: usize,
}

/// Leads with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedsPerson {
    pub cause: String,
    pub state: State,
    pub leads: u64,
    /// How many sites they are of.
    pub sites: usize,
}

/// What became of a site's submissions. Names and order of its keys are a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DigestSite {
    pub id: SiteId,
    pub received: u64,
    pub delivered: u64,
    pub held: u64,
    pub dead: u64,
    pub refused: u64,
    pub median_seconds: Option<f64>,
}

/// The sums of the days, of each site; what belongs to no site that is counted by name under none.
#[derive(Default)]
struct Sums(BTreeMap<Option<SiteId>, HourCounts>);

/// Sums up days of all sites, or of some, and says what needs a person there now. Whoever wants what was counted in the last
/// half minute too flushes the activity first.
pub async fn digest(
    store: &dyn Store,
    situation: &Situation,
    sites: Option<&BTreeSet<SiteId>>,
    days: RangeInclusive<Date>,
) -> Result<Digest, StoreError> {
    let days = last_days(days);
    let mut sums = Sums::default();
    for day in &days {
        sums.read(store, *day, sites).await?;
    }
    let total = sums.total();
    let unknown = sums.0.remove(&None).unwrap_or_default();
    let needs_person = needs_person(store, situation, sites).await?;
    let more_sites = sums.0.len().saturating_sub(ROWS_MAX);
    Ok(Digest {
        from: days.first().copied().unwrap_or_default(),
        to: days.last().copied().unwrap_or_default(),
        received: total.taken,
        delivered: total.delivered,
        held: total.held,
        dead: total.dead,
        duplicates: total.duplicates,
        spam: total.spam,
        refused: total.refused - unknown.refused,
        refused_unknown: sites.is_none().then_some(unknown.refused),
        median_seconds: total.speed.median().map(|median| median.as_secs_f64()),
        p95_seconds: total.speed.p95().map(|p95| p95.as_secs_f64()),
        within_minute: total.speed.within(FAST),
        needs_person,
        sites: sums.rows(),
        more_sites,
    })
}

/// Returns the days of a range, at most [`DAYS_MAX`] and then the last; of an empty one its end.
fn last_days(days: RangeInclusive<Date>) -> Vec<Date> {
    let (first, last) = days.into_inner();
    let mut all = vec![last];
    while let Some(before) = all.last().and_then(|day| day.yesterday().ok()).filter(|before| *before >= first) {
        if all.len() >= DAYS_MAX {
            break;
        }
        all.push(before);
    }
    all.reverse();
    all
}

async fn needs_person(
    store: &dyn Store,
    situation: &Situation,
    sites: Option<&BTreeSet<SiteId>>,
) -> Result<Vec<NeedsPerson>, StoreError> {
    // Of one site the store has a list; of several all are gone through.
    let only = sites.filter(|sites| sites.len() == 1).and_then(|sites| sites.first().cloned());
    let query = Query { filter: Filter { site: only, ..Filter::default() }, text: None, ..Query::default() };
    let groups = groups_of(store, &query, situation, sites).await?.groups.into_iter();
    // What honeypots caught needs nobody.
    let work = groups.filter(|group| group.reason != Reason::Spam).take(CAUSES_MAX);
    Ok(work
        .map(|group| NeedsPerson { cause: group.cause, state: group.state, leads: group.leads, sites: group.sites })
        .collect())
}

impl Sums {
    /// Adds a day.
    async fn read(&mut self, store: &dyn Store, day: Date, sites: Option<&BTreeSet<SiteId>>) -> Result<(), StoreError> {
        let Some(sites) = sites else { return self.read_prefix(store, &DayKey::prefix(day)).await };
        for site in sites {
            self.read_prefix(store, &DayKey::prefix_of_site(day, Some(site))).await?;
        }
        Ok(())
    }

    async fn read_prefix(&mut self, store: &dyn Store, prefix: &str) -> Result<(), StoreError> {
        let mut add = |note: Note| {
            let Some(key) = DayKey::read(note.key.as_str()) else { return };
            // As many as are counted by name at a time; those of other times count in the total alone.
            let has_room = self.0.len() <= ACTIVITY_SITES_MAX || self.0.contains_key(&key.site);
            let site = key.site.filter(|_| has_room);
            self.0.entry(site).or_default().add(&DayCounts::read(&note.numbers).total());
        };
        each_note(store, NoteKind::Daily, prefix, &mut add).await
    }

    fn total(&self) -> HourCounts {
        let mut total = HourCounts::default();
        self.0.values().for_each(|counts| total.add(counts));
        total
    }

    /// Returns the rows of the sites, those with most trouble first.
    fn rows(self) -> Vec<DigestSite> {
        let mut rows: Vec<_> = self.0.into_iter().filter_map(|(site, counts)| Some((site?, counts))).collect();
        let trouble = |counts: &HourCounts| counts.refused + counts.held + counts.dead;
        rows.sort_by_key(|(_, counts)| (Reverse(trouble(counts)), Reverse(counts.taken)));
        rows.into_iter().take(ROWS_MAX).map(|(id, counts)| DigestSite::new(id, &counts)).collect()
    }
}

impl DigestSite {
    fn new(id: SiteId, counts: &HourCounts) -> Self {
        Self {
            id,
            received: counts.taken,
            delivered: counts.delivered,
            held: counts.held,
            dead: counts.dead,
            refused: counts.refused,
            median_seconds: counts.speed.median().map(|median| median.as_secs_f64()),
        }
    }
}

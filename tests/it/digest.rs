//! The digest: its totals are those of the daily counts, and it names what needs a person.

use std::collections::BTreeSet;
use std::time::Duration;

use formgate::lead::{FormId, SiteId};
use formgate::operate::{self, Digest};
use formgate::queue::activity::{
    Activity, DayCounts, DayKey, HourCounts, LeadEnd, Mistake, PostEnd, RefusedPost, Sender, StoredPost,
};
use formgate::queue::{NoteKind, State};
use jiff::Timestamp;
use jiff::civil::{Date, date};

use crate::scripted_api::Reply;
use crate::world::World;

fn site(id: &str) -> SiteId {
    SiteId::parse(id).expect("a site")
}

fn form(id: &str) -> FormId {
    FormId::parse(id).expect("a form")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// Who counts what happens at a site.
struct Counter<'a>(&'a Activity);

impl Counter<'_> {
    fn stored(&self, id: &str, of_form: &str, end: PostEnd, time: &str) {
        let form = form(of_form);
        self.0.stored(&site(id), StoredPost { form: &form, mapping: None, token: None, end }, at(time));
    }

    fn delivered(&self, id: &str, seconds: u64, time: &str) {
        let end = LeadEnd::Delivered { took: Duration::from_secs(seconds) };
        self.0.settled(&site(id), &form("contact"), end, at(time));
    }

    fn refused(&self, id: Option<&str>, mistake: Mistake, time: &str) {
        let post = RefusedPost { mistake, status: 401, sender: &Sender::default };
        self.0.refused(id.map(site).as_ref(), &post, at(time));
    }
}

/// Counts three days of two sites, and posts to sites that don't exist.
fn busy_days(activity: &Activity) {
    let counter = Counter(activity);
    for (day, posts) in [("2026-11-22", 1), ("2026-11-23", 2), ("2026-11-29", 3), ("2026-11-30", 4)] {
        let [morning, night] = ["T00:00:00Z", "T23:59:59Z"].map(|time| format!("{day}{time}"));
        for _ in 0..posts {
            counter.stored("acme", "contact", PostEnd::Queued, &morning);
            counter.stored("acme", "quote", PostEnd::Held, &night);
            counter.stored("acme", "contact", PostEnd::Duplicate, &night);
            counter.stored("acme", "contact", PostEnd::Spam, &morning);
            counter.stored("beta", "contact", PostEnd::Queued, &night);
            counter.delivered("acme", 1, &morning);
            counter.delivered("beta", 90, &night);
            counter.refused(Some("beta"), Mistake::ExpiredToken, &morning);
            counter.refused(None, Mistake::UnknownSite, &night);
        }
        activity.settled(&site("acme"), &form("quote"), LeadEnd::Dead, at(&night));
    }
}

const WEEK: std::ops::RangeInclusive<Date> = date(2026, 11, 23)..=date(2026, 11, 29);

/// Returns the sum of the daily counts of some sites that the store has of the week.
async fn counted(world: &World, is_meant: impl Fn(Option<&str>) -> bool) -> HourCounts {
    let notes = world.store.notes(NoteKind::Daily, "", None, 1_000).await.expect("read");
    let mut sum = HourCounts::default();
    for note in notes {
        let key = DayKey::read(note.key.as_str()).expect("a key");
        if WEEK.contains(&key.day) && is_meant(key.site.as_ref().map(SiteId::as_str)) {
            sum.add(&DayCounts::read(&note.numbers).total());
        }
    }
    sum
}

fn totals(digest: &Digest) -> [u64; 7] {
    let Digest { received, delivered, held, dead, duplicates, spam, refused, .. } = *digest;
    [received, delivered, held, dead, duplicates, spam, refused]
}

async fn digest(world: &World, sites: Option<&[&str]>) -> Digest {
    let sites = sites.map(|sites| sites.iter().map(|id| site(id)).collect::<BTreeSet<_>>());
    operate::digest(&*world.store, &world.situation(), sites.as_ref(), WEEK).await.expect("read")
}

#[tokio::test]
async fn the_totals_of_a_digest_are_those_of_the_daily_counts() {
    let world = World::new().await;
    let activity = Activity::default();
    busy_days(&activity);
    activity.flush(&world.store).await.expect("written");

    let all = digest(&world, None).await;
    let sum = counted(&world, |site| site.is_some()).await;
    let expected = [sum.taken, sum.delivered, sum.held, sum.dead, sum.duplicates, sum.spam, sum.refused];
    assert_eq!((totals(&all), totals(&all)), (expected, [15, 10, 5, 2, 5, 5, 5]));
    assert_eq!(all.refused_unknown, Some(counted(&world, |site| site.is_none()).await.refused));
    assert_eq!((all.refused_unknown, all.from, all.to), (Some(5), *WEEK.start(), *WEEK.end()));
    assert_eq!(all.within_minute, Some(0.5));
    assert!(all.median_seconds.is_some_and(|median| (0.0..=1.0).contains(&median)), "{all:?}");
    assert!(all.p95_seconds.is_some_and(|p95| (60.0..=120.0).contains(&p95)), "{all:?}");
    let rows: Vec<_> = all.sites.iter().map(|row| (row.id.as_str(), row.received, row.refused, row.held)).collect();
    assert_eq!((rows, all.more_sites), (vec![("acme", 10, 0, 5), ("beta", 5, 5, 0)], 0));

    let beta = digest(&world, Some(&["beta"])).await;
    assert_eq!((totals(&beta), beta.refused_unknown), ([5, 5, 0, 0, 0, 0, 5], None));
    assert_eq!((beta.sites.len(), beta.within_minute), (1, Some(0.0)));
    let both = digest(&world, Some(&["acme", "beta"])).await;
    assert_eq!((totals(&both), both.refused_unknown), (expected, None));
    let none = digest(&world, Some(&["gamma"])).await;
    assert_eq!((totals(&none), none.median_seconds, none.sites.len()), ([0; 7], None, 0));
}

#[tokio::test]
async fn of_many_sites_those_with_most_trouble_have_rows_and_the_rest_is_counted() {
    let world = World::new().await;
    let activity = Activity::default();
    let counter = Counter(&activity);
    for number in 0..60 {
        let id = format!("site-{number}");
        counter.stored(&id, "contact", PostEnd::Queued, "2026-11-25T10:00:00Z");
        for _ in 0..number / 10 {
            counter.refused(Some(&id), Mistake::NoCredential, "2026-11-25T10:00:00Z");
        }
    }
    activity.flush(&world.store).await.expect("written");
    let all = digest(&world, None).await;
    assert_eq!((all.received, all.refused, all.sites.len(), all.more_sites), (60, 150, 50, 10));
    assert!(all.sites.is_sorted_by_key(|row| std::cmp::Reverse(row.refused)), "the most first");
    assert_eq!(all.sites.last().map(|row| row.refused), Some(1), "those without trouble are left out");
}

#[tokio::test]
async fn a_digest_says_what_needs_a_person_at_its_sites() {
    let world = World::new().await;
    world.api.always(Reply::error(400, "Bad phone"));
    for number in [1, 2] {
        world.queue("acme", number).await;
    }
    for _ in 0..2 {
        world.sender.send_due().await;
        world.pass(4_000);
    }
    let told = |digest: &Digest| -> Vec<_> {
        let told = digest.needs_person.iter();
        told.map(|cause| (cause.cause.contains("Bad phone"), cause.state, cause.leads, cause.sites)).collect()
    };
    let dead = [(true, State::Dead, 2, 1)];
    assert_eq!(told(&digest(&world, None).await), dead);
    assert_eq!(told(&digest(&world, Some(&["acme"])).await), dead);
    assert_eq!(told(&digest(&world, Some(&["acme", "beta"])).await), dead);
    for others in [&["beta"][..], &["beta", "gamma"]] {
        assert_eq!(told(&digest(&world, Some(others)).await), []);
    }
}

#[tokio::test]
async fn a_digest_of_too_many_days_is_one_of_the_last() {
    let world = World::new().await;
    let days = date(2020, 1, 1)..=date(2026, 11, 29);
    let digest = operate::digest(&*world.store, &world.situation(), None, days).await.expect("read");
    let days = digest.from.until(digest.to).expect("days").get_days();
    assert_eq!((usize::try_from(days).expect("some") + 1, digest.to), (operate::DAYS_MAX, date(2026, 11, 29)));
    #[expect(clippy::reversed_empty_ranges, reason = "it is empty")]
    let empty = date(2026, 11, 30)..=date(2026, 11, 29);
    let digest = operate::digest(&*world.store, &world.situation(), None, empty).await.expect("read");
    assert_eq!((digest.from, digest.to), (date(2026, 11, 29), date(2026, 11, 29)));
}

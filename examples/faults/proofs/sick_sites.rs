//! 498 healthy sites beside one whose key is revoked and one that is never answered: do they wait for them?

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::keyed_api::{Health, KeyedApi};
use super::row::Row;
use super::sending::{Sending, append, open};

const SITES: usize = 500;
/// The last two are the sick ones.
const HEALTHY: usize = SITES - 2;
/// Leads of healthy sites, one every so often.
const LEADS: usize = 4_000;
const EVERY: Duration = Duration::from_millis(10);
/// What the sick sites have queued before, and get meanwhile: one with every so many healthy ones.
const BACKLOG: usize = 500;
const SICK_EVERY: usize = 20;
/// A lead takes the API so long; after this it is given up.
const TAKES: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Healthy leads may wait so many times as long as without the sick.
const RATIO_MAX: f64 = 2.0;
/// What counts as the same however small it is: a timer's grain.
const GRAIN: Duration = Duration::from_millis(2);

/// How long leads of healthy sites took from the append to the API.
struct Latency {
    median: Duration,
    p99: Duration,
    longest: Duration,
}

/// Runs the same load with and without the sick sites.
pub(crate) async fn sick_sites() -> anyhow::Result<Row> {
    let mut row = Row::new("498 sites beside a revoked and a silent one", 2);
    let without = run(false).await?;
    let with = run(true).await?;
    for (name, found) in [("without", &without), ("beside the sick", &with)] {
        let Latency { median, p99, longest } = found;
        row.tell(format!("{name}: p50 {median:.1?}, p99 {p99:.1?}, max {longest:.1?}"));
    }
    let ratio = with.p99.as_secs_f64() / without.p99.max(GRAIN).as_secs_f64();
    row.tell(format!("p99 {ratio:.2} times as long"));
    row.expect(ratio <= RATIO_MAX, || format!("healthy sites waited {ratio:.2} times as long, at most {RATIO_MAX}"));
    Ok(row)
}

fn health(key: &str) -> Health {
    match key {
        "wp_pk_498" => Health::Revoked,
        "wp_pk_499" => Health::Silent,
        _ => Health::Well,
    }
}

async fn run(with_sick: bool) -> anyhow::Result<Latency> {
    let folder = tempfile::tempdir()?;
    let api = KeyedApi::start(TAKES, health).await?;
    let store = open(folder.path())?;
    let sick = |number: usize| HEALTHY + number % 2;
    if with_sick {
        for number in 0..2 * BACKLOG {
            append(&*store, number, sick(number), Timestamp::now()).await?;
        }
    }
    let sending = Sending::start(store, &api.url(), SITES, TIMEOUT)?;
    let mut appended = Vec::with_capacity(LEADS);
    for number in 0..LEADS {
        let (began, at) = (Instant::now(), Timestamp::now());
        appended.push((append(&*sending.store, number, number % HEALTHY, at).await?, began));
        if with_sick && number % SICK_EVERY == 0 {
            append(&*sending.store, number, sick(number / SICK_EVERY), at).await?;
        }
        sleep(EVERY.saturating_sub(began.elapsed())).await;
    }
    tokio::time::timeout(TIMEOUT * 3, api.taken(LEADS)).await??;
    let seen = api.seen();
    let waits = appended.iter().filter_map(|(id, began)| Some(seen.get(&id.to_string())?.duration_since(*began)));
    let mut waits: Vec<_> = waits.collect();
    waits.sort_unstable();
    let at = |share: usize| waits.get((waits.len() * share / 100).min(waits.len().saturating_sub(1))).copied();
    let [median, p99, longest] = [50, 99, 100].map(|share| at(share).unwrap_or(Duration::MAX));
    sending.stop().await?;
    Ok(Latency { median, p99, longest })
}

//! 100,000 queued entries after an outage: memory stays flat, and only the API limits how fast they go.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::keyed_api::{Health, KeyedApi};
use super::row::Row;
use super::sending::{Sending, append, open};

const SITES: usize = 100;
const BACKLOG: usize = 100_000;
/// How old the youngest of them is: no longer a new lead.
const AGE: SignedDuration = SignedDuration::from_mins(11);
/// A lead takes the API so long. Half of the default slots are for new leads, so the backlog has sixteen.
const TAKES: Duration = Duration::from_millis(20);
const SLOTS: f64 = 16.0;
/// The drain may take so many times what the API alone would.
const RATIO_MAX: f64 = 2.0;
/// New leads that come meanwhile, one every so often, and how long each may wait.
const NEW: usize = 100;
const NEW_EVERY: Duration = Duration::from_millis(500);
const NEW_WAIT_MAX: Duration = Duration::from_secs(1);
/// Memory may grow by this from the beginning of the drain to its end.
const GROWTH_MAX_KB: u64 = 64 * 1024;
const TIME_MAX: Duration = Duration::from_secs(900);

pub(crate) async fn backlog() -> anyhow::Result<Row> {
    let mut row = Row::new("100,000 queued entries", 1);
    let folder = tempfile::tempdir()?;
    let api = KeyedApi::start(TAKES, |_key| Health::Well).await?;
    let store = open(folder.path())?;
    fill(&*store).await?;
    let before = resident_kb()?;
    let (sending, began) = (Sending::start(store, &api.url(), SITES, Duration::from_secs(30))?, Instant::now());
    let (new, highest) = tokio::try_join!(add_new(&sending), watch_memory(&api))?;
    let took = began.elapsed();
    let seen = api.seen();
    let waits = new.iter().filter_map(|(id, began)| Some(seen.get(id)?.duration_since(*began)));
    let longest = waits.max().context("new leads arrive")?;
    let alone = TAKES.as_secs_f64() * (BACKLOG as f64) / SLOTS;
    let ratio = took.as_secs_f64() / alone;
    row.tell(format!(
        "{:.0} leads/s, {ratio:.2} times what the API takes",
        (BACKLOG + NEW) as f64 / took.as_secs_f64()
    ));
    row.tell(format!("RSS {} MiB before, {} MiB at most", before / 1024, highest / 1024));
    row.tell(format!("a new lead waited {longest:.1?} at most"));
    row.expect(ratio <= RATIO_MAX, || format!("it took {ratio:.2} times what the API takes, at most {RATIO_MAX}"));
    row.expect(highest < before + GROWTH_MAX_KB, || format!("memory grew by {} KiB", highest - before));
    row.expect(longest <= NEW_WAIT_MAX, || format!("a new lead waited {longest:.1?}"));
    sending.stop().await?;
    Ok(row)
}

/// Appends the backlog, many at once: the store commits them together.
async fn fill(store: &dyn formgate::queue::Store) -> anyhow::Result<()> {
    const TOGETHER: usize = 250;
    let at = Timestamp::now().checked_sub(AGE)?;
    for first in (0..BACKLOG).step_by(TOGETHER) {
        let mut appends: Vec<_> =
            (first..first + TOGETHER).map(|number| Box::pin(append(store, number, number % SITES, at))).collect();
        std::future::poll_fn(|context| {
            appends.retain_mut(|append| append.as_mut().poll(context).is_pending());
            if appends.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
    let queued: u64 = store.counts().await?.iter().map(|count| count.entries).sum();
    anyhow::ensure!(queued == BACKLOG as u64, "only {queued} entries were appended");
    Ok(())
}

async fn add_new(sending: &Sending) -> anyhow::Result<Vec<(String, Instant)>> {
    let mut added = Vec::new();
    for number in 0..NEW {
        let began = Instant::now();
        let id = append(&*sending.store, BACKLOG + number, number % SITES, Timestamp::now()).await?;
        added.push((id.to_string(), began));
        tokio::time::sleep(NEW_EVERY).await;
    }
    Ok(added)
}

/// Waits until everything has arrived; returns the most memory that was used meanwhile.
async fn watch_memory(api: &KeyedApi) -> anyhow::Result<u64> {
    let (mut highest, began) = (0, Instant::now());
    loop {
        highest = highest.max(resident_kb()?);
        if let Ok(all) = tokio::time::timeout(Duration::from_millis(200), api.taken(BACKLOG + NEW)).await {
            all?;
            return Ok(highest);
        }
        anyhow::ensure!(began.elapsed() < TIME_MAX, "it takes too long");
    }
}

/// What this process has in memory: the sender and the store, and the API with an id of each lead.
fn resident_kb() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a size in memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

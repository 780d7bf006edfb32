//! What must not depend on how much a store holds.

use std::time::Duration;

use formgate::lead::SiteId;
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{Filter, Order, State, Store};
use std::sync::Arc;
use tokio::time::Instant;

use crate::life::{append_all, whole_lives};
use crate::{Outcome, entries, folder, median, open};

const MANY: u64 = 1_000_000;
const PENDING: u64 = 100_000;
/// Entries that are made, or taken their way, at a time.
const PART: u64 = 20_000;
const PAGE: usize = 50;

/// Prints all.
pub(crate) async fn all() -> Outcome<()> {
    start().await?;
    lists().await
}

/// Prints how long a start takes with many entries that wait: after a clean stop, and after a kill.
async fn start() -> Outcome<()> {
    let folder = folder()?;
    let path = folder.path().join("store.db");
    let store = open(&path)?;
    fill(&store, 0, PENDING).await?;
    // What a kill leaves: the files as they are, with the log.
    let killed = folder.path().join("killed");
    std::fs::create_dir(&killed)?;
    for part in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(part), killed.join(part))?;
    }
    drop(store);
    println!("\n{:<40} {:>9} {:>12}", format!("start, {PENDING} pending"), "open ms", "first ms");
    for (what, path) in [("after a clean stop", path), ("after a kill", killed.join("store.db"))] {
        let begun = Instant::now();
        let store = open(&path)?;
        let opened = begun.elapsed();
        append_all(&store, entries::some(PENDING, 1)?, 1).await?;
        println!("{what:<40} {:>9.1} {:>12.1}", milliseconds(opened), milliseconds(begun.elapsed()));
    }
    Ok(())
}

/// Prints how long lists and counts take among many entries, and what one more entry costs.
async fn lists() -> Outcome<()> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    let empty = whole_lives(&store, 0, PART).await?;
    fill(&store, PART, MANY).await?;
    let costs = whole_lives_of_another(&store, PART + MANY).await?;
    println!("\n{:<40} {:>9.2}", "an entry's cost, 1 M queued ÷ 0", costs / empty);
    println!("{:<40} {:>9}", "lists among 1 M entries", "ms");
    let site = Some(SiteId::parse("site-7")?);
    for (what, filter) in [
        ("newest", Filter::default()),
        ("queued", Filter { state: Some(State::Queued), ..Filter::default() }),
        ("delivered", Filter { state: Some(State::Delivered), ..Filter::default() }),
        ("held", Filter { state: Some(State::Held), ..Filter::default() }),
        ("of a site", Filter { site: site.clone(), ..Filter::default() }),
        ("delivered of a site", Filter { site, state: Some(State::Delivered), ..Filter::default() }),
    ] {
        let mut times = Vec::new();
        for order in [Order::Newest, Order::Oldest, Order::Newest, Order::Oldest, Order::Newest] {
            let begun = Instant::now();
            store.scan(&filter, order, None, PAGE).await?;
            times.push(milliseconds(begun.elapsed()));
        }
        println!("{what:<40} {:>9.2}", median(times));
    }
    let begun = Instant::now();
    store.counts().await?;
    println!("{:<40} {:>9.2}", "counts", milliseconds(begun.elapsed()));
    Ok(())
}

async fn whole_lives_of_another(store: &Arc<SqliteStore>, first: u64) -> Outcome<f64> {
    whole_lives(store, first, PART).await
}

async fn fill(store: &Arc<SqliteStore>, first: u64, count: u64) -> Outcome<()> {
    for part in (first..first + count).step_by(usize::try_from(PART)?) {
        append_all(store, entries::some(part, PART)?, 256).await?;
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

//! What must not depend on how much a store holds.

use formgate::lead::SiteId;
use formgate::queue::sqlite::SqliteStore;
use formgate::queue::{Filter, Order, State, Store};
use std::sync::Arc;
use tokio::time::Instant;

use crate::life::{append_all, whole_lives};
use crate::{Outcome, entries, folder, median, milliseconds, open};

const MANY: u64 = 1_000_000;
const PENDING: u64 = 100_000;
/// Entries that are made, or taken their way, at a time.
const PART: u64 = 20_000;
const PAGE: usize = 50;

/// Numbers of entries that are accepted weeks after all others: they wait, and are not due.
const LATER: u64 = 20_000_000_000;

/// Prints all.
pub(crate) async fn all() -> Outcome<()> {
    start().await?;
    backlog().await?;
    delivered().await
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
    println!("\n### The store: a start with {PENDING} pending\n");
    println!("| start              | open ms |  goal | until the first append ms |");
    println!("|--------------------|--------:|------:|--------------------------:|");
    for (what, goal, path) in [("after a clean stop", "≤ 50", path), ("after a kill", "≤ 100", killed.join("store.db"))]
    {
        let begun = Instant::now();
        let store = open(&path)?;
        let opened = begun.elapsed();
        append_all(&store, entries::some(PENDING, 1)?, 1).await?;
        println!(
            "| {what:<18} | {:>7.1} | {goal:>5} | {:>25.1} |",
            milliseconds(opened),
            milliseconds(begun.elapsed())
        );
    }
    Ok(())
}

/// Prints what one more entry costs where many wait.
async fn backlog() -> Outcome<()> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    // The first of them pays for what is begun once.
    whole_lives(&store, 0, PART).await?;
    let mut empty = Vec::new();
    for part in 1..4 {
        empty.push(whole_lives(&store, part * PART, PART).await?);
    }
    fill(&store, LATER, MANY).await?;
    let mut costs = Vec::new();
    for part in 4..7 {
        costs.push(whole_lives(&store, part * PART, PART).await?);
    }
    println!("\n### The store: what does not grow with it\n");
    println!("An entry's cost with 1 M queued ÷ with none: {:.2} (goal ≤ 1.1)", median(costs) / median(empty));
    lists(&*store, "1 M queued, few delivered").await
}

/// Prints how long lists take where most entries are delivered.
async fn delivered() -> Outcome<()> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    for part in 0..MANY / PART {
        whole_lives(&store, part * PART, PART).await?;
    }
    fill(&store, LATER, PART).await?;
    lists(&*store, "1 M delivered, few queued").await
}

/// Prints how long lists and counts take.
pub(crate) async fn lists(store: &impl Store, what: &str) -> Outcome<()> {
    println!("\n| {:<26} |   ms | goal |", what);
    println!("|{:-<28}|-----:|-----:|", "");
    let site = Some(SiteId::parse("site-7")?);
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    for (what, filter) in [
        ("all", Filter::default()),
        ("queued", state(State::Queued)),
        ("delivered", state(State::Delivered)),
        ("held", state(State::Held)),
        ("of a site", Filter { site: site.clone(), ..Filter::default() }),
        ("queued of a site", Filter { site: site.clone(), ..state(State::Queued) }),
        ("delivered of a site", Filter { site, ..state(State::Delivered) }),
    ] {
        let mut times = Vec::new();
        for order in [Order::Newest, Order::Oldest, Order::Newest, Order::Oldest] {
            let begun = Instant::now();
            store.scan(&filter, order, None, PAGE).await?;
            times.push(milliseconds(begun.elapsed()));
        }
        println!("| {what:<26} | {:>4.1} | ≤ 50 |", times.into_iter().fold(0.0, f64::max));
    }
    let begun = Instant::now();
    store.counts().await?;
    println!("| {:<26} | {:>4.1} | ≤ 50 |", "counts", milliseconds(begun.elapsed()));
    Ok(())
}

async fn fill(store: &Arc<SqliteStore>, first: u64, count: u64) -> Outcome<()> {
    for part in (first..first + count).step_by(usize::try_from(PART)?) {
        append_all(store, entries::some(part, PART)?, 256).await?;
    }
    Ok(())
}

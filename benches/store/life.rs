//! The way of an entry: appended, claimed, settled.

use std::sync::Arc;
use std::time::Duration;

use formgate::queue::{Attempt, AttemptResult, CLAIM_MAX, Claim, DedupeKey, NewEntry, Settlement, Store};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::floor::{Prototype, bare_file};
use crate::{
    BODY, ENTRIES, Outcome, PRODUCERS, ROUNDS, as_f64, entries, folder, median, open, per_second, processor_time,
    written,
};

pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// How long what is settled is kept.
pub(crate) const KEEP: Duration = LEASE;

/// Prints how many entries become durable in a second, and what is written for it.
pub(crate) async fn appends() -> Outcome<()> {
    println!("\n### The store: durable appends, a bare file with group fdatasync, and SQLite with nothing around it\n");
    println!(
        "| at once | bare file /s | SQLite /s | store /s | ÷ bare | goal | ÷ SQLite | batch | written ÷ received | goal |"
    );
    println!(
        "|--------:|-------------:|----------:|---------:|-------:|-----:|---------:|------:|-------------------:|-----:|"
    );
    for (producers, count) in [(1, ENTRIES / 10), (8, ENTRIES), (PRODUCERS, ENTRIES), (4 * PRODUCERS, ENTRIES)] {
        appends_of(producers, count).await?;
    }
    Ok(())
}

async fn appends_of(producers: usize, count: u64) -> Outcome<()> {
    let mut floors = Vec::new();
    let mut rates = Vec::new();
    let mut batches = Vec::new();
    let mut bytes = Vec::new();
    let mut least = Vec::new();
    for _ in 0..ROUNDS {
        least.push(prototype_appends(count, producers).await?);
        let folder = folder()?;
        let store = open(&folder.path().join("store.db"))?;
        let new = entries::some(0, count)?;
        let begun = Instant::now();
        let before = written()?;
        append_all(&store, new, producers).await?;
        rates.push(per_second(count, begun));
        let batch = as_f64(store.operations()) / as_f64(store.commits().max(1));
        // With the log's copying into the database.
        drop(store);
        bytes.push(as_f64(written()? - before) / as_f64(count * BODY as u64));
        batches.push(batch);
        floors.push(bare_file(&folder.path().join("bare"), count, batch.round() as usize)?);
    }
    let of = |floors: &[f64]| median(rates.iter().zip(floors).map(|(rate, floor)| rate / floor).collect());
    let of_bare = of(&floors);
    let of_least = of(&least);
    let [floor, least, rate, batch, bytes] = [floors, least, rates, batches, bytes].map(median);
    let goals = match producers {
        1 => ("≥ 0.8", "–"),
        PRODUCERS => ("≥ 0.55", "≤ 4"),
        _ => ("–", if batch < 16.0 { "–" } else { "≤ 4" }),
    };
    println!(
        "| {producers:>7} | {floor:>12.0} | {least:>9.0} | {rate:>8.0} | {of_bare:>6.2} | {:>4} | {of_least:>8.2} | {batch:>5.1} \
         | {bytes:>18.2} | {:>4} |",
        goals.0, goals.1
    );
    Ok(())
}

/// Prints what an entry's whole way costs the processor, beside the least that SQLite can do.
pub(crate) async fn lives() -> Outcome<()> {
    println!(
        "\n### The store: an entry's whole way, appended, claimed and settled; the processor's time of all threads\n"
    );
    println!("| at once | SQLite µs | store µs | ratio |  goal |");
    println!("|--------:|----------:|---------:|------:|------:|");
    let mut floors = Vec::new();
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        floors.push(prototype_life(ENTRIES).await?);
        costs.push(life(ENTRIES, 0).await?);
    }
    let ratio = median(costs.iter().zip(&floors).map(|(cost, floor)| cost / floor).collect());
    let [floor, cost] = [floors, costs].map(median);
    println!("| {PRODUCERS:>7} | {floor:>9.1} | {cost:>8.1} | {ratio:>5.2} | ≤ 1.6 |");
    Ok(())
}

async fn life(count: u64, first: u64) -> Outcome<f64> {
    let folder = folder()?;
    let store = open(&folder.path().join("store.db"))?;
    whole_lives(&store, first, count).await
}

/// Takes entries their whole way in a store; returns the processor's time of each, in microseconds.
pub(crate) async fn whole_lives(store: &Arc<impl Store>, first: u64, count: u64) -> Outcome<f64> {
    let new = entries::some(first, count)?;
    let now = entries::after(first + count)?;
    let begun = processor_time();
    let appending = tokio::spawn({
        let store = Arc::clone(store);
        async move { append_all(&store, new, PRODUCERS).await }
    });
    settle_all(store, count, now).await?;
    appending.await??;
    Ok((processor_time() - begun) / as_f64(count))
}

/// Appends entries, each producer the next when its last is durable.
pub(crate) async fn append_all(
    store: &Arc<impl Store>,
    new: Vec<(NewEntry, DedupeKey)>,
    producers: usize,
) -> Outcome<()> {
    let mut parts: Vec<Vec<_>> = (0..producers).map(|_| Vec::new()).collect();
    for (number, new) in new.into_iter().enumerate() {
        parts.get_mut(number % producers).ok_or("there are producers")?.push(new);
    }
    let mut tasks = JoinSet::new();
    for part in parts {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for (entry, key) in part {
                let _appended = store.append(entry, Some(key)).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Claims and settles, as the sender does: many at once.
async fn settle_all(store: &Arc<impl Store>, count: u64, now: Timestamp) -> Outcome<()> {
    let mut changed = store.changed();
    let mut settled = 0;
    while settled < count {
        changed.borrow_and_update();
        let leases = store.claim(&Claim::new(CLAIM_MAX, LEASE, now)).await?;
        if leases.is_empty() {
            changed.changed().await?;
            continue;
        }
        settled += leases.len() as u64;
        let mut tasks = JoinSet::new();
        for lease in leases {
            let store = Arc::clone(store);
            tasks.spawn(async move { store.settle(&lease, delivered(), now).await });
        }
        while let Some(done) = tasks.join_next().await {
            let _set = done??;
        }
    }
    Ok(())
}

fn delivered() -> Settlement {
    let attempt =
        Attempt { result: AttemptResult::Delivered, status: Some(200), duration_ms: 20, words: None, confirmed: None };
    Settlement::Delivered { lead_id: Some("lead".to_owned()), attempt, keep: KEEP }
}

async fn prototype_appends(count: u64, producers: usize) -> Outcome<f64> {
    let folder = folder()?;
    let store = Arc::new(Prototype::open(&folder.path().join("prototype.db"))?);
    let bodies = (0..count).map(entries::body).collect();
    let begun = Instant::now();
    prototype_append_all(&store, bodies, producers).await?;
    Ok(per_second(count, begun))
}

async fn prototype_append_all(store: &Arc<Prototype>, bodies: Vec<Vec<u8>>, producers: usize) -> Outcome<()> {
    let mut parts: Vec<Vec<_>> = (0..producers).map(|_| Vec::new()).collect();
    for (number, body) in bodies.into_iter().enumerate() {
        parts.get_mut(number % producers).ok_or("there are producers")?.push(body);
    }
    let mut tasks = JoinSet::new();
    for part in parts {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for body in part {
                store.append(body).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn prototype_life(count: u64) -> Outcome<f64> {
    let folder = folder()?;
    let store = Arc::new(Prototype::open(&folder.path().join("prototype.db"))?);
    let bodies = (0..count).map(entries::body).collect();
    let begun = processor_time();
    let appending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { prototype_append_all(&store, bodies, PRODUCERS).await }
    });
    let mut settled = 0;
    while settled < count {
        let claimed = store.claim(CLAIM_MAX as u32).await?;
        settled += claimed.len() as u64;
        let mut tasks = JoinSet::new();
        for (number, _) in claimed {
            let store = Arc::clone(&store);
            tasks.spawn(async move { store.settle(number).await });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
    }
    appending.await??;
    Ok((processor_time() - begun) / as_f64(count))
}

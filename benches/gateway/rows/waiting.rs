//! How long a visitor waits: alone, and while a backlog drains.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::{Loaded, flood, pace};
use crate::rows::{Goal, figure, rounds};
use crate::stand::{CONNECTIONS, Running, Stand, sync_time};
use crate::{Outcome, median, table};

const ALONE: Duration = Duration::from_secs(3);
const PER_SECOND: f64 = 200.0;
const LASTING: Duration = Duration::from_secs(8);
/// Less than the backlog lasts.
const DRAINING: Duration = Duration::from_secs(4);
const BACKLOG: u64 = 100_000;
/// So slow is the upstream while the backlog grows.
const SLOW: Duration = Duration::from_secs(2);

/// In milliseconds.
struct Waits {
    sync: f64,
    alone: f64,
    idle: Loaded,
    draining: Loaded,
}

pub(crate) async fn measure(stand: &Stand) -> Outcome<Vec<Goal>> {
    let mut alone = Vec::new();
    let mut draining = Vec::new();
    let mut rows = Vec::new();
    for _round in rounds("waiting") {
        let mut waits = wait(stand).await?;
        alone.push(waits.alone / waits.sync);
        draining.push(waits.draining.percentile(99) / waits.idle.percentile(99));
        rows.push(waits.row());
    }
    let head = ["fdatasync p50 ms", "alone p50", "200/s p50", "p99", "draining p50", "p99"];
    table::print("How long a post waits for its answer, by round", &head, &rows);
    Ok(vec![
        Goal::new("p50 of a lone request ÷ one fdatasync", median(alone), "≤ 2.5", "≤ 4"),
        Goal::new("p99 at 200/s while 100,000 entries drain ÷ p99 idle", median(draining), "≤ 1.5", "≤ 2"),
    ])
}

async fn wait(stand: &Stand) -> Outcome<Waits> {
    let running = stand.gateway(1, true).await?;
    stand.warm_up(&running, stand.w1()?).await?;
    let sync = sync_time()?;
    let mut lone = flood(stand.w1()?, running.target, 1, ALONE).await?;
    stand.quiet().await;
    let idle = pace(stand.w1()?, running.target, PER_SECOND, LASTING).await?;
    stand.quiet().await;
    let all = stand.upstream.taken() + grow_backlog(stand, &running).await?;
    let draining = pace(stand.w1()?, running.target, PER_SECOND, DRAINING).await?;
    if stand.upstream.taken() > all {
        return Err("the backlog was gone before the wait was measured".into());
    }
    Ok(Waits { sync, alone: lone.percentile(50), idle, draining })
}

/// Fills the queue, and lets it drain again; returns how many were accepted.
async fn grow_backlog(stand: &Stand, running: &Running) -> Outcome<u64> {
    stand.upstream.set_delay(SLOW);
    let mut accepted = 0;
    while accepted < BACKLOG {
        accepted += flood(stand.w1()?, running.target, CONNECTIONS, Duration::from_secs(1)).await?.accepted;
    }
    stand.upstream.set_delay(Duration::ZERO);
    // Those under way are the last that take so long.
    sleep(SLOW).await;
    Ok(accepted)
}

impl Waits {
    fn row(&mut self) -> Vec<String> {
        let Self { sync, alone, idle, draining } = self;
        let loaded = [idle, draining].map(|loaded| [loaded.percentile(50), loaded.percentile(99)]);
        [*sync, *alone].into_iter().chain(loaded.into_iter().flatten()).map(figure).collect()
    }
}

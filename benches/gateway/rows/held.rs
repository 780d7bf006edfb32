//! What the gateway holds in memory, and how soon it is there.

use std::time::Duration;

use tokio::time::sleep;

use crate::load::flood;
use crate::rows::{Goal, rounds};
use crate::stand::{CONNECTIONS, Stand};
use crate::{Outcome, median};

/// After this nothing that a start needs is held any more.
const SETTLED: Duration = Duration::from_secs(2);
const LASTING: Duration = Duration::from_secs(5);

pub(crate) async fn memory(stand: &Stand) -> Outcome<Vec<Goal>> {
    let few = stand.gateway(10, true).await?;
    sleep(SETTLED).await;
    let idle = few.process.memory()?.now;
    flood(stand.w1()?, few.target, CONNECTIONS, LASTING).await?;
    stand.quiet().await;
    let peak = few.process.memory()?.peak;
    drop(few);
    let many = stand.gateway(5_000, true).await?;
    sleep(SETTLED).await;
    Ok(vec![
        Goal::new("idle RSS, 10 sites, MiB", idle, "≤ 25", "≤ 35"),
        Goal::new("idle RSS, 5,000 sites, MiB", many.process.memory()?.now, "≤ 60", "≤ 80"),
        Goal::new("peak RSS under load, MiB", peak, "≤ 60", "≤ 90"),
    ])
}

pub(crate) async fn starts(stand: &Stand) -> Outcome<Vec<Goal>> {
    Ok(vec![
        Goal::new("cold start to first accepted lead, 1 site, ms", start(stand, 1).await?, "≤ 40", "≤ 80"),
        Goal::new("cold start to first accepted lead, 500 sites, ms", start(stand, 500).await?, "≤ 60", "≤ 120"),
        Goal::new("cold start to first accepted lead, 5,000 sites, ms", start(stand, 5_000).await?, "≤ 750", "≤ 900"),
        Goal::new("check, 5,000 sites, ms", check(stand, 5_000)?, "≤ 900", "≤ 1000"),
    ])
}

/// Times `formgate check`.
fn check(stand: &Stand, sites: u64) -> Outcome<f64> {
    let mut times = Vec::new();
    for _round in rounds("check") {
        times.push(stand.check(sites)?.as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

async fn start(stand: &Stand, sites: u64) -> Outcome<f64> {
    let mut times = Vec::new();
    for _round in rounds("start") {
        times.push(stand.gateway(sites, true).await?.started_in.as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

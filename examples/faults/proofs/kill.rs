//! `kill -9` at random moments under load; with an API that answers, and with one that commits and drops.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::client::{get, once};
use super::gateway::{Place, Settings};
use super::load::Load;
use super::row::Row;
use super::upstream::{Mood, Upstream};

const CLIENTS: usize = 8;
/// Longest time a gateway lives.
const LIFE_MS: u64 = 300;
/// How long what is left may take to be delivered.
const DRAIN: Duration = Duration::from_secs(60);

pub(crate) async fn kill(plan: &Plan) -> anyhow::Result<Row> {
    run(plan, "kill -9 under load", 0).await
}

pub(crate) async fn commit_and_drop(plan: &Plan) -> anyhow::Result<Row> {
    run(plan, "kill -9, API commits and drops 10 %", 10).await
}

async fn run(plan: &Plan, proof: &'static str, drops_percent: u32) -> anyhow::Result<Row> {
    let mut row = Row::new(proof, plan.rounds);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    upstream.set(Mood { drops_percent, takes: Duration::from_millis(2), ..Mood::default() });
    let settings = Settings { upstream: upstream.url(), ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let mut gateway = place.start().await?;
    let load = Load::start(place.address, CLIENTS);
    for _ in 0..plan.rounds {
        sleep(Duration::from_millis(rand::rng().random_range(0..LIFE_MS))).await;
        gateway.kill().await?;
        load.set_up(false);
        gateway = place.start().await?;
        load.set_up(true);
    }
    let heard = load.stop().await;
    drain(&place).await?;
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    row.expect(heard.refused.is_empty(), || format!("answers {:?}", heard.refused));
    heard.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

/// Waits until nothing is queued, or what is left has had its time.
pub(crate) async fn drain(place: &Place) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < DRAIN {
        let metrics = once(place.admin, &get(place.admin, "/metrics")).await?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        if text.lines().any(|line| line == "formgate_queue_entries{state=\"queued\"} 0") {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

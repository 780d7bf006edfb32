//! What several gateways make of one PostgreSQL. All of them and the server have one core together, so more of them can't be
//! faster: what is measured is what sharing costs.

use std::rc::Rc;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::load::{Loaded, flood};
use crate::process::SERVER_CORE;
use crate::proofs::postgres::folder::Folder;
use crate::proofs::postgres::programs::Programs;
use crate::proofs::postgres::server::{Auth, Server};
use crate::rows::{Goal, figure, rounds};
use crate::stand::{CONNECTIONS, Running, Stand};
use crate::{Outcome, as_f64, median, table};

const GATEWAYS_MAX: usize = 3;
const SITES: u64 = 64;
const LASTING: Duration = Duration::from_secs(4);
/// Until each has its part of the sites.
const SETTLED: Duration = Duration::from_secs(8);

/// Of so many gateways: what came of each round.
#[derive(Default)]
struct Rates {
    accepted: Vec<f64>,
    delivered: Vec<f64>,
    gateways: Vec<f64>,
    server: Vec<f64>,
}

pub(crate) async fn measure(stand: &Stand) -> Outcome<Vec<Goal>> {
    let programs = Programs::find().await?;
    let folder = Folder::new(&programs)?;
    let server = Server::start_new(&programs, folder.path(), Auth::Password).await?;
    let mut core = CpuSet::new();
    core.set(SERVER_CORE);
    for process in server.processes()? {
        pin(process, &core);
    }
    let mut by_count: [Rates; GATEWAYS_MAX] = Default::default();
    for round in rounds("gateways") {
        for (count, rates) in (1..).zip(&mut by_count) {
            rates.measure(stand, &server, &format!("round_{round}_{count}"), count).await?;
        }
    }
    let rows: Vec<Vec<String>> = (1_usize..).zip(by_count).map(|(count, rates)| rates.row(count)).collect();
    let head = ["gateways", "accepted/s", "delivered/s, the rest", "gateways' µs a lead", "server's µs a lead", "both"];
    table::print("Gateways on one PostgreSQL: all on one core, W1, 64 sites, 32 connections", &head, &rows);
    Ok(Vec::new())
}

/// A process that has just ended needs no core.
fn pin(process: Pid, core: &CpuSet) {
    sched_setaffinity(Some(process), core).unwrap_or_default();
}

impl Rates {
    async fn measure(&mut self, stand: &Stand, server: &Server, database: &str, count: usize) -> Outcome<()> {
        server.create_database(database).await?;
        let mut running = Vec::new();
        for _ in 0..count {
            running.push(stand.gateway_on(&server.url(database), SITES).await?);
        }
        sleep(SETTLED).await;
        stand.warm_up(running.first().ok_or("there are gateways")?, stand.w1()?).await?;
        let before = (time_of(&running)?, server.processor_time()?);
        let delivered = stand.upstream.taken();
        let (accepted, took) = flood_all(stand, &running).await?;
        let left = delivered + accepted - stand.upstream.taken();
        let begun = Instant::now();
        stand.delivered(delivered + accepted).await?;
        self.delivered.push(as_f64(left) / begun.elapsed().as_secs_f64());
        // The last of them is settled a moment after it was delivered.
        sleep(Duration::from_millis(100)).await;
        self.accepted.push(as_f64(accepted) / took.as_secs_f64());
        self.gateways.push((time_of(&running)? - before.0) / as_f64(accepted));
        self.server.push((server.processor_time()? - before.1).as_secs_f64() * 1e6 / as_f64(accepted));
        drop(running);
        server.sql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)")).await?;
        Ok(())
    }

    fn row(self, count: usize) -> Vec<String> {
        let Self { accepted, delivered, gateways, server } = self;
        let [accepted, delivered, gateways, server] = [accepted, delivered, gateways, server].map(median);
        let figures = [accepted, delivered, gateways, server, gateways + server].map(figure);
        std::iter::once(count.to_string()).chain(figures).collect()
    }
}

fn time_of(running: &[Running]) -> Outcome<f64> {
    running.iter().map(|running| running.process.processor_time()).sum()
}

/// Posts to all of them at once; returns how many were accepted, and in what time.
async fn flood_all(stand: &Stand, running: &[Running]) -> Outcome<(u64, Duration)> {
    let mut floods = JoinSet::new();
    let connections = CONNECTIONS / running.len();
    for running in running {
        let workload = Rc::clone(stand.w1()?);
        let target = running.target;
        floods.spawn_local(async move { flood(&workload, target, connections, LASTING).await });
    }
    let mut accepted = 0;
    let mut took = Duration::ZERO;
    while let Some(flooded) = floods.join_next().await {
        let Loaded { accepted: more, took: by_this, .. } = flooded??;
        accepted += more;
        took = took.max(by_this);
    }
    Ok((accepted, took))
}

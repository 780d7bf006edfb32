//! What a lead costs over its whole life: accepted, durable, delivered, settled.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::load::{Workload, flood};
use crate::rows::{Goal, figure, rounds};
use crate::stand::{CONNECTIONS, Running, Stand};
use crate::{Outcome, as_f64, median, table};

const LASTING: Duration = Duration::from_secs(3);
const GATEWAY: &str = "formgate";
const BASE: &str = "nginx-lua";
const ALL: [&str; 6] = [BASE, "fastify", "express", "php-fpm", "fastapi", "node-red"];

/// Of each workload: the processor's time a lead in microseconds, and how many were accepted a second.
struct Subject {
    name: String,
    costs: Vec<Vec<f64>>,
    rates: Vec<Vec<f64>>,
}

pub(crate) async fn measure(stand: &Stand) -> Outcome<Vec<Goal>> {
    let mut subjects: Vec<Subject> = names().into_iter().map(|name| Subject::new(name, stand)).collect();
    for _round in rounds("cost") {
        for subject in &mut subjects {
            if let Err(error) = subject.measure(stand).await {
                eprintln!("bench: {} is left out: {error}", subject.name);
            }
        }
    }
    subjects.retain(|subject| subject.costs.iter().all(|costs| !costs.is_empty()));
    let base = subjects.iter().find(|subject| subject.name == BASE).map(Subject::medians);
    let rows: Vec<Vec<String>> = subjects.iter().map(|subject| subject.row(base.as_deref())).collect();
    let head = ["", "µs a lead W1", "W2", "W3", "÷ nginx-lua W1", "W2", "W3", "accepted/s W1", "W2", "W3"];
    table::print("What a lead costs, beside the peers", &head, &rows);
    let gateway = subjects.iter().find(|subject| subject.name == GATEWAY).map(Subject::medians).unwrap_or_default();
    let goal = |(name, (ours, base)): (&str, (f64, f64))| {
        Goal::new(format!("CPU a lead, whole life ÷ {BASE}: {name}"), ours / base, "≤ 2.5", "≤ 3.5")
    };
    Ok(["W1", "W2", "W3"].into_iter().zip(gateway.into_iter().zip(base.unwrap_or_default())).map(goal).collect())
}

/// What a lead costs with thousands of sites, by what it costs with one.
pub(crate) async fn growth(stand: &Stand) -> Outcome<Vec<Goal>> {
    let mut ratios = Vec::new();
    for _round in rounds("sites") {
        let mut costs = Vec::new();
        for sites in [5_000, 1] {
            let running = stand.gateway(sites, true).await?;
            stand.warm_up(&running, stand.w1()?).await?;
            costs.push(whole_life(stand, &running, stand.w1()?).await?.cost);
        }
        ratios.extend(costs.first().zip(costs.get(1)).map(|(many, one)| many / one));
    }
    Ok(vec![Goal::new("CPU a lead, 5,000 sites ÷ 1", median(ratios), "≤ 1.05", "≤ 1.15")])
}

fn names() -> Vec<String> {
    let peers = std::env::var("PEERS").unwrap_or_else(|_| BASE.to_owned());
    let peers: Vec<&str> = if peers == "all" { ALL.to_vec() } else { peers.split_whitespace().collect() };
    std::iter::once(GATEWAY).chain(peers).map(str::to_owned).collect()
}

/// What some leads took.
pub(crate) struct Lived {
    /// The processor's time of each over its whole life, in microseconds.
    cost: f64,
    accepted_per_second: f64,
    /// How fast what was left was delivered once nothing came any more, and what each of that took.
    drained_per_second: f64,
    drain_cost: f64,
}

/// Posts for a while and waits until all of it is delivered.
async fn whole_life(stand: &Stand, running: &Running, workload: &Rc<Workload>) -> Outcome<Lived> {
    let before = running.process.processor_time()?;
    let delivered = stand.upstream.taken();
    let loaded = flood(workload, running.target, CONNECTIONS, LASTING).await?;
    let at_drain = running.process.processor_time()?;
    let left = delivered + loaded.accepted - stand.upstream.taken();
    let begun = Instant::now();
    stand.delivered(delivered + loaded.accepted).await?;
    let drained_per_second = as_f64(left) / begun.elapsed().as_secs_f64();
    // The last of them is settled a moment after it was delivered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = running.process.processor_time()?;
    Ok(Lived {
        cost: (ended - before) / as_f64(loaded.accepted),
        accepted_per_second: loaded.per_second(),
        drained_per_second,
        drain_cost: (ended - at_drain) / as_f64(left),
    })
}

impl Subject {
    fn new(name: String, stand: &Stand) -> Self {
        let none = || stand.workloads.iter().map(|_| Vec::new()).collect();
        Self { name, costs: none(), rates: none() }
    }

    async fn measure(&mut self, stand: &Stand) -> Outcome<()> {
        let running = match self.name.as_str() {
            GATEWAY => stand.gateway(1, true).await?,
            peer => stand.peer(peer).await?,
        };
        for ((workload, costs), rates) in stand.workloads.iter().zip(&mut self.costs).zip(&mut self.rates) {
            stand.warm_up(&running, workload).await?;
            let lived = whole_life(stand, &running, workload).await?;
            if self.name == GATEWAY {
                eprintln!(
                    "bench: what was left was delivered at {:.0} a second, {:.0} µs each",
                    lived.drained_per_second, lived.drain_cost
                );
            }
            costs.push(lived.cost);
            rates.push(lived.accepted_per_second);
        }
        Ok(())
    }

    fn medians(&self) -> Vec<f64> {
        self.costs.iter().cloned().map(median).collect()
    }

    fn row(&self, base: Option<&[f64]>) -> Vec<String> {
        let costs = self.medians();
        let ratios = costs
            .iter()
            .enumerate()
            .map(|(at, cost)| cost / base.and_then(|base| base.get(at)).copied().unwrap_or(f64::NAN));
        let rates = self.rates.iter().cloned().map(median);
        let figures = costs.iter().copied().chain(ratios).chain(rates).map(figure);
        std::iter::once(self.name.clone()).chain(figures).collect()
    }
}

//! How many submissions are accepted on one core, with nothing delivered meanwhile.

use std::time::Duration;

use crate::load::flood;
use crate::rows::{Goal, figure, rounds};
use crate::stand::{CONNECTIONS, Running, Stand};
use crate::{Outcome, as_f64, median, table};

const LASTING: Duration = Duration::from_secs(3);
const SUBJECTS: [&str; 3] = ["pingora, one answer", "pingora, a synced file", "formgate, deliveries off"];

pub(crate) async fn measure(stand: &Stand) -> Outcome<Vec<Goal>> {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); SUBJECTS.len()];
    let mut costs = rates.clone();
    for _round in rounds("accepted") {
        for (at, (rates, costs)) in rates.iter_mut().zip(&mut costs).enumerate() {
            let running = start(stand, at).await?;
            flood(stand.w1()?, running.target, CONNECTIONS, Duration::from_secs(1)).await?;
            let before = running.process.processor_time()?;
            let loaded = flood(stand.w1()?, running.target, CONNECTIONS, LASTING).await?;
            let took = running.process.processor_time()? - before;
            rates.push(loaded.per_second());
            costs.push(took / as_f64(loaded.accepted));
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let costs: Vec<f64> = costs.into_iter().map(median).collect();
    let row = |((name, rate), cost): ((&&str, &f64), &f64)| vec![(*name).to_owned(), figure(*rate), figure(*cost)];
    let rows: Vec<Vec<String>> = SUBJECTS.iter().zip(&rates).zip(&costs).map(row).collect();
    table::print("Accepted on one core, W1, 32 connections", &["", "a second", "µs of CPU each"], &rows);
    let ratio = rates.first().zip(rates.last()).map_or(f64::NAN, |(floor, ours)| ours / floor);
    Ok(vec![Goal::new("accepted/s on one core ÷ pingora, one answer", ratio, "≥ 0.22", "≥ 0.15")])
}

async fn start(stand: &Stand, subject: usize) -> Outcome<Running> {
    match subject {
        0 => stand.floor(false).await,
        1 => stand.floor(true).await,
        _ => stand.gateway(1, false).await,
    }
}

//! A rolling upgrade: the gateways of a store are replaced one after the other, under load.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use super::super::Plan;
use super::super::load::Load;
use super::super::row::Row;
use super::{CLIENTS, DATABASE, Gateways, PACE, check_refused, start_servers};

const LIFE: Duration = Duration::from_millis(500);

/// Names the program that is replaced; without it, that under test is replaced by itself.
const FORMER: &str = "FORMGATE_FORMER";

/// An upgrade of each gateway for every hundred rounds of the plan.
pub(crate) async fn upgrade(plan: &Plan) -> anyhow::Result<Row> {
    let rounds = plan.rounds.div_ceil(100);
    let mut row = Row::new("PostgreSQL: rolling upgrade", rounds);
    let pair = start_servers().await?;
    let former = std::env::var_os(FORMER).map_or_else(|| plan.program.clone(), PathBuf::from);
    let mut gateways = Gateways::start(&former, &pair.url(DATABASE)).await?;
    gateways.places.iter_mut().for_each(|place| place.program.clone_from(&plan.program));
    let load = Load::start_slowly(gateways.balancer.address, CLIENTS, PACE);
    for _ in 0..rounds {
        for (old, place) in gateways.running.iter_mut().zip(&gateways.places) {
            sleep(LIFE).await;
            let mut new = place.start_upgrade().await?;
            old.signal("QUIT").await?;
            new.until("gateway.listening").await?;
            let code = old.ended().await?;
            row.expect(code == Some(0), || format!("the old one ended with {code:?}: {}", old.last_words()));
            *old = new;
        }
    }
    sleep(LIFE).await;
    let heard = load.stop().await;
    check_refused(&mut row, &heard);
    gateways.end(&mut row, &heard).await?;
    Ok(row)
}

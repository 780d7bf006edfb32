//! The server is frozen: connections stand, and nobody answers.

use std::time::Duration;

use tokio::time::sleep;

use super::super::Plan;
use super::super::load::Load;
use super::super::row::Row;
use super::{CLIENTS, DATABASE, Gateways, PACE, check_answers, start_servers};

const LIFE: Duration = Duration::from_secs(2);
const FROZEN_MAX: Duration = Duration::from_secs(30);

/// Two seconds for every round of the plan, up to half a minute.
pub(crate) async fn pause(plan: &Plan) -> anyhow::Result<Row> {
    let frozen = FROZEN_MAX.min(Duration::from_secs(2) * u32::try_from(plan.rounds)?);
    let mut row = Row::new("PostgreSQL: server frozen", 1);
    let pair = start_servers().await?;
    let gateways = Gateways::start(&plan.program, &pair.url(DATABASE)).await?;
    let load = Load::start_slowly(gateways.balancer.address, CLIENTS, PACE);
    sleep(LIFE).await;
    pair.primary.freeze()?;
    sleep(frozen).await;
    pair.primary.thaw()?;
    sleep(LIFE).await;
    let heard = load.stop().await;
    row.tell(format!("frozen {} s", frozen.as_secs()));
    check_answers(&mut row, &heard);
    gateways.end(&mut row, &heard).await?;
    Ok(row)
}

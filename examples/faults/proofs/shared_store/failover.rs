//! The primary is lost, and its standby promoted: nobody notices but the spool.

use std::time::Duration;

use tokio::time::sleep;

use super::super::Plan;
use super::super::load::Load;
use super::super::row::Row;
use super::{CLIENTS, DATABASE, Gateways, PACE, check_answers, start_servers};

const LIFE: Duration = Duration::from_secs(2);
/// What passes until whoever watches the primary promotes its standby.
const NOTICED: Duration = Duration::from_secs(3);

pub(crate) async fn failover(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("PostgreSQL: primary killed, standby promoted", 1);
    let pair = start_servers().await?;
    let gateways = Gateways::start(&plan.program, &pair.url(DATABASE)).await?;
    let load = Load::start_slowly(gateways.balancer.address, CLIENTS, PACE);
    sleep(LIFE).await;
    pair.primary.kill().await?;
    sleep(NOTICED).await;
    pair.standby.promote().await?;
    sleep(LIFE).await;
    let heard = load.stop().await;
    check_answers(&mut row, &heard);
    gateways.end(&mut row, &heard).await?;
    Ok(row)
}

//! One of three gateways is killed again and again: the others take over its sites.

use std::time::Duration;

use tokio::time::sleep;

use super::super::Plan;
use super::super::load::Load;
use super::super::row::Row;
use super::{CLIENTS, DATABASE, Gateways, PACE, start_servers};

/// How long all run before one is killed.
const LIFE: Duration = Duration::from_secs(1);
/// How long a killed one is away, so that it is the others that take over.
const AWAY: Duration = Duration::from_secs(6);
/// Longest time without a lead of a site.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(5);
/// `[kaicalls].max_in_flight`, the default.
const IN_FLIGHT_MAX: usize = 32;

/// A kill for every twenty rounds of the plan.
pub(crate) async fn kill_gateway(plan: &Plan) -> anyhow::Result<Row> {
    let rounds = plan.rounds.div_ceil(20);
    let mut row = Row::new("PostgreSQL: kill -9 of one of three gateways", rounds);
    let pair = start_servers().await?;
    let mut gateways = Gateways::start(&plan.program, &pair.url(DATABASE)).await?;
    let load = Load::start_slowly(gateways.balancer.address, CLIENTS, PACE);
    for round in 0..rounds {
        sleep(LIFE).await;
        let at = round % gateways.running.len();
        let (Some(gateway), Some(place)) = (gateways.running.get_mut(at), gateways.places.get(at)) else { continue };
        gateway.kill().await?;
        sleep(AWAY).await;
        *gateway = place.start().await?;
    }
    sleep(LIFE).await;
    let heard = load.stop().await;
    row.expect(heard.refused.is_empty(), || format!("answers {:?}", heard.refused));
    let gap = gateways.upstream.longest_gaps().into_values().max().unwrap_or_default();
    row.expect(gap <= TAKEN_OVER_MAX, || format!("a site had no lead delivered for {} ms", gap.as_millis()));
    row.tell(format!("sites taken over within {} ms", gap.as_millis()));
    gateways.end(&mut row, &heard).await?;
    let doubled = row.counts.doubled;
    row.expect(doubled <= rounds * IN_FLIGHT_MAX, || format!("{doubled} doubled, more than were in flight"));
    Ok(row)
}

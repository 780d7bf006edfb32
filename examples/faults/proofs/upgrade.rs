//! Upgrades under load: another process takes over, and nobody notices.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Plan;
use super::client::{get, once};
use super::gateway::{Place, Settings};
use super::kill::drain;
use super::load::{Heard, Load};
use super::row::Row;
use super::upstream::{Mood, Upstream};

const CLIENTS: usize = 8;
const LIFE: Duration = Duration::from_millis(300);

/// An upgrade for every ten rounds of the plan.
pub(crate) async fn upgrade(plan: &Plan) -> anyhow::Result<Row> {
    let rounds = plan.rounds.div_ceil(10);
    let mut row = Row::new("upgrade under load", rounds);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    upstream.set(Mood { takes: Duration::from_millis(2), ..Mood::default() });
    let settings = Settings { upstream: upstream.url(), ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let mut old = place.start().await?;
    let load = Load::start(place.address, CLIENTS);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        sleep(LIFE).await;
        let mut new = place.start_upgrade().await?;
        let asked = Instant::now();
        old.signal("QUIT").await?;
        new.until("gateway.listening").await?;
        let code = old.ended().await?;
        longest = longest.max(asked.elapsed());
        row.expect(code == Some(0), || format!("the old one ended with {code:?}: {}", old.last_words()));
        let ready = once(place.admin, &get(place.admin, "/readyz")).await;
        row.expect(ready.is_ok_and(|ready| ready.status == 200), || "the admin listener is not there".to_owned());
        old = new;
    }
    let heard = load.stop().await;
    drain(&place).await?;
    let code = old.stop().await?;
    row.expect(code == Some(0), || format!("the last one ended with {code:?}"));
    row.tell(format!("longest hand-over {} ms", longest.as_millis()));
    check_failed(&mut row, &heard);
    heard.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

/// Nobody waits to take over: the one that was asked goes on.
pub(crate) async fn nobody_waits(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("SIGQUIT, nobody takes over", 1);
    let folder = tempfile::tempdir()?;
    let place = Place::new(&plan.program, folder.path(), &Settings::default())?;
    let mut gateway = place.start().await?;
    let load = Load::start(place.address, 1);
    gateway.signal("QUIT").await?;
    gateway.until("upgrade.failed").await?;
    let heard = load.stop().await;
    check_failed(&mut row, &heard);
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    heard.judge(&mut row, &place.entries().await?, &Default::default());
    Ok(row)
}

/// No request may fail.
fn check_failed(row: &mut Row, heard: &Heard) {
    let Heard { cut, turned_away, refused, .. } = heard;
    let failed = cut + turned_away + refused.values().sum::<usize>();
    row.expect(failed == 0, || format!("{cut} cut, {turned_away} turned away, answers {refused:?}"));
    let (p99, longest) = (heard.percentile(99).as_millis(), heard.percentile(100).as_millis());
    row.tell(format!("failed requests {failed}, answers p99 {p99} ms, longest {longest} ms"));
}

//! SIGTERM under load, with attempts that end in time and with some that don't.

use std::time::Duration;

use formgate::queue::{AttemptResult, State};
use tokio::time::{Instant, sleep};

use super::Plan;
use super::gateway::{Place, Settings};
use super::load::{Heard, Load};
use super::row::Row;
use super::upstream::{Mood, Upstream};

const CLIENTS: usize = 8;
const LIFE: Duration = Duration::from_millis(200);
/// What a service manager waits before it kills.
const STOP_TIME: Duration = Duration::from_secs(10);

/// A round for every ten of the plan's.
pub(crate) async fn term(plan: &Plan) -> anyhow::Result<Row> {
    let rounds = plan.rounds.div_ceil(10);
    let mut row = Row::new("SIGTERM under load", rounds);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    upstream.set(Mood { takes: Duration::from_millis(20), ..Mood::default() });
    let settings = Settings { upstream: upstream.url(), ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let (mut all, mut longest) = (Heard::default(), Duration::ZERO);
    for _ in 0..rounds {
        let mut gateway = place.start().await?;
        let load = Load::start(place.address, CLIENTS);
        sleep(LIFE).await;
        let asked = Instant::now();
        let code = gateway.stop().await?;
        longest = longest.max(asked.elapsed());
        load.set_up(false);
        row.expect(code == Some(0), || format!("it ended with {code:?}"));
        let heard = load.stop().await;
        row.expect(heard.refused.is_empty(), || format!("answers {:?}", heard.refused));
        row.expect(heard.cut == 0, || format!("{} requests on kept connections were cut", heard.cut));
        all.ids.extend(heard.ids);
    }
    row.expect(longest < STOP_TIME, || format!("it took {longest:?} to end"));
    row.tell(format!("cut 0, longest stop {} ms", longest.as_millis()));
    all.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

/// Attempts that are never answered: 8 s, then ambiguous.
pub(crate) async fn term_while_silent(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("SIGTERM, API silent", 1);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    upstream.set(Mood { silent: true, ..Mood::default() });
    let settings = Settings { upstream: upstream.url(), ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let mut gateway = place.start().await?;
    let load = Load::start(place.address, CLIENTS);
    sleep(LIFE).await;
    let asked = Instant::now();
    let code = gateway.stop().await?;
    let took = asked.elapsed();
    let heard = load.stop().await;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    row.expect(took < STOP_TIME, || format!("it took {took:?} to end"));
    let (entries, taken) = (place.entries().await?, upstream.taken());
    let recorded = taken.keys().filter_map(|id| entries.get(id)).filter(|entry| {
        let last = entry.history.last().and_then(|event| event.attempt.as_ref());
        entry.state == State::Queued && last.is_some_and(|attempt| attempt.result == AttemptResult::Ambiguous)
    });
    let recorded = recorded.count();
    row.expect(recorded == taken.len() && recorded > 0, || {
        format!("{} attempts were under way, {recorded} are recorded as ambiguous", taken.len())
    });
    row.tell(format!("stopped after {} ms", took.as_millis()));
    heard.judge(&mut row, &entries, &taken);
    Ok(row)
}

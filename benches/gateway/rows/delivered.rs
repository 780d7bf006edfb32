//! Whether deliveries keep up with what is accepted.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::load::{Loaded, flood, pace};
use crate::rows::{Goal, rounds};
use crate::stand::{CONNECTIONS, Running, Stand};
use crate::{Outcome, as_f64, median};

const LASTING: Duration = Duration::from_secs(4);
/// What a slow upstream takes, and what `max_in_flight` = 32 makes of it at best.
const SLOW: Duration = Duration::from_millis(50);
const SLOW_BEST: f64 = 640.0;
/// How long it is looked at, once it is under way.
const SLOW_BEGIN: Duration = Duration::from_secs(2);
const SLOW_LASTING: Duration = Duration::from_secs(5);

pub(crate) async fn measure(stand: &Stand) -> Outcome<Vec<Goal>> {
    let mut at_60 = Vec::new();
    let mut at_peak = Vec::new();
    let mut slow = Vec::new();
    for _round in rounds("delivered") {
        let running = stand.gateway(1, true).await?;
        stand.warm_up(&running, stand.w1()?).await?;
        let before = stand.upstream.taken();
        let peak = flood(stand.w1()?, running.target, CONNECTIONS, LASTING).await?;
        at_peak.push(share(stand, before, &peak));
        stand.quiet().await;
        let before = stand.upstream.taken();
        let loaded = pace(stand.w1()?, running.target, peak.per_second() * 0.6, LASTING).await?;
        at_60.push(share(stand, before, &loaded));
        stand.quiet().await;
        slow.push(at_slow_upstream(stand, &running).await? / SLOW_BEST);
    }
    Ok(vec![
        Goal::new("delivered/s ÷ accepted/s at 60 % of peak", median(at_60), "≥ 0.95", "≥ 0.9"),
        Goal::new("delivered/s ÷ accepted/s at peak", median(at_peak), "≥ 0.25", "≥ 0.2"),
        Goal::new("delivered/s at a 50 ms upstream, max_in_flight 32 ÷ 640", median(slow), "≥ 0.95", "≥ 0.9"),
    ])
}

fn share(stand: &Stand, before: u64, loaded: &Loaded) -> f64 {
    as_f64(stand.upstream.taken() - before) / as_f64(loaded.accepted)
}

/// Returns how many are delivered a second while more come than can be.
async fn at_slow_upstream(stand: &Stand, running: &Running) -> Outcome<f64> {
    stand.upstream.set_delay(SLOW);
    let workload = Rc::clone(stand.w1()?);
    let target = running.target;
    let lasting = SLOW_BEGIN + SLOW_LASTING;
    let load =
        tokio::task::spawn_local(async move { pace(&workload, target, SLOW_BEST * 1.5, lasting).await.map(drop) });
    sleep(SLOW_BEGIN).await;
    let before = stand.upstream.taken();
    let begun = Instant::now();
    sleep(SLOW_LASTING).await;
    let rate = as_f64(stand.upstream.taken() - before) / begun.elapsed().as_secs_f64();
    load.await??;
    stand.upstream.set_delay(Duration::ZERO);
    Ok(rate)
}

//! Many at once: connections that say nothing, and tokens that are guessed.

use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::super::client::post;
use super::{Ends, Target};

const IDLE: usize = 10_000;
/// Connections that are opened at a time, so that none waits for the system.
const IDLE_AT_ONCE: usize = 100;
const HOLD: Duration = Duration::from_secs(3);
const GUESSERS: usize = 20;
const GUESSING: Duration = Duration::from_secs(3);

/// Ten thousand connections that say nothing, from a hundred addresses.
pub(super) async fn idle(target: Target) -> Ends {
    let mut open = Vec::new();
    let mut ends = Ends::new();
    for first in (0..IDLE).step_by(IDLE_AT_ONCE) {
        let mut opening = JoinSet::new();
        (first..first + IDLE_AT_ONCE).for_each(|number| drop(opening.spawn(target.connect(number))));
        for connection in opening.join_all().await {
            match connection {
                Ok(connection) => open.push(connection),
                Err(_) => *ends.entry("closed".to_owned()).or_default() += 1,
            }
        }
    }
    sleep(HOLD).await;
    for mut connection in open {
        let closed = tokio::time::timeout(Duration::from_millis(1), connection.rest()).await.is_ok();
        *ends.entry(if closed { "closed" } else { "open" }.to_owned()).or_default() += 1;
    }
    ends
}

/// Tokens at random, as fast as they are refused; each guesser has an address of its own.
pub(super) async fn tokens(target: Target) -> Ends {
    let mut tasks = JoinSet::new();
    for number in 0..GUESSERS {
        tasks.spawn(async move {
            let (mut ends, until) = (Ends::new(), Instant::now() + GUESSING);
            let mut kept = None;
            while Instant::now() < until {
                let opened = match kept.take() {
                    Some(connection) => Ok(connection),
                    None => target.connect(number * 100).await,
                };
                let Ok(mut connection) = opened else { continue };
                let token = format!("fg_{:043x}", rand::rng().random::<u128>());
                let answer = connection.send(&post("/hooks/acme", &token, "text/plain", b"a=1")).await;
                let end = answer.as_ref().map_or("closed".to_owned(), |answer| answer.status.to_string());
                *ends.entry(end).or_default() += 1;
                kept = Some(connection).filter(|_| answer.is_ok_and(|answer| !answer.closes()));
            }
            ends
        });
    }
    let mut ends = Ends::new();
    for (end, times) in tasks.join_all().await.into_iter().flatten() {
        *ends.entry(end).or_default() += times;
    }
    // A connection that closes after its answer may be written to once more.
    ends.remove("closed");
    ends
}

//! Sick sites beside healthy ones, a backlog beside new leads, and a clock that is set: nobody waits for another.

use std::num::NonZeroU32;
use std::time::Duration;

use formgate::config::Retry;
use formgate::queue::{Reason, State};
use tokio::sync::watch;

use crate::scripted_api::{Recorded, Reply};
use crate::world::{World, limit};

const DAY_MS: i64 = 86_400_000;

fn is_of(request: &Recorded, site: &str) -> bool {
    request.header("authorization").is_some_and(|bearer| bearer.contains(&format!("wp_pk_{site}:")))
}

fn in_flight(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("not zero")
}

/// The local parts, in the order of their numbers.
fn numbers(sent: &[String]) -> Vec<u64> {
    sent.iter().map(|local| local.trim_start_matches("jane").parse().expect("a number")).collect()
}

#[tokio::test]
async fn a_site_that_is_never_answered_keeps_no_other_waiting() {
    let world = World::with(|config| config.upstream.max_in_flight = in_flight(16)).await;
    world.api.rule(|request| is_of(request, "acme").then(Reply::silence));
    for number in 1..=100 {
        world.queue("acme", number).await;
    }
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(8).await;
    for number in 101..=160 {
        world.queue(["beta", "gamma", "delta"][number as usize % 3], number).await;
    }
    // Its time-out is 20 s: what comes before that has not waited for it.
    let requests = tokio::time::timeout(Duration::from_secs(10), world.api.wait_for(68)).await.expect("none waits");
    assert_eq!(requests.iter().filter(|request| is_of(request, "acme")).count(), 8, "four in each half of the slots");
    drop((stop, running));
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_even_claimed() {
    let world = World::new().await;
    world.api.rule(|request| match () {
        () if is_of(request, "acme") => Some(Reply::error(404, "No such business")),
        () if is_of(request, "beta") => Some(Reply::error(401, "Unauthorized")),
        () => None,
    });
    for number in 1..=3 {
        world.queue("acme", number).await;
        world.queue("beta", 10 + number).await;
    }
    world.step().await;
    let tried = world.sent().len();
    let mut behind = Vec::new();
    for number in 20..40 {
        behind.push(world.queue(["acme", "beta"][usize::from(number) % 2], number).await);
    }
    let healthy = world.queue("gamma", 50).await;
    for _ in 0..59 {
        world.step().await;
        world.pass(1);
    }
    assert_eq!(world.state(healthy).await.0, State::Delivered);
    assert_eq!(world.sent().len(), tried + 1);
    for id in behind {
        assert_eq!(world.head(id).await.revision, 1);
    }
}

#[tokio::test]
async fn after_an_outage_sites_take_turns_and_each_sends_its_oldest_first() {
    let world = World::with(|config| config.upstream.max_in_flight = in_flight(2)).await;
    for number in 0..20 {
        world.queue(["acme", "beta", "gamma", "delta"][usize::from(number) % 4], number).await;
    }
    world.pass(601);
    world.step().await;
    let sent = numbers(&world.sent());
    // By name: acme, beta, delta, gamma.
    let expected: Vec<u64> = (0..5).flat_map(|round| [0, 1, 3, 2].map(|site| round * 4 + site)).collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn after_an_outage_a_backlog_is_sent_at_the_rate_and_a_new_lead_is_not_behind_it() {
    let world = World::with(|config| config.upstream.rate = Some(limit(120, 1).rate)).await;
    world.api.go_away().await;
    for number in 1..=3 {
        world.queue(["acme", "beta", "gamma"][usize::from(number) % 3], number).await;
    }
    world.step().await;
    world.pass(1);
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 1"#);
    for number in 10..50 {
        world.queue(["acme", "beta"][usize::from(number) % 2], number).await;
    }
    world.api.come_back().await;
    world.pass(4_000);
    world.step().await;
    assert_eq!(world.sent().len(), 2, "the probe, and what the rate has room for after it");
    let new = world.queue("delta", 90).await;
    for seconds in 1..=21 {
        world.pass(1);
        world.step().await;
        assert!(world.sent().len() <= 2 + 2 * seconds, "after {seconds} s");
        if seconds == 2 {
            assert_eq!(world.state(new).await.0, State::Delivered, "sites take turns: it is not behind the others");
        }
    }
    assert_eq!(world.sent().len(), 44);
}

/// Every kind of wait there is: a backoff, a paused site, an open circuit, a place in line, an answer never given.
async fn waiting() -> (World, Vec<formgate::lead::EntryId>) {
    let world = World::with(|config| {
        let quick = Duration::from_secs(60);
        config.queue.retry = Retry { first: quick, max: quick, give_up_after: Duration::from_secs(3600) };
        config.limits.site = limit(60, 3);
    })
    .await;
    world.api.rule(|request| match () {
        () if is_of(request, "acme") => Some(Reply::error(500, "Oops")),
        () if is_of(request, "beta") => Some(Reply::error(401, "Unauthorized")),
        () if is_of(request, "gamma") => Some(Reply::close()),
        () => None,
    });
    let mut ids = vec![world.queue("acme", 1).await, world.queue("beta", 2).await, world.queue("gamma", 3).await];
    for _ in 0..15 {
        world.step().await;
        world.pass(60);
    }
    assert!(world.state(ids[0]).await.2 >= 12, "it may be given up, once its time is over");
    for number in 10..20 {
        ids.push(world.queue("delta", number).await);
    }
    world.step().await;
    (world, ids)
}

#[tokio::test]
async fn a_clock_that_is_set_by_a_day_kills_no_lead_and_strands_none() {
    for jumps in [&[DAY_MS][..], &[-DAY_MS], &[DAY_MS, -DAY_MS], &[-DAY_MS, DAY_MS], &[DAY_MS, -2 * DAY_MS, DAY_MS]] {
        let (world, ids) = waiting().await;
        for jump in jumps {
            world.pass_ms(*jump);
            world.step().await;
            for id in &ids {
                let state = world.state(*id).await;
                assert!(matches!(state.0, State::Queued | State::Delivered), "{jumps:?}: {state:?}");
            }
        }
        world.api.rule(|_request| None);
        // The longest of their waits is a probe of refused keys, five minutes.
        for _ in 0..31 {
            world.pass(10);
            world.step().await;
        }
        for id in &ids {
            assert_eq!(world.state(*id).await.1, Reason::Delivered, "{jumps:?}");
        }
    }
}

#[tokio::test]
async fn a_lead_is_given_up_by_time_that_passed_and_not_by_a_clock_that_was_set() {
    let (world, ids) = waiting().await;
    world.pass_ms(30 * DAY_MS);
    world.step().await;
    assert_eq!(world.state(ids[0]).await.0, State::Queued);
    for _ in 0..60 {
        world.pass(60);
        world.step().await;
    }
    assert_eq!(world.state(ids[0]).await.1, Reason::GaveUp);
}

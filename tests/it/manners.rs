//! The sender against a scripted API, stepped by hand: pauses, circuits, rates and ends.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use formgate::config::{OverLimit, Retry, Site};
use formgate::lead::EntryId;
use formgate::queue::{AttemptResult, Reason, State};
use formgate::send::{ATTEMPTS_MIN, Stopped};
use tokio::sync::{Notify, watch};

use crate::scripted_api::Reply;
use crate::world::{RETRY, TRACE, World, last_attempt, limit, site};

#[tokio::test]
async fn a_lead_that_is_refused_twice_is_dead_with_the_words_of_the_refusal() {
    let world = World::new().await;
    world.api.always(Reply::error(400, "Missing business"));
    let id = world.queue("acme", 1).await;
    world.step().await;
    world.pass(3599);
    world.step().await;
    assert_eq!(world.sent().len(), 1);
    world.pass(1);
    world.step().await;
    assert_eq!(world.state(id).await, (State::Dead, Reason::Refused, 2));
    let entry = world.head(id).await;
    assert_eq!(last_attempt(&entry).words.as_deref(), Some("Missing business"));
    world.pass(1_000_000);
    world.step().await;
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_lead_is_given_up_after_its_time_and_at_least_twelve_attempts() {
    let world = World::with(|config| {
        config.queue.retry = Retry { give_up_after: Duration::from_secs(3600), ..RETRY };
    })
    .await;
    world.api.always(Reply::error(500, "Oops"));
    let id = world.queue("acme", 1).await;
    for attempt in 1..ATTEMPTS_MIN {
        world.step().await;
        assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, attempt));
        world.pass(3600);
    }
    world.step().await;
    assert_eq!(world.state(id).await, (State::Dead, Reason::GaveUp, ATTEMPTS_MIN));
    world.shows("formgate_delivery_retries_total 11");
}

#[tokio::test]
async fn a_revoked_key_pauses_its_own_site_only() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let (waiting, other) = (world.queue("acme", 2).await, world.queue("beta", 3).await);
    world.step().await;
    assert_eq!(world.sent(), ["jane1", "jane3"]);
    assert_eq!(world.state(other).await.0, State::Delivered);
    assert_eq!(world.state(waiting).await, (State::Queued, Reason::Accepted, 0));
    world.shows("formgate_sites_paused 1");

    // One lead of it every five minutes, and no attempt is counted however long it goes on.
    for round in 2..=50 {
        world.api.on_intake(Reply::error(401, "Unauthorized"));
        world.pass(300);
        world.step().await;
        assert_eq!(world.sent().len(), 1 + round);
    }
    assert_eq!(world.state(refused).await.2 + world.state(waiting).await.2, 0);

    // The key is valid again: the probe is delivered, and what waited goes after it at once.
    world.pass(300);
    world.step().await;
    assert_eq!((world.state(refused).await.0, world.state(waiting).await.0), (State::Delivered, State::Delivered));
    world.shows("formgate_sites_paused 0");
}

#[tokio::test]
async fn changed_keys_resume_a_site_at_once() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    let refused = world.queue("acme", 1).await;
    world.step().await;
    let waiting = world.queue("acme", 2).await;
    world.step().await;

    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!((world.state(refused).await.0, world.state(waiting).await.0), (State::Delivered, State::Delivered));
    let keys: Vec<_> = world.api.requests().iter().map(|r| r.header("authorization").map(str::to_owned)).collect();
    assert_eq!(keys[1..], [const { "Bearer wp_pk_acme:wp_sk_2" }; 2].map(|keys| Some(keys.to_owned())));
}

/// Waits until so many requests were made.
async fn sent(world: &World, count: usize) {
    tokio::time::timeout(Duration::from_secs(20), world.api.wait_for(count)).await.expect("sent in time");
}

#[tokio::test]
async fn after_a_restart_the_lead_that_was_refused_goes_before_those_that_came_after_it() {
    for are_rotated in [true, false] {
        let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::MIN).await;
        world.api.on_intake(Reply::error(401, "Unauthorized"));
        world.queue("acme", 1).await;
        world.step().await;
        world.queue("acme", 2).await;
        world.queue("acme", 3).await;
        world.pass(20);
        let rotate = || world.change(|config| config.sites.extend([site("acme", "2")]));
        if are_rotated {
            rotate();
        } else {
            world.api.on_intake(Reply::error(401, "Unauthorized"));
        }
        let (stop, stopping) = watch::channel(false);
        let sender = world.restarted();
        let running = sender.clone();
        let task = tokio::spawn(async move { running.run(stopping).await });
        let tried = if are_rotated { 1 } else { 2 };
        if !are_rotated {
            // Nobody has told this one of them; it is refused once more, and known then.
            sent(&world, tried).await;
            rotate();
            sender.reloaded().await;
        }
        sent(&world, tried + 3).await;
        let told = world.sent();
        assert_eq!(told[..tried], vec!["jane1"; tried], "{told:?}");
        assert_eq!(told[tried..], ["jane1", "jane2", "jane3"], "{told:?}");
        stop.send_replace(true);
        task.await.expect("it stops");
    }
}

#[tokio::test]
async fn keys_that_are_refused_after_they_were_changed_pause_nobody() {
    let world = World::new().await;
    let told = Arc::new(tokio::sync::Notify::new());
    world.api.on_intake(Reply::error(401, "Unauthorized").when(&told));
    let id = world.queue("acme", 1).await;
    let sender = world.sender.clone();
    let sending = tokio::spawn(async move { sender.send_due().await });
    world.api.wait_for(1).await;
    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.sender.reloaded().await;
    told.notify_one();
    sending.await.expect("sent");
    assert_eq!(world.state(id).await, (State::Delivered, Reason::Delivered, 1));
    world.shows("formgate_sites_paused 0");
}

#[tokio::test]
async fn a_reload_with_the_same_keys_tries_one_lead() {
    let world = World::new().await;
    world.api.always(Reply::error(401, "Unauthorized"));
    world.queue("acme", 1).await;
    world.step().await;
    world.queue("acme", 2).await;
    world.step().await;
    assert_eq!(world.sent().len(), 1);
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.sent().len(), 2);
}

#[tokio::test]
async fn a_lead_that_was_refused_keeps_its_hour_when_its_site_is_resumed() {
    let world = World::new().await;
    world.api.on_intake(Reply::error(400, "No."));
    let once_refused = world.queue("acme", 1).await;
    world.step().await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    world.queue("acme", 2).await;
    world.step().await;
    world.change(|config| config.sites.extend([site("acme", "2")]));
    world.pass(60);
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.sent(), ["jane1", "jane2", "jane2"]);
    assert_eq!((world.state(once_refused).await.2, world.due_in(once_refused).await), (1, 3540));
}

#[tokio::test]
async fn a_sites_failing_leads_open_its_circuit_and_no_others() {
    let world = World::new().await;
    world.api.always(Reply::error(404, "No such business"));
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="site"} 1"#);
    world.api.back_to_normal();
    let (behind, other) = (world.queue("acme", 4).await, world.queue("beta", 5).await);
    world.step().await;
    assert_eq!(world.state(other).await.0, State::Delivered);
    assert_eq!(world.state(behind).await, (State::Queued, Reason::Accepted, 0));
    world.pass(60);
    world.step().await;
    assert_eq!(world.state(behind).await.0, State::Delivered);
    world.shows(r#"formgate_circuits_open{scope="site"} 0"#);
}

#[tokio::test]
async fn an_upstream_that_is_away_is_probed_once_a_minute_and_nothing_else_is_touched() {
    let world = World::new().await;
    world.api.go_away().await;
    for (number, name) in (1..).zip(["acme", "beta", "gamma"]) {
        world.queue(name, number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 1"#);
    world.api.come_back().await;
    let new = [world.queue("delta", 4).await, world.queue("delta", 5).await];
    world.pass(59);
    world.step().await;
    assert_eq!(world.sent().len(), 0);
    assert_eq!(world.head(new[0]).await.revision, 1, "it is not even claimed");

    world.api.on_intake(Reply::error(503, "Away"));
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 1, "one lead is the probe");
    world.pass(60);
    world.step().await;
    assert_eq!(world.state(new[1]).await.0, State::Delivered);
    world.shows(r#"formgate_circuits_open{scope="upstream"} 0"#);
}

#[tokio::test]
async fn two_sites_that_fail_leave_the_upstream_alone() {
    let world = World::new().await;
    world.api.always(Reply::error(500, "Oops"));
    for number in 1..=3 {
        world.queue("acme", number).await;
        world.queue("beta", 10 + number).await;
    }
    world.step().await;
    world.shows(r#"formgate_circuits_open{scope="upstream"} 0"#);
    world.shows(r#"formgate_circuits_open{scope="site"} 2"#);
}

#[tokio::test]
async fn a_site_over_its_rate_is_sent_at_that_rate_and_keeps_no_other_waiting() {
    let world = World::with(|config| config.limits.site = limit(6, 2)).await;
    for number in 1..=5 {
        world.queue("acme", number).await;
    }
    world.queue("beta", 9).await;
    world.step().await;
    let mut first = world.sent();
    first.sort();
    assert_eq!(first, ["jane1", "jane2", "jane9"]);
    for expected in ["jane3", "jane4", "jane5"] {
        world.pass(9);
        world.step().await;
        assert!(!world.sent().contains(&expected.to_owned()), "{expected} is early");
        world.pass(1);
        world.step().await;
        assert_eq!(world.sent().last().map(String::as_str), Some(expected));
    }
    assert_eq!(world.state(EntryId::new(5, &[5; 10])).await, (State::Delivered, Reason::Delivered, 1));
}

#[tokio::test]
async fn only_slow_sends_slowly() {
    let world = World::with(|config| {
        config.limits.site = limit(1, 1);
        config.limits.over_site = OverLimit::Hold;
    })
    .await;
    for number in 1..=3 {
        world.queue("acme", number).await;
    }
    world.step().await;
    assert_eq!(world.sent().len(), 3);
}

#[tokio::test]
async fn all_sites_together_keep_to_the_rate_of_the_upstream() {
    let world = World::with(|config| config.upstream.rate = Some(limit(120, 1).rate)).await;
    let mut ids = Vec::new();
    for (number, name) in (1..).zip(["acme", "beta", "gamma", "delta", "acme"]) {
        ids.push(world.queue(name, number).await);
    }
    world.step().await;
    assert_eq!(world.sent().len(), 2);
    assert_eq!(world.head(ids[4]).await.revision, 1, "what is over the rate is not claimed");
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 4);
    world.pass(1);
    world.step().await;
    assert_eq!(world.sent().len(), 5);
}

#[tokio::test]
async fn a_backlog_leaves_half_the_slots_to_new_leads() {
    let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::new(4).expect("not zero")).await;
    for number in 1..=9 {
        world.queue("acme", number).await;
    }
    world.pass(601);
    world.api.always(Reply::silence());
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(2).await;
    world.queue("acme", 20).await;
    world.queue("beta", 21).await;
    world.api.wait_for(4).await;
    let mut sent = world.sent();
    sent.sort();
    assert_eq!(sent, ["jane1", "jane2", "jane20", "jane21"]);
    drop((stop, running));
}

#[tokio::test]
async fn the_next_lead_is_claimed_while_one_is_posted_and_put_back_by_a_stop() {
    let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::new(1).expect("not zero")).await;
    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(world.queue("acme", number).await);
    }
    // Posts end soon: one just did.
    world.api.on_intake(Reply::success("lead_1"));
    let told = Arc::new(Notify::new());
    world.api.always(Reply::success("lead_2").when(&told));
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(2).await;
    has_attempts(&world, ids[2], 1).await;
    assert_eq!(world.head(ids[3]).await.attempts, 0, "two are on their way for one slot");
    stop.send_replace(true);
    has_attempts(&world, ids[2], 0).await;
    told.notify_one();
    assert_eq!(running.await.expect("it ends"), Stopped::Drained);
    assert_eq!(world.state(ids[1]).await.0, State::Delivered);
    assert_eq!(world.state(ids[2]).await, (State::Queued, Reason::Accepted, 0));
    assert_eq!(world.sent(), ["jane1", "jane2"]);
}

#[tokio::test]
async fn what_waits_in_hand_for_a_second_is_put_back() {
    let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::new(1).expect("not zero")).await;
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(world.queue("acme", number).await);
    }
    world.api.on_intake(Reply::success("lead_1"));
    world.api.always(Reply::silence());
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(2).await;
    has_attempts(&world, ids[2], 1).await;
    has_attempts(&world, ids[2], 0).await;
    assert_eq!(world.sent(), ["jane1", "jane2"]);
    drop((stop, running));
}

/// Waits until so many attempts of a lead are counted.
async fn has_attempts(world: &World, id: EntryId, attempts: u32) {
    let counted = async {
        while world.head(id).await.attempts != attempts {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("it is claimed or put back");
}

#[tokio::test]
async fn a_new_lead_claimed_behind_a_backlog_takes_a_slot_for_new_ones() {
    let world = World::with(|config| config.upstream.max_in_flight = NonZeroU32::new(2).expect("not zero")).await;
    world.queue("acme", 1).await;
    world.pass(601);
    world.api.always(Reply::silence());
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(1).await;
    // Of the two places for whatever is due one is left, and the lead is due.
    world.queue("beta", 2).await;
    world.api.wait_for(2).await;
    assert_eq!(world.sent(), ["jane1", "jane2"]);
    drop((stop, running));
}

#[tokio::test]
async fn what_must_not_be_sent_is_held_with_the_reason() {
    let world = World::new().await;
    let (gone, off) = (world.queue("acme", 1).await, world.queue("beta", 2).await);
    world.change(|config| {
        config.sites.retain(|id, _| id.as_str() != "acme");
        let (id, beta) = site("beta", "1");
        let beta = Arc::into_inner(beta).expect("the only one");
        config.sites.insert(id, Arc::new(Site { deliver: false, ..beta }));
    });
    world.sender.reloaded().await;
    world.step().await;
    assert_eq!(world.state(gone).await, (State::Queued, Reason::SiteGone, 0));
    assert_eq!(world.state(off).await, (State::Held, Reason::DeliverOff, 0));
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn a_trace_is_passed_on() {
    let world = World::new().await;
    world.queue("acme", 1).await;
    world.step().await;
    assert_eq!(world.api.requests()[0].header("traceparent"), Some(TRACE));
}

#[tokio::test]
async fn an_attempt_that_is_cut_off_by_the_end_is_recorded_as_ambiguous() {
    let world = World::new().await;
    world.api.on_intake(Reply::silence());
    let id = world.queue("acme", 1).await;
    let (stop, stopped) = watch::channel(false);
    let sender = world.sender.clone();
    let running = tokio::spawn(async move { sender.run(stopped).await });
    world.api.wait_for(1).await;
    tokio::time::pause();
    stop.send_replace(true);
    assert_eq!(running.await.expect("it ends"), Stopped::Cut(1));
    assert_eq!(world.state(id).await, (State::Queued, Reason::Retrying, 1));
    let entry = world.head(id).await;
    let attempt = last_attempt(&entry);
    assert_eq!(attempt.result, AttemptResult::Ambiguous);
    assert_eq!(attempt.words.as_deref(), Some("the gateway stopped before an answer came"));
    assert_eq!(world.due_in(id).await, 0);
}

//! Order, retries, and what a sink that takes nothing means for the others.

use formgate::queue::{Change, State};

use super::{got, receiver, receiver_with, session, types, webhook, with_sinks};
use crate::scripted_api::ScriptedApi;
use crate::world::World;

/// Drops a lead, which makes it dead.
async fn kill(world: &World, site: &str, number: u8) {
    let id = world.queue(site, number).await;
    let head = world.head(id).await;
    let keep = std::time::Duration::from_secs(3_600);
    let dropped = world.store.amend(id, head.revision, Change::Drop { keep }, world.now()).await.expect("amended");
    assert!(dropped.is_done());
    assert_eq!(world.state(id).await.0, State::Dead);
}

fn leads(receiver: &ScriptedApi, path: &str) -> Vec<String> {
    got(receiver, path).into_iter().map(|(_, data)| data["lead"]["id"].to_string()).collect()
}

#[tokio::test]
async fn events_go_in_order_each_with_an_id_of_its_own() {
    let receiver = receiver().await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    for number in 1..=3 {
        kill(&world, "acme", number).await;
    }
    session.step().await.expect("stepped");
    assert_eq!(types(&receiver, "ops"), ["lead.dead"; 3]);
    let mut sorted = leads(&receiver, "ops");
    sorted.sort();
    assert_eq!(leads(&receiver, "ops"), sorted);
    let ids: std::collections::BTreeSet<_> =
        receiver.requests().iter().map(|request| request.header("webhook-id").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id_before_what_came_after_it() {
    let receiver = receiver_with("ops", &[500, 200, 200], false).await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    kill(&world, "acme", 2).await;
    session.step().await.expect("stepped");
    assert_eq!(receiver.requests().len(), 1, "the second waits for the first");
    world.pass(60);
    session.step().await.expect("stepped");
    let requests = receiver.requests();
    let id = |at: usize| requests[at].header("webhook-id").map(str::to_owned);
    assert_eq!(requests.len(), 3);
    assert_eq!(id(0), id(1));
    assert_ne!(id(1), id(2));
}

#[tokio::test]
async fn a_sink_that_fails_for_long_is_told_of_at_the_others_and_keeps_none_waiting() {
    let receiver = receiver_with("broken", &[500], true).await;
    let sinks = vec![webhook("broken", &receiver, &["*"]), webhook("ops", &receiver, &["lead.dead", "gateway.*"])];
    let world = World::with(with_sinks(sinks)).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    session.step().await.expect("stepped");
    assert_eq!(types(&receiver, "ops"), ["lead.dead"]);
    for _ in 0..20 {
        world.pass(60);
        session.step().await.expect("stepped");
    }
    assert_eq!(types(&receiver, "ops"), ["lead.dead", "gateway.sink_failing"], "once");
    let (_, data) = got(&receiver, "ops").pop().expect("an event");
    assert_eq!(data["sinks"][0]["name"], "broken");
    assert_eq!(data["sinks"][0]["error"], "500 Internal Server Error");
    assert!(!data.to_string().contains(&receiver.base_url()), "{data}");
    world.shows("formgate_notify_sink_failing{sink=\"broken\"} 1");
}

#[tokio::test]
async fn a_sink_that_says_gone_gets_nothing_more() {
    let receiver = receiver_with("former", &[410], true).await;
    let sinks = vec![webhook("former", &receiver, &["lead.dead"]), webhook("ops", &receiver, &["gateway.*"])];
    let world = World::with(with_sinks(sinks)).await;
    let mut session = session(&world).await;
    for number in 1..=2 {
        kill(&world, "acme", number).await;
    }
    for _ in 0..5 {
        session.step().await.expect("stepped");
        world.pass(3_600);
    }
    kill(&world, "acme", 3).await;
    session.step().await.expect("stepped");
    assert_eq!(types(&receiver, "former").len(), 1);
    assert_eq!(types(&receiver, "ops"), ["gateway.sink_failing"]);
    assert_eq!(got(&receiver, "ops")[0].1["sinks"][0]["disabled"], true);
}

#[tokio::test]
async fn an_event_is_given_up_after_three_days() {
    let receiver = receiver_with("ops", &[500], true).await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    for _ in 0..3 * 24 + 1 {
        session.step().await.expect("stepped");
        world.pass(3_600);
    }
    let tried = receiver.requests().len();
    assert!(tried > 60, "{tried}");
    world.pass(3_600);
    session.step().await.expect("stepped");
    assert_eq!(receiver.requests().len(), tried, "nothing is left to try");
    world.shows("formgate_notify_events_total{result=\"lost\",sink=\"ops\"} 1");
}

#[tokio::test]
async fn after_a_restart_it_goes_on_where_it_was_and_tells_nothing_twice() {
    let receiver = receiver_with("ops", &[200, 500], false).await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut first = session(&world).await;
    kill(&world, "acme", 1).await;
    kill(&world, "acme", 2).await;
    first.step().await.expect("stepped");
    drop(first);
    kill(&world, "acme", 3).await;
    world.pass(60);
    session(&world).await.step().await.expect("stepped");
    let ids = leads(&receiver, "ops");
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(ids[1], ids[2], "the second was tried again");
    assert!(ids[0] != ids[1] && ids[2] != ids[3]);
}

#[tokio::test]
async fn what_a_sink_was_told_is_gone_from_the_outbox() {
    let receiver = receiver().await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    for number in 1..=5 {
        kill(&world, "acme", number).await;
    }
    session.step().await.expect("stepped");
    session.step().await.expect("stepped");
    assert!(world.store.events(0, 10).await.expect("read").events.is_empty());
}

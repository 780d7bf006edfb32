//! Leads of a site that has left the configuration: queued for a day, then held, and sent by themselves once it is back.

use std::time::Duration;

use formgate::lead::SiteId;
use formgate::operate::WaitsFor;
use formgate::queue::{Reason, State};
use tokio::sync::watch;

use crate::world::{World, site};

const HOUR: u64 = 3_600;

fn leave(world: &World, name: &str) {
    let id = SiteId::parse(name).expect("a slug");
    world.change(|config| drop(config.sites.remove(&id)));
}

fn come_back(world: &World, name: &str) {
    world.change(|config| config.sites.extend([site(name, "1")]));
}

#[tokio::test]
async fn leads_of_a_site_that_is_gone_stay_queued_for_a_day_and_are_then_held() {
    let world = World::new().await;
    let id = world.queue("acme", 1).await;
    leave(&world, "acme");
    world.step().await;
    assert_eq!(world.state(id).await, (State::Queued, Reason::SiteGone, 0));
    world.pass(HOUR);
    let shown = world.show(id).await;
    assert_eq!(shown.cause, "its site is not in the configuration; held in 23 h");
    assert_eq!((shown.waits_for, shown.due_at), (Some(WaitsFor::Configuration), None));
    let work = "its site is not in the configuration; its leads are held after a day";
    assert_eq!(world.work().await, [(1, 1, work.to_owned())]);

    // However often the program starts, the day is the same.
    for _ in 0..22 {
        world.pass(HOUR);
        world.store.make_due(&shown.site, 10, world.now()).await.expect("made due");
        world.restarted().send_due().await;
    }
    assert_eq!(world.state(id).await, (State::Queued, Reason::SiteGone, 0));
    assert_eq!(world.head(id).await.history.len(), 2, "the site's leaving is told once");
    world.pass(HOUR);
    world.restarted().send_due().await;
    assert_eq!(world.state(id).await, (State::Held, Reason::SiteGone, 0));
    assert_eq!(world.sent().len(), 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_no_lead_before_its_day() {
    let world = World::new().await;
    let id = world.queue("acme", 1).await;
    leave(&world, "acme");
    world.pass(100 * HOUR);
    world.step().await;
    world.pass_ms(-90 * 3_600_000);
    world.step().await;
    assert_eq!(world.state(id).await, (State::Queued, Reason::SiteGone, 0));
    assert!(world.show(id).await.cause.ends_with("held in 24 h"));
}

#[tokio::test]
async fn leads_of_a_site_that_is_back_go_at_once() {
    let world = World::new().await;
    let ids = [world.queue("acme", 1).await, world.queue("acme", 2).await];
    leave(&world, "acme");
    world.step().await;
    come_back(&world, "acme");
    world.sender.reloaded().await;
    world.step().await;
    for id in ids {
        assert_eq!(world.state(id).await, (State::Delivered, Reason::Delivered, 1));
    }
}

#[tokio::test]
async fn a_second_leaving_has_a_day_of_its_own() {
    let world = World::new().await;
    let id = world.queue("acme", 1).await;
    leave(&world, "acme");
    world.step().await;
    // Back, but its circuit or its keys keep it waiting; then it goes again.
    come_back(&world, "acme");
    world.sender.reloaded().await;
    world.api.on_intake(crate::scripted_api::Reply::error(401, "Unauthorized"));
    world.step().await;
    assert_eq!(world.state(id).await.1, Reason::SiteBack);
    world.pass(23 * HOUR);
    leave(&world, "acme");
    world.step().await;
    world.pass(2 * HOUR);
    world.step().await;
    assert_eq!(world.state(id).await, (State::Queued, Reason::SiteGone, 0));
    assert!(world.show(id).await.cause.ends_with("held in 22 h"));
}

/// Queued and held ones alike, whether the site comes back while the program runs or before it starts.
#[tokio::test]
async fn held_leads_of_a_site_that_is_back_go_by_themselves() {
    for is_running in [true, false] {
        let world = World::new().await;
        let held = world.queue("acme", 1).await;
        let other = world.queue("beta", 2).await;
        leave(&world, "acme");
        leave(&world, "beta");
        world.step().await;
        world.pass(25 * HOUR);
        let queued = world.queue("acme", 3).await;
        world.step().await;
        assert_eq!(world.state(held).await, (State::Held, Reason::SiteGone, 0));
        assert_eq!(world.state(queued).await, (State::Queued, Reason::SiteGone, 0));

        let (stop, stopped) = watch::channel(false);
        let sender = world.restarted();
        let running = sender.clone();
        if is_running {
            let task = tokio::spawn(async move { running.run(stopped).await });
            come_back(&world, "acme");
            sender.reloaded().await;
            arrived(&world, stop, task).await;
        } else {
            come_back(&world, "acme");
            let task = tokio::spawn(async move { running.run(stopped).await });
            arrived(&world, stop, task).await;
        }
        for id in [held, queued] {
            let entry = world.head(id).await;
            assert_eq!((entry.state, entry.attempts, entry.expires_at.is_some()), (State::Delivered, 1, true));
        }
        assert_eq!(world.state(other).await, (State::Held, Reason::SiteGone, 0));
    }
}

async fn arrived<T>(world: &World, stop: watch::Sender<bool>, task: tokio::task::JoinHandle<T>) {
    let both = world.api.wait_for(2);
    drop(tokio::time::timeout(Duration::from_secs(20), both).await.expect("both are sent"));
    stop.send_replace(true);
    drop(task.await.expect("it stops"));
}

//! Whose failures hold up whom: a site's its own leads, the upstream's everybody's.

use formgate::queue::{SendingStatus, State};
use formgate::telemetry::Degraded;

use crate::scripted_api::{Recorded, Reply};
use crate::world::World;

/// The site that a request is of.
fn is_of(request: &Recorded, site: &str) -> bool {
    request.header("authorization").is_some_and(|value| value.contains(&format!("wp_pk_{site}:")))
}

fn status(world: &World) -> SendingStatus {
    world.sender.status().borrow().clone()
}

/// Three accounts are dead, with a lead now and then; a lead of the fourth site never waits for them.
#[tokio::test]
async fn three_dead_accounts_delay_no_other_site() {
    for dead in [402, 403, 404] {
        let world = World::new().await;
        world.api.rule(move |request| (!is_of(request, "delta")).then(|| Reply::error(dead, "Account closed")));
        for round in 0..8 {
            for (number, site) in (1..).zip(["acme", "beta", "gamma"]) {
                world.queue(site, round * 10 + number).await;
                world.pass(40);
                world.step().await;
            }
            let alive = world.queue("delta", round * 10 + 9).await;
            world.step().await;
            assert_eq!(world.state(alive).await.0, State::Delivered, "round {round} of {dead}");
        }
        world.shows(r#"formgate_circuits_open{scope="upstream"} 0"#);
        world.shows(r#"formgate_circuits_open{scope="site"} 3"#);
        let status = status(&world);
        assert_eq!((status.upstream, status.failing_sites.len()), (None, 3));
        let acme = &status.failing_sites[&formgate::lead::SiteId::parse("acme").expect("a slug")];
        assert_eq!(acme.why, format!("{dead} Account closed"));
        assert_eq!(world.metrics.degraded(), []);
    }
}

#[tokio::test]
async fn pages_and_crashes_of_three_sites_hold_up_all_until_a_sign_of_life() {
    for reply in [Reply::html(403, "<h1>Blocked</h1>"), Reply::error(500, "Oops"), Reply::html(200, "<p>Hi</p>")] {
        let world = World::new().await;
        world.api.always(reply);
        for (number, site) in (1..).zip(["acme", "beta", "gamma"]) {
            world.queue(site, number).await;
        }
        world.step().await;
        assert_eq!(world.metrics.degraded(), [Degraded::UpstreamFailing]);
        let opened = status(&world).upstream.expect("it is open");
        assert_eq!((opened.since, opened.next_probe.duration_since(world.now()).as_secs()), (world.now(), 60));
        let alive = world.queue("delta", 4).await;
        world.step().await;
        assert_eq!(world.state(alive).await.0, State::Queued);
        // A closed account's no shows that KaiCalls works.
        world.api.always(Reply::error(402, "Account closed"));
        world.pass(60);
        world.step().await;
        assert_eq!((world.metrics.degraded(), status(&world).upstream), (vec![], None));
    }
}

#[tokio::test]
async fn what_is_held_back_is_published_with_its_cause() {
    let world = World::with(|config| config.limits.site = crate::world::limit(6, 1)).await;
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    world.queue("acme", 1).await;
    world.step().await;
    let acme = formgate::lead::SiteId::parse("acme").expect("a slug");
    let paused = status(&world).paused_sites.remove(&acme).expect("acme is paused");
    assert_eq!((paused.len(), paused[0].public_key.as_str()), (1, "wp_pk_acme"));
    assert_eq!(paused[0].holdup.why, "401 Unauthorized");
    assert_eq!(paused[0].holdup.next_probe.duration_since(world.now()).as_secs(), 300);
    assert_eq!(world.metrics.degraded(), [Degraded::SitesPaused]);
    // Refused again: it has been paused since the first refusal.
    let since = world.now();
    world.pass(300);
    world.api.on_intake(Reply::error(401, "Unauthorized"));
    world.step().await;
    assert_eq!(status(&world).paused_sites[&acme][0].holdup.since, since);

    world.pass(300);
    world.step().await;
    assert_eq!((status(&world).paused_sites.len(), world.metrics.degraded()), (0, vec![]));
    world.pass(1);
    world.queue("beta", 2).await;
    world.queue("beta", 3).await;
    world.step().await;
    world.pass(1);
    world.step().await;
    let limited: Vec<_> = status(&world).rate_limited_sites.into_keys().map(|site| site.to_string()).collect();
    assert_eq!(limited, ["beta"]);
}

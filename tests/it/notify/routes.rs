//! Who is told of what: a client's mailbox never gets another client's leads.

use formgate::event::{EventScope, EventType};
use formgate::lead::FormId;
use formgate::queue::{Change, Emission, Key};

use super::{client_of, got, receiver, session, site_id, types, webhook, with_sinks};
use crate::world::World;

#[tokio::test]
async fn no_event_of_one_client_reaches_another() {
    let receiver = receiver().await;
    let all = ["*", "digest.daily", "digest.weekly"];
    let sinks = vec![
        client_of(webhook("acme", &receiver, &all), &["acme"]),
        client_of(webhook("beta", &receiver, &all), &["beta"]),
    ];
    let world = World::with(with_sinks(sinks)).await;
    let mut session = session(&world).await;
    for (place, event) in EventType::ALL.into_iter().enumerate() {
        let number = u64::try_from(place).expect("few");
        let entry = world.queue_named("beta", number, Some("Bea Beta")).await;
        let (site, form) = (Some(site_id("beta")), FormId::parse("contact").ok());
        let emission = match event.scope() {
            EventScope::Lead => Emission { event, entry: Some(entry), site, form },
            EventScope::Site => Emission { event, entry: None, site, form: None },
            EventScope::Gateway | EventScope::Digest | EventScope::Sink => Emission::new(event),
        };
        let once = Key::parse(event.as_str()).expect("a key");
        assert!(world.store.emit(&emission, &once, world.now()).await.expect("emitted"));
        session.step().await.expect("stepped");
        world.pass(5);
    }
    for (event, data) in got(&receiver, "acme") {
        assert!(event.starts_with("digest."), "{event}");
        assert!(!data.to_string().to_lowercase().contains("bea"), "{event}: {data}");
        assert!(!data.to_string().contains("jane"), "{event}: {data}");
    }
    let beta = got(&receiver, "beta");
    let overdue = beta.iter().find(|(event, _)| event == "lead.overdue").expect("its own client is told");
    assert_eq!(overdue.1["lead"]["content"]["name"], "Bea Beta");
    assert!(beta.iter().all(|(event, _)| !event.starts_with("gateway.")), "{:?}", types(&receiver, "beta"));
}

#[tokio::test]
async fn a_lead_that_was_filed_under_another_site_is_told_to_neither_client_by_mistake() {
    let receiver = receiver().await;
    let sinks = vec![
        client_of(webhook("acme", &receiver, &["lead.*"]), &["acme"]),
        client_of(webhook("beta", &receiver, &["lead.*"]), &["beta"]),
    ];
    let world = World::with(with_sinks(sinks)).await;
    let mut session = session(&world).await;
    let id = world.queue_named("acme", 7, Some("Ann Acme")).await;
    let hold =
        Change::Hold { reason: formgate::queue::Reason::Ambiguous, reading: Box::new(world.head(id).await.reading) };
    let drop = Change::Drop { keep: std::time::Duration::from_secs(3_600) };
    for change in [drop, hold, Change::Assign { site: site_id("beta") }] {
        let revision = world.head(id).await.revision;
        assert!(world.store.amend(id, revision, change, world.now()).await.expect("amended").is_done());
    }
    session.step().await.expect("stepped");
    for (event, data) in got(&receiver, "acme") {
        assert!(!data.to_string().contains("Ann"), "{event}: {data}");
        assert!(data["lead"]["id"].is_string() && data["lead"]["accepted_at"].is_null(), "{event}: {data}");
    }
    assert_eq!(types(&receiver, "acme"), ["lead.dead", "lead.held"]);
}

#[tokio::test]
async fn content_goes_only_where_leads_are_asked_for_and_is_gone_with_the_lead() {
    let receiver = receiver().await;
    let sinks = vec![
        webhook("ops", &receiver, &["lead.dead"]),
        client_of(webhook("acme", &receiver, &["lead.dead"]), &["acme"]),
    ];
    let world = World::with(with_sinks(sinks)).await;
    let mut session = session(&world).await;
    let kill = async |id| {
        let drop = Change::Drop { keep: std::time::Duration::from_secs(3_600) };
        let revision = world.head(id).await.revision;
        assert!(world.store.amend(id, revision, drop, world.now()).await.expect("amended").is_done());
    };
    kill(world.queue_named("acme", 1, Some("Jane Doe")).await).await;
    session.step().await.expect("stepped");
    let erased = world.queue_named("acme", 2, Some("John Roe")).await;
    kill(erased).await;
    assert_eq!(world.store.erase(&[erased]).await.expect("erased"), 1);
    world.pass(5);
    session.step().await.expect("stepped");
    let acme = got(&receiver, "acme");
    assert_eq!(acme[0].1["lead"]["content"]["email"], "jane1@example.com");
    assert_eq!((&acme[1].1["lead"]["erased"], &acme[1].1["lead"]["content"]), (&true.into(), &serde_json::Value::Null));
    let ops = got(&receiver, "ops");
    assert_eq!(ops.len(), 2);
    assert!(!format!("{ops:?}").contains("jane"), "{ops:?}");
}

#[tokio::test]
async fn nothing_is_recorded_that_nobody_wants() {
    let receiver = receiver().await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    let before = world.store.events(0, 10).await.expect("read").upto;
    for number in 1..=5 {
        world.queue("acme", number).await;
    }
    world.step().await;
    assert_eq!(world.sent().len(), 5);
    assert_eq!(world.store.events(0, 10).await.expect("read").upto, before, "deliveries are nobody's business");
    session.step().await.expect("stepped");
    assert!(receiver.requests().is_empty());
}

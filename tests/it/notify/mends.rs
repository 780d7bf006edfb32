//! What waits for a sink while its table is changed, is missing for a moment, or names fewer sites.

use std::sync::Arc;
use std::time::Duration;

use formgate::config::{Config, MailAddress, MailSecurity, Sink, SinkTarget};
use formgate::queue::Change;
use tokio::sync::Notify;

use super::{client_of, receiver, receiver_with, session, types, webhook, with_sinks};
use crate::mail::MailServer;
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::World;

async fn kill(world: &World, site: &str, number: u8) {
    let id = world.queue(site, number).await;
    let revision = world.head(id).await.revision;
    let drop = Change::Drop { keep: Duration::from_secs(3_600) };
    assert!(world.store.amend(id, revision, drop, world.now()).await.expect("amended").is_done());
}

fn set_sinks(world: &World, sinks: Vec<Sink>) {
    world.change(|config: &mut Config| config.sinks = sinks.into_iter().map(Arc::new).collect());
}

#[tokio::test]
async fn what_waits_for_a_sink_goes_to_its_corrected_url() {
    let broken = receiver_with("ops", &[404], true).await;
    let mended = receiver().await;
    let world = World::with(with_sinks(vec![webhook("ops", &broken, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    for number in 1..=3 {
        kill(&world, "acme", number).await;
    }
    session.step().await.expect("stepped");
    assert_eq!(types(&broken, "ops").len(), 1, "the others wait behind it");
    set_sinks(&world, vec![webhook("ops", &mended, &["lead.dead"])]);
    world.pass(2);
    session.step().await.expect("stepped");
    assert_eq!(types(&mended, "ops"), ["lead.dead"; 3]);
    assert_eq!(types(&broken, "ops").len(), 1);
}

#[tokio::test]
async fn what_waits_for_a_sink_is_kept_while_its_secret_is_missing_at_a_start() {
    let receiver = receiver_with("ops", &[503], false).await;
    let sinks = || vec![webhook("ops", &receiver, &["lead.dead"]), webhook("other", &receiver, &["lead.dead"])];
    let world = World::with(with_sinks(sinks())).await;
    let mut first = session(&world).await;
    kill(&world, "acme", 1).await;
    first.step().await.expect("stepped");
    drop(first);
    // Without its URL the sink is not in the configuration; the other one is.
    set_sinks(&world, vec![webhook("other", &receiver, &["lead.dead"])]);
    let mut second = session(&world).await;
    for _ in 0..3 {
        world.pass(60);
        second.step().await.expect("stepped");
    }
    drop(second);
    set_sinks(&world, sinks());
    world.pass(60);
    session(&world).await.step().await.expect("stepped");
    assert_eq!(types(&receiver, "ops"), ["lead.dead"; 2], "refused, and then taken");
    assert_eq!(types(&receiver, "other"), ["lead.dead"], "it isn't told twice");
}

#[tokio::test]
async fn a_site_that_is_taken_from_a_sink_is_told_to_it_no_more() {
    let receiver = receiver_with("partner", &[503], false).await;
    let partner = |sites: &[&str]| vec![client_of(webhook("partner", &receiver, &["lead.dead"]), sites)];
    let world = World::with(with_sinks(partner(&["acme", "beta"]))).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    kill(&world, "beta", 2).await;
    session.step().await.expect("stepped");
    set_sinks(&world, partner(&["acme"]));
    world.pass(60);
    session.step().await.expect("stepped");
    let told = super::got(&receiver, "partner");
    assert_eq!(told.len(), 2, "the first twice: {told:?}");
    assert!(told.iter().all(|(_, data)| data["site"]["id"] == "acme"), "{told:?}");
}

#[tokio::test]
async fn a_site_that_is_taken_from_a_sink_is_told_to_it_no_more_even_while_it_is_being_sent_to() {
    let receiver = ScriptedApi::start().await;
    let answer = Arc::new(Notify::new());
    let first = Arc::clone(&answer);
    receiver.rule(move |_request| Some(Reply::json(200, "{}").when(&first)));
    let partner = |sites: &[&str]| vec![client_of(webhook("partner", &receiver, &["lead.dead"]), sites)];
    let world = World::with(with_sinks(partner(&["acme", "beta"]))).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    kill(&world, "beta", 2).await;
    let change = async {
        receiver.wait_for(1).await;
        set_sinks(&world, partner(&["acme"]));
        answer.notify_one();
    };
    let (stepped, ()) = tokio::join!(session.step(), change);
    stepped.expect("stepped");
    assert_eq!(types(&receiver, "partner"), ["lead.dead"], "the second was of the other site");
}

#[tokio::test]
async fn what_waits_for_a_mailbox_goes_to_its_corrected_address() {
    let receiver = receiver().await;
    let server = MailServer::start(&["--refuse", "ownr@acme.example"]).await;
    let mail = server.config(MailSecurity::None);
    let mails = server.collect();
    let owner = |address: &str| {
        let target = SinkTarget::Mail(vec![MailAddress::parse(address).expect("an address")]);
        vec![Sink { target, ..webhook("owner", &receiver, &["lead.dead"]) }]
    };
    let world = World::with(|config| {
        with_sinks(owner("ownr@acme.example"))(config);
        config.mail = Some(mail.clone());
    })
    .await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    session.step().await.expect("stepped");
    world.pass(10);
    session.step().await.expect("stepped");
    world.change(|config| {
        with_sinks(owner("owner@acme.example"))(config);
        config.mail = Some(mail);
    });
    world.pass(10);
    session.step().await.expect("stepped");
    let mails = mails.all();
    assert_eq!(mails.iter().map(|mail| mail.to()).collect::<Vec<_>>(), ["owner@acme.example"]);
}

#[tokio::test]
async fn a_sink_that_was_gone_is_tried_again_once_its_table_changes() {
    let receiver = receiver_with("ops", &[410], false).await;
    let world = World::with(with_sinks(vec![webhook("ops", &receiver, &["lead.dead"])])).await;
    let mut session = session(&world).await;
    kill(&world, "acme", 1).await;
    session.step().await.expect("stepped");
    world.pass(60);
    kill(&world, "acme", 2).await;
    session.step().await.expect("stepped");
    assert_eq!(types(&receiver, "ops").len(), 1);
    set_sinks(&world, vec![webhook("ops", &receiver, &["lead.dead", "site.*"])]);
    world.pass(60);
    session.step().await.expect("stepped");
    kill(&world, "acme", 3).await;
    world.pass(60);
    session.step().await.expect("stepped");
    assert_eq!(types(&receiver, "ops").len(), 2);
}

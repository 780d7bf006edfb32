//! What gateways that share a store tell others: once, whichever of them knows it and whichever sends it.

use std::sync::Arc;
use std::time::Duration;

use formgate::config::Config;
use formgate::lead::SiteId;
use formgate::queue::activity::{Activity, Mistake, RefusedPost, Sender, mistakes, refused_key};
use formgate::queue::{NoteKind, Outbox as _, Store};
use formgate::telemetry::Degraded;
use jiff::Timestamp;
use serde_json::Value;

use super::{Cluster, TAKEN_OVER};
use crate::notify::{got, receiver, types, webhook, with_sinks};
use crate::scripted_api::{Reply, ScriptedApi};

/// A sink for these events.
fn ops(receiver: &ScriptedApi, events: &[&str]) -> impl Fn(&mut Config) {
    let sink = webhook("ops", receiver, events);
    move |config| with_sinks(vec![sink.clone()])(config)
}

fn refuse(activity: &Activity, site: &SiteId, posts: usize, now: Timestamp) {
    let post = RefusedPost { mistake: Mistake::UnknownToken, status: 401, sender: &Sender::default };
    (0..posts).for_each(|_| activity.refused(Some(site), &post, now));
}

/// What the receiver got, as types.
fn told(receiver: &ScriptedApi) -> Vec<String> {
    types(receiver, "ops")
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_told_once_by_whichever_gateway_sends_events_also_when_the_site_moves() {
    let receiver = receiver().await;
    let mut cluster = Cluster::with(3, ops(&receiver, &["site.*"])).await;
    // The first gateway sends the events.
    let site = cluster.site_of(1);
    cluster.gateways.iter().for_each(|gateway| gateway.api.always(Reply::error(401, "Unauthorized")));
    cluster.queue(&site).await;
    cluster.pass_until(Duration::from_secs(4), |_| told(&receiver) == ["site.paused"]).await;
    let (_, data) = got(&receiver, "ops").remove(0);
    assert_eq!((data["site"]["id"].as_str(), data["why"].as_str()), (Some(site.as_str()), Some("401 Unauthorized")));
    cluster.gateways[1].kill();
    cluster.queue(&site).await;
    cluster.pass(20_000).await;
    assert!(cluster.sent()[site.as_str()].len() >= 2, "another gateway has met the refusal: {cluster:?}");
    assert_eq!(told(&receiver), ["site.paused"]);
    cluster.gateways.iter().for_each(|gateway| gateway.api.back_to_normal());
    cluster.pass(310_000).await;
    assert_eq!(told(&receiver), ["site.paused", "site.resumed"]);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_person_at_another_gateway_is_told_with_its_name() {
    let receiver = receiver().await;
    let cluster = Cluster::with(2, ops(&receiver, &["gateway.*"])).await;
    cluster.gateways[1].metrics.set_degraded(Degraded::BackupFailed, true);
    cluster.pass(30_000).await;
    assert_eq!(told(&receiver), ["gateway.backup_failed"]);
    let (_, data) = got(&receiver, "ops").remove(0);
    let Some([reason]) = data["reasons"].as_array().map(Vec::as_slice) else { unreachable!("one reason: {data}") };
    assert_eq!(reason["reason"], Value::from("backup_failed"));
    assert!(reason["cure"].as_str().is_some_and(|cure| cure.ends_with("(gateway web-1)")), "{data}");
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_met_while_it_was_cut_off_is_told_when_it_is_back() {
    let receiver = receiver().await;
    let cluster = Cluster::with(2, ops(&receiver, &["gateway.*"])).await;
    let gateway = &cluster.gateways[1];
    gateway.line.cut(true);
    gateway.metrics.set_degraded(Degraded::StoreAway, true);
    cluster.pass(60_000).await;
    assert_eq!(told(&receiver), [""; 0], "the other knows nothing of it");
    // All is well again before anybody could be told.
    gateway.metrics.set_degraded(Degraded::StoreAway, false);
    cluster.pass(1_000).await;
    gateway.line.cut(false);
    cluster.pass(30_000).await;
    assert_eq!(told(&receiver), ["gateway.store_degraded"]);
    let (_, data) = got(&receiver, "ops").remove(0);
    let Some([reason]) = data["reasons"].as_array().map(Vec::as_slice) else { unreachable!("one reason: {data}") };
    assert_eq!(reason["reason"], Value::from("store_away"));
    assert!(reason["cure"].as_str().is_some_and(|cure| cure.ends_with("(gateway web-1)")), "{data}");
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn that_the_store_is_away_is_told_though_nothing_can_be_asked_of_it() {
    let receiver = receiver().await;
    let cluster = Cluster::with(2, ops(&receiver, &["gateway.*"])).await;
    for gateway in &cluster.gateways {
        gateway.line.cut(true);
        gateway.metrics.set_degraded(Degraded::StoreAway, true);
    }
    cluster.pass(30_000).await;
    // Without a spool it takes no posts either, which is another reason.
    assert_eq!(told(&receiver), ["gateway.store_degraded"; 2]);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_all_gateways_notice_is_told_once_and_so_is_its_end() {
    let receiver = receiver().await;
    let mut cluster = Cluster::with(2, ops(&receiver, &["gateway.*"])).await;
    cluster.gateways.iter().for_each(|gateway| gateway.api.always(Reply::html(503, "<h1>Down</h1>")));
    let sites: Vec<_> = cluster.gateways[0].config.load().sites.keys().cloned().collect();
    for held in cluster.held() {
        for site in sites.iter().filter(|site| held.has_site(site)) {
            cluster.queue(site).await;
        }
        // The second notices it later.
        cluster.pass(1_500).await;
    }
    cluster.pass(20_000).await;
    assert!(cluster.gateways.iter().all(|gateway| gateway.is_degraded(Degraded::UpstreamFailing)));
    assert_eq!(told(&receiver), ["gateway.upstream_down"]);
    cluster.gateways.iter().for_each(|gateway| gateway.api.back_to_normal());
    cluster.pass(150_000).await;
    assert_eq!(told(&receiver), ["gateway.upstream_down", "gateway.upstream_up"]);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn refused_posts_at_two_gateways_are_one_event() {
    let receiver = receiver().await;
    let cluster = Cluster::with(2, ops(&receiver, &["site.*"])).await;
    let site = cluster.site_of(0);
    for (gateway, posts) in cluster.gateways.iter().zip([3, 2]) {
        refuse(&gateway.activity, &site, posts, cluster.clock.now());
    }
    cluster.pass(30_000).await;
    assert_eq!(told(&receiver), ["site.posts_refused"]);
    for gateway in &cluster.gateways {
        refuse(&gateway.activity, &site, 1, cluster.clock.now());
    }
    cluster.pass(30 * 60_000).await;
    assert_eq!(told(&receiver).len(), 1, "within the hour");
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_digest_is_sent_once_and_another_gateway_goes_on_with_events_when_the_first_dies() {
    let receiver = receiver().await;
    let cluster = Cluster::with(2, ops(&receiver, &["digest.daily", "gateway.*"])).await;
    cluster.pass(20_000).await;
    assert_eq!(told(&receiver), ["digest.daily"]);
    cluster.gateways[0].kill();
    cluster.gateways[1].metrics.set_degraded(Degraded::BackupFailed, true);
    cluster.pass(50_000).await;
    assert_eq!(told(&receiver), ["digest.daily", "gateway.backup_failed"]);
    drop(cluster.still);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_without_sinks_takes_no_events_from_one_that_has_some() {
    let receiver = receiver().await;
    let mut cluster = Cluster::with(1, ops(&receiver, &["gateway.*"])).await;
    // So long nothing happened that what the sinks wait for is given up.
    tokio::time::advance(Duration::from_secs(4 * 86_400)).await;
    cluster.pass(40_000).await;
    cluster.join(|_config| {}).await;
    cluster.pass(TAKEN_OVER.as_millis().try_into().expect("small")).await;
    assert_eq!(cluster.store.readers().await.expect("read").len(), 1);
    cluster.gateways[0].metrics.set_degraded(Degraded::BackupFailed, true);
    cluster.pass(15_000).await;
    assert_eq!(told(&receiver), ["gateway.backup_failed"]);
    drop(cluster.still);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_gateways_refused_adds_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = Arc::new(crate::store_contract::open(folder.path()));
    let site = SiteId::parse("acme").expect("a site");
    let at = Timestamp::from_second(1_800_000_000).expect("a time");
    for round in 0..20 {
        let gateways = [Activity::default(), Activity::default()];
        gateways.iter().for_each(|activity| refuse(activity, &site, 3, at + Duration::from_secs(round)));
        let [one, two] = &gateways;
        let (one, two) = tokio::join!(one.flush(&store), two.flush(&store));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    }
    let notes = store.notes(NoteKind::Refused, &refused_key(Some(&site)), None, 1).await.expect("read");
    let [record] = &*mistakes(&notes[0]) else { unreachable!("one mistake: {notes:?}") };
    assert_eq!(record.count, 120);
}

//! Each event, from what causes it to what a receiver gets.

use std::time::Duration;

use formgate::config::{Token, WebhookFormat};
use formgate::event::EventType;
use formgate::lead::FormId;
use formgate::notify::Session;
use formgate::queue::activity::{Activity, LeadEnd, Mistake, PostEnd, RefusedPost, Sender, StoredPost};
use formgate::queue::{Change, NewEntry, Reason, State};
use formgate::telemetry::Degraded;

use super::{got, notifier, receiver, site_id, types, webhook, with_sinks};
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::World;

const KEEP: Duration = Duration::from_secs(90 * 86_400);

/// A world whose every event goes to one receiver.
struct Told {
    world: World,
    receiver: ScriptedApi,
    activity: Activity,
    session: Session,
}

impl Told {
    async fn begin() -> Self {
        Self::with(|_config| {}).await
    }

    async fn with(change: impl FnOnce(&mut formgate::config::Config)) -> Self {
        let receiver = receiver().await;
        let sinks = with_sinks(vec![webhook("ops", &receiver, &["*", "digest.*"])]);
        let world = World::with(|config| {
            sinks(config);
            change(config);
        })
        .await;
        let activity = Activity::default();
        let session = notifier(&world, activity.clone()).open().await.expect("opened").expect("there are sinks");
        Self { world, receiver, activity, session }
    }

    /// Lets time pass in small steps, as it does, and tells what happens.
    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(10) {
            self.world.pass(10);
            self.world.step().await;
            self.session.step().await.expect("stepped");
        }
    }

    async fn step(&mut self) {
        self.session.step().await.expect("stepped");
    }

    fn types(&self) -> Vec<String> {
        types(&self.receiver, "ops").into_iter().filter(|event| !event.starts_with("digest.")).collect()
    }

    /// What an event told; it came once.
    fn data(&self, event: &str) -> serde_json::Value {
        let mut all = got(&self.receiver, "ops").into_iter().filter(|(name, _)| name == event);
        let (_, data) = all.next().unwrap_or_else(|| panic!("no {event}: {:?}", self.types()));
        assert!(all.next().is_none(), "{event} came twice");
        data
    }
}

#[tokio::test]
async fn what_becomes_of_a_lead_is_told() {
    let mut told = Told::begin().await;
    told.world.queue("acme", 1).await;
    told.world.step().await;
    let id = told.world.queue("beta", 2).await;
    let revision = told.world.head(id).await.revision;
    let change = Change::Drop { keep: KEEP };
    assert!(told.world.store.amend(id, revision, change, told.world.now()).await.expect("amended").is_done());
    let queued = told.world.store.get(id).await.expect("read").expect("there");
    let held = NewEntry {
        id: formgate::lead::EntryId::new(3, &[3; 10]),
        site: site_id("gamma"),
        form: queued.head.form.clone(),
        state: State::Held,
        reason: Reason::Invalid,
        accepted_at: told.world.now(),
        keep: Some(KEEP),
        reading: formgate::queue::Reading::default(),
        received: queued.received,
    };
    assert!(matches!(told.world.store.append(held, None).await, Ok(formgate::queue::Appended::New(_))));
    told.step().await;
    assert_eq!(told.types(), ["lead.delivered", "lead.dead", "lead.held"]);
    assert_eq!(told.data("lead.delivered")["lead"]["lead_id"], "lead_1");
    assert_eq!(told.data("lead.delivered")["site"]["id"], "acme");
    assert_eq!(told.data("lead.dead")["lead"]["reason"], "dropped");
    assert_eq!(told.data("lead.held")["lead"]["reason"], "invalid");
}

#[tokio::test]
async fn a_site_whose_keys_are_refused_is_told_of_once_and_again_when_they_are_taken() {
    let mut told = Told::begin().await;
    told.world.api.always(Reply::error(401, "Invalid API key"));
    for number in 1..=3 {
        told.world.queue("acme", number).await;
    }
    told.pass(400).await;
    assert_eq!(told.types(), ["site.paused"]);
    let paused = told.data("site.paused");
    assert_eq!((&paused["why"], &paused["queued"]), (&"401 Invalid API key".into(), &3.into()));
    assert_eq!(paused["public_keys"], serde_json::json!(["wp_pk_acme"]));
    told.world.api.back_to_normal();
    told.pass(400).await;
    told.data("site.resumed");
}

#[tokio::test]
async fn a_site_that_was_paused_before_a_restart_is_told_of_again_only_when_it_is_over() {
    let mut told = Told::begin().await;
    told.world.api.always(Reply::error(401, "Invalid API key"));
    told.world.queue("acme", 1).await;
    told.pass(20).await;
    assert_eq!(told.types(), ["site.paused"]);
    // Another process: its sender knows nothing yet.
    told.world.sender = told.world.restarted();
    told.session = notifier(&told.world, Activity::default()).open().await.expect("opened").expect("there are sinks");
    told.pass(60).await;
    told.pass(400).await;
    assert_eq!(told.types(), ["site.paused"]);
    told.world.api.back_to_normal();
    told.pass(400).await;
    assert_eq!(told.types().iter().filter(|event| *event == "site.resumed").count(), 1, "{:?}", told.types());
}

#[tokio::test]
async fn kaicalls_that_is_away_is_told_of_and_so_is_every_lead_that_waits_too_long() {
    let mut told = Told::begin().await;
    told.world.api.go_away().await;
    for (number, site) in ["acme", "beta", "gamma", "delta"].into_iter().enumerate() {
        told.world.queue(site, u8::try_from(number).expect("few") + 1).await;
    }
    told.pass(60).await;
    assert_eq!(told.types(), ["gateway.upstream_down"]);
    let down = told.data("gateway.upstream_down");
    assert_eq!(down["queued"], 4);
    assert!(down["why"].as_str().is_some_and(|why| why.contains("refused")), "{down}");
    told.pass(31 * 60).await;
    let overdue = got(&told.receiver, "ops").into_iter().filter(|(event, _)| event == "lead.overdue").count();
    assert_eq!(overdue, 4, "{:?}", told.types());
    told.world.api.come_back().await;
    told.pass(2 * 3_600).await;
    assert_eq!(told.world.sent().len(), 4);
    assert_eq!(got(&told.receiver, "ops").into_iter().filter(|(event, _)| event == "lead.overdue").count(), 4);
    told.data("gateway.upstream_up");
}

#[tokio::test]
async fn posts_that_are_refused_are_told_of_with_their_mistake() {
    let mut told = Told::begin().await;
    let site = site_id("acme");
    let sender = || Sender::new(Some("acme.example"), Some("WordPress/7.1; https://acme.example"));
    let refuse = |told: &Told, mistake, status| {
        told.activity.refused(Some(&site), &RefusedPost { mistake, status, sender: &sender }, told.world.now());
    };
    refuse(&told, Mistake::MethodNotAllowed, 405);
    told.pass(10).await;
    assert!(told.types().is_empty(), "somebody looked at the URL");
    refuse(&told, Mistake::ExpiredToken, 401);
    told.pass(10).await;
    refuse(&told, Mistake::ExpiredToken, 401);
    told.pass(10).await;
    let data = told.data("site.posts_refused");
    assert_eq!(data["refused"].as_array().map(Vec::len), Some(1), "{data}");
    assert_eq!((&data["refused"][0]["mistake"], &data["refused"][0]["status"]), (&"expired_token".into(), &401.into()));
    assert_eq!(data["refused"][0]["host"], "acme.example");
    told.pass(3_700).await;
    let (_, last) = got(&told.receiver, "ops").pop().expect("the second is told after an hour");
    assert_eq!(last["refused"][0]["count"], 2);
}

#[tokio::test]
async fn a_token_is_told_of_before_it_expires() {
    let mut told = Told::with(|config| {
        let (id, site) = crate::world::site("acme", "1");
        let mut site = std::sync::Arc::into_inner(site).expect("nobody else has it");
        let expires = Some(jiff::civil::date(2026, 10, 1));
        site.tokens = vec![Token { sha256: [7; 32], note: Some("webhook URLs".to_owned()), expires }];
        config.sites.insert(id, std::sync::Arc::new(site));
    })
    .await;
    let start = told.world.now().to_string();
    assert!(start.starts_with("2026-09-21"), "{start}");
    told.step().await;
    told.pass(3_600).await;
    let data = told.data("site.token_expiring");
    assert_eq!(
        (&data["tokens"][0]["expires"], &data["tokens"][0]["note"]),
        (&"2026-10-01".into(), &"webhook URLs".into())
    );
}

#[tokio::test]
async fn a_form_that_falls_silent_is_told_of_once() {
    let mut told = Told::begin().await;
    let form = FormId::parse("contact").expect("a form");
    let post = StoredPost { form: &form, mapping: None, token: None, end: PostEnd::Queued };
    for _ in 0..30 {
        told.activity.stored(&site_id("acme"), post, told.world.now());
        told.activity.flush(&told.world.store).await.expect("written");
        told.world.pass(8 * 3_600);
    }
    told.step().await;
    assert!(told.types().is_empty(), "{:?}", told.types());
    for _ in 0..6 {
        told.world.pass(86_400);
        told.step().await;
    }
    let data = told.data("form.silent");
    assert_eq!((&data["site"]["id"], &data["form"]), (&"acme".into(), &"contact".into()));
    assert!(data["last_at"].is_string(), "{data}");
}

#[tokio::test]
async fn what_needs_a_person_is_told_of_once_while_it_lasts() {
    for (degraded, event) in [
        (Degraded::ConfigBroken, "gateway.config_broken"),
        (Degraded::ReloadRefused, "gateway.config_broken"),
        (Degraded::StoreDamaged, "gateway.store_degraded"),
        (Degraded::StoreAway, "gateway.store_degraded"),
        (Degraded::CertificateExpiring, "gateway.certificate_expiring"),
        (Degraded::BackupFailed, "gateway.backup_failed"),
        (Degraded::TaskFailing, "gateway.degraded"),
    ] {
        let mut told = Told::begin().await;
        told.world.metrics.set_degraded(degraded, true);
        told.pass(300).await;
        assert_eq!(told.types(), [event]);
        if event != "gateway.certificate_expiring" {
            assert_eq!(told.data(event)["reasons"][0]["reason"], degraded.as_str());
        }
        told.world.metrics.set_degraded(degraded, false);
        told.pass(60).await;
        told.world.metrics.set_degraded(degraded, true);
        told.pass(60).await;
        assert_eq!(told.types(), [event, event], "it came back");
    }
}

#[tokio::test]
async fn what_somebody_may_be_at_work_on_is_told_of_if_it_stays() {
    for degraded in [Degraded::KeysMissing, Degraded::RestartNeeded] {
        let mut told = Told::begin().await;
        for _ in 0..2 {
            told.world.metrics.set_degraded(degraded, true);
            told.pass(590).await;
            assert_eq!(told.types(), [""; 0], "{degraded:?}");
            told.world.metrics.set_degraded(degraded, false);
            told.pass(20).await;
        }
        told.world.metrics.set_degraded(degraded, true);
        told.pass(620).await;
        assert_eq!(told.types(), ["gateway.degraded"]);
        assert_eq!(told.data("gateway.degraded")["reasons"][0]["reason"], degraded.as_str());
        told.pass(620).await;
        assert_eq!(told.types(), ["gateway.degraded"], "once");
    }
}

#[tokio::test]
async fn how_it_went_is_told_in_the_morning() {
    let mut told = Told::begin().await;
    let form = FormId::parse("contact").expect("a form");
    let now = told.world.now();
    told.activity.stored(
        &site_id("acme"),
        StoredPost { form: &form, mapping: None, token: None, end: PostEnd::Queued },
        now,
    );
    let took = Duration::from_secs(2);
    told.activity.settled(&site_id("acme"), &form, LeadEnd::Delivered { took }, now);
    told.activity.flush(&told.world.store).await.expect("written");
    for _ in 0..24 * 8 {
        told.world.pass(3_600);
        told.step().await;
    }
    let all = got(&told.receiver, "ops");
    let daily: Vec<_> = all.iter().filter(|(event, _)| event == "digest.daily").collect();
    let weekly = all.iter().filter(|(event, _)| event == "digest.weekly").count();
    // The first of each are of the days before the start, a Monday's.
    assert_eq!((daily.len(), weekly), (9, 2));
    assert_eq!(daily.iter().map(|(_, data)| data["received"].as_u64().expect("a number")).sum::<u64>(), 1);
    let with_lead = daily.iter().find(|(_, data)| data["delivered"] == 1).expect("a day");
    assert!(with_lead.1["median_seconds"].as_f64().is_some_and(|median| (1.0..4.0).contains(&median)), "{with_lead:?}");
}

#[tokio::test]
async fn a_chat_gets_one_line() {
    let receiver = receiver().await;
    let mut sink = webhook("chat", &receiver, &["lead.dead"]);
    if let formgate::config::SinkTarget::Webhook(target) = &mut sink.target {
        target.format = WebhookFormat::Slack;
    }
    let world = World::with(with_sinks(vec![sink])).await;
    let mut session = super::session(&world).await;
    let id = world.queue_named("acme", 1, Some("Jane Doe")).await;
    let revision = world.head(id).await.revision;
    let change = Change::Drop { keep: KEEP };
    assert!(world.store.amend(id, revision, change, world.now()).await.expect("amended").is_done());
    session.step().await.expect("stepped");
    let [request] = &receiver.requests()[..] else { panic!("one line") };
    let body = request.json();
    let text = body["text"].as_str().expect("a text");
    assert!(!text.is_empty() && !text.contains('\n') && !text.contains("Jane"), "{text}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
}

#[test]
fn every_event_is_driven_here_or_beside() {
    // `gateway.sink_failing` stands in lanes.rs, `notify.test` in the tests of the command line.
    let here = include_str!("every_event.rs");
    let beside = concat!(include_str!("lanes.rs"), "notify.test");
    for event in EventType::ALL {
        let name = format!("\"{event}\"");
        assert!(here.contains(&name) || beside.contains(event.as_str()), "{event}");
    }
}

//! What is told to others: from what happens in the store to what a receiver gets, in simulated time.

mod commands;
mod every_event;
mod lanes;
mod mends;
mod overdue;
mod owner;
mod routes;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use formgate::clock::Clock;
use formgate::config::{Config, Sink, SinkSites, SinkTarget, WebhookFormat, WebhookTarget};
use formgate::destination::Secret;
use formgate::event::EventPattern;
use formgate::lead::SiteId;
use formgate::notify::{Notifier, Session};
use formgate::operate::{Digest, DigestSite, NeedsPerson};
use formgate::queue::State;
use formgate::queue::activity::Activity;
use serde_json::Value;

use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::World;

pub(crate) fn site_id(id: &str) -> SiteId {
    SiteId::parse(id).expect("a site")
}

/// A receiver that takes everything, but at some paths answers with these statuses first; the last of several goes on for
/// ever where `repeats`.
pub(crate) async fn receiver_with(path: &str, statuses: &[u16], repeats: bool) -> ScriptedApi {
    let receiver = receiver().await;
    let path = format!("/{path}");
    let mut left: VecDeque<u16> = statuses.iter().copied().collect();
    receiver.rule(move |request| {
        let is_last = left.len() == 1;
        let scripted = match request.path.ends_with(&path) {
            true if is_last && repeats => left.front().copied(),
            true => left.pop_front(),
            false => None,
        };
        Some(Reply::json(scripted.unwrap_or(200), "{}"))
    });
    receiver
}

pub(crate) async fn receiver() -> ScriptedApi {
    let receiver = ScriptedApi::start().await;
    receiver.rule(|_request| Some(Reply::json(200, "{}")));
    receiver
}

/// A webhook at a receiver, for these events.
pub(crate) fn webhook(name: &str, receiver: &ScriptedApi, events: &[&str]) -> Sink {
    let target = WebhookTarget {
        url: Secret::new(format!("{}/{name}", receiver.base_url())),
        secrets: Vec::new(),
        format: WebhookFormat::Standard,
        allow_private: true,
    };
    let events = events.iter().map(|event| EventPattern::parse(event).expect("a pattern")).collect();
    Sink { name: name.to_owned(), target: SinkTarget::Webhook(target), events, sites: SinkSites::All, leads: false }
}

/// The same for some sites only, with the content of leads.
pub(crate) fn client_of(sink: Sink, sites: &[&str]) -> Sink {
    let sites: BTreeSet<_> = sites.iter().map(|site| site_id(site)).collect();
    Sink { sites: SinkSites::Only(sites), leads: true, ..sink }
}

pub(crate) fn with_sinks(sinks: Vec<Sink>) -> impl FnOnce(&mut Config) {
    move |config| config.sinks = sinks.into_iter().map(Arc::new).collect()
}

/// A notifier in a world, stepped by hand.
pub(crate) async fn session(world: &World) -> Session {
    notifier(world, Activity::default()).open().await.expect("opened").expect("there are sinks")
}

pub(crate) fn notifier(world: &World, activity: Activity) -> Notifier {
    let now_ms = Arc::clone(&world.now_ms);
    let clock = Clock::by(move || {
        let now = now_ms.load(std::sync::atomic::Ordering::SeqCst);
        jiff::Timestamp::from_millisecond(now).expect("a time")
    });
    let (config, store, metrics) = (&world.config, &world.store, &world.metrics);
    Notifier::new(Arc::clone(config), Arc::clone(store), Arc::clone(metrics), activity)
        .with_sending(world.sender.status())
        .with_clock(clock)
}

/// The figures of a day.
pub(crate) fn sample_digest() -> Digest {
    let day = jiff::civil::date(2026, 11, 29);
    let needs_person =
        vec![NeedsPerson { cause: "no valid lead: email invalid".to_owned(), state: State::Held, leads: 2, sites: 1 }];
    let acme = DigestSite {
        id: site_id("acme"),
        received: 12,
        delivered: 9,
        held: 2,
        dead: 1,
        refused: 3,
        median_seconds: Some(1.4),
    };
    let beta = DigestSite { id: site_id("beta"), median_seconds: None, delivered: 0, ..acme.clone() };
    Digest {
        from: day,
        to: day,
        received: 24,
        delivered: 9,
        held: 4,
        dead: 2,
        duplicates: 1,
        spam: 5,
        refused: 6,
        refused_unknown: Some(7),
        median_seconds: Some(1.4),
        p95_seconds: Some(61.0),
        within_minute: Some(0.94),
        needs_person,
        sites: vec![acme, beta],
        more_sites: 0,
    }
}

/// What a receiver got at a path: each event's type and data.
pub(crate) fn got(receiver: &ScriptedApi, path: &str) -> Vec<(String, Value)> {
    let requests = receiver.requests();
    let of_path = requests.iter().filter(|request| request.path.ends_with(&format!("/{path}")));
    of_path
        .map(|request| {
            let body = request.json();
            (body["type"].as_str().unwrap_or_default().to_owned(), body["data"].clone())
        })
        .collect()
}

/// The types of what a receiver got at a path.
pub(crate) fn types(receiver: &ScriptedApi, path: &str) -> Vec<String> {
    got(receiver, path).into_iter().map(|(event, _)| event).collect()
}

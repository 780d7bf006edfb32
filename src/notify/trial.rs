//! `notify test`: a test event to each sink, and what came back.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::notice::{Data, Notice, TestData};
use super::routing::Routed;
use super::sink::{Outlets, Sent};
use crate::config::{Config, MailAddress, Sink, SinkTarget};
use crate::event::EventType;
use crate::queue::Emission;

/// Sinks that are tried at one time.
const AT_ONCE: usize = 8;

/// What came back from a sink, or from one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub sink: String,
    /// The URL's host, or the address: for whoever wrote it.
    pub to: String,
    pub is_ok: bool,
    pub result: String,
}

/// Sends a test event to each of these sinks, and returns what came back, in their order.
pub async fn try_sinks(config: &Config, sinks: &[Arc<Sink>], now: Timestamp) -> Vec<Trial> {
    let outlets = Outlets::of(config);
    let gateway = config.server.base_url();
    let mut trying = JoinSet::new();
    let mut trials = Vec::new();
    for (place, sink) in sinks.iter().enumerate() {
        if trying.len() >= AT_ONCE {
            trials.extend(trying.join_next().await.and_then(Result::ok));
        }
        let outlets = outlets.clone();
        let sink = Arc::clone(sink);
        let gateway = gateway.clone();
        trying.spawn(async move { (place, try_sink(&outlets, &sink, gateway, now).await) });
    }
    while let Some(tried) = trying.join_next().await {
        trials.extend(tried);
    }
    trials.sort_by_key(|(place, _)| *place);
    trials.into_iter().flat_map(|(_, trials)| trials).collect()
}

async fn try_sink(outlets: &Outlets, sink: &Sink, gateway: String, now: Timestamp) -> Vec<Trial> {
    let trial = |to: String, sent| Trial::of(sink, to, sent);
    let notice = notice(sink, gateway.clone(), now);
    match &sink.target {
        SinkTarget::Webhook(target) => {
            let sent = outlets.post(target, &notice, now).await;
            let host = target.url.expose().parse::<http::Uri>().ok().and_then(|url| Some(url.host()?.to_owned()));
            vec![trial(host.unwrap_or_default(), sent)]
        }
        SinkTarget::Mail(addresses) => {
            let mut trials = Vec::new();
            for address in addresses {
                let sent = outlets.mail(address, std::slice::from_ref(&notice), &gateway).await;
                trials.push(trial(MailAddress::as_str(address).to_owned(), sent));
            }
            trials
        }
    }
}

fn notice(sink: &Sink, gateway: String, now: Timestamp) -> Notice {
    let event = EventType::NotifyTest;
    let message = "This is a test of formgate's notifications. Nothing has happened.";
    let data = Data::Test(TestData { gateway, sink: sink.name.clone(), message });
    Notice { id: Routed::emitted(Emission::new(event), now).id(), event, at: now, data }
}

impl Trial {
    fn of(sink: &Sink, to: String, sent: Sent) -> Self {
        let (is_ok, result) = match sent {
            Sent::Taken => (true, "ok".to_owned()),
            Sent::Gone => (false, "410 Gone".to_owned()),
            Sent::Failed(failure) => (false, failure.why),
        };
        Self { sink: sink.name.clone(), to, is_ok, result }
    }
}

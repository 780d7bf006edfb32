//! `gateway.*` and `digest.*`.

use std::path::PathBuf;

use jiff::ToSpan as _;
use jiff::tz::TimeZone;

use super::{Reader, named};
use crate::config::{Config, Sink, SinkSites, Validity};
use crate::event::EventType;
use crate::notify::alarm::{self, UpstreamAlarm};
use crate::notify::notice::{
    CertificatesExpiring, Data, DegradedReason, DigestData, ExpiringCertificate, FailingSink, GatewayDegraded,
    GatewayUpstream, SinkFailing,
};
use crate::notify::routing::{Routed, degradation_event};
use crate::operate::{self, SinkState};
use crate::queue::{GatewayName, GatewayNote, StoreError, gateway_notes};
use crate::telemetry;

/// Most sinks that are named.
const FAILING_MAX: usize = 20;

pub(super) async fn degraded(reader: &Reader, event: EventType) -> Result<Data, StoreError> {
    let mut reasons = reader.degraded.lock().get(&event).cloned().unwrap_or_default();
    if let Some(this) = &reader.gateway {
        match reasons_of_others(reader, this, event).await {
            Ok(others) => reasons.extend(others),
            // That the store can't be asked may be just what is told.
            Err(_away) if !reasons.is_empty() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Data::Degraded(GatewayDegraded { gateway: reader.url(), reasons }))
}

/// Reads what needs a person at the other gateways that share the store: each says so by an alarm.
async fn reasons_of_others(
    reader: &Reader,
    this: &GatewayName,
    event: EventType,
) -> Result<Vec<DegradedReason>, StoreError> {
    let notes = gateway_notes(&*reader.store).await?;
    let others = notes.iter().filter_map(GatewayNote::read).map(|(name, _)| name).filter(|name| name != this);
    let mut reasons = Vec::new();
    for other in others {
        for reason in alarm::degradations(&*reader.store, &other).await? {
            if degradation_event(reason) == Some(event) {
                reasons.push(DegradedReason {
                    reason: reason.as_str().to_owned(),
                    cure: format!("{} (gateway {other})", reason.cure()),
                });
            }
        }
    }
    Ok(reasons)
}

pub(super) async fn upstream(reader: &Reader, routed: &Routed) -> Result<Data, StoreError> {
    let is_down = routed.event == EventType::GatewayUpstreamDown;
    let alarm: Option<UpstreamAlarm> = match is_down {
        true => alarm::detail(&*reader.store, alarm::UPSTREAM_KEY).await?,
        false => None,
    };
    Ok(Data::Upstream(GatewayUpstream {
        gateway: reader.url(),
        since: is_down.then_some(routed.at),
        why: alarm.map(|alarm| alarm.why),
        queued: reader.queued(None).await?,
    }))
}

pub(super) async fn certificates(reader: &Reader, config: &Config) -> Data {
    let listeners: Vec<(String, PathBuf)> = config
        .server
        .listen
        .iter()
        .filter_map(|listen| Some((listen.address.to_string(), listen.tls.as_ref()?.0.clone())))
        .collect();
    let now = reader.now();
    let look = move || {
        let read = listeners.into_iter().filter_map(|(listen, file)| Some((listen, Validity::read(&file)?)));
        let near = read.filter(|(_, validity)| validity.needs_renewal(now));
        near.map(|(listen, validity)| ExpiringCertificate { listen, expires: validity.ends }).collect()
    };
    // A bug there must not keep the event from being sent: what it is about stands in its name.
    let certificates = telemetry::blocking(look).await.unwrap_or_default();
    Data::Certificates(CertificatesExpiring { gateway: reader.url(), certificates })
}

/// Lists the other sinks that take no events; none where all do by now.
pub(super) fn sinks(reader: &Reader, asking: &Sink) -> Option<Data> {
    let statuses = reader.sinks.borrow();
    let failing = || statuses.iter().filter(|status| status.name != asking.name && status.state != SinkState::Ok);
    let more = failing().count().saturating_sub(FAILING_MAX);
    let sinks: Vec<_> = failing()
        .take(FAILING_MAX)
        .filter_map(|status| {
            Some(FailingSink {
                name: status.name.clone(),
                since: status.since?,
                error: status.error.clone().unwrap_or_default(),
                disabled: status.state == SinkState::Disabled,
                backlog: status.backlog,
            })
        })
        .collect();
    (!sinks.is_empty()).then(|| Data::SinkFailing(SinkFailing { gateway: reader.url(), sinks, more }))
}

/// Sums up the day or the week before, of the sites of a sink.
pub(super) async fn digest(reader: &Reader, routed: &Routed, sink: &Sink) -> Result<Option<Data>, StoreError> {
    let situation = reader.situation();
    let today = routed.at.to_zoned(TimeZone::UTC).date();
    let (behind, days) = match routed.event {
        // Up to the last Sunday, also where it was asked for later in the week.
        EventType::DigestWeekly => (i32::from(today.weekday().to_monday_zero_offset()), 7),
        _ => (0, 1),
    };
    let Ok(end) = today.checked_sub(behind.days()) else { return Ok(None) };
    let (Ok(first), Ok(last)) = (end.checked_sub(days.days()), end.yesterday()) else { return Ok(None) };
    let sites = match &sink.sites {
        SinkSites::All => None,
        SinkSites::Only(sites) => Some(sites),
    };
    let only = sites.and_then(|sites| sites.first().filter(|_| sites.len() == 1));
    let site = only.map(|site| named(&situation.config, site));
    let figures = operate::digest(&*reader.store, &situation, sites, first..=last).await?;
    Ok(Some(Data::Digest(Box::new(DigestData { gateway: reader.url(), site, figures }))))
}

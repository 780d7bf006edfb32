//! Events of the gateway and its sinks.

use jiff::Timestamp;

use super::Report;
use super::say::{clip, count, date, quoted, time, time_seen_from, waiting};
use crate::event::EventType;
use crate::notify::notice::{
    CertificatesExpiring, DegradedReason, FailingSink, GatewayDegraded, GatewayUpstream, Notice, SinkFailing, TestData,
};

/// Longest name of a sink or a listener, in characters: a site's id, a slash, and a name.
const NAME_MAX: usize = 130;
/// Longest word for what needs a person, in characters.
const REASON_MAX: usize = 60;

pub(super) fn degraded_headline(data: &GatewayDegraded, event: EventType) -> String {
    let Some(first) = data.reasons.first() else {
        return format!("{} is well again", subject(event));
    };
    match event {
        EventType::GatewayConfigBroken => {
            "Part of the configuration can't be used; the last good version is in effect".to_owned()
        }
        EventType::GatewayBackupFailed => "The last backup of the store failed".to_owned(),
        EventType::GatewayStoreDegraded => format!("The store needs attention: {}", word(first)),
        _ => match data.reasons.len() {
            1 => format!("The gateway needs attention: {}", word(first)),
            reasons => format!("The gateway needs attention: {} and {} more", word(first), reasons - 1),
        },
    }
}

pub(super) fn degraded(title: String, data: &GatewayDegraded, event: EventType) -> Report {
    if data.reasons.is_empty() {
        return Report::new(title, "What was wrong has passed by now. There is nothing to do.")
            .fact_of_gateway(&data.gateway);
    }
    let meaning = match event {
        EventType::GatewayConfigBroken => {
            "formgate goes on with the last version that worked, so leads still come in and are delivered. What was changed \
             since isn't in effect."
        }
        EventType::GatewayBackupFailed => {
            "Leads still come in and are delivered. But if this machine's disk failed now, what came in since the last good \
             backup would be lost."
        }
        EventType::GatewayStoreDegraded => {
            "The store holds the leads until they are delivered. Act soon, before some can't be stored."
        }
        _ => "formgate still takes leads, but something of it doesn't work as it should.",
    };
    let mut report = Report::new(title, meaning).fact_of_gateway(&data.gateway);
    for reason in &data.reasons {
        report = report.cure(format!("{}: {}", word(reason), reason.cure));
    }
    report
}

/// Returns what an event is about.
fn subject(event: EventType) -> &'static str {
    match event {
        EventType::GatewayConfigBroken => "The configuration",
        EventType::GatewayBackupFailed => "The backup",
        EventType::GatewayStoreDegraded => "The store",
        _ => "The gateway",
    }
}

fn word(reason: &DegradedReason) -> String {
    clip(&reason.reason.replace('_', " "), REASON_MAX)
}

pub(super) fn upstream_headline(data: &GatewayUpstream, notice: &Notice) -> String {
    if notice.event == EventType::GatewayUpstreamUp {
        return match data.queued {
            0 => "KaiCalls can be reached again".to_owned(),
            1 => "KaiCalls can be reached again; 1 lead is on its way".to_owned(),
            leads => format!("KaiCalls can be reached again; {} are on their way", count(leads, "lead")),
        };
    }
    match data.since {
        Some(since) => {
            format!(
                "KaiCalls has been unreachable since {}; {}",
                time_seen_from(since, notice.at),
                waiting(data.queued)
            )
        }
        None => format!("KaiCalls is unreachable; {}", waiting(data.queued)),
    }
}

pub(super) fn upstream(title: String, data: &GatewayUpstream, event: EventType) -> Report {
    let meaning = if event == EventType::GatewayUpstreamUp {
        "What has waited is sent now, the oldest first. There is nothing to do."
    } else {
        "Nothing is lost: leads of all sites are stored, and sent as soon as KaiCalls is back. Until then, none of them reaches \
         it."
    };
    let report = Report::new(title, meaning)
        .known("Since", data.since.map(time))
        .known("Last attempt", data.why.as_deref().map(quoted))
        .fact("Waiting", count(data.queued, "lead"))
        .fact_of_gateway(&data.gateway);
    if event == EventType::GatewayUpstreamUp {
        return report;
    }
    report.cure("See whether other machines reach KaiCalls. If they do, run `formgate doctor` on the gateway.")
}

pub(super) fn certificates_headline(data: &CertificatesExpiring, at: Timestamp) -> String {
    let Some(first) = data.certificates.iter().min_by_key(|certificate| certificate.expires) else {
        return "A certificate of the gateway expires soon".to_owned();
    };
    let verb = if first.expires < at { "expired" } else { "expires" };
    let listen = clip(&first.listen, NAME_MAX);
    let day = date(first.expires);
    match data.certificates.len() {
        1 => format!("The certificate of {listen} {verb} on {day}"),
        certificates => format!("{certificates} certificates expire; the first, of {listen}, on {day}"),
    }
}

pub(super) fn certificates(title: String, data: &CertificatesExpiring) -> Report {
    let meaning = "From then on no form plugin can post to this address, and what visitors send is lost.";
    let mut report = Report::new(title, meaning);
    for certificate in &data.certificates {
        report = report.fact(&clip(&certificate.listen, NAME_MAX), format!("expires {}", time(certificate.expires)));
    }
    report
        .fact_of_gateway(&data.gateway)
        .cure("Renew the certificate, and put it in the place of the old file. formgate reads it without a restart.")
}

pub(super) fn sinks_headline(data: &SinkFailing, at: Timestamp) -> String {
    let Some(first) = data.sinks.first() else {
        return "Notifications arrive again".to_owned();
    };
    let name = clip(&first.name, NAME_MAX);
    match data.sinks.len() {
        1 if first.disabled => format!("Notifications to {name} are turned off: it answered 410 Gone"),
        1 => format!("Notifications to {name} have failed since {}", time_seen_from(first.since, at)),
        sinks => format!("Notifications fail: {name} and {} more", sinks - 1),
    }
}

pub(super) fn sinks(title: String, data: &SinkFailing) -> Report {
    let meaning = "Notifications to the recipients below don't arrive. Leads aren't affected.";
    let mut report = Report::new(title, meaning);
    for sink in &data.sinks {
        report = report.fact(&clip(&sink.name, NAME_MAX), failing(sink));
    }
    report
        .fact_of_gateway(&data.gateway)
        .cure("Check the address of the sink in its `[[notify]]`, then try it: `formgate notify test NAME`.")
}

fn failing(sink: &FailingSink) -> String {
    let state = if sink.disabled { "turned off" } else { "failing" };
    let since = time(sink.since);
    format!("{state} since {since}: {}; {}", quoted(&sink.error), backlog(sink.backlog))
}

fn backlog(events: u64) -> String {
    match events {
        1 => "1 event waits".to_owned(),
        events => format!("{} wait", count(events, "event")),
    }
}

pub(super) fn test_headline(data: &TestData) -> String {
    format!("Test of the notifications to {}", clip(&data.sink, NAME_MAX))
}

pub(super) fn test(title: String, data: &TestData) -> Report {
    Report::new(title, data.message).fact("Sink", clip(&data.sink, NAME_MAX)).fact_of_gateway(&data.gateway)
}

impl Report {
    fn fact_of_gateway(self, url: &str) -> Self {
        self.known("Gateway", Some(quoted(url)).filter(|url| !url.is_empty()))
    }
}

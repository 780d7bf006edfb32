//! Events of leads.

use super::say::{clip, lines, quoted, site_name, time, time_seen_from};
use super::{Fact, Report};
use crate::event::EventType;
use crate::notify::notice::{LeadContent, LeadData, LeadFacts, Notice, UnreadableLead};
use crate::queue::Reason;

/// Longest label of a field that a visitor's browser sent, in characters.
const LABEL_MAX: usize = 100;

pub(super) fn headline(data: &LeadData, notice: &Notice) -> String {
    let site = site_name(&data.site);
    let said = match notice.event {
        EventType::LeadDelivered => "a lead was delivered to KaiCalls".to_owned(),
        EventType::LeadHeld => match data.lead.reason.and_then(why_held) {
            Some(why) => format!("a lead is held: {why}"),
            None => "a lead is held".to_owned(),
        },
        EventType::LeadDead => dead(data.lead.reason).to_owned(),
        EventType::LeadOverdue if data.lead.delivered => "a lead reached KaiCalls late".to_owned(),
        EventType::LeadOverdue => match data.lead.accepted_at {
            Some(at) => format!("a lead isn't in KaiCalls yet (received {})", time_seen_from(at, notice.at)),
            None => "a lead isn't in KaiCalls yet".to_owned(),
        },
        other => format!("a lead ({other})"),
    };
    format!("{site}: {said}")
}

pub(super) fn report(title: String, data: &LeadData, event: EventType) -> Report {
    let lead = &data.lead;
    let mut report = Report::new(title, standing(lead, event));
    report.facts.extend(content(lead));
    report = report
        .fact("Site", site_name(&data.site))
        .known("Form", data.form.as_ref().map(ToString::to_string))
        .known("Received", lead.accepted_at.map(time))
        .known("Attempts", lead.attempts.map(|attempts| attempts.to_string()))
        .known("Last attempt", lead.last_attempt.as_deref().map(quoted))
        .known("KaiCalls' id", lead.lead_id.as_deref().map(quoted))
        .fact("Lead", lead.id.to_string());
    report.facts.extend(lead.errors.iter().map(|error| Fact {
        label: "Problem".to_owned(),
        value: match error.field {
            Some(field) => quoted(&format!("{}: {}", field.as_str(), error.detail)),
            None => quoted(&error.detail),
        },
    }));
    match cure(lead, event) {
        Some(step) => report.cure(step),
        None => report,
    }
}

/// Says of many leads what a report says of one. None where each report has to say it.
pub fn standing_for_all(event: EventType) -> Option<&'static str> {
    Some(match event {
        EventType::LeadOverdue => {
            "Not yet in KaiCalls; formgate keeps trying and will deliver them. Call back if it's urgent."
        }
        EventType::LeadHeld => {
            "formgate has stored these leads and doesn't send them until somebody has looked at them. Nothing is lost."
        }
        EventType::LeadDead => {
            "formgate no longer tries to deliver these leads. What the visitors sent is still stored, and can be sent again."
        }
        EventType::LeadDelivered => "KaiCalls has these leads. There is nothing to do.",
        _ => return None,
    })
}

/// Says how a lead stands, and what that means.
fn standing(lead: &LeadFacts, event: EventType) -> String {
    let said = match event {
        _ if lead.erased => "The lead has been erased since.",
        EventType::LeadOverdue if lead.delivered => "KaiCalls has it by now. There is nothing to do.",
        EventType::LeadOverdue if lead.content.is_some() => {
            "Not yet in KaiCalls; formgate keeps trying and will deliver it. Call back if it's urgent."
        }
        EventType::LeadOverdue => "Not yet in KaiCalls; formgate keeps trying and will deliver it.",
        EventType::LeadHeld | EventType::LeadDead if lead.delivered => {
            "It has been sent since, and KaiCalls has it. There is nothing to do."
        }
        EventType::LeadHeld => {
            "formgate has stored this lead and doesn't send it until somebody has looked at it. Nothing is lost."
        }
        EventType::LeadDead => {
            "formgate no longer tries to deliver this lead. What the visitor sent is still stored, and can be sent again."
        }
        _ => "KaiCalls has this lead. There is nothing to do.",
    };
    said.to_owned()
}

/// Says what to do about a lead.
fn cure(lead: &LeadFacts, event: EventType) -> Option<String> {
    if lead.erased || lead.delivered {
        return None;
    }
    let id = lead.id;
    match event {
        EventType::LeadOverdue if lead.content.is_none() => Some(format!("See it: `formgate leads show {id}`.")),
        EventType::LeadHeld => Some(format!(
            "See why: `formgate leads show {id}`. Then correct the lead (`formgate leads amend`), send it again \
             (`formgate leads retry`), or give it up (`formgate leads drop`)."
        )),
        EventType::LeadDead if lead.reason != Some(Reason::Dropped) => Some(format!(
            "See why: `formgate leads show {id}`. Once the cause is gone, send it again: `formgate leads retry {id}`."
        )),
        _ => None,
    }
}

/// Returns what the visitor sent, whole.
fn content(lead: &LeadFacts) -> Vec<Fact> {
    match &lead.content {
        Some(LeadContent::Lead(lead)) => {
            let fact = |label: &str, value: &str| Fact { label: label.to_owned(), value: lines(value) };
            let phone = lead.phone().map(|phone| fact("Phone", phone));
            let mut facts = vec![fact("Name", lead.name()), fact("E-mail", lead.email())];
            facts.extend(phone);
            facts.push(fact("Message", lead.message()));
            facts
        }
        Some(LeadContent::Unreadable(unreadable)) => sent_fields(unreadable),
        None => Vec::new(),
    }
}

fn sent_fields(unreadable: &UnreadableLead) -> Vec<Fact> {
    let fields = unreadable.fields.iter();
    // The brackets tell a label of the page from one of ours: a visitor can't forge "Lead" or "Site".
    fields
        .map(|field| Fact { label: format!("[{}]", clip(&field.label, LABEL_MAX)), value: lines(&field.value) })
        .collect()
}

fn dead(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::Refused) => "KaiCalls refused a lead for good",
        Some(Reason::GaveUp) => "a lead was given up: it couldn't be delivered in time",
        Some(Reason::Dropped) => "an operator dropped a lead",
        _ => "a lead is no longer sent",
    }
}

fn why_held(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Undecodable => "what was posted can't be read",
        Reason::Invalid => "it lacks a valid name, e-mail address or message",
        Reason::HoldRule => "a rule of its form says so",
        Reason::OverLimit => "the site is over its limit",
        Reason::DeliverOff => "deliveries of the site are turned off",
        Reason::UnknownForm => "its form is unknown",
        Reason::Uncertain => "it isn't clear which field is which",
        Reason::Test => "it is a test",
        Reason::Spam => "it is probably spam",
        Reason::OtherHost => "it came from another website",
        Reason::Ambiguous => "several sites share its keys",
        Reason::SiteGone => "its site has left the configuration",
        Reason::Poison => "formgate failed on it again and again",
        Reason::Salvaged | Reason::Restored => "it may have been delivered already",
        _ => return None,
    })
}

//! Headlines.

use std::collections::BTreeSet;

use formgate::event::EventType;
use formgate::lead::SiteId;
use formgate::notify::notice::Data;
use formgate::notify::words::{headline, report};
use formgate::operate::{Digest, DigestSite, NeedsPerson};
use formgate::queue::State;

use super::events::{acme, lead, notice, of_every_type, overdue, paused, site};

#[test]
fn every_event_has_a_headline() {
    let told = of_every_type();
    let types: BTreeSet<_> = told.iter().map(|notice| notice.event).collect();
    assert_eq!(types.len(), EventType::ALL.len(), "events.rs lacks one");
    let lines: Vec<String> =
        told.iter().map(|notice| format!("{:<30}{}", notice.event.as_str(), headline(notice))).collect();
    insta::assert_snapshot!("mail_headlines", lines.join("\n"));
}

#[test]
fn a_headline_is_one_bounded_line_whatever_a_name_or_an_answer_holds() {
    let hostile = format!("Acme\r\nBcc: x@evil.example\r\n\r\n\u{202E}\u{2028}\u{0}\"quoted\"{}", "é".repeat(500));
    let mut notice = paused(1, site("acme", Some(&hostile)));
    if let Data::SitePaused(data) = &mut notice.data {
        data.why = hostile.clone();
    }
    let line = headline(&notice);
    assert!(line.starts_with("Acme Bcc: x@evil.example \"quoted\"é"), "{line}");
    assert!(line.ends_with("12 leads wait"), "{line}");
    assert!(line.chars().count() <= 200, "{line}");
    assert!(!line.chars().any(|c| c.is_control() || matches!(c, '\u{202E}' | '\u{2028}')), "{line:?}");
}

#[test]
fn a_headline_says_nothing_that_a_visitor_wrote() {
    let line = headline(&overdue(1, acme(), "Jane Doe", "my tooth hurts"));
    assert_eq!(line, "Acme Dental: a lead isn't in KaiCalls yet (received 11:12 UTC)");
}

#[test]
fn a_site_without_a_name_is_called_by_its_id() {
    for name in [None, Some(""), Some(" \u{200B}\n")] {
        assert!(headline(&lead(1, EventType::LeadDead, site("bakery", name))).starts_with("bakery: "), "{name:?}");
    }
}

#[test]
fn a_headline_of_nothing_in_particular_still_says_what_it_is_about() {
    use formgate::notify::notice::{CertificatesExpiring, PostsRefused, SinkFailing, TokenExpiring};
    let gateway = String::new();
    let none = [
        (EventType::SitePostsRefused, Data::PostsRefused(PostsRefused { site: acme(), refused: Vec::new() })),
        (
            EventType::SiteTokenExpiring,
            Data::TokenExpiring(TokenExpiring { site: acme(), tokens: Vec::new(), cure: String::new() }),
        ),
        (
            EventType::GatewayCertificateExpiring,
            Data::Certificates(CertificatesExpiring { gateway: gateway.clone(), certificates: Vec::new() }),
        ),
        (EventType::GatewaySinkFailing, Data::SinkFailing(SinkFailing { gateway, sinks: Vec::new(), more: 0 })),
    ];
    let lines = none.map(|(event, data)| headline(&notice(1, event, data)));
    assert_eq!(
        lines,
        [
            "Acme Dental: posts were refused",
            "Acme Dental: a token expires soon",
            "A certificate of the gateway expires soon",
            "Notifications arrive again",
        ]
    );
}

fn week() -> Digest {
    let day = |day| jiff::civil::date(2026, 11, day);
    let row = |id: &str, received, refused, median_seconds| DigestSite {
        id: SiteId::parse(id).expect("a site"),
        received,
        delivered: received,
        held: 0,
        dead: 0,
        refused,
        median_seconds,
    };
    let group = NeedsPerson { cause: "email: no field has it".to_owned(), state: State::Held, leads: 3, sites: 1 };
    Digest {
        from: day(23),
        to: day(29),
        received: 1_204,
        delivered: 1_200,
        held: 3,
        dead: 1,
        duplicates: 2,
        spam: 0,
        refused: 37,
        refused_unknown: Some(0),
        median_seconds: Some(1.24),
        p95_seconds: Some(184.0),
        within_minute: Some(0.987),
        needs_person: vec![group],
        sites: vec![row("acme", 1_000, 37, Some(1.2)), row("bakery", 204, 0, None)],
        more_sites: 4,
    }
}

#[test]
fn the_figures_of_a_week_are_told_in_words_and_by_site() {
    let mut weekly = of_every_type().into_iter().find(|notice| notice.event == EventType::DigestWeekly).expect("one");
    if let Data::Digest(digest) = &mut weekly.data {
        digest.figures = week();
    }
    let report = report(&weekly);
    let facts: Vec<String> = report.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value)).collect();
    assert_eq!(
        facts[1..],
        [
            "Days: 2026-11-23 to 2026-11-29 (UTC)",
            "Received: 1,204 leads",
            "Delivered: 1,200 leads",
            "From submit to KaiCalls: half within 1.2 s, 95 % within 3 min; 98.7 % within a minute",
            "Held: 3 leads",
            "Given up: 1 lead",
            "Refused: 37 posts, which are probably lost",
            "Left out: 2 duplicates",
        ]
    );
    assert_eq!(report.cures, ["3 leads held at 1 site: email: no field has it"]);
    let table = report.table.expect("a table");
    assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
    let rows: Vec<String> = table.rows.iter().map(|row| row.join("|")).collect();
    assert_eq!(rows, ["acme|1000|1000|0|0|37|1.2 s", "bakery|204|204|0|0|0|", "and 4 more sites||||||"]);
}

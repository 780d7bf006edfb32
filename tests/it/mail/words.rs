//! Headlines.

use std::collections::BTreeSet;

use formgate::event::EventType;
use formgate::notify::notice::Data;
use formgate::notify::words::headline;

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
        (EventType::GatewaySinkFailing, Data::SinkFailing(SinkFailing { gateway, sinks: Vec::new() })),
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

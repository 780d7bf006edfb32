//! Labelled submissions of forms that no mapping was written for: the lead is what a sensible person reads in them.

#[path = "../../examples/accuracy/corpora.rs"]
#[expect(dead_code, reason = "the example reads more than these")]
mod corpora;

#[path = "../../examples/accuracy/judge.rs"]
#[expect(dead_code, reason = "the example counts, here it is enough to know")]
mod judge;

use std::collections::BTreeSet;
use std::path::Path;

use formgate::config::shipped_mappings;
use formgate::lead::Region;
use formgate::pipeline::{End, FormRules, HoldReason, SiteRules, explain, process};
use formgate::received::Received;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/auto"))
}

/// Those that are known to be wrong stand in a list: one that is mended goes off it, no other comes on.
#[test]
fn every_labelled_form_is_right_but_for_those_on_the_list() {
    let (mappings, _) = shipped_mappings();
    let corpus = corpora::captured("auto", folder()).expect("the corpus");
    assert!(corpus.cases.len() >= 250, "only {} cases", corpus.cases.len());
    let list = std::fs::read_to_string(folder().join("not-yet.txt")).expect("the list");
    let known: BTreeSet<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let mut wrong = BTreeSet::new();
    for case in &corpus.cases {
        let region = case.region.as_deref().and_then(|code| Region::parse(code).ok());
        let site = SiteRules { region, ..SiteRules::default() };
        let judged = judge::judge(case, &explain(&mappings, &site, None, &case.received));
        if !judged.faults.is_empty() {
            wrong.insert(case.id.as_str());
        }
    }
    let new: Vec<_> = wrong.difference(&known).collect();
    let mended: Vec<_> = known.difference(&wrong).collect();
    assert!(new.is_empty() && mended.is_empty(), "wrong now: {new:?}\nright now, take off the list: {mended:?}");
}

fn posted(body: &str) -> Received {
    let headers = [("content-type", "application/json".as_bytes())];
    Received::from_parts("POST", None, headers, body.to_owned().into())
}

fn end_of(body: &str, auto_min: Option<f32>) -> End {
    let (mappings, _) = shipped_mappings();
    let id = formgate::lead::FormId::parse("default").expect("a form");
    let rules = FormRules {
        id,
        matches: Vec::new(),
        mapping: None,
        on_invalid: None,
        region: None,
        lead: Default::default(),
        extras: Default::default(),
        auto_min,
        honeypot: None,
    };
    let site = SiteRules { forms: vec![rules], ..SiteRules::default() };
    process(&mappings, &site, None, &posted(body)).end
}

#[test]
fn a_form_holds_what_is_less_sure_than_it_asks() {
    let sure = r#"{"name":"Ann Lee","email":"ann@example.com","message":"Please call me back."}"#;
    let unsure = r#"{"a":"Ann Lee","b":"ann@example.com","c":"Please call me back some day."}"#;
    assert!(matches!(end_of(sure, Some(0.8)), End::Lead { .. }));
    assert!(matches!(end_of(unsure, None), End::Lead { .. }));
    let End::Held { hold: HoldReason::Uncertain, lead: Some(lead), errors, .. } = end_of(unsure, Some(0.8)) else {
        panic!("it is held")
    };
    assert_eq!((lead.name(), lead.email()), ("Ann Lee", "ann@example.com"));
    assert!(errors.iter().all(|error| error.detail.contains("auto.min")), "{errors:?}");
}

#[test]
fn a_test_says_that_it_is_one() {
    let held = |body: &str| matches!(end_of(body, None), End::Held { hold: HoldReason::Test, .. });
    assert!(held(r#"{"name":"Ann","email":"ann@example.com","is_test":true}"#));
    assert!(held(r#"{"email":"test@fb.example","full_name":"<test lead: dummy data for full_name>"}"#));
    assert!(!held(r#"{"name":"Ann","email":"ann@example.com","is_test":false}"#));
    assert!(!held(r#"{"name":"Ann","email":"ann@example.com","Which test?":"true"}"#));
}

#[test]
fn the_address_of_several_others_is_nobody_s() {
    let body = r#"{"agent_email":"a@example.com","friend_email":"f@example.com","message":"Hello there"}"#;
    assert!(matches!(end_of(body, None), End::Held { hold: HoldReason::Invalid, .. }));
    let only = r#"{"company_email":"c@example.com","message":"Hello there"}"#;
    assert!(matches!(end_of(only, None), End::Lead { .. }));
}

#[test]
fn a_secret_is_neither_sent_nor_shown() {
    let (mappings, _) = shipped_mappings();
    let body = r#"{"name":"Ann","email":"ann@example.com","google_key":"k3y-0f-mine"}"#;
    let explained = explain(&mappings, &SiteRules::default(), None, &posted(body));
    let told = explained.explanation.expect("it is told");
    let shown = format!("{} {:?}", told.document, told.fields.iter().map(|field| &field.values).collect::<Vec<_>>());
    assert!(!shown.contains("k3y"), "{shown}");
    let End::Lead { lead, .. } = explained.processed.end else { panic!("a lead") };
    assert!(!lead.message().contains("k3y"));
}

//! Every status a submission can meet, in one table: what it takes, what is answered, and what is stored all the same.

use std::sync::Arc;

use formgate::accept::Options;
use formgate::config::{Config, OverLimit};
use formgate::lead::FormId;
use formgate::map::{ExtrasRule, LeadRules};
use formgate::pipeline::{FormRules, OnInvalid};
use formgate::queue::Reason;

use crate::accept::limit;
use crate::gateway::{TOKEN, Trouble, acme, header, json, lead_body, post, short, start_with, status};

/// What stands in the way of a good submission, and what comes of it.
struct Row {
    what: &'static str,
    change: fn(&mut Config),
    trouble: Option<Trouble>,
    /// How many requests like it went before.
    before: usize,
    request: String,
    status: u16,
    /// The `status` of a success, the type of a problem.
    kind: &'static str,
    stored: Option<Reason>,
}

/// A row that nothing but its request makes special.
fn row(what: &'static str, request: String, status: u16, kind: &'static str, stored: Option<Reason>) -> Row {
    Row { what, change: |_config| {}, trouble: None, before: 0, request, status, kind, stored }
}

impl Row {
    fn when(self, change: fn(&mut Config)) -> Self {
        Self { change, ..self }
    }

    fn while_store_is(self, trouble: Trouble) -> Self {
        Self { trouble: Some(trouble), ..self }
    }

    fn after(self, before: usize) -> Self {
        Self { before, ..self }
    }
}

fn with_token(body: &str) -> String {
    post("/hooks/acme/contact", &format!("Authorization: Bearer {TOKEN}\r\n"), body)
}

fn typed(media_type: &str, body: &str) -> String {
    with_token(body).replace("application/json", media_type)
}

fn chunked(body: &str) -> String {
    let head =
        format!("POST /hooks/acme HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n");
    format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Makes a form whose senders are told of what is no lead.
fn reject_invalid(config: &mut Config) {
    let mut site = acme();
    site.rules.forms.push(FormRules {
        id: FormId::parse("contact").expect("a form"),
        matches: Vec::new(),
        mapping: None,
        on_invalid: Some(OnInvalid::Reject),
        region: None,
        lead: LeadRules::default(),
        extras: ExtrasRule::default(),
        auto_min: None,
        honeypot: None,
    });
    config.sites.insert(site.id.clone(), Arc::new(site));
}

fn taken() -> Vec<Row> {
    let good = with_token(&lead_body("jane@example.com"));
    vec![
        row("a lead", good.clone(), 200, "queued", Some(Reason::Accepted)),
        row("no lead", with_token(&lead_body("nowhere")), 200, "held", Some(Reason::Invalid)),
        row("no field", with_token("{}"), 200, "held", Some(Reason::Invalid)),
        row("the same lead again", good, 200, "duplicate", Some(Reason::Accepted)).after(1),
    ]
}

fn stored_and_refused() -> Vec<Row> {
    let cut = "--XX\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\njane@example.com";
    let of_parts = "multipart/form-data; boundary=XX";
    let invalid = Some(Reason::Invalid);
    vec![
        row("a body cut short", typed(of_parts, cut), 400, "undecodable", Some(Reason::Undecodable)),
        row("no form", typed("text/plain", "Dear all,\nhello"), 400, "undecodable", Some(Reason::Undecodable)),
        row("a picture", typed("image/png", "jane@"), 415, "unsupported-type", Some(Reason::Undecodable)),
        row("no valid lead", with_token(&lead_body("jane@")), 422, "invalid-lead", invalid).when(reject_invalid),
        row("no field to reject", with_token("[]"), 422, "invalid-lead", invalid).when(reject_invalid),
    ]
}

fn refused() -> Vec<Row> {
    let good = || with_token(&lead_body("jane@example.com"));
    let declared = good().replace("Content-Length: ", "Content-Length: 9");
    let no_colon = good().replace("Host: a", "Host: a\r\nno colon");
    let unread = |config: &mut Config| config.server.max_upload = 20;
    vec![
        row("a malformed head", good().replace("Host: a\r\n", ""), 400, "malformed-request", None),
        row("a header without a colon", no_colon, 400, "malformed-request", None),
        row("malformed chunks", chunked("{}").replace("\r\n2\r\n", "\r\n\r\n"), 400, "broken-body", None),
        row("no credential", post("/hooks/acme", "", &lead_body("jane@example.com")), 401, "unauthorized", None),
        row("a wrong credential", good().replace(TOKEN, "fg_wrong"), 401, "unauthorized", None),
        row("an unknown site", good().replace("acme", "nobody"), 401, "unauthorized", None),
        row("an unknown path", good().replace("/hooks/", "/hook/"), 404, "not-found", None),
        row("an odd method", good().replace("POST", "BREW"), 405, "method-not-allowed", None),
        row("too much declared", declared, 413, "upload-too-large", None).when(unread),
        row("too much streamed", chunked(&"x".repeat(21)), 413, "upload-too-large", None).when(unread),
        row("too much to keep", good(), 413, "body-too-large", None).when(|config| config.server.max_body = 20),
    ]
}

fn come_again_later() -> Vec<Row> {
    let good = || with_token(&lead_body("jane@example.com"));
    let at_site = |config: &mut Config| {
        config.limits.site = limit(1);
        config.limits.over_site = OverLimit::Reject;
    };
    let stranger = good().replace(TOKEN, "fg_wrong");
    let first = Some(Reason::Accepted);
    vec![
        row("over the gateway's limit", good(), 429, "rate-limited", first)
            .when(|config| config.limits.gateway = limit(1))
            .after(1),
        row("over the address' limit", stranger, 429, "rate-limited", None)
            .when(|config| config.limits.client = limit(2))
            .after(2),
        row("over the site's limit", good(), 429, "rate-limited", first).when(at_site).after(1),
        row("a full disk", good(), 503, "store-full", None).while_store_is(Trouble::Full),
        row("no store", good(), 503, "store-unavailable", None).while_store_is(Trouble::Away),
        row("a store that doesn't answer", good(), 503, "store-unavailable", None).while_store_is(Trouble::Silent),
        row("too much being read", good(), 503, "busy", None).when(|config| config.server.max_reading = 20),
    ]
}

#[tokio::test]
async fn each_row_of_the_table_is_answered_and_stored_as_it_says() {
    for row in [taken(), stored_and_refused(), refused(), come_again_later()].into_iter().flatten() {
        let options = if row.trouble.is_some() { short() } else { Options::default() };
        let gateway = start_with(options, row.change);
        if let Some(trouble) = row.trouble {
            gateway.shelf.fail(trouble);
        }
        for _ in 0..row.before {
            gateway.send(&row.request).await;
        }
        let answer = gateway.send(&row.request).await;
        assert_eq!(status(&answer), row.status, "{}: {answer}", row.what);
        if row.status == 200 {
            assert_success(&row, &answer);
        } else {
            assert_problem(&row, &answer);
        }
        let stored: Vec<Reason> = gateway.shelf.entries().iter().map(|entry| entry.reason).collect();
        assert_eq!(stored, Vec::from_iter(row.stored), "{}: what is stored", row.what);
    }
}

fn assert_success(row: &Row, answer: &str) {
    assert_eq!(header(answer, "content-type"), Some("application/json"), "{}", row.what);
    let told = json(answer);
    assert_eq!((&told["success"], &told["status"]), (&true.into(), &row.kind.into()), "{}", row.what);
    assert!(told["id"].as_str().is_some_and(|id| id.len() == 36), "{}: {answer}", row.what);
}

fn assert_problem(row: &Row, answer: &str) {
    let what = row.what;
    assert_eq!(header(answer, "content-type"), Some("application/problem+json"), "{what}");
    let problem = json(answer);
    assert_eq!(problem["type"], format!("urn:formgate:problem:{}", row.kind), "{what}");
    assert_eq!(problem["status"], row.status, "{what}");
    assert_eq!(problem["request_id"].as_str(), header(answer, "x-request-id"), "{what}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: {answer}");
    }
    assert_eq!(problem["errors"].is_array(), row.status == 422, "{what}: {answer}");
    assert!(!answer.contains("jane@"), "{what}: {answer}");
    let seconds = header(answer, "retry-after").and_then(|text| text.parse::<u64>().ok());
    assert_eq!(seconds.is_some_and(|seconds| seconds > 0), matches!(row.status, 429 | 503), "{what}: {answer}");
    for name in ["ratelimit", "ratelimit-policy"] {
        assert_eq!(header(answer, name).is_some(), row.status == 429, "{what}: {name} in {answer}");
    }
    assert_eq!(header(answer, "allow").is_some(), row.status == 405, "{what}");
    assert_eq!(header(answer, "www-authenticate").is_some(), row.status == 401, "{what}");
}

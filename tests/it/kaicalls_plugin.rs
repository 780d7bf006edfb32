//! KaiCalls' own endpoints, as its plugin sees them.

use std::sync::Arc;
use std::time::Duration;

use formgate::accept::Options;
use formgate::config::{Config, Site};
use formgate::lead::SiteId;
use formgate::queue::{Reason, State};

use crate::accept::{bearer, limit};
use crate::gateway::{
    PUBLIC, Running, SECRET, Trouble, acme, header, json, lead_body, post, short, start, start_behind, start_with,
    status,
};

const INTAKE: &str = "/api/v1/wordpress/intake";

fn keys(public: &str, secret: &str) -> String {
    format!("Authorization: Bearer {public}:{secret}\r\n")
}

fn widget(headers: &str) -> String {
    format!("GET /api/v1/wordpress/dashboard-widget HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n")
}

async fn intake(gateway: &Running, headers: &str, email: &str) -> String {
    gateway.send(post(INTAKE, headers, &lead_body(email))).await
}

#[tokio::test]
async fn kaicalls_own_intake_is_taken_by_its_keys() {
    let gateway = start();
    let answer = intake(&gateway, &keys(PUBLIC, SECRET), "jane@example.com").await;
    let entry = gateway.shelf.only();
    assert_eq!((status(&answer), entry.site.as_str(), entry.form.as_str()), (200, "acme", "kaicalls"));
    let told = json(&answer);
    assert_eq!((&told["success"], &told["status"]), (&true.into(), &"queued".into()));
    assert_eq!(told["leadId"], entry.id.to_string());
    assert!(told["message"].is_string());
    intake(&gateway, &keys("wp_pk_branch", "wp_sk_branch"), "jane@example.com").await;
    assert_eq!(gateway.shelf.entries()[1].form.as_str(), "branch", "a form with keys of its own");
    for wrong in ["", &keys(PUBLIC, "wp_sk_x"), &keys("wp_pk_x", SECRET), &keys(PUBLIC, ""), &bearer()] {
        let answer = intake(&gateway, wrong, "jane@example.com").await;
        assert_eq!((status(&answer), &json(&answer)["success"]), (401, &false.into()), "{wrong}");
        assert!(json(&answer)["error"].is_string());
    }
}

#[tokio::test]
async fn kaicalls_own_verify_tells_which_key_is_wrong() {
    let gateway = start();
    let verify = async |body: &str| {
        let answer = gateway.send(post("/api/v1/wordpress/auth/verify", "", body)).await;
        (status(&answer), json(&answer))
    };
    let pair = |public: &str, secret: &str| format!(r#"{{"publicKey":"{public}","apiKey":"{secret}"}}"#);
    let (fine, told) = verify(&pair(PUBLIC, SECRET)).await;
    assert_eq!((fine, told), (200, serde_json::json!({"success": true, "business_id": "acme"})));
    for (body, expected, words) in [
        (pair("wp_pk_x", SECRET), 401, "Invalid Public Key."),
        (pair(PUBLIC, "wp_sk_x"), 401, "Invalid API Key."),
        (pair("", SECRET), 400, "API Key and Public Key are required."),
        ("{}".to_owned(), 400, "API Key and Public Key are required."),
        ("not json".to_owned(), 400, "API Key and Public Key are required."),
    ] {
        let (found, told) = verify(&body).await;
        assert_eq!((found, told["error"].as_str(), &told["success"]), (expected, Some(words), &false.into()));
    }
}

#[tokio::test]
async fn kaicalls_own_widget_shows_the_sites_leads() {
    let gateway = start();
    gateway.post("/hooks/acme", &lead_body("jane@example.com")).await;
    gateway.post("/hooks/acme", &lead_body("nowhere")).await;
    let told = json(&gateway.send(widget(&keys(PUBLIC, SECRET))).await);
    assert_eq!((&told["success"], &told["leadsThisWeek"]), (&true.into(), &1.into()));
    assert_eq!(told["recentLeads"][0]["name"], "Jane");
    assert!(told["recentLeads"][0]["created_at"].is_string());
    assert_eq!(status(&gateway.send(widget("")).await), 401);
}

/// Gives the sites `beta` and `gamma` the key pair of `acme`, and each an address of its own.
fn share_keys(config: &mut Config) {
    for (id, url) in
        [("acme", None), ("beta", Some("https://www.beta.example")), ("gamma", Some("https://gamma.example"))]
    {
        let id = SiteId::parse(id).expect("a slug");
        config.sites.insert(id.clone(), Arc::new(Site { id, url: url.map(str::to_owned), ..acme() }));
    }
}

#[tokio::test]
async fn sites_with_one_key_pair_are_told_apart_by_what_their_plugin_says() {
    let gateway = start_with(Options::default(), share_keys);
    let from = |site: &str| format!("{}User-Agent: WordPress/7.1; {site}\r\n", keys(PUBLIC, SECRET));
    for (site, expected) in [
        ("https://beta.example", ("beta", State::Queued, Reason::Accepted)),
        ("https://www.gamma.example/", ("gamma", State::Queued, Reason::Accepted)),
        ("https://staging.example", ("acme", State::Held, Reason::Ambiguous)),
    ] {
        let answer = intake(&gateway, &from(site), "jane@example.com").await;
        assert_eq!((status(&answer), &json(&answer)["success"]), (200, &true.into()), "{site}");
        let entry = gateway.shelf.entries().pop().expect("an entry");
        assert_eq!((entry.site.as_str(), entry.state, entry.reason), expected, "{site}");
    }
    intake(&gateway, &from("https://staging.example"), "nowhere").await;
    intake(&gateway, &from("https://staging.example"), "jane@example.com").await;
    let entries = gateway.shelf.entries();
    assert_eq!(entries.len(), 5, "what is ambiguous is nothing's duplicate");
    assert!(entries.iter().skip(2).all(|entry| entry.reason == Reason::Ambiguous));

    let verify = format!(r#"{{"publicKey":"{PUBLIC}","apiKey":"{SECRET}"}}"#);
    let agent = "User-Agent: WordPress/7.1; https://gamma.example\r\n";
    let told = json(&gateway.send(post("/api/v1/wordpress/auth/verify", agent, &verify)).await);
    assert_eq!(told, serde_json::json!({"success": true, "business_id": "gamma"}));
    for (site, leads) in [("https://beta.example", 1), ("https://gamma.example", 1), ("https://staging.example", 0)] {
        let told = json(&gateway.send(widget(&from(site))).await);
        assert_eq!((&told["success"], &told["leadsThisWeek"]), (&true.into(), &leads.into()), "{site}");
    }
}

#[tokio::test]
async fn verify_says_so_when_kaicalls_refuses_the_keys() {
    let gateway = start_behind(None, Options::default(), share_keys, |gateway| {
        gateway.with_refused_keys(Arc::new(|site, keys| site.as_str() == "beta" && keys.public() == PUBLIC))
    });
    let verify = async |public: &str, secret: &str| {
        let body = format!(r#"{{"publicKey":"{public}","apiKey":"{secret}"}}"#);
        gateway.send(post("/api/v1/wordpress/auth/verify", "", &body)).await
    };
    assert_told(&verify(PUBLIC, SECRET).await, 401, "Invalid API Key.");
    assert_eq!(status(&verify("wp_pk_branch", "wp_sk_branch").await), 200, "a form with keys of its own");
    let answer = intake(&gateway, &keys(PUBLIC, SECRET), "jane@example.com").await;
    assert_eq!(status(&answer), 200, "leads are taken all the same");
}

#[tokio::test]
async fn a_key_pair_that_cannot_be_checked_now_is_told_to_come_again() {
    let gateway = start_with(Options::default(), |config| config.missing.keys = true);
    let answer = intake(&gateway, &keys("wp_pk_unread", SECRET), "jane@example.com").await;
    assert_told(&answer, 503, "Failed to create lead");
    assert!(header(&answer, "retry-after").is_some(), "{answer}");
    assert_told(&gateway.send(widget(&keys("wp_pk_unread", SECRET))).await, 503, "Service Unavailable");
    let pair = format!(r#"{{"publicKey":"wp_pk_unread","apiKey":"{SECRET}"}}"#);
    let answer = gateway.send(post("/api/v1/wordpress/auth/verify", "", &pair)).await;
    assert_told(&answer, 503, "Service Unavailable");
    assert_eq!(status(&intake(&gateway, &keys(PUBLIC, SECRET), "jane@example.com").await), 200, "a pair that is known");
}

/// The body of an answer is KaiCalls' envelope with these words, and nothing beside them.
fn assert_told(answer: &str, expected: u16, words: &str) {
    assert_eq!(status(answer), expected, "{answer}");
    assert_eq!(json(answer), serde_json::json!({ "success": false, "error": words }), "{answer}");
    for of_ours in ["formgate", "Formgate", "problem"] {
        assert!(!answer.contains(of_ours), "{answer}");
    }
}

#[tokio::test]
async fn whatever_is_refused_a_visitor_reads_kaicalls_words_and_none_of_ours() {
    let options = Options { linger: Duration::from_millis(100), ..short() };
    let gateway = start_with(options, |config| {
        (config.server.max_body, config.server.max_upload) = (2_000, 4_000);
    });
    let keys = keys(PUBLIC, SECRET);
    let head = |rest: &str| format!("POST {INTAKE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{keys}{rest}\r\n");
    let binary = "Content-Type: image/png\r\nContent-Length: 3\r\n";
    let failed = "Failed to create lead";
    for (request, expected, words) in [
        (post(INTAKE, "", "{}"), 401, "Unauthorized"),
        (post(INTAKE, &bearer(), "{}"), 401, "Unauthorized"),
        (head("no colon\r\n"), 400, failed),
        (format!("POST  {INTAKE} HTTP/1.1\r\nHost: a\r\n\r\n"), 400, failed),
        (format!("POST http://a{INTAKE} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, failed),
        (format!("POST {INTAKE} HTTP/1.1\r\nHost: a"), 408, failed),
        (head(&format!("X-Long: {}\r\n", "x".repeat(70_000))), 431, failed),
        (head("Content-Length: 9\r\n"), 408, failed),
        (head("Transfer-Encoding: chunked\r\n\r\nno chunk"), 400, failed),
        (head("Content-Length: 9999\r\n"), 413, failed),
        (post(INTAKE, &keys, &"x".repeat(3_000)), 413, failed),
        (format!("{}\u{1}\u{2}\u{3}", head(binary)), 415, failed),
        (post(INTAKE, &keys, "neither a form nor json"), 400, failed),
        (format!("GET {INTAKE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 405, failed),
        (post("/api/v1/wordpress/dashboard-widget", &keys, ""), 405, "Method Not Allowed"),
        (post("/api/v1/wordpress/keys/create", &keys, "{}"), 404, "Not Found"),
        (post("/api/v1/wordpress/intake/", &keys, "{}"), 404, "Not Found"),
        (post("/api/v1/wordpress", &keys, "{}"), 404, "Not Found"),
    ] {
        assert_told(&gateway.send(request).await, expected, words);
    }
    gateway.shelf.fail(Trouble::Full);
    assert_told(&intake(&gateway, &keys, "jane@example.com").await, 503, failed);
    gateway.shelf.fail(Trouble::Silent);
    assert_told(&intake(&gateway, &keys, "jane@example.com").await, 503, failed);
}

#[tokio::test]
async fn over_a_limit_a_visitor_reads_kaicalls_words_too() {
    let gateway = start_with(Options::default(), |config| {
        (config.limits.gateway, config.limits.client) = (limit(9), limit(1));
    });
    assert_told(&intake(&gateway, "", "jane@example.com").await, 401, "Unauthorized");
    let answer = intake(&gateway, "", "jane@example.com").await;
    assert_told(&answer, 429, "Failed to create lead");
    assert!(header(&answer, "retry-after").is_some(), "{answer}");
}

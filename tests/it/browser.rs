//! A page's own form, byte by byte: who may post it, what is stored of it, and what its visitor is answered.
//!
//! `chromium` drives a real browser through the same.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::accept::{Gateway, Options, serve};
use formgate::config::{Config, OverLimit, Sources, load};
use formgate::queue::sqlite::{Options as StoreOptions, SqliteStore};
use formgate::queue::{NewEntry, NoteKind, Reason, State, Store};
use formgate::telemetry::Metrics;
use jiff::Timestamp;
use jiff::civil::date;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::accept::limit;
use crate::gateway::{Running, TOKEN, Trouble, header, json, lead_body, send, short, start_with, status};

const ORIGIN: &str = "https://acme.example";
const THANKS: &str = "https://acme.example/thanks?from=form";
const FORM: &str = "name=Jane&email=jane%40example.com&message=Hello";
/// What a browser sends along where a person submits a form.
const NAVIGATION: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html,*/*;q=0.8\r\n";

/// The site `acme`: `contact` has a page of its own to say thanks, `shop` another, `strict` says what is wrong, and `plain`
/// takes posts with a token alone.
pub(crate) fn sites(origins: &str, thanks: &str) -> Config {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        r#"
        [[site]]
        id = "acme"
        public_key = "wp_pk_acme"
        secret_key = "wp_sk_acme"
        tokens = [{{ sha256 = "{sha256}" }}]
        [site.forms.contact]
        browser = {{ origins = [{origins}], honeypot = "website2" }}
        [site.forms.shop]
        browser = {{ origins = [{origins}], thanks = "{thanks}", honeypot = "website2" }}
        [site.forms.strict]
        on_invalid = "reject"
        browser = {{ origins = [{origins}], honeypot = "website2" }}
        [site.forms.plain]
        on_invalid = "reject"
        "#
    );
    sound(&text)
}

/// Loads a configuration that must be without errors.
fn sound(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text).expect("written");
    let loaded = load(&file, &Sources::with_environment([]), date(2026, 11, 21));
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics.render(false)));
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics.render(false));
    config
}

fn start(change: impl FnOnce(&mut Config)) -> Running {
    start_within(Options::default(), change)
}

fn start_within(options: Options, change: impl FnOnce(&mut Config)) -> Running {
    start_with(options, |config| {
        let loaded = sites(&format!("\"{ORIGIN}\", \"http://localhost:3000\""), THANKS);
        (config.sites, config.mappings) = (loaded.sites, loaded.mappings);
        change(config);
    })
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let fixed = "Host: gate.example\r\nConnection: close\r\n";
    format!("{method} {path} HTTP/1.1\r\n{fixed}{headers}Content-Length: {length}\r\n\r\n{body}")
}

/// A post of a form, with these headers beside its type.
fn post(path: &str, headers: &str, body: &str) -> String {
    request("POST", path, &format!("Content-Type: application/x-www-form-urlencoded\r\n{headers}"), body)
}

fn from(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

/// A post as a page's script makes it.
fn by_script(path: &str, body: &str) -> String {
    post(path, &format!("Sec-Fetch-Mode: cors\r\n{}", from(ORIGIN)), body)
}

/// A post as a person makes it who submits a form.
fn by_person(path: &str, body: &str) -> String {
    post(path, &format!("{NAVIGATION}{}", from(ORIGIN)), body)
}

fn multipart(headers: &str, parts: &[(&str, &str)]) -> String {
    let part = |(about, content): &(&str, &str)| {
        format!("--XX\r\nContent-Disposition: form-data; {about}\r\n\r\n{content}\r\n")
    };
    let body: String = parts.iter().map(part).collect::<String>() + "--XX--\r\n";
    let headers = format!("Content-Type: multipart/form-data; boundary=XX\r\n{headers}{}", from(ORIGIN));
    request("POST", "/hooks/acme/contact", &headers, &body)
}

/// The answer without what differs from one request to the next.
fn comparable(answer: &str) -> String {
    let id = header(answer, "x-request-id").expect("an id").to_owned();
    let lines = answer.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    lines.collect::<Vec<_>>().join("\n").replace(&id, "ID")
}

fn is_shared(answer: &str) -> bool {
    let shared = header(answer, "access-control-allow-origin");
    if let Some(origin) = shared {
        assert_eq!((origin, header(answer, "vary")), (ORIGIN, Some("Origin")), "{answer}");
    }
    assert_eq!(header(answer, "access-control-allow-credentials"), None, "{answer}");
    shared.is_some()
}

fn html(answer: &str) -> &str {
    assert_eq!(header(answer, "content-type"), Some("text/html; charset=utf-8"), "{answer}");
    let policy = header(answer, "content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")]
    {
        assert_eq!(header(answer, name), Some(value), "{answer}");
    }
    answer.split_once("\r\n\r\n").expect("a body").1
}

#[tokio::test]
async fn only_a_page_of_the_forms_origins_may_post_it_without_a_token() {
    let gateway = start(|_config| {});
    let page = "Referer: https://acme.example/contact?x=1\r\n";
    for (headers, expected) in [
        (from(ORIGIN), 200),
        (from("HTTPS://ACME.example:443"), 200),
        (from("http://localhost:3000"), 200),
        (page.to_owned(), 200),
        (String::new(), 401),
        (from("null"), 401),
        (format!("{}{page}", from("null")), 401),
        (format!("{}{page}", from("https://evil.example")), 401),
        (from("http://acme.example"), 401),
        (from("https://acme.example:8443"), 401),
        (from("https://www.acme.example"), 401),
        (from("https://acme.example.evil.example"), 401),
        (from("https://acme.example/"), 401),
        (from("http://localhost"), 401),
        (format!("{}{}", from(ORIGIN), from(ORIGIN)), 401),
        (format!("{}{}", from(ORIGIN), from("https://evil.example")), 401),
        ("Referer: https://evil.example/?https://acme.example/\r\n".to_owned(), 401),
        ("Referer: https://acme.example@evil.example/\r\n".to_owned(), 401),
        (format!("{page}Referer: https://evil.example/\r\n"), 401),
    ] {
        let before = gateway.shelf.entries().len();
        let answer = gateway.send(post("/hooks/acme/contact", &headers, FORM)).await;
        assert_eq!(status(&answer), expected, "{headers}");
        assert_eq!(gateway.shelf.entries().len() > before, expected == 200 && before == 0, "{headers}");
    }
    let NewEntry { state, reason, form, .. } = gateway.shelf.only();
    assert_eq!((state, reason, form.as_str()), (State::Queued, Reason::Accepted, "contact"));
}

#[tokio::test]
async fn a_wrong_origin_is_answered_as_a_missing_token_is_anywhere() {
    let gateway = start(|_config| {});
    for manner in [NAVIGATION, "Sec-Fetch-Mode: cors\r\n", ""] {
        let missing = comparable(&gateway.send(post("/hooks/nobody/contact", manner, FORM)).await);
        let wrong = format!("{manner}{}", from("https://evil.example"));
        let right = format!("{manner}{}", from(ORIGIN));
        for (path, headers) in [
            ("/hooks/acme/contact", &wrong),
            ("/hooks/nobody/contact", &right),
            ("/hooks/acme/plain", &right),
            ("/hooks/acme/unknown", &right),
            // The body must not choose whose rules it gets.
            ("/hooks/acme", &right),
        ] {
            assert_eq!(comparable(&gateway.send(post(path, headers, FORM)).await), missing, "{path} {headers}");
        }
        assert!(missing.starts_with("HTTP/1.1 401") && missing.contains("problem+json"), "{missing}");
    }
    let headers = from(ORIGIN);
    for method in ["PUT", "PATCH", "DELETE"] {
        let answer = gateway.send(request(method, "/hooks/acme/contact", &headers, FORM)).await;
        assert_eq!((status(&answer), is_shared(&answer)), (401, false), "{method}");
    }
    let query = format!("GET /hooks/acme/contact?{FORM} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
    assert_eq!(status(&gateway.send(query).await), 401);
    assert!(gateway.shelf.entries().is_empty());
}

#[tokio::test]
async fn a_post_with_the_token_is_a_plugins_whatever_else_it_says() {
    let gateway = start(|_config| {});
    let token = format!("Authorization: Bearer {TOKEN}\r\n{NAVIGATION}");
    for (path, origin) in [("/hooks/acme/shop", ORIGIN), ("/hooks/acme/contact", "https://evil.example")] {
        let answer = gateway.send(post(path, &format!("{token}{}", from(origin)), FORM)).await;
        assert_eq!((status(&answer), header(&answer, "location"), is_shared(&answer)), (200, None, false), "{answer}");
        assert_eq!(json(&answer)["status"], "queued");
    }
    for wrong in ["Authorization: Bearer fg_wrong\r\n", "X-Formgate-Token: fg_wrong\r\n"] {
        let answer =
            gateway.send(post("/hooks/acme/shop", &format!("{wrong}{NAVIGATION}{}", from(ORIGIN)), FORM)).await;
        assert_eq!((status(&answer), is_shared(&answer)), (401, false), "{answer}");
    }
}

#[tokio::test]
async fn a_person_is_sent_on_to_the_forms_thanks() {
    let gateway = start(|_config| {});
    let told = format!("{FORM}&_next=https%3A%2F%2Fevil.example&redirect=https%3A%2F%2Fevil.example");
    let old = format!("Accept: text/html\r\n{}", from(ORIGIN));
    for request in [
        by_person("/hooks/acme/shop", FORM),
        // A double click, and a reload.
        by_person("/hooks/acme/shop", FORM),
        by_person("/hooks/acme/shop?thanks=https://evil.example", &told),
        by_person("/hooks/acme/shop", "name=nobody"),
        post("/hooks/acme/shop", &old, FORM),
    ] {
        let answer = gateway.send(&request).await;
        let (location, length) = (header(&answer, "location"), header(&answer, "content-length"));
        assert_eq!((status(&answer), location, length), (303, Some(THANKS), Some("0")), "{request}");
    }
    assert_eq!(gateway.shelf.entries().len(), 3, "one is a duplicate twice");
}

#[tokio::test]
async fn a_person_sees_a_small_page_where_the_form_names_none() {
    let gateway = start(|_config| {});
    for body in [FORM, FORM, "name=%3Cscript%3E&email=nowhere", "name=%FF%FE", ""] {
        let answer = gateway.send(by_person("/hooks/acme/contact", body)).await;
        let page = html(&answer);
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(page.contains("<h1>Thank you</h1>") && page.contains("href=\"https://acme.example/\""), "{page}");
        assert!(!page.contains("script") && !page.contains("Jane") && !page.contains("nowhere"), "{page}");
        assert!(
            header(&answer, "content-security-policy")
                .expect("a policy")
                .ends_with("frame-ancestors https://acme.example")
        );
    }
}

#[tokio::test]
async fn the_page_is_in_the_language_that_the_website_or_else_the_browser_names() {
    let gateway = start(|_config| {});
    for (path, accept, expected) in [
        ("/hooks/acme/contact", "de-AT,de;q=0.9,en;q=0.8", ("de", "Vielen Dank")),
        ("/hooks/acme/contact?lang=fr", "de", ("fr", "Merci")),
        ("/hooks/acme/contact?lang=%3Cb%3E", "xx", ("en", "Thank you")),
        ("/hooks/acme/contact", "", ("en", "Thank you")),
    ] {
        let headers = format!("{NAVIGATION}Accept-Language: {accept}\r\n{}", from(ORIGIN));
        let answer = gateway.send(post(path, &headers, FORM)).await;
        let found = (header(&answer, "content-language").expect("a language"), expected.1);
        assert_eq!(found, expected, "{path} {accept}");
        assert!(
            html(&answer).contains(&format!("<html lang=\"{}\">", expected.0)) && answer.contains(expected.1),
            "{answer}"
        );
    }
    let lead = gateway.shelf.only().reading.lead.expect("a lead");
    assert_eq!(lead.message(), "Hello", "what the address says is no part of the message");
}

#[tokio::test]
async fn which_field_is_wrong_is_said_where_the_form_rejects() {
    let gateway = start(|_config| {});
    let body = "name=Jane&email=%3Cb%3Enowhere&message=Hello";
    let answer = gateway.send(by_person("/hooks/acme/strict", body)).await;
    let page = html(&answer);
    assert_eq!(status(&answer), 422);
    assert!(page.contains("<li>E-mail address: please check it</li>") && !page.contains("nowhere"), "{page}");
    assert!(page.contains("Back button"), "{page}");
    let answer = gateway.send(by_script("/hooks/acme/strict", body)).await;
    assert_eq!((status(&answer), is_shared(&answer)), (422, true));
    assert_eq!(
        (&json(&answer)["errors"][0]["field"], &json(&answer)["type"]),
        (&"email".into(), &"urn:formgate:problem:invalid-lead".into())
    );
    let held = gateway.shelf.entries();
    assert!(held.iter().all(|entry| entry.reason == Reason::Invalid) && held.len() == 2);
}

#[tokio::test]
async fn a_script_of_the_page_can_read_every_answer() {
    let gateway = start(|_config| {});
    let answer = gateway.send(by_script("/hooks/acme/shop", FORM)).await;
    assert_eq!((status(&answer), is_shared(&answer), header(&answer, "location")), (200, true, None), "{answer}");
    assert_eq!((&json(&answer)["success"], &json(&answer)["status"]), (&true.into(), &"queued".into()));
    let body = lead_body("joe@example.com");
    let typed = |kind: &str, body: &str| {
        request("POST", "/hooks/acme/shop", &format!("Content-Type: {kind}\r\n{}", from(ORIGIN)), body)
    };
    for (request, expected) in [
        (typed("application/json", &body), 200),
        (typed("application/json", "hello"), 400),
        (typed("image/png", "hello"), 415),
        (typed("application/json", &format!("\"{}\"", "x".repeat(65_535))), 413),
    ] {
        let answer = gateway.send(&request).await;
        assert_eq!((status(&answer), is_shared(&answer)), (expected, true), "{answer}");
    }
    let reasons: Vec<Reason> = gateway.shelf.entries().iter().map(|entry| entry.reason).collect();
    let stored = [Reason::Accepted, Reason::Accepted, Reason::Undecodable, Reason::Undecodable];
    assert_eq!(reasons, stored, "what can't be read is kept for a person to look at");
    // Where only the referer tells, no script waits that could read it.
    let answer = gateway.send(post("/hooks/acme/shop", "Referer: https://acme.example/\r\n", FORM)).await;
    assert_eq!((status(&answer), is_shared(&answer)), (200, false));
}

#[tokio::test]
async fn a_preflight_is_answered_to_pages_that_may_post_and_to_nobody_else() {
    let gateway = start(|_config| {});
    let asks = |path: &str, headers: &str| request("OPTIONS", path, headers, "");
    let method = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let good = format!("{}{method}", from(ORIGIN));
    let answer = gateway.send(asks("/hooks/acme/contact", &good)).await;
    assert_eq!((status(&answer), header(&answer, "access-control-allow-origin")), (200, Some(ORIGIN)), "{answer}");
    for (name, value) in [
        ("access-control-allow-methods", Some("POST")),
        ("access-control-allow-headers", Some("content-type")),
        ("access-control-allow-credentials", None),
        ("content-length", Some("0")),
        ("vary", Some("Origin, Access-Control-Request-Method, Access-Control-Request-Headers")),
    ] {
        assert_eq!(header(&answer, name), value, "{name}");
    }
    let refused = comparable(&gateway.send(asks("/hooks/nobody/contact", "")).await);
    assert!(refused.starts_with("HTTP/1.1 405") && !refused.contains("access-control"), "{refused}");
    let other = format!("{}{method}", from("https://evil.example"));
    let only_referer = format!("Referer: https://acme.example/\r\n{method}");
    for (path, headers) in [
        ("/hooks/acme/contact", other.as_str()),
        ("/hooks/acme/contact", &only_referer),
        ("/hooks/acme/contact", &from(ORIGIN)),
        ("/hooks/acme/plain", &good),
        ("/hooks/acme", &good),
        ("/hooks/nobody/contact", &good),
    ] {
        assert_eq!(comparable(&gateway.send(asks(path, headers)).await), refused, "{path} {headers}");
    }
}

#[tokio::test]
async fn a_filled_honeypot_is_held_as_spam_and_looks_like_success() {
    let gateway = start(|_config| {});
    let spam = format!("{FORM}&website2=https%3A%2F%2Fspam.example");
    let person = gateway.send(by_person("/hooks/acme/contact", &spam)).await;
    assert!(html(&person).contains("Thank you"));
    assert_eq!(status(&gateway.send(by_person("/hooks/acme/shop", &spam)).await), 303);
    let script = gateway.send(by_script("/hooks/acme/strict", "email=nowhere&website2=x")).await;
    let told = json(&script)["errors"][0]["field"].clone();
    assert_eq!((status(&script), told), (422, "email".into()), "what a person would be told: {script}");
    let entries = gateway.shelf.entries();
    assert_eq!(entries.len(), 3, "spam is no duplicate of spam");
    for entry in &entries {
        assert_eq!((entry.state, entry.reason), (State::Held, Reason::Spam));
    }
    let lead = entries[0].reading.lead.as_ref().expect("the lead it would be");
    assert!(!lead.message().contains("spam") && !lead.message().contains("website"), "{}", lead.message());
    // An empty one is what people send.
    let answer = gateway.send(by_script("/hooks/acme/contact", &format!("{FORM}&website2="))).await;
    assert_eq!(json(&answer)["status"], "queued");
    let entry = gateway.shelf.entries().pop().expect("an entry");
    let lead = entry.reading.lead.expect("a lead");
    assert_eq!((entry.reason, lead.message()), (Reason::Accepted, "Hello"));
    // The form's plugin is told what became of it.
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(json(&gateway.send(post("/hooks/acme/contact", &token, &spam)).await)["status"], "held");
}

#[tokio::test]
async fn a_page_posts_64_kib_and_no_files() {
    let gateway = start(|_config| {});
    let message = |bytes: usize| {
        let body = format!("{FORM}&more=");
        let fill = "x".repeat(bytes - body.len());
        format!("{body}{fill}")
    };
    assert_eq!(status(&gateway.send(by_script("/hooks/acme/contact", &message(65_536))).await), 200);
    let large = gateway.send(by_script("/hooks/acme/contact", &message(65_537))).await;
    assert_eq!((status(&large), &json(&large)["type"]), (413, &"urn:formgate:problem:form-too-large".into()));
    let page = gateway.send(by_person("/hooks/acme/contact", &message(65_537))).await;
    assert!(html(&page).contains("too long") && status(&page) == 413);
    let head = format!("POST /hooks/acme/contact HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}", from(ORIGIN));
    let chunk = format!("{:x}\r\n{}\r\n", 40_000, "x".repeat(40_000));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(status(&gateway.send(chunked).await), 413);
    let fields = [("name=\"email\"", "ann@example.com"), ("name=\"message\"", "Hi")];
    let with = |part| [&fields[..], &[part]].concat();
    let none = gateway.send(multipart("", &with(("name=\"cv\"; filename=\"\"", "")))).await;
    assert_eq!(status(&none), 200, "no file was chosen: {none}");
    for part in [
        ("name=\"cv\"; filename=\"cv.pdf\"", "%PDF"),
        ("name=\"cv\"; filename=\"cv.pdf\"", ""),
        ("name=\"cv\"; filename=\"\"", "x"),
    ] {
        let refused = gateway.send(multipart("", &with(part))).await;
        assert_eq!(
            (status(&refused), &json(&refused)["type"]),
            (415, &"urn:formgate:problem:files-not-taken".into()),
            "{part:?}"
        );
    }
    let refused = gateway.send(multipart(NAVIGATION, &with(("name=\"cv\"; filename=\"cv.pdf\"", "%PDF")))).await;
    assert!(html(&refused).contains("Files") && status(&refused) == 415);
    let base64 = r#"{"email":"jane@example.com","cv":{"filename":"cv.pdf","content":"aGVsbG8="}}"#;
    let headers = format!("Content-Type: application/json\r\n{}", from(ORIGIN));
    assert_eq!(status(&gateway.send(request("POST", "/hooks/acme/contact", &headers, base64)).await), 415);
    assert_eq!(gateway.shelf.entries().len(), 2);
}

#[tokio::test]
async fn a_flood_of_one_form_harms_no_other() {
    let gateway = start(|config| config.limits.browser = limit(2));
    let other = |number: usize| format!("email=jane{number}%40example.com&message=Hello");
    for (number, expected) in [200, 200, 429, 429].into_iter().enumerate() {
        let answer = gateway.send(by_script("/hooks/acme/contact", &other(number))).await;
        assert_eq!((status(&answer), is_shared(&answer)), (expected, true), "{answer}");
        assert_eq!(header(&answer, "ratelimit-policy").is_some(), expected == 429);
    }
    let page = gateway.send(by_person("/hooks/acme/contact", FORM)).await;
    assert!(html(&page).contains("Too many messages") && header(&page, "retry-after").is_some());
    assert_eq!(status(&gateway.send(by_script("/hooks/acme/strict", FORM)).await), 200, "another form");
    assert_eq!(status(&gateway.post("/hooks/acme/contact", &lead_body("x@example.com")).await), 200, "a plugin's post");
}

#[tokio::test]
async fn an_address_uses_up_its_own_allowance_before_the_forms() {
    let gateway = start(|config| {
        config.limits.client = limit(2);
        config.limits.gateway = limit(6);
    });
    for expected in [200, 200, 429, 429, 429, 429] {
        let answer = gateway.send(by_script("/hooks/acme/contact", FORM)).await;
        assert_eq!(status(&answer), expected, "each counts once: {answer}");
        let policy = header(&answer, "ratelimit-policy").unwrap_or_default();
        assert_eq!(policy.starts_with("\"client\""), expected == 429, "{policy}");
    }
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body("x@example.com")).await), 200, "the gateway has room");
    // What is refused counts once, too.
    let gateway = start(|config| config.limits.client = limit(3));
    let large = format!("{FORM}{}", "x".repeat(70_000));
    for expected in [413, 413, 413, 429] {
        assert_eq!(status(&gateway.send(by_script("/hooks/acme/contact", &large)).await), expected);
    }
}

#[tokio::test]
async fn a_form_that_has_had_its_share_of_the_store_is_refused_alone() {
    let gateway = start(|config| config.queue.max_size = 20 * 10_000);
    let body = |number: usize| format!("email=jane{number}%40example.com&message={}", "x".repeat(2_000));
    let mut taken = 0;
    let full = loop {
        let answer = gateway.send(by_script("/hooks/acme/contact", &body(taken))).await;
        if status(&answer) != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "never full");
    };
    assert!((2..=3).contains(&taken), "{taken} of about 5,000 bytes each");
    assert_eq!((status(&full), &json(&full)["type"]), (429, &"urn:formgate:problem:form-full".into()));
    assert_eq!((header(&full, "retry-after"), is_shared(&full)), (Some("600"), true));
    let page = gateway.send(by_person("/hooks/acme/contact", FORM)).await;
    assert!(status(&page) == 429 && html(&page).contains("Too many messages"));
    assert_eq!(status(&gateway.send(by_script("/hooks/acme/strict", FORM)).await), 200, "another form");
    assert_eq!(status(&gateway.post("/hooks/acme/contact", &lead_body("x@example.com")).await), 200, "a plugin's post");
    let metrics = gateway.page();
    assert!(metrics.contains("reason=\"form_full\""), "{metrics}");
}

/// Both would spend what plugins have: the site's limit, and the gateway's.
#[tokio::test]
async fn pages_never_use_up_what_a_plugin_may_send() {
    for over_site in [OverLimit::Reject, OverLimit::Hold] {
        let gateway = start(|config| {
            (config.limits.site, config.limits.over_site) = (limit(2), over_site);
            config.limits.gateway = limit(4);
        });
        let body = |number: usize| format!("email=jane{number}%40example.com&message=Hello");
        assert_eq!(status(&gateway.send(by_script("/hooks/acme/contact", &body(1))).await), 200);
        for path in ["/hooks/acme/contact", "/hooks/acme/strict", "/hooks/acme/shop"] {
            let over = gateway.send(by_script(path, &body(2))).await;
            let policy = header(&over, "ratelimit-policy").unwrap_or_default();
            assert_eq!((status(&over), policy.starts_with("\"site\";q=1;")), (429, true), "{path}: {over}");
        }
        for number in 3..5 {
            let answer = gateway.post("/hooks/acme/contact", &lead_body(&format!("joe{number}@example.com"))).await;
            assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()), "{answer}");
        }
    }
}

/// What a program sees that posts the same twice, with and without something in the field that people don't see.
#[tokio::test]
async fn a_filled_honeypot_is_answered_as_the_same_post_without() {
    let invalid = FORM.replace("jane%40example.com", "nobody");
    assert_ne!(invalid, FORM);
    for deliver in [true, false] {
        let gateway = start(|config| {
            for site in config.sites.values_mut() {
                Arc::get_mut(site).expect("nobody else has it").deliver = deliver;
            }
        });
        for form in [FORM, &invalid] {
            let spam = json(&gateway.send(by_script("/hooks/acme/contact", &format!("{form}&website2=x"))).await);
            let honest = json(&gateway.send(by_script("/hooks/acme/contact", form)).await);
            assert_eq!((&spam["success"], &spam["status"]), (&true.into(), &honest["status"]), "{deliver} {form}");
            let again = json(&gateway.send(by_script("/hooks/acme/contact", form)).await);
            if form == FORM {
                assert_eq!((&again["status"], &again["id"]), (&"duplicate".into(), &honest["id"]));
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_told_to_the_operator_as_that() {
    let gateway = start(|_config| {});
    let evil = from("https://evil.example");
    for (path, headers, fault) in [
        ("/hooks/acme/contact", evil.as_str(), "other_origin"),
        ("/hooks/acme/contact", "Origin: null\r\n", "other_origin"),
        ("/hooks/acme/contact", "Referer: https://evil.example/\r\n", "other_origin"),
        ("/hooks/acme/contact", "", "no_credential"),
        ("/hooks/acme/plain", &evil, "no_credential"),
        ("/hooks/acme", &evil, "no_credential"),
        ("/hooks/nobody/contact", &evil, "unknown_site"),
        ("/hooks/acme/contact", &format!("{evil}X-Formgate-Token: fg_wrong\r\n"), "unknown_token"),
    ] {
        let series = format!("formgate_credentials_refused_total{{fault=\"{fault}\"}} ");
        let count = |page: String| {
            page.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u32>().ok()).unwrap_or_default()
        };
        let before = count(gateway.page());
        assert_eq!(status(&gateway.send(post(path, headers, FORM)).await), 401);
        assert_eq!(count(gateway.page()), before + 1, "{path} {headers} {fault}");
    }
}

/// Small spam fills the store by what each entry takes beside its content, large headers by what is kept of them.
#[tokio::test]
async fn what_counts_to_the_share_is_what_the_store_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = sites(&format!("\"{ORIGIN}\""), THANKS);
    let mut config = crate::gateway::config();
    (config.sites, config.mappings) = (loaded.sites, loaded.mappings);
    (config.limits.client, config.limits.browser) = (limit(1_000), limit(1_000));
    (config.limits.site, config.limits.gateway) = (limit(1_000), limit(1_000));
    let config = Arc::new(ArcSwap::from_pointee(config));
    let options = StoreOptions { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::now() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("s.db"), options).expect("opened"));
    let gateway =
        Gateway::new(config, Arc::clone(&store), Arc::new(Metrics::new().expect("metrics")), Options::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(serve(listener, gateway, stopped));
    let bytes = async || store.extent().await.expect("extent").bytes;
    let long = "\u{e9}".repeat(14_000);
    let heavy = format!("User-Agent: {long}\r\nReferer: https://acme.example/{long}\r\n{}", from(ORIGIN));
    for (form, headers) in [("contact", from(ORIGIN)), ("shop", heavy)] {
        let before = bytes().await;
        for number in 0..150 {
            let body = format!("email=jane{number}%40example.com&website2=x");
            let answer = send(address, post(&format!("/hooks/acme/{form}"), &headers, &body)).await;
            assert_eq!(status(&answer), 200, "{answer}");
        }
        let taken = bytes().await - before;
        let notes = store.notes(NoteKind::PageForm, &format!("acme/{form}/"), None, 10).await.expect("notes");
        let noted: u64 = notes.iter().map(|note| note.numbers[1]).sum();
        assert!(noted * 5 > taken * 4 && noted < taken * 2, "{form}: {noted} noted, {taken} taken");
        assert!(taken / 150 < 16 * 1_024, "{form}: {taken}");
    }
    stop.send_replace(true);
    running.await.expect("no panic").expect("served");
}

#[tokio::test]
async fn what_could_not_be_stored_is_said_so_that_a_visitor_understands() {
    for (trouble, expected) in
        [(Trouble::Full, 503), (Trouble::Away, 503), (Trouble::Silent, 503), (Trouble::Panicking, 500)]
    {
        let gateway = start_within(short(), |_config| {});
        gateway.shelf.fail(trouble);
        let answer = gateway.send(by_person("/hooks/acme/shop", FORM)).await;
        assert_eq!((status(&answer), header(&answer, "location")), (expected, None));
        assert!(html(&answer).contains("be saved") && header(&answer, "retry-after").is_some() == (expected == 503));
        let answer = gateway.send(by_script("/hooks/acme/shop", FORM)).await;
        assert_eq!((status(&answer), is_shared(&answer)), (expected, true));
    }
    let gateway = start_within(short(), |_config| {});
    let request = by_person("/hooks/acme/contact", FORM);
    let cut = gateway.send(request.strip_suffix("Hello").expect("a body")).await;
    assert!(status(&cut) == 408 && html(&cut).contains("be read"), "{cut}");
}

#[tokio::test]
async fn a_browser_that_only_looks_is_told_the_same_whatever_there_is() {
    let gateway = start(|_config| {});
    let look = |method: &str, path: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{NAVIGATION}\r\n")
    };
    let answer = gateway.send(look("GET", "/hooks/acme/contact")).await;
    assert!(status(&answer) == 405 && html(&answer).contains("Nothing was sent"), "{answer}");
    assert!(header(&answer, "content-security-policy").expect("a policy").ends_with("frame-ancestors 'none'"));
    for path in ["/hooks/acme/plain", "/hooks/acme", "/hooks/nobody/contact"] {
        assert_eq!(comparable(&gateway.send(look("GET", path)).await), comparable(&answer), "{path}");
    }
    // As a reload does, where the page said its language in the form's address.
    let french = gateway.send(look("GET", "/hooks/acme/contact?lang=fr")).await;
    assert!(status(&french) == 401 && html(&french).contains("Rien n"), "{french}");
    assert_eq!(comparable(&gateway.send(look("GET", "/hooks/nobody/contact?lang=fr")).await), comparable(&french));
    let wrong = gateway.send(look("GET", &format!("/hooks/acme/contact?{FORM}&token=fg_wrong"))).await;
    assert_eq!((status(&wrong), &json(&wrong)["type"]), (401, &"urn:formgate:problem:unauthorized".into()));
    let query = format!("/hooks/acme/contact?{FORM}&token={TOKEN}");
    assert_eq!(json(&gateway.send(look("GET", &query)).await)["status"], "queued");
    let head = gateway.send(look("HEAD", "/hooks/acme/contact")).await;
    assert_eq!((status(&head), head.ends_with("\r\n\r\n")), (405, true), "{head}");
    let plain = gateway.send("GET /hooks/acme/contact HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(json(&plain)["type"], "urn:formgate:problem:method-not-allowed");
}

#[tokio::test]
async fn each_request_has_one_end_in_the_metrics() {
    let gateway = start(|_config| {});
    let spam = format!("{FORM}&website2=x");
    let good = format!("{}Access-Control-Request-Method: POST\r\n", from(ORIGIN));
    for request in [
        by_person("/hooks/acme/shop", FORM),
        by_person("/hooks/acme/shop", FORM),
        by_person("/hooks/acme/shop", &spam),
        post("/hooks/acme/shop", &from("https://evil.example"), FORM),
        request("OPTIONS", "/hooks/acme/shop", &good, ""),
    ] {
        gateway.send(request).await;
    }
    let page = gateway.page();
    let counted = |outcome: &str| {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("formgate_submissions_received_total{{outcome=\"{outcome}\"}}")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).unwrap_or_default()
    };
    let ends = ["queued", "duplicate", "spam", "refused", "answered"].map(|end| (end, counted(end)));
    assert!(ends.iter().all(|(_, count)| *count == 1), "{ends:?}\n{page}");
}

/// The rules can change while the gateway runs; what was counted stays.
#[tokio::test]
async fn a_forms_count_outlives_a_reload_and_its_origins_do_not() {
    let gateway = start(|config| config.limits.browser = limit(1));
    assert_eq!(status(&gateway.send(by_script("/hooks/acme/contact", FORM)).await), 200);
    let before = gateway.config.load_full();
    let mut after = crate::gateway::config();
    let loaded = sites("\"https://www.acme.example\"", THANKS);
    (after.limits, after.sites, after.mappings) = (before.limits, loaded.sites, loaded.mappings);
    gateway.config.store(Arc::new(after));
    assert_eq!(status(&gateway.send(by_script("/hooks/acme/contact", FORM)).await), 401);
    let www = post("/hooks/acme/contact", &from("https://www.acme.example"), FORM);
    assert_eq!(status(&gateway.send(www).await), 429);
    assert_eq!(gateway.shelf.probes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_forms_share_of_a_store_on_disk_is_remembered_by_the_next_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = sites(&format!("\"{ORIGIN}\""), THANKS);
    let mut config = crate::gateway::config();
    (config.sites, config.mappings, config.queue.max_size) = (loaded.sites, loaded.mappings, 20 * 10_000);
    let config = Arc::new(ArcSwap::from_pointee(config));
    let mut answers = Vec::new();
    for number in 0..6 {
        let options = StoreOptions { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::now() };
        let store = Arc::new(SqliteStore::open(&folder.path().join("s.db"), options).expect("opened"));
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let gateway = Gateway::new(Arc::clone(&config), store, metrics, Options::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(serve(listener, gateway, stopped));
        let body = format!("email=jane{number}%40example.com&message={}", "x".repeat(2_000));
        answers.push(status(&send(address, by_script("/hooks/acme/contact", &body)).await));
        stop.send_replace(true);
        running.await.expect("no panic").expect("served");
    }
    assert!(answers.starts_with(&[200, 200]) && answers.ends_with(&[429, 429, 429]), "{answers:?}");
}

#[test]
fn what_the_document_says_to_write_is_sound() {
    let document = include_str!("../../docs/browser-forms.md");
    let block = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let block = block.replace("[forms.", "[site.forms.");
    let site = "[[site]]\nid = \"acme\"\npublic_key = \"wp_pk_acme\"\nsecret_key = \"wp_sk_acme\"\n";
    let config = sound(&format!("{site}{block}"));
    let form = config.sites.values().flat_map(|site| site.page_forms.values()).next().expect("a form");
    assert_eq!(form.honeypot.as_deref(), Some("website2"));
    assert!(form.thanks.is_some() && form.origins.len() == 1);
}

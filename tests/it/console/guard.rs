//! Who may see the console and change something by it, byte by byte.

use std::time::Duration;

use super::stage::{ADMIN, Stage, Visitor, delivered};
use crate::gateway::{header, send, status};
use formgate::queue::State;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// A browser of few words: it keeps a cookie and a form's token.
struct Client<'s> {
    stage: &'s Stage,
    cookie: String,
    csrf: String,
}

impl<'s> Client<'s> {
    async fn log_in(stage: &'s Stage) -> Self {
        let answer = log_in(stage, ADMIN, "").await;
        assert_eq!(status(&answer), 303, "{answer}");
        let cookie = header(&answer, "set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
        let mut client = Self { stage, cookie, csrf: String::new() };
        let page = client.get("/console/leads").await;
        client.csrf = between(&page, "name=\"csrf-token\" content=\"", "\"").to_owned();
        client
    }

    async fn get(&self, path: &str) -> String {
        self.send("GET", path, "", "").await
    }

    /// Sends a form as a page of the console does.
    async fn post(&self, path: &str, fields: &str) -> String {
        let body = format!("csrf={}&{fields}", self.csrf);
        self.send("POST", path, &own_origin(self.stage), &body).await
    }

    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let cookie = format!("Cookie: {}\r\n{headers}", self.cookie);
        request(self.stage, method, path, &cookie, body).await
    }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).expect("an end").0
}

fn own_origin(stage: &Stage) -> String {
    format!("Origin: http://{}\r\n", stage.gateway.admin())
}

async fn request(stage: &Stage, method: &str, path: &str, headers: &str, body: &str) -> String {
    let host = stage.gateway.admin();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let length = if matches!(method, "GET" | "HEAD") {
        String::new()
    } else {
        format!("{form}Content-Length: {}\r\n", body.len())
    };
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}{length}\r\n{body}");
    send(host, text).await
}

async fn log_in(stage: &Stage, token: &str, next: &str) -> String {
    request(stage, "POST", "/console/login", &own_origin(stage), &format!("token={token}&next={next}")).await
}

#[tokio::test]
async fn a_wrong_token_is_slowed_down_and_leaves_the_rest_alone() {
    let stage = Stage::start().await;
    let mut codes = Vec::new();
    for number in 0..20 {
        let answer = log_in(&stage, &format!("fga_guess_{number}"), "").await;
        assert!(header(&answer, "set-cookie").is_none(), "{answer}");
        codes.push(status(&answer));
    }
    assert_eq!(codes[..5], [401; 5], "{codes:?}");
    assert_eq!(codes[5..], [429; 15], "{codes:?}");
    let answer = log_in(&stage, ADMIN, "").await;
    assert_eq!(status(&answer), 429, "the right one is not told from a wrong one");
    assert!(header(&answer, "retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|wait| wait <= 13)));
    let token = format!("Authorization: Bearer {ADMIN}\r\n");
    assert_eq!(status(&request(&stage, "GET", "/api/v1", &token, "").await), 200);
    assert_eq!(status(&request(&stage, "GET", "/livez", "", "").await), 200);
    stage.stop().await;
}

#[tokio::test]
async fn a_session_is_a_cookie_that_no_other_site_can_use() {
    let stage = Stage::with("hosts = [\"formgate.agency.example\"]", |_store| async {}).await;
    let answer = log_in(&stage, ADMIN, "//evil.example").await;
    let cookie = header(&answer, "set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let secure = "Origin: https://formgate.agency.example\r\n";
    let answer_of_proxy = request(&stage, "POST", "/console/login", secure, &format!("token={ADMIN}")).await;
    assert!(header(&answer_of_proxy, "set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")));
    assert_eq!(header(&answer, "location"), Some("/console/"), "not to another site");
    let answer = log_in(&stage, ADMIN, "/console/leads%3Fstate%3Dheld").await;
    assert_eq!(header(&answer, "location"), Some("/console/leads?state=held"));
    let foreign = "Origin: https://evil.example\r\n";
    let refused = request(&stage, "POST", "/console/login", foreign, &format!("token={ADMIN}")).await;
    assert_eq!((status(&refused), header(&refused, "set-cookie")), (400, None));
    let from_elsewhere = request(&stage, "GET", "/console/leads", "Sec-Fetch-Site: cross-site\r\n", "").await;
    assert!(from_elsewhere.contains("http-equiv=\"refresh\""), "the cookie comes with the second request");
    for (path, to) in
        [("/", "/console/"), ("/console", "/console/"), ("/console/sites", "/console/login?next=%2Fconsole%2Fsites")]
    {
        let answer = request(&stage, "GET", path, "", "").await;
        assert_eq!((status(&answer), header(&answer, "location")), (303, Some(to)), "{path}");
    }
    let client = Client::log_in(&stage).await;
    assert_eq!(status(&client.get("/console/leads").await), 200);
    assert_eq!(status(&client.post("/console/logout", "").await), 303);
    assert_eq!(status(&client.get("/console/leads").await), 303, "logged out for good");
    stage.stop().await;
}

#[tokio::test]
async fn what_changes_something_needs_the_token_of_a_page_of_ours() {
    let stage = Stage::start().await;
    stage.post("acme-dental/contact", r#"{"your-name":"Ann","your-email":"no","your-message":"Hi"}"#).await;
    let client = Client::log_in(&stage).await;
    let id = between(&client.get("/console/leads").await, "name=\"id\" value=\"", "\"").to_owned();
    let body = format!("csrf={}&verb=drop&id={id}", client.csrf);
    let own = own_origin(&stage);
    let forged = body.replace(&client.csrf, "x");
    for (headers, body) in [
        (String::new(), &body),
        ("Origin: null\r\n".to_owned(), &body),
        ("Origin: http://localhost:1\r\n".to_owned(), &body),
        (own.clone(), &forged),
        (own.clone(), &format!("verb=drop&id={id}")),
    ] {
        let answer = client.send("POST", "/console/leads/apply", &headers, body).await;
        assert_eq!(status(&answer), 400, "{headers}{body}");
    }
    let stranger = request(&stage, "POST", "/console/leads/apply", &own, &body).await;
    assert_eq!(status(&stranger), 401);
    assert!(client.get(&format!("/console/leads/{id}")).await.contains("state held"), "nothing was done");
    assert_eq!(status(&client.send("POST", "/console/leads/apply", &own, &body).await), 200);
    assert!(client.get(&format!("/console/leads/{id}")).await.contains("state dead"));
    let audit = std::fs::read_to_string(stage.folder.path().join("data/audit.ndjson")).expect("the audit");
    assert!(audit.contains(r#""verb":"drop","by":"console""#), "{audit}");
    stage.stop().await;
}

#[tokio::test]
async fn the_api_takes_a_session_and_for_a_change_its_token_too() {
    let stage = Stage::start().await;
    let client = Client::log_in(&stage).await;
    assert_eq!(status(&client.get("/api/v1/status").await), 200);
    let json = "Content-Type: application/json\r\n";
    let host = stage.gateway.admin();
    let retry = async |headers: &str| {
        let body = r#"{"filter":{},"dry_run":true}"#;
        let cookie = &client.cookie;
        let text = format!(
            "POST /api/v1/leads/retry HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {cookie}\r\n{json}{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        status(&send(host, text).await)
    };
    let own = own_origin(&stage);
    let token = format!("X-CSRF-Token: {}\r\n", client.csrf);
    assert_eq!(retry("").await, 401);
    assert_eq!(retry(&own).await, 401);
    assert_eq!(retry(&token).await, 401, "without a page of ours");
    assert_eq!(retry(&format!("{own}{token}")).await, 200);
    stage.stop().await;
}

#[tokio::test]
async fn every_answer_keeps_foreign_content_out_and_stays_in_no_cache() {
    let stage = Stage::start().await;
    let client = Client::log_in(&stage).await;
    for path in
        ["/console/", "/console/leads", "/console/sites", "/console/live", "/console/nowhere", "/console/leads/x"]
    {
        let answer = client.get(path).await;
        let policy = header(&answer, "content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{path}");
        assert!(
            !answer.contains(" style=\"")
                && !answer.contains(" onclick")
                && !answer.contains("http-equiv=\"set-cookie")
        );
        assert!(!answer.contains(ADMIN), "{path}");
    }
    assert_eq!(status(&client.get("/console/nowhere").await), 404);
    assert_eq!(status(&client.get("/console/sites/nobody").await), 404);
    assert_eq!(status(&client.send("DELETE", "/console/leads", "", "").await), 405);
    stage.stop().await;
}

#[tokio::test]
async fn the_first_view_is_small() {
    let now = Timestamp::now();
    let stage = Stage::with("", |store| async move {
        let visitor = Visitor { name: "Ann Lee", email: "ann@lee.example", message: "Hello" };
        for number in 0..50 {
            delivered(&store, number, "acme-dental", &visitor, now - Duration::from_secs(number)).await;
        }
    })
    .await;
    let client = Client::log_in(&stage).await;
    for path in ["/console/", "/console/leads"] {
        let page = client.get(path).await;
        let mut bytes = page.len();
        let assets = page.split(['"']).filter(|text| text.starts_with("/console/assets/"));
        let assets: Vec<&str> = assets.collect();
        assert_eq!(assets.len(), 3, "{assets:?}");
        for asset in assets {
            let plain = request(&stage, "GET", asset, "", "").await;
            assert_eq!(header(&plain, "cache-control"), Some("public, max-age=31536000, immutable"));
            let packed = request(&stage, "HEAD", asset, "Accept-Encoding: gzip, br\r\n", "").await;
            let length = header(&packed, "content-length").expect("a length").parse::<usize>().expect("a number");
            assert!(header(&packed, "content-encoding") == Some("gzip") && length < plain.len(), "{packed}");
            bytes += length;
        }
        println!("{path}: {bytes} bytes with its style, script and icon");
        assert!(bytes < 60 * 1024, "{path}: {bytes} bytes");
    }
    stage.stop().await;
}

#[tokio::test]
async fn masked_leads_are_shown_whole_once_somebody_says_so() {
    let stage = Stage::with("mask = true", |_store| async {}).await;
    let body = r#"{"your-name":"Ann Lee","your-email":"ann.lee(at)home","your-tel":"+44 20 7946 0018",
                   "your-message":"Write to anna@work.example or ring 020 7946 0019"}"#;
    stage.post("birch-law/contact", body).await;
    let client = Client::log_in(&stage).await;
    let id = between(&client.get("/console/leads").await, "name=\"id\" value=\"", "\"").to_owned();
    let page = client.get(&format!("/console/leads/{id}")).await;
    for whole in ["anna@work.example", "7946 0018", "7946 0019"] {
        assert!(!page.contains(whole), "{whole}");
    }
    assert!(!page.contains("name=\"message\"") && !page.contains("/capture"), "nothing masked is sent on");
    let choice = format!("verb=retry&id={id}");
    assert!(!client.post("/console/leads/preview", &choice).await.contains("anna@work"));
    let export = format!("verb=export&id={id}");
    let masked = client.post("/console/leads/export", &export).await;
    assert!(masked.contains("birch-law") && !masked.contains("ann.lee(at)home"), "{masked}");
    let audit = || std::fs::read_to_string(stage.folder.path().join("data/audit.ndjson")).expect("the audit");
    assert!(!audit().contains("reveal"));
    assert_eq!(status(&client.post(&format!("/console/leads/{id}/reveal"), "").await), 303);
    let page = client.get(&format!("/console/leads/{id}")).await;
    assert!(page.contains("anna@work.example") && page.contains("name=\"message\""), "{page}");
    assert!(audit().contains(r#""verb":"reveal","by":"console","ids":1"#), "{}", audit());
    let whole = client.post("/console/leads/export", &format!("{export}&reveal=yes")).await;
    assert_eq!((status(&whole), audit().matches("reveal").count()), (200, 2), "{}", audit());
    let other = Client::log_in(&stage).await;
    assert!(!other.get(&format!("/console/leads/{id}")).await.contains("anna@work"), "of another session");
    stage.stop().await;
}

#[tokio::test]
async fn a_correction_changes_what_was_corrected_and_nothing_else() {
    let stage = Stage::start().await;
    let body = r#"{"your-name":"Ann Lee","your-email":"ann","your-message":"Two lines\r\nof text","budget":"5000"}"#;
    stage.post("birch-law/contact", body).await;
    let client = Client::log_in(&stage).await;
    let id = between(&client.get("/console/leads").await, "name=\"id\" value=\"", "\"").to_owned();
    let path = format!("/console/leads/{id}");
    let page = client.get(&path).await;
    let shown = |field: &str| between(&page, &format!("name=\"shown_{field}\" value=\""), "\"").to_owned();
    let [name, email, phone, message] = ["name", "email", "phone", "message"].map(shown);
    // As a browser sends what it was given.
    let fields = format!(
        "shown_name={name}&shown_email={email}&shown_phone={phone}&shown_message={message}&name=Ann+Lee&email=ann%40lee.example\
         &phone=&message=Two+lines%0D%0Aof+text"
    );
    let answer = client.post(&format!("{path}/amend"), &fields).await;
    assert_eq!(header(&answer, "location"), Some(format!("{path}?done=amended").as_str()), "{answer}");
    stage.sandbox.wait_for(1).await;
    let lead = stage.sandbox.leads().remove(0);
    assert_eq!((lead.email.as_str(), lead.message.as_str()), ("ann@lee.example", "Two lines\nof text\n\nBudget: 5000"));
    let answer = client.post(&format!("{path}/amend"), &fields).await;
    assert_eq!(status(&answer), 422, "it is queued or delivered by now");
    stage.stop().await;
}

#[tokio::test]
async fn what_comes_after_a_preview_is_not_meant_by_it() {
    let stage = Stage::start().await;
    let held = r#"{"your-name":"Ann","your-email":"no","your-message":"Hi"}"#;
    stage.post("birch-law/contact", held).await;
    let client = Client::log_in(&stage).await;
    let preview = client.post("/console/leads/preview", "verb=drop&all=yes&state=held").await;
    assert!(preview.contains("Drop 1 lead"), "{preview}");
    let until = between(&preview, "name=\"until\" value=\"", "\"").to_owned();
    stage.post("birch-law/contact", &held.replace("Ann", "Bob")).await;
    let fields = format!("verb=drop&all=yes&state=held&until={}", until.replace(':', "%3A"));
    assert!(client.post("/console/leads/apply", &fields).await.contains("<strong>1</strong> dropped"));
    let counts = stage.store.store().counts().await.expect("counted");
    let of = |state| counts.iter().filter(|count| count.state == state).map(|count| count.entries).sum::<u64>();
    assert_eq!((of(State::Held), of(State::Dead)), (1, 1));
    for (path, to) in
        [("/console/leads/preview", "/console/leads"), ("/console/sites/birch-law/token", "/console/sites/birch-law")]
    {
        assert_eq!(header(&client.get(path).await, "location"), Some(to), "who reloads sees no error");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_causes_link_leads_to_the_leads_of_that_cause() {
    let stage = Stage::start().await;
    stage.post("birch-law/contact", r#"{"your-name":"Ann","your-email":"no","your-message":"Hi"}"#).await;
    stage.post("birch-law/contact", r#"{"your-name":"Bob","your-message":"Hi"}"#).await;
    let client = Client::log_in(&stage).await;
    let overview = client.get("/console/").await;
    assert!(overview.contains("2 leads need attention"), "{overview}");
    for cause in ["email invalid", "email missing"] {
        let (before, _) = overview.split_once(&format!(">no valid lead: {cause}<")).expect("a cause");
        let (_, link) = before.rsplit_once("href=\"").expect("a link");
        let list = client.get(&link.trim_end_matches('"').replace("&amp;", "&")).await;
        assert_eq!(list.matches("name=\"id\"").count(), 1, "{list}");
        assert!(list.contains(cause), "{list}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn whoever_holds_every_page_holds_nothing_else() {
    let stage = Stage::start().await;
    let client = Client::log_in(&stage).await;
    let host = stage.gateway.admin();
    let mut held = Vec::new();
    for _ in 0..16 {
        // The body never comes.
        let head = format!(
            "POST /console/leads/apply HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nOrigin: http://{host}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n",
            client.cookie
        );
        let mut stream = TcpStream::connect(host).await.expect("connected");
        stream.write_all(head.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    // They take their places one by one.
    while status(&client.get("/console/leads").await) != 503 {}
    for path in ["/livez", "/readyz", "/api/v1/status"] {
        assert_eq!(status(&client.get(path).await), 200, "{path}");
    }
    let answer = client.get("/console/").await;
    assert!(header(&answer, "retry-after").is_some() && answer.contains("Too many requests"), "{answer}");
    drop(held);
    while status(&client.get("/console/leads").await) != 200 {}
    stage.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_session_that_opened_it() {
    let stage = Stage::start().await;
    let client = Client::log_in(&stage).await;
    let watching = client.get("/api/v1/stream");
    let leaving = async {
        // The stream is there as soon as it is counted.
        while !String::from_utf8_lossy(&stage.gateway.metrics().text().expect("a page")).contains("formgate_streams 1")
        {
            tokio::task::yield_now().await;
        }
        let body = r#"{"your-name":"Ann","your-email":"ann@lee.example","your-message":"Hi"}"#;
        stage.post("acme-dental/contact", body).await;
        client.post("/console/logout", "").await;
        stage.post("acme-dental/contact", &body.replace("ann@", "bob@")).await;
    };
    let (told, ()) = tokio::join!(watching, leaving);
    assert!(told.contains("event: request") && told.contains(r#""reason":"logged_out""#), "{told}");
    stage.stop().await;
}

//! `[admin].mask`: what the admin API shows of a lead full of addresses and numbers, until it is asked for it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use formgate::operate::{LeadView, Life, Summary};
use formgate::queue::memory::MemoryStore;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::admin_api::{ADMIN, Api};
use crate::gateway::{TOKEN, json as body_of, send, status};
use crate::site_verbs::Followed;

/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses and numbers in the name, the message, an extra and a query.
const BODY: &str = "name=Jane+503-555-0142&email=jane.doe%40example.com&phone=%2B1+503+555+0142&message=Write+to+june%40\
                    example.org+or+call+503.555.0199+before+2026-12-18&Second+phone=0171+7654321&Work=jim%40example.net";

/// What must not be seen.
const SECRETS: [&str; 14] = [
    "jane.doe",
    "june@",
    "june%40",
    "jim@",
    "jim%40",
    "@example",
    "%40example",
    "5550142",
    "555-0142",
    "555 0142",
    "555+0142",
    "555.0199",
    "7654321",
    "1 7654",
];

fn secrets_in(text: &str) -> Vec<&'static str> {
    SECRETS.into_iter().filter(|secret| text.contains(secret)).collect()
}

/// A gateway that masks, with a lead that an operator dropped.
struct Masking {
    api: Api,
    id: String,
    data: tempfile::TempDir,
}

impl Masking {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let api = Api::with(Arc::new(MemoryStore::new(Duration::ZERO)), |config| {
            config.server.data = Some(data.path().to_owned());
            config.admin.mask = true;
        });
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let request = format!(
            "POST /hooks/acme?page=jane.doe%40example.com HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{form}Authorization: \
             Bearer {TOKEN}\r\nReferer: https://acme.example/?email=jane.doe%40example.com\r\nContent-Length: \
             {}\r\n\r\n{BODY}",
            BODY.len()
        );
        assert_eq!(status(&send(api.app.gateway()[0], request).await), 200);
        let id = tokio::time::timeout(PATIENCE, drop_the_lead(&api)).await.expect("dropped");
        Self { api, id, data }
    }

    async fn text(&self, target: &str) -> String {
        let answer = self.api.raw("GET", target, &format!("Authorization: Bearer {ADMIN}\r\n"), "").await;
        assert_eq!(status(&answer), 200, "{target}: {answer}");
        answer
    }

    fn revealed(&self) -> Vec<Value> {
        audited(self.data.path(), "reveal")
    }
}

/// Drops the only lead. It may be on its way to an API that isn't there, and then waits for its next try.
async fn drop_the_lead(api: &Api) -> String {
    loop {
        let (_, dropped) = api.post("/api/v1/leads/drop", r#"{"filter":{"state":"queued"}}"#).await;
        let lead = &dropped["results"][0];
        if lead["outcome"] == "dropped" {
            return lead["id"].as_str().expect("an id").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn audited(data: &Path, verb: &str) -> Vec<Value> {
    let lines = fs::read_to_string(data.join("audit.ndjson")).unwrap_or_default();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["verb"] == verb).collect()
}

#[tokio::test]
async fn no_path_shows_an_address_or_a_number_until_it_is_asked_for() {
    let masking = Masking::start().await;
    let id = &masking.id;
    for (target, secrets_min) in [
        ("/api/v1/leads?state=dead".to_owned(), 6),
        (format!("/api/v1/leads/{id}?"), 10),
        (format!("/api/v1/leads/{id}/trace?"), 0),
        ("/api/v1/leads/export?format=csv".to_owned(), 6),
        ("/api/v1/leads/export?format=ndjson".to_owned(), 6),
        ("/api/v1/leads/export?format=json".to_owned(), 6),
    ] {
        let masked = masking.text(&target).await;
        assert_eq!(secrets_in(&masked), [""; 0], "{target}: {masked}");
        assert!(masking.revealed().is_empty(), "nothing was asked for");
        let whole = masking.text(&format!("{target}&reveal=true")).await;
        assert!(secrets_in(&whole).len() >= secrets_min, "{target}: {:?} in {whole}", secrets_in(&whole));
        assert_eq!(masking.revealed().len(), 1, "{target}");
        fs::remove_file(masking.data.path().join("audit.ndjson")).expect("removed");
    }
    let masked = masking.text(&format!("/api/v1/leads/{id}")).await;
    let life = body_of(&masked);
    let lead = &life["entry"]["lead"];
    assert_eq!((&lead["email"], &lead["phone"]), (&json!("j•••@e•••.com"), &json!("+•••••••••42")));
    assert_eq!((&lead["name"], &life["entry"]["masked"]), (&json!("Jane •••-•••-••42"), &json!(true)));
    let message = lead["message"].as_str().expect("a message");
    assert!(message.starts_with("Write to j•••@e•••.org or call •••.•••.••99 before 2026-12-18"), "{message}");
    assert!(life["received"]["body"].as_str().is_some_and(|body| body.contains("email=j•••@e•••.com&")), "{life}");
}

#[tokio::test]
async fn dry_runs_are_masked_as_well_and_what_is_done_is_not_asked_twice() {
    let masking = Masking::start().await;
    let id = &masking.id;
    for (verb, asked) in [
        ("retry", json!({ "ids": [id], "dry_run": true })),
        ("amend", json!({ "id": id, "name": "Jane", "message": "Call 503 555 0142", "dry_run": true })),
    ] {
        let target = format!("/api/v1/leads/{verb}");
        let (code, masked) = masking.api.post(&target, &asked.to_string()).await;
        assert_eq!((code, secrets_in(&masked.to_string())), (200, vec![]), "{masked}");
        assert!(masked.to_string().contains("j•••@e•••.com"), "{masked}");
        let before = masking.revealed().len();
        let mut asked = asked;
        asked["reveal"] = json!(true);
        let (code, whole) = masking.api.post(&target, &asked.to_string()).await;
        assert_eq!(code, 200, "{whole}");
        assert!(secrets_in(&whole.to_string()).contains(&"jane.doe"), "{whole}");
        assert_eq!(masking.revealed().len(), before + 1);
    }
    let done = json!({ "ids": [id], "reveal": true }).to_string();
    assert_eq!(masking.api.post("/api/v1/leads/retry", &done).await.0, 200);
    assert_eq!(masking.revealed().len(), 2, "only a dry run shows leads");
}

#[tokio::test]
async fn what_is_masked_does_not_become_a_lead() {
    let masking = Masking::start().await;
    let (_, life) = masking.api.get(&format!("/api/v1/leads/{}", masking.id)).await;
    for field in ["email", "phone", "message"] {
        let shown = &life["entry"]["lead"][field];
        let asked = json!({ "id": masking.id, field: shown }).to_string();
        let (code, problem) = masking.api.post("/api/v1/leads/amend", &asked).await;
        let words = format!("the {field} is masked; reveal the lead and correct what it really says");
        assert_eq!((code, &problem["detail"]), (400, &json!(words)), "{shown}");
    }
}

#[tokio::test]
async fn the_audit_says_who_saw_which_leads_and_no_value() {
    let masking = Masking::start().await;
    let id = &masking.id;
    masking.text(&format!("/api/v1/leads/{}?reveal=true", &id[..20])).await;
    masking.text("/api/v1/leads?site=acme&text=jane.doe&reveal=true").await;
    masking.text("/api/v1/leads?reveal=false").await;
    let amend = json!({ "id": "jane.doe@example.com", "name": "x", "dry_run": true, "reveal": true }).to_string();
    assert_eq!(masking.api.post("/api/v1/leads/amend", &amend).await.0, 400);
    let lines = masking.revealed();
    let of = |line: &Value| (line["by"].clone(), line["shown"].clone(), line["outcome"].clone());
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(of(&lines[0]), (json!("admin-api"), json!([id]), json!("done")), "by its whole id");
    assert!(lines[1]["filter"].as_str().is_some_and(|filter| filter.contains("site=acme")), "{}", lines[1]);
    assert!(!format!("{lines:?}").contains("jane.doe"), "{lines:?}");
    for bad in ["/api/v1/leads?reveal=yes", "/api/v1/leads?reveal=true&reveal=true"] {
        assert_eq!(masking.api.get(bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn where_the_audit_cannot_be_written_leads_stay_masked() {
    let masking = Masking::start().await;
    let audit = masking.data.path().join("audit.ndjson");
    fs::remove_file(&audit).expect("removed");
    // Every write into this one finds no room.
    std::os::unix::fs::symlink("/dev/full", &audit).expect("linked");
    for target in [format!("/api/v1/leads/{}?reveal=true", masking.id), "/api/v1/leads?reveal=true".to_owned()] {
        let (code, problem) = masking.api.get(&target).await;
        assert_eq!((code, secrets_in(&problem.to_string())), (500, vec![]), "{problem}");
    }
    assert_eq!(masking.api.get("/api/v1/leads").await.0, 200);
}

#[tokio::test]
async fn through_the_socket_leads_are_whole_and_nobody_asks() {
    let masking = Masking::start().await;
    let mut stream = UnixStream::connect(masking.data.path().join("run/admin.sock")).await.expect("a socket");
    let request = format!("GET /api/v1/leads/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", masking.id);
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(body_of(&answer)["entry"]["lead"]["email"], "jane.doe@example.com");
    assert_eq!(body_of(&answer)["entry"].get("masked"), None);
    assert!(masking.revealed().is_empty());
}

#[tokio::test]
async fn what_is_masked_is_read_by_the_programs_own_types() {
    let masking = Masking::start().await;
    let (_, page) = masking.api.get("/api/v1/leads?state=dead").await;
    let lead: Summary = serde_json::from_value(page["leads"][0].clone()).expect("a summary");
    assert_eq!(lead.lead.as_ref().map(LeadView::email), Some("j•••@e•••.com"));
    let (_, life) = masking.api.get(&format!("/api/v1/leads/{}", masking.id)).await;
    let life: Life = serde_json::from_value(life).expect("a life");
    assert!(life.entry.masked && life.fields.iter().any(|field| field.values == ["j•••@e•••.net"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_effect_without_a_restart() {
    let gateway = Followed::start("http://127.0.0.1:1");
    assert_eq!(gateway.post(TOKEN).await, 200);
    let shows = async |shown: &str| {
        let shows = async {
            while gateway.get("/api/v1/leads").await["leads"][0]["lead"]["email"] != shown {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, shows).await.expect(shown);
    };
    shows("jane@example.com").await;
    gateway.change_config("[admin]\n", "[admin]\nmask = true\n");
    shows("j•••@e•••.com").await;
    gateway.change_config("mask = true\n", "mask = false\n");
    shows("jane@example.com").await;
}

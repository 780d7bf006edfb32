//! What the gateway knows of each site: counted, kept over a restart, told by the admin API and by `formgate sites`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use formgate::accept::Options;
use formgate::app;
use formgate::config::{self, Site, Sources, Token};
use formgate::lead::{EntryId, FormId, SiteId};
use formgate::operate::{self, SiteSummary};
use formgate::queue::activity::{
    ACTIVITY_FORMS_MAX, Activity, Mistake, PostEnd, RefusedPost, Sender, StoredPost, mistakes,
};
use formgate::queue::{NoteKind, Notes as _, Reason, State};
use formgate::sandbox::{self, Sandbox};
use jiff::Timestamp;
use jiff::civil::date;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cli::{Place, Ran};
use crate::gateway::{self, PUBLIC, SECRET, TOKEN, acme, lead_body, post, send, start_with, status};
use crate::log_lines::LogLines;
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::World;

const BETA_TOKEN: &str = "fg_beta5678901234567890123456789012345678901234";
const OLD_TOKEN: &str = "fg_old45678901234567890123456789012345678901234";
/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn sha256(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A folder with sites, whose leads go to an address.
struct Agency {
    place: Arc<Place>,
    app: Option<app::Running>,
}

impl Agency {
    /// `acme` may send with these keys; `beta` shares nothing with it; `gamma` sends nothing.
    fn new(base_url: &str, acme_keys: [&str; 2]) -> Self {
        let main = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[kaicalls]\nbase_url = \
             \"{base_url}\"\n[queue]\nurl = \"sqlite:data/formgate.db\"\nretry = {{ first = \"50ms\", max = \"100ms\" \
             }}\n"
        );
        let site = |id: &str, [public, secret]: [&str; 2], token: &str, more: &str| {
            format!(
                "id = \"{id}\"\nname = \"The {id}\"\nurl = \"https://{id}.example\"\npublic_key = \"{public}\"\n\
                 secret_key = \"{secret}\"\ntokens = [{{ sha256 = \"{}\", note = \"all forms\" }}]\n{more}",
                sha256(token)
            )
        };
        let place = Place::of(&[
            ("config.toml", &main),
            ("sites/acme.toml", &site("acme", acme_keys, TOKEN, "")),
            ("sites/beta.toml", &site("beta", ["wp_pk_beta", "wp_sk_wrong"], BETA_TOKEN, "")),
            ("sites/gamma.toml", &site("gamma", ["wp_pk_gamma", "wp_sk_gamma"], OLD_TOKEN, "deliver = false\n")),
        ]);
        let mut agency = Self { place: Arc::new(place), app: None };
        agency.start();
        agency
    }

    fn start(&mut self) {
        let sources = Sources::with_environment([]);
        let starting = config::start(&self.place.path("config.toml"), &sources, date(2026, 11, 30));
        let (config, origin) = starting.in_force.expect("it can be served");
        self.app = Some(app::start(config, origin).expect("started"));
    }

    async fn stop(&mut self) {
        let ended = self.app.take().expect("it runs").stop().await;
        assert!(ended.fatal.is_none() && !ended.has_panicked);
    }

    async fn post(&self, path: &str, token: &str, body: &str) -> u16 {
        let address = self.app.as_ref().expect("it runs").gateway()[0];
        status(&send(address, post(path, &bearer(token), body)).await)
    }

    /// Runs the program beside the gateway, which is of this process and of this thread.
    async fn run(&self, line: &[&str]) -> Ran {
        let mut command = self.place.command(line);
        let ran = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
        Ran::of(tokio::time::timeout(PATIENCE, ran).await.expect("it ends in time").expect("no panic"))
    }

    async fn list(&self) -> Value {
        let ran = self.run(&["sites", "list", "--output", "json"]).await;
        assert_eq!(ran.code, 0, "{}", ran.talk);
        ran.json()
    }

    async fn show(&self, site: &str) -> Value {
        let ran = self.run(&["sites", "show", site, "--output", "json"]).await;
        assert_eq!(ran.code, 0, "{}", ran.talk);
        ran.json()
    }

    /// Lists until the figures are as wanted.
    async fn list_until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let listed = async {
            loop {
                let list = self.list().await;
                if wanted(&list) {
                    return list;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listed).await.expect("the figures are told")
    }
}

async fn sandboxed() -> (Sandbox, Agency) {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let sandbox = Sandbox::start(sandbox::Options::new(any_port)).expect("started");
    let keys = sandbox.keys();
    let agency = Agency::new(&sandbox.base_url(), [&keys.public_key, &keys.secret_key]);
    (sandbox, agency)
}

#[tokio::test]
async fn the_list_tells_how_each_site_is() {
    let (sandbox, agency) = sandboxed().await;
    assert_eq!(agency.post("/hooks/acme/contact", TOKEN, &lead_body("jane@example.com")).await, 200);
    assert_eq!(agency.post("/hooks/acme/contact", TOKEN, &lead_body("jane@example.com")).await, 200, "a duplicate");
    assert_eq!(agency.post("/hooks/acme/quote", TOKEN, &lead_body("nowhere")).await, 200, "held");
    assert_eq!(agency.post("/hooks/acme/contact", "fg_wrong", &lead_body("jane@example.com")).await, 401);
    assert_eq!(agency.post("/hooks/nobody", TOKEN, &lead_body("jane@example.com")).await, 401);
    assert_eq!(agency.post("/hooks/beta", BETA_TOKEN, &lead_body("bob@example.com")).await, 200);
    assert_eq!(agency.post("/hooks/gamma", OLD_TOKEN, &lead_body("eve@example.com")).await, 200);
    sandbox.wait_for(1).await;
    let list = agency
        .list_until(|list| list[0]["figures"]["counts"]["delivered"] == 1 && list[1]["figures"]["state"] == "paused")
        .await;
    let ids: Vec<_> = list.as_array().expect("rows").iter().map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, [Some("acme"), Some("beta"), Some("gamma")]);
    let [acme, beta, gamma] = [0, 1, 2].map(|at| &list[at]["figures"]);
    assert_eq!(acme["state"], "ok");
    assert_eq!(acme["counts"], json!({"queued": 0, "held": 1, "delivered": 1, "dead": 0}));
    assert_eq!(acme["last_24h"], json!({"taken": 2, "delivered": 1, "refused": 1}));
    assert_eq!(acme["last_7d"], acme["last_24h"]);
    assert_eq!((&acme["key"]["state"], &acme["last_error"]), (&json!("ok"), &Value::Null));
    assert_eq!((&acme["refused"]["last_24h"], &acme["refused"]["last_reason"]), (&json!(1), &json!("unknown_token")));
    assert_eq!(beta["key"]["state"], "refused");
    assert_eq!(beta["key"]["public_key"], "wp_pk_beta");
    assert!(beta["key"]["since"].is_string(), "{beta}");
    assert!(beta["last_error"]["words"].as_str().is_some_and(|words| words.contains("401")), "{beta}");
    assert_eq!((&gamma["state"], &gamma["counts"]["held"]), (&json!("deliveries_off"), &json!(1)));
    assert_eq!(gamma["key"]["state"], "unknown");

    let table = agency.run(&["sites", "list"]).await;
    let line = |id: &str| table.data.lines().find(|line| line.starts_with(id)).expect("its line").to_owned();
    let words = |id: &str| line(id).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert!(words("SITE").starts_with("SITE STATE LAST LEAD 24 H 7 D QUEUED HELD DEAD KEY REFUSED LAST ERROR"));
    assert!(words("acme").contains(" 2 2 0 1 0 ok 1 (unknown_token) -"), "{}", table.data);
    assert!(words("beta").starts_with("beta paused") && words("beta").contains("401"), "{}", table.data);
    assert!(table.talk.contains("1 post in 24 h named a site that doesn't exist"), "{}", table.talk);
    let status = agency.run(&["status"]).await;
    for line in ["refused posts (24 h)\n", "\n  acme: 1 post, last ", "\n  sites that don't exist: 1 post, last "] {
        assert!(status.data.contains(line), "{line}: {}", status.data);
    }
    agency.app.expect("it runs").stop().await;
}

#[tokio::test]
async fn a_refused_post_is_told_with_its_sender_and_cure_also_after_a_restart() {
    let mut agency = Agency::new("http://127.0.0.1:1", [PUBLIC, SECRET]);
    let wordpress = "User-Agent: WordPress/7.1; https://www.clinic.example\r\n";
    let refused = async |agency: &Agency, headers: &str| {
        let request = post("/hooks/acme/contact", &format!("{headers}{}", bearer("fg_wrong")), "{}");
        let address = agency.app.as_ref().expect("it runs").gateway()[0];
        assert_eq!(status(&send(address, request).await), 401);
    };
    refused(&agency, wordpress).await;
    refused(&agency, "User-Agent: jane@example.com\r\n").await;
    agency.stop().await;
    agency.start();
    refused(&agency, "User-Agent: scanner \"<x>\" 203.0.113.5\r\nReferer: https://203.0.113.5/a\r\n").await;
    let shown = agency.show("acme").await["figures"]["refused_posts"].take();
    let told = shown[0].as_object().expect("a mistake");
    let names: Vec<_> = told.keys().map(String::as_str).collect();
    assert_eq!(names, ["mistake", "status", "count", "first_at", "last_at", "host", "agent", "cure"]);
    assert_eq!((&told["mistake"], &told["status"], &told["count"]), (&json!("unknown_token"), &json!(401), &json!(3)));
    assert_eq!(told["host"], "clinic.example");
    assert_eq!(told["agent"], "WordPress/7.1; https://www.clinic.example");
    assert!(told["first_at"].as_str() < told["last_at"].as_str(), "{shown}");
    let cure = "make a new one with `formgate sites token add SITE`, and paste the new URL";
    assert!(told["cure"].as_str().is_some_and(|told| told.ends_with(cure)), "{shown}");
    let text = agency.run(&["sites", "show", "acme"]).await.data;
    for part in
        ["\nRefused posts\n  unknown_token  401  3 posts  first ", "  clinic.example  WordPress/7.1; https", cure]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let status = agency.run(&["status"]).await.data;
    assert!(
        status.contains(": unknown_token, from clinic.example\n    the token ") && status.contains(cure),
        "{status}"
    );
    assert!(agency.show("beta").await["figures"]["refused_posts"].as_array().is_some_and(Vec::is_empty));
    agency.stop().await;
}

#[tokio::test]
async fn where_no_gateway_runs_the_files_are_shown_and_it_is_said() {
    let mut agency = Agency::new("http://127.0.0.1:1", [PUBLIC, SECRET]);
    agency.stop().await;
    let ran = agency.run(&["sites", "list"]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.data.starts_with("SITE   NAME       FORMS  TOKENS  DELIVER  STATUS  FILE\n"), "{}", ran.data);
    assert!(ran.talk.contains("no gateway answers: only what the files say is shown"), "{}", ran.talk);
    let ran = agency.run(&["sites", "show", "acme"]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.data.contains(&sha256(TOKEN)[..12]) && ran.data.contains("all forms"), "{}", ran.data);
    assert!(!ran.data.contains("taken"), "{}", ran.data);
    assert!(agency.list().await[0]["figures"].is_null());
    let quiet = agency.run(&["sites", "list", "--offline"]).await;
    assert!(!quiet.talk.contains("no gateway"), "{}", quiet.talk);
    let unknown = agency.run(&["sites", "show", "acne"]).await;
    assert!(unknown.code == 2 && unknown.talk.contains("acme"), "{}", unknown.talk);
    let nobody = agency.run(&["sites", "list", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(nobody.code, 69, "{}", nobody.talk);
}

#[tokio::test]
async fn a_site_whose_file_breaks_is_told_with_its_place() {
    let mut agency = Agency::new("http://127.0.0.1:1", [PUBLIC, SECRET]);
    let file = agency.place.path("sites/beta.toml");
    let text = std::fs::read_to_string(&file).expect("text");
    std::fs::write(&file, format!("nmae = \"Beta\"\n{text}")).expect("written");
    agency.app.as_ref().expect("it runs").reload();
    let list = agency.list_until(|list| list[1]["figures"]["state"] == "broken").await;
    assert_eq!((&list[1]["problem"], &list[0]["figures"]["state"]), (&json!("sites/beta.toml:1:1"), &json!("ok")));
    let shown = agency.run(&["sites", "show", "beta"]).await.data;
    assert!(shown.contains("broken (sites/beta.toml:1:1)"), "{shown}");
    // Its last-good version takes what comes.
    assert_eq!(agency.post("/hooks/beta", BETA_TOKEN, &lead_body("bob@example.com")).await, 200);
    agency.stop().await;
}

#[tokio::test]
async fn forms_and_tokens_that_were_used_are_known_after_a_restart() {
    let mut agency = Agency::new("http://127.0.0.1:1", [PUBLIC, SECRET]);
    for form in ["contact", "quote", "contact"] {
        let email = format!("{form}{}@example.com", rand::random::<u32>());
        assert_eq!(agency.post(&format!("/hooks/acme/{form}"), TOKEN, &lead_body(&email)).await, 200);
    }
    // Nobody has asked for figures: what is known afterwards was written at the stop.
    agency.stop().await;
    agency.start();
    let shown = agency.show("acme").await;
    let figures = &shown["figures"];
    let used = &figures["tokens"][0];
    assert_eq!((&used["sha256"], &used["note"]), (&json!(&sha256(TOKEN)[..12]), &json!("all forms")));
    assert_eq!(used["count"], 3);
    let last_used: Timestamp = used["last_used"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    assert!(last_used.duration_since(Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1));
    let mut forms: Vec<_> = figures["forms"].as_array().expect("forms").iter().map(|form| &form["id"]).collect();
    forms.sort_by_key(|id| id.as_str());
    assert_eq!(forms, ["contact", "quote"]);
    assert_eq!(figures["forms"][0]["id"], "contact", "the last first");
    assert_eq!((&figures["forms"][0]["count"], &figures["last_24h"]["taken"]), (&json!(2), &json!(3)));
    let never = agency.show("beta").await;
    assert_eq!(never["figures"]["tokens"][0]["last_used"], Value::Null);
    agency.stop().await;
}

#[tokio::test]
async fn kaicalls_own_count_stands_beside_formgates() {
    let (sandbox, mut agency) = sandboxed().await;
    let body = r#"{"name":"Zaphod Secretname","email":"zaphod@example.com","message":"Hello"}"#;
    assert_eq!(agency.post("/hooks/acme/contact", TOKEN, body).await, 200);
    sandbox.wait_for(1).await;
    agency.list_until(|list| list[0]["figures"]["last_7d"]["delivered"] == 1).await;
    let shown = agency.show("acme").await;
    let week = &shown["figures"]["kaicalls"];
    assert_eq!((&week["leads_this_week"], &week["delivered_7d"]), (&json!(1), &json!(1)), "{week}");
    assert_eq!((&week["agrees"], &week["shared_with"]), (&json!(true), &json!([])));
    assert_eq!(week["recent_leads"][0]["name"], "Zaphod Secretname");
    let text = agency.run(&["sites", "show", "acme"]).await.data;
    assert!(text.contains("1 lead this week") && text.contains("Zaphod Secretname"), "{text}");
    assert!(!text.contains("disagree"), "{text}");
    let without = agency.run(&["sites", "show", "acme", "--without-kaicalls", "--output", "json"]).await.json();
    assert!(without["figures"]["kaicalls"].is_null(), "{without}");

    // What is delivered in the hour for which its answer is kept is no disagreement.
    assert_eq!(agency.post("/hooks/acme/contact", TOKEN, &lead_body("jane@example.com")).await, 200);
    agency.list_until(|list| list[0]["figures"]["last_7d"]["delivered"] == 2).await;
    let week = agency.show("acme").await["figures"]["kaicalls"].take();
    assert_eq!((&week["delivered_7d"], &week["agrees"]), (&json!(1), &json!(true)), "{week}");

    // Somebody else's lead of the same business. KaiCalls is asked again in an hour, or by another gateway.
    let keys = sandbox.keys();
    let headers = format!("Authorization: Bearer {}:{}\r\n", keys.public_key, keys.secret_key);
    let lead = post("/api/v1/wordpress/intake", &headers, &lead_body("other@example.com"));
    assert_eq!(status(&send(sandbox.address(), lead).await), 200);
    assert_eq!(agency.show("acme").await["figures"]["kaicalls"]["leads_this_week"], 1);
    agency.stop().await;
    agency.start();
    let shown = agency.show("acme").await;
    assert_eq!(shown["figures"]["kaicalls"]["leads_this_week"], 3);
    assert_eq!(shown["figures"]["kaicalls"]["agrees"], false);
    let text = agency.run(&["sites", "show", "acme"]).await.data;
    assert!(text.contains("They disagree: KaiCalls has more"), "{text}");
    agency.stop().await;
}

#[tokio::test]
async fn only_what_goes_out_with_a_pair_is_compared_with_its_business() {
    let api = ScriptedApi::start().await;
    api.on("dashboard-widget", Reply::json(200, r#"{"success":true,"recentLeads":[],"leadsThisWeek":2}"#));
    let mut agency = Agency::new(&api.base_url(), [PUBLIC, SECRET]);
    agency.stop().await;
    let own =
        |form: &str, key: &str| format!("[forms.{form}]\npublic_key = \"wp_pk_{key}\"\nsecret_key = \"wp_sk_{key}\"\n");
    for (site, more) in [("acme", own("branch", "else")), ("beta", own("office", "acme"))] {
        let file = agency.place.path(&format!("sites/{site}.toml"));
        let text = std::fs::read_to_string(&file).expect("text");
        std::fs::write(&file, format!("{text}\n{more}")).expect("written");
    }
    agency.start();
    for (path, token) in [
        ("/hooks/acme/contact", TOKEN),
        ("/hooks/acme/branch", TOKEN),
        ("/hooks/beta/office", BETA_TOKEN),
        ("/hooks/beta/contact", BETA_TOKEN),
    ] {
        let email = format!("{}@example.com", path.replace('/', ""));
        assert_eq!(agency.post(path, token, &lead_body(&email)).await, 200);
    }
    let delivered = |list: &Value, at: usize| list[at]["figures"]["last_7d"]["delivered"] == 2;
    agency.list_until(|list| delivered(list, 0) && delivered(list, 1)).await;
    let week = agency.show("acme").await["figures"]["kaicalls"].take();
    assert_eq!((&week["delivered_7d"], &week["agrees"]), (&json!(2), &json!(true)), "{week}");
    assert_eq!(week["shared_with"], json!(["beta"]));
    agency.stop().await;
}

#[tokio::test]
async fn kaicalls_is_asked_once_an_hour_and_its_failure_is_told() {
    let api = ScriptedApi::start().await;
    api.on("dashboard-widget", Reply::error(500, "Try later"));
    let widget =
        r#"{"success":true,"recentLeads":[{"name":"Trillian","created_at":"2026-11-29T10:00:00Z"}],"leadsThisWeek":3}"#;
    api.on("dashboard-widget", Reply::json(200, widget));
    let mut agency = Agency::new(&api.base_url(), [PUBLIC, SECRET]);
    let failed = agency.show("acme").await;
    let words = failed["figures"]["kaicalls"]["failed"].as_str().unwrap_or_default().to_owned();
    assert_eq!(words, "KaiCalls answered 500: Try later");
    assert_eq!(failed["figures"]["kaicalls"]["agrees"], Value::Null);
    for _ in 0..3 {
        assert_eq!(agency.show("acme").await["figures"]["kaicalls"]["leads_this_week"], 3);
    }
    assert_eq!(api.requests().len(), 2, "one failed, one good for an hour");
    agency.stop().await;
    for file in walk(&agency.place.path("data")) {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(8).any(|bytes| bytes == b"Trillian"), "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let inner = folders.iter().flat_map(|folder| walk(folder));
    files.iter().filter(|file| file.is_file()).cloned().chain(inner).collect()
}

/// A gateway with `acme`, which has an expired token too, and `beta`.
fn start_with_tokens(activity: &Activity) -> gateway::Running {
    let token = |text: &str, expires| Token { sha256: Sha256::digest(text).into(), note: None, expires };
    let change = |config: &mut config::Config| {
        let mut site = acme();
        site.tokens.push(token(OLD_TOKEN, Some(date(2020, 1, 1))));
        config.sites.insert(site.id.clone(), Arc::new(site));
        let id = SiteId::parse("beta").expect("a site");
        let tokens = vec![token(BETA_TOKEN, None)];
        let beta = Site { id: id.clone(), tokens, keys: None, form_keys: BTreeMap::new(), ..acme() };
        config.sites.insert(id, Arc::new(beta));
    };
    gateway::start_behind(None, Options::default(), change, |gateway| gateway.with_activity(activity.clone()))
}

/// The notes that tell which posts were refused: site, last mistake, count of all.
async fn refused_notes(gateway: &gateway::Running) -> Vec<(String, String, u64)> {
    let notes = gateway.shelf.notes(NoteKind::Refused, "", None, 10).await.expect("read");
    notes.into_iter().map(|note| (note.key.to_string(), mistakes(&note)[0].mistake.clone(), note.numbers[0])).collect()
}

fn refused_note(site: &str, reason: &str, count: u64) -> (String, String, u64) {
    (site.to_owned(), reason.to_owned(), count)
}

/// A path, headers, and what the log says: what was wrong, the site, and the site that the token is of.
type RefusedCase = (&'static str, String, &'static str, Option<&'static str>, Option<&'static str>);

fn refused_cases() -> [RefusedCase; 10] {
    let signature = format!("X-WPForms-Webhook-Signature: t={},v={}\r\n", Timestamp::now().as_second(), "0".repeat(64));
    let keys = |secret: &str, public: &str| bearer(&format!("{public}:{secret}"));
    let intake = "/api/v1/wordpress/intake";
    let outdated = format!("X-WPForms-Webhook-Signature: t=1,v={}\r\n", "0".repeat(64));
    // As many as one address has lines in a minute.
    [
        ("/hooks/nobody", bearer(TOKEN), "unknown_site", None, Some("acme")),
        ("/hooks/nobody", signature.clone(), "unknown_site", None, None),
        ("/hooks/acme", String::new(), "no_credential", Some("acme"), None),
        ("/hooks/acme", bearer("fg_guess"), "unknown_token", Some("acme"), None),
        ("/hooks/acme", bearer(OLD_TOKEN), "expired_token", Some("acme"), None),
        ("/hooks/acme", bearer(BETA_TOKEN), "other_sites_token", Some("acme"), Some("beta")),
        ("/hooks/acme", signature, "bad_signature", Some("acme"), None),
        ("/hooks/acme", outdated, "bad_signature", Some("acme"), None),
        (intake, keys("wp_sk_x", "wp_pk_x"), "unknown_keys", None, None),
        (intake, keys("wp_sk_x", "wp_pk_branch"), "wrong_secret_key", Some("acme"), None),
    ]
}

#[tokio::test]
async fn the_log_says_why_a_credential_was_refused_and_the_answer_does_not() {
    let (lines, _guard) = LogLines::begin();
    let activity = Activity::default();
    let gateway = start_with_tokens(&activity);
    let cases = refused_cases();
    let mut answers = Vec::new();
    for (path, headers, ..) in &cases {
        let answer = gateway.send(post(path, headers, &lead_body("jane@example.com"))).await;
        assert_eq!(status(&answer), 401, "{path} {headers}");
        let mut problem = gateway::json(&answer);
        problem["request_id"] = Value::Null;
        answers.push((*path, problem));
    }
    // Whatever was wrong, whoever posts to /hooks reads the same.
    answers.retain(|(path, _)| path.starts_with("/hooks"));
    assert!(answers.iter().all(|(_, answer)| *answer == answers[0].1), "{answers:?}");
    let events = lines.events("request unauthorized");
    let told: Vec<_> = events
        .iter()
        .map(|event| [&event["refused"], &event["site"], &event["token_site"]].map(Value::as_str))
        .collect();
    let expected: Vec<_> = cases.iter().map(|(_, _, fault, site, of)| [Some(*fault), *site, *of]).collect();
    assert_eq!(told, expected);
    for secret in [TOKEN, OLD_TOKEN, BETA_TOKEN, "fg_guess", "wp_sk_x"] {
        assert!(!lines.text().contains(secret), "{secret}");
    }
    let page = gateway.page();
    for line in [
        "formgate_credentials_refused_total{fault=\"unknown_site\"} 2",
        "formgate_credentials_refused_total{fault=\"other_sites_token\"} 1",
        "formgate_site_mistakes_total{mistake=\"other_sites_token\",site=\"acme\"} 1",
        "formgate_refused_total{reason=\"unauthorized\",site=\"acme\"} 7",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    activity.flush(&gateway.store()).await.expect("written");
    let last = [refused_note("*", "unknown_keys", 3), refused_note("acme", "wrong_secret_key", 7)];
    assert_eq!(refused_notes(&gateway).await, last);
}

#[tokio::test]
async fn whose_a_token_is_goes_by_the_configuration_in_force() {
    let (lines, _guard) = LogLines::begin();
    let gateway = start_with_tokens(&Activity::default());
    let request = post("/hooks/acme", &bearer(BETA_TOKEN), &lead_body("jane@example.com"));
    assert_eq!(status(&gateway.send(&request).await), 401);
    gateway.config.store(Arc::new(gateway::config()));
    assert_eq!(status(&gateway.send(&request).await), 401);
    let told = lines.events("request unauthorized");
    let told: Vec<_> = told.iter().map(|event| event["refused"].as_str()).collect();
    assert_eq!(told, [Some("other_sites_token"), Some("unknown_token")]);
}

#[tokio::test]
async fn what_else_is_refused_counts_to_the_site_too() {
    let activity = Activity::default();
    let counted = activity.clone();
    let gateway = gateway::start_behind(
        None,
        Options::default(),
        |config| config.server.max_upload = 100,
        |gateway| gateway.with_activity(counted),
    );
    assert_eq!(status(&gateway.post("/hooks/acme", &lead_body(&"x".repeat(200))).await), 413);
    assert_eq!(status(&gateway.send("GET /wp-login.php HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await), 404);
    activity.flush(&gateway.store()).await.expect("written");
    // A path that is no form's is nobody's post.
    assert_eq!(refused_notes(&gateway).await, [refused_note("acme", "upload_too_large", 1)]);
    let told = async |id| {
        let site = SiteId::parse(id).expect("a site");
        let told = operate::refused_posts(&*gateway.store(), &site).await.expect("read");
        told.into_iter().map(|told| (told.mistake, told.status, told.count)).collect::<Vec<_>>()
    };
    assert_eq!(told("acme").await, [("upload_too_large".to_owned(), Some(413), 1)]);
    assert_eq!(told("acm").await, [], "another site, whose id this one's begins with");
}

#[tokio::test]
async fn figures_that_cannot_be_written_are_kept_until_they_can() {
    let gateway = start_with(Options::default(), |_config| {});
    let shelf = &gateway.shelf;
    let activity = Activity::default();
    let site = SiteId::parse("acme").expect("a site");
    let form = FormId::parse("contact").expect("a form");
    let post = StoredPost { form: &form, mapping: Some("generic"), token: None, end: PostEnd::Queued };
    shelf.fail(gateway::Trouble::Away);
    for second in [1, 2] {
        activity.stored(&site, post, Timestamp::from_second(second).expect("a time"));
        assert!(activity.flush(&gateway.store()).await.is_err());
    }
    shelf.recover();
    for _ in 0..2 {
        activity.flush(&gateway.store()).await.expect("written");
    }
    let forms = shelf.notes(NoteKind::Form, "", None, 10).await.expect("read");
    let forms: Vec<_> = forms.iter().map(|note| (note.key.as_str(), note.text.as_deref(), &*note.numbers)).collect();
    assert_eq!(forms, [("acme/contact", Some("generic"), &[2][..])]);
    let days = shelf.notes(NoteKind::Daily, "", None, 10).await.expect("read");
    assert_eq!((days.len(), days[0].numbers[3]), (1, 2), "in the first hour of the day");
}

#[tokio::test]
async fn a_duplicate_is_no_post_of_its_form() {
    let gateway = start_with(Options::default(), |_config| {});
    let activity = Activity::default();
    let site = SiteId::parse("acme").expect("a site");
    for (second, form, end) in
        [(1, "contact", PostEnd::Queued), (2, "contact", PostEnd::Duplicate), (3, "quote", PostEnd::Duplicate)]
    {
        let form = FormId::parse(form).expect("a form");
        let post = StoredPost { form: &form, mapping: Some("generic"), token: None, end };
        activity.stored(&site, post, Timestamp::from_second(second).expect("a time"));
    }
    activity.flush(&gateway.store()).await.expect("written");
    let forms = gateway.shelf.notes(NoteKind::Form, "", None, 10).await.expect("read");
    let forms: Vec<_> =
        forms.iter().map(|note| (note.key.as_str(), note.last_at.as_second(), &*note.numbers)).collect();
    assert_eq!(forms, [("acme/contact", 1, &[1][..])]);
}

#[tokio::test]
async fn what_the_doctor_posts_is_nobodys_post() {
    let activity = Activity::default();
    let gateway = start_with_tokens(&activity);
    let name = |digit: &str| format!("doctor-{}", digit.repeat(32));
    assert!(gateway.metrics.pings().announce(&name("a")));
    for (name, counted) in [(name("a"), 0), (name("b"), 1)] {
        assert_eq!(status(&gateway.post(&format!("/hooks/{name}"), "a=1").await), 401);
        activity.flush(&gateway.store()).await.expect("written");
        assert_eq!(refused_notes(&gateway).await.len(), counted, "{name}");
        let page = gateway.page();
        let count = page.lines().filter(|line| line.starts_with("formgate_credentials_refused_total"));
        let count: u64 = count.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(count, counted as u64, "{name}");
    }
}

#[tokio::test]
async fn figures_whose_writing_nobody_waits_for_are_written_once() {
    let gateway = start_with(Options::default(), |_config| {});
    let activity = Activity::default();
    let site = SiteId::parse("acme").expect("a site");
    gateway.shelf.fail(gateway::Trouble::Silent);
    for second in 1..=3 {
        let post = RefusedPost { mistake: Mistake::UnknownToken, status: 401, sender: &Sender::default };
        activity.refused(Some(&site), &post, Timestamp::from_second(second).expect("a time"));
        // As whoever asks for figures does while the store hangs.
        let written = tokio::time::timeout(Duration::ZERO, activity.flush(&gateway.store())).await;
        assert!(written.is_err(), "nobody writes");
    }
    gateway.shelf.recover();
    activity.flush(&gateway.store()).await.expect("written");
    assert_eq!(refused_notes(&gateway).await, [refused_note("acme", "unknown_token", 3)]);
}

#[tokio::test]
async fn who_names_forms_without_end_pushes_nobody_out() {
    let gateway = start_with(Options::default(), |_config| {});
    let activity = Activity::default();
    let [acme, beta] = ["acme", "beta"].map(|id| SiteId::parse(id).expect("a site"));
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    let stored = |site: &SiteId, form: &str| {
        let form = FormId::parse(form).expect("a form");
        let post = StoredPost { form: &form, mapping: None, token: None, end: PostEnd::Queued };
        activity.stored(site, post, now);
    };
    stored(&beta, "contact");
    for _ in 0..2 {
        // Also over several writes.
        for number in 0..3 * ACTIVITY_FORMS_MAX {
            stored(&acme, &format!("form-{number}"));
        }
        activity.flush(&gateway.store()).await.expect("written");
    }
    let forms = gateway.shelf.notes(NoteKind::Form, "", None, 1_000).await.expect("read");
    assert_eq!(forms.len(), ACTIVITY_FORMS_MAX + 1);
    let days = gateway.shelf.notes(NoteKind::Daily, "", None, 1_000).await.expect("read");
    assert_eq!(days.len(), ACTIVITY_FORMS_MAX + 2);
    let rest: Vec<_> = days.iter().filter(|note| note.key.as_str().ends_with("/acme/*")).collect();
    assert_eq!(rest[0].numbers.iter().sum::<u64>(), 4 * ACTIVITY_FORMS_MAX as u64, "counted together");
}

#[tokio::test]
async fn what_the_sender_ends_is_counted_and_a_site_that_is_gone_is_told() {
    let world = World::new().await;
    let activity = Activity::default();
    let sender = world.sender.clone().with_activity(activity.clone());
    world.api.always(Reply::error(400, "Bad phone"));
    let id: EntryId = world.queue("acme", 1).await;
    for _ in 0..2 {
        sender.send_due().await;
        world.pass(4_000);
    }
    assert_eq!(world.state(id).await, (State::Dead, Reason::Refused, 2));
    world.api.back_to_normal();
    world.queue("beta", 2).await;
    sender.send_due().await;
    world.change(|config| {
        config.sites.remove(&SiteId::parse("beta").expect("a site"));
    });
    activity.flush(&world.store).await.expect("written");
    let list = operate::sites(&*world.store, &world.situation()).await.expect("listed");
    let of = |id: &str| list.sites.iter().find(|site| site.id.as_str() == id).expect("its row");
    let figures = |site: &SiteSummary| (site.counts.dead, site.counts.delivered, site.last_24h.delivered);
    assert_eq!((figures(of("acme")), figures(of("beta"))), ((1, 0, 0), (0, 1, 1)));
    assert!(of("acme").last_error.as_ref().is_some_and(|error| error.words.contains("Bad phone")));
    assert_eq!(of("beta").state, operate::SiteState::Gone);
    let days = world.store.notes(NoteKind::Daily, "", None, 10).await.expect("read");
    let dead = days.iter().find(|note| note.key.as_str().contains("/acme/")).map(|note| &note.numbers[..3]);
    assert_eq!(dead, Some(&[0, 0, 1][..]));
    let shown = operate::site(&*world.store, &world.situation(), &of("beta").id, None).await.expect("shown");
    assert_eq!(shown.summary.last_lead_at, Some(world.head(EntryId::new(2, &[2; 10])).await.accepted_at));
    let nobody = SiteId::parse("nobody").expect("a site");
    assert!(operate::site(&*world.store, &world.situation(), &nobody, None).await.is_err());
}

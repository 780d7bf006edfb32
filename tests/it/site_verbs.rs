//! What an operator does with one site over the admin API: a new token, and whether KaiCalls takes its keys.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use formgate::app;
use formgate::config::{self, Sources};
use formgate::destination::BaseUrl;
use formgate::kaicalls::{self, Client};
use formgate::lead::{FormId, SiteId};
use formgate::operate::{
    self, Actor, Audit, BadToken, KeyVerifier, NewToken, OperateError, PairState, PairVerified, SetupValues,
};
use formgate::sandbox::{self, Sandbox};
use jiff::Timestamp;
use jiff::civil::date;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cli::Place;
use crate::gateway::{self, TOKEN, lead_body, post, send, status};
use crate::scripted_api::{Reply, ScriptedApi};

const ADMIN: &str = "fga_an_admin_token_for_tests";
/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands around the tokens: remarks and a form that must stay.
fn site_file(more_tokens: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(TOKEN));
    format!(
        "# Acme\nid = \"acme\" # ours\npublic_key = \"wp_pk_acme\"\nsecret_key = \"wp_sk_acme\"\ntokens = [\n  {{ sha256 \
         = \"{sha256}\" }}, # the first\n{more_tokens}]\n\n# the only form\n[forms.contact]\n"
    )
}

/// A gateway in this process that follows its files.
pub(crate) struct Followed {
    place: Place,
    app: app::Running,
}

impl Followed {
    pub(crate) fn start(base_url: &str) -> Self {
        let main = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://gate.example\"\n[admin]\nlisten = \
             \"127.0.0.1:0\"\ntoken = \"{ADMIN}\"\n[kaicalls]\nbase_url = \"{base_url}\"\n[queue]\nurl = \
             \"sqlite:data/formgate.db\"\n"
        );
        let place = Place::of(&[("config.toml", &main), ("sites/acme.toml", &site_file(""))]);
        let starting = config::start(&place.path("config.toml"), &Sources::with_environment([]), date(2026, 11, 30));
        let (config, origin) = starting.in_force.expect("it can be served");
        Self { app: app::start(config, origin).expect("started"), place }
    }

    async fn call(&self, target: &str, body: &Value) -> (u16, Value) {
        let headers = format!("Authorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n");
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: \
             {length}\r\n\r\n{body}"
        );
        let answer = send(self.app.admin(), request).await;
        (status(&answer), gateway::json(&answer))
    }

    pub(crate) async fn post(&self, token: &str) -> u16 {
        let bearer = format!("Authorization: Bearer {token}\r\n");
        status(&send(self.app.gateway()[0], post("/hooks/acme", &bearer, &lead_body("jane@example.com"))).await)
    }

    pub(crate) async fn get(&self, target: &str) -> Value {
        let bearer = format!("Authorization: Bearer {ADMIN}\r\n");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{bearer}\r\n");
        gateway::json(&send(self.app.admin(), request).await)
    }

    pub(crate) fn change_config(&self, from: &str, to: &str) {
        let path = self.place.path("config.toml");
        let text = fs::read_to_string(&path).expect("a configuration");
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).expect("written");
    }

    fn file(&self) -> String {
        fs::read_to_string(self.place.path("sites/acme.toml")).expect("a file")
    }

    /// The audit's lines of a verb.
    fn audited(&self, verb: &str) -> Vec<Value> {
        let lines = fs::read_to_string(self.place.path("data/audit.ndjson")).unwrap_or_default();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["verb"] == verb).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_made_shown_once_and_valid_without_a_restart() {
    let gateway = Followed::start("http://127.0.0.1:1");
    let asked = json!({ "note": "contact form", "expires": "2099-06-30" });
    let (code, made) = gateway.call("/api/v1/sites/acme/tokens", &asked).await;
    assert_eq!(code, 200, "{made}");
    let token = made["token"].as_str().expect("a token");
    let sha256 = hex::encode(Sha256::digest(token));
    assert!(token.starts_with("fg_") && token.len() == 46, "{made}");
    assert_eq!((&made["sha256"], &made["note"]), (&json!(sha256[..12]), &json!("contact form")));
    assert_eq!(made["url"], "https://gate.example/hooks/acme");
    assert_eq!(made["url_with_token"], format!("https://gate.example/hooks/acme?token={token}"));
    let added = format!("  {{ sha256 = \"{sha256}\", note = \"contact form\", expires = 2099-06-30 }},\n");
    assert_eq!(gateway.file(), site_file(&added), "every other byte is as it was");
    let valid = async {
        while gateway.post(token).await == 401 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, valid).await.expect("the gateway reads its files again");
    assert_eq!(gateway.post(TOKEN).await, 200, "the older token is valid as well");
    let lines = gateway.audited("token-add");
    let outcomes: Vec<_> = lines.iter().map(|line| (&line["site"], &line["by"], &line["outcome"])).collect();
    let [begun, done] = ["begun", "done"].map(|outcome| (json!("acme"), json!("admin-api"), json!(outcome)));
    assert_eq!(outcomes, [(&begun.0, &begun.1, &begun.2), (&done.0, &done.1, &done.2)]);
    let told = format!("{lines:?}");
    assert!(!told.contains(token) && !told.contains(&sha256[..12]), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_made_says_why_and_changes_nothing() {
    let gateway = Followed::start("http://127.0.0.1:1");
    for (site, asked, code, words) in [
        ("acme", json!({ "expires": "2020-01-01" }), 400, "`expires` is in the past"),
        ("acme", json!({ "note": "two\nlines" }), 400, "one line"),
        ("acme", json!({ "note": "x".repeat(201) }), 400, "at most 200 characters"),
        ("acme", json!({ "token": "fg_mine" }), 400, "unknown field"),
        ("nobody", json!({}), 404, "no site `nobody` in the configuration"),
    ] {
        let (found, problem) = gateway.call(&format!("/api/v1/sites/{site}/tokens"), &asked).await;
        assert_eq!(found, code, "{asked}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
    }
    assert!(gateway.audited("token-add").is_empty(), "nothing was begun");
    assert_eq!(gateway.file(), site_file(""));
}

/// A configuration as the gateway has it, and then a file that is otherwise.
async fn added_to(text: &str) -> Result<NewToken, OperateError> {
    let place = Place::of(&[("config.toml", "[queue]\nurl = \"memory:\"\n"), ("sites/acme.toml", &site_file(""))]);
    let loaded = config::load(&place.path("config.toml"), &Sources::with_environment([]), date(2026, 11, 30));
    let config = loaded.config.expect("a configuration");
    fs::write(place.path("sites/acme.toml"), text).expect("written");
    let site = SiteId::parse("acme").expect("an id");
    let now = Timestamp::UNIX_EPOCH;
    let made = operate::add_token(&config, &site, None, None, &Audit::of(&config), Actor::Cli, now).await;
    assert!(made.is_ok() || fs::read_to_string(place.path("sites/acme.toml")).expect("read") == text);
    made
}

#[tokio::test]
async fn a_file_that_the_gateway_has_not_read_yet_is_left_alone() {
    let whole = site_file("");
    let without_form = whole.split_once("\n# the only form").expect("a form").0;
    let without_tokens = whole.split_once("tokens").expect("tokens").0;
    for cut in [without_form, without_tokens, "id = \"acme\"\ntokens = [", ""] {
        let refused = added_to(cut).await.err();
        assert!(matches!(refused, Some(OperateError::BadToken(BadToken::Changed(_)))), "{cut}: {refused:?}");
    }
    // What another command has added meanwhile is no harm.
    let more = format!("{whole}[forms.quote]\n");
    assert!(added_to(&more).await.is_ok());
}

#[tokio::test]
async fn where_the_file_cannot_be_written_the_words_say_who_can() {
    let place = Place::of(&[("config.toml", "[queue]\nurl = \"memory:\"\n"), ("sites/acme.toml", &site_file(""))]);
    let loaded = config::load(&place.path("config.toml"), &Sources::with_environment([]), date(2026, 11, 30));
    let config = loaded.config.expect("a configuration");
    // Nothing else keeps a test from writing that may run as root.
    fs::remove_dir_all(place.path("sites")).expect("removed");
    let site = SiteId::parse("acme").expect("an id");
    let now = Timestamp::UNIX_EPOCH;
    let refused = operate::add_token(&config, &site, None, None, &Audit::of(&config), Actor::Cli, now).await.err();
    let words = refused.as_ref().map(ToString::to_string).unwrap_or_default();
    let command = "run `formgate sites token add acme`";
    let file = "sites/acme.toml";
    assert!(words.contains(command) && words.ends_with(file), "{words}: {refused:?}");
}

/// A site of which KaiCalls takes one pair and refuses another; and two that have none to ask about.
fn keyed(base_url: &str, [public, secret]: [&str; 2]) -> (Place, config::Config) {
    let main = format!("[kaicalls]\nbase_url = \"{base_url}\"\n[queue]\nurl = \"memory:\"\n");
    let acme = format!(
        "id = \"acme\"\npublic_key = \"{public}\"\nsecret_key = \"{secret}\"\ntokens = []\n[forms.branch]\npublic_key = \
         \"{public}\"\nsecret_key = \"wp_sk_hush_wrong\"\n[forms.twin]\npublic_key = \"{public}\"\nsecret_key = \
         \"{secret}\"\n"
    );
    let none = "id = \"none\"\ntokens = []\npublic_key = { file = \"none_pk\" }\nsecret_key = { file = \"none_sk\" }\n";
    let lost = "id = \"lost\"\ntokens = []\npublic_key = \"wp_pk_lost\"\nsecret_key = { env = \"NOBODYS_SECRET\" }\n";
    let place = Place::of(&[
        ("config.toml", main.as_str()),
        ("sites/acme.toml", acme.as_str()),
        ("sites/none.toml", none),
        ("sites/lost.toml", lost),
    ]);
    let starting = config::start(&place.path("config.toml"), &Sources::with_environment([]), date(2026, 11, 30));
    (place, starting.in_force.expect("it can be served").0)
}

fn verifier(base_url: &str) -> KeyVerifier {
    let base_url = BaseUrl::parse(base_url).expect("a URL");
    KeyVerifier::new(Client::new(kaicalls::Options::new(base_url)).expect("a client"))
}

fn site(id: &str) -> SiteId {
    SiteId::parse(id).expect("an id")
}

async fn verified(verifier: &KeyVerifier, config: &config::Config, id: &str) -> Vec<PairVerified> {
    verifier.verify(config, &site(id), Timestamp::UNIX_EPOCH).await.expect("a site")
}

#[tokio::test]
async fn each_pair_of_a_site_is_told_with_kaicalls_words() {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    let sandbox = Sandbox::start(sandbox::Options::new(any_port)).expect("started");
    let keys = sandbox.keys();
    let (_place, config) = keyed(&sandbox.base_url(), [&keys.public_key, &keys.secret_key]);
    let verifier = verifier(&sandbox.base_url());
    let pairs = verified(&verifier, &config, "acme").await;
    let told: Vec<_> = pairs.iter().map(|pair| (pair.form.as_ref().map(FormId::as_str), pair.state)).collect();
    assert_eq!(
        told,
        [(None, PairState::Ok), (Some("branch"), PairState::Refused), (Some("twin"), PairState::Ok)],
        "{pairs:?}"
    );
    assert_eq!(pairs[0].business_id.as_deref(), Some("biz_sandbox"));
    assert!(pairs[1].why.as_deref().is_some_and(|why| why.starts_with("401 “") && why.contains("key")), "{pairs:?}");
    assert!(!format!("{pairs:?}").contains("hush"), "{pairs:?}");
    for (id, state, why) in
        [("none", PairState::Missing, None), ("lost", PairState::Unreadable, Some("NOBODYS_SECRET"))]
    {
        let pairs = verified(&verifier, &config, id).await;
        assert_eq!((pairs.len(), pairs[0].state), (1, state), "{pairs:?}");
        assert_eq!(
            pairs[0].why.as_deref().is_some_and(|told| why.is_some_and(|why| told.contains(why))),
            why.is_some()
        );
    }
    let nobody = verifier.verify(&config, &site("nobody"), Timestamp::UNIX_EPOCH).await;
    assert!(matches!(nobody, Err(OperateError::NoSuchSite(_))), "{nobody:?}");
}

#[tokio::test]
async fn whoever_asks_again_within_ten_seconds_hears_the_same_answer() {
    let kaicalls = ScriptedApi::start().await;
    let (_place, config) = keyed(&kaicalls.base_url(), ["wp_pk_acme", "wp_sk_acme"]);
    let verifier = verifier(&kaicalls.base_url());
    let told = Arc::new(Notify::new());
    let taken = Reply::json(200, r#"{"success":true,"businessId":"biz_1"}"#);
    kaicalls.on("auth/verify", taken.when(&told));
    let mut asking = JoinSet::new();
    for _ in 0..9 {
        let verifier = verifier.clone();
        let asked = config_of(&kaicalls);
        asking.spawn(async move { verified(&verifier, &asked.1, "acme").await });
    }
    // The site's two pairs, once each.
    kaicalls.wait_for(2).await;
    told.notify_one();
    let first = asking.join_next().await.expect("one of nine").expect("no panic");
    assert!(asking.join_all().await.iter().all(|answer| *answer == first));
    assert_eq!(kaicalls.requests().len(), 2);
    kaicalls.go_away().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(9_900)).await;
    assert_eq!(verified(&verifier, &config, "acme").await, first, "it is remembered");
    tokio::time::advance(Duration::from_millis(200)).await;
    tokio::time::resume();
    let later = verified(&verifier, &config, "acme").await;
    assert!(later.iter().all(|pair| pair.state == PairState::Unreachable && pair.why.is_some()), "{later:?}");
}

fn config_of(kaicalls: &ScriptedApi) -> (Place, config::Config) {
    keyed(&kaicalls.base_url(), ["wp_pk_acme", "wp_sk_acme"])
}

#[tokio::test]
async fn other_keys_are_asked_about_at_once_and_a_wait_that_was_asked_for_is_kept() {
    let kaicalls = ScriptedApi::start().await;
    let (_place, config) = config_of(&kaicalls);
    let verifier = verifier(&kaicalls.base_url());
    kaicalls.rule(|_| Some(Reply::with_headers(429, &[("retry-after", "60")], "slow down")));
    let limited = verified(&verifier, &config, "acme").await;
    assert!(limited.iter().all(|pair| pair.state == PairState::Unreachable), "{limited:?}");
    let asked = kaicalls.requests().len();
    let (_place, mended) = keyed(&kaicalls.base_url(), ["wp_pk_other", "wp_sk_other"]);
    let again = verified(&verifier, &mended, "acme").await;
    assert_eq!(kaicalls.requests().len(), asked, "nobody is asked while KaiCalls wants to be left alone");
    assert!(again[0].why.as_deref().is_some_and(|why| why.contains("left alone for another")), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_verifies_without_keeping_anybody_waiting() {
    let kaicalls = ScriptedApi::start().await;
    let told = Arc::new(Notify::new());
    kaicalls.on("auth/verify", Reply::error(401, "Invalid API Key").when(&told));
    let gateway = Arc::new(Followed::start(&kaicalls.base_url()));
    let mut asking = JoinSet::new();
    for _ in 0..9 {
        let gateway = Arc::clone(&gateway);
        asking.spawn(async move { gateway.call("/api/v1/sites/acme/keys/verify", &json!({})).await });
    }
    kaicalls.wait_for(1).await;
    for _ in 0..20 {
        assert!(gateway.get("/api/v1/status").await["ready"].is_boolean());
    }
    told.notify_one();
    for (code, answer) in asking.join_all().await {
        let pair = json!({ "site": "acme", "public_key": "wp_pk_acme", "state": "refused",
                           "why": "401 “Invalid API Key”: the secret key" });
        assert_eq!((code, answer), (200, json!({ "pairs": [pair] })));
    }
    assert_eq!(kaicalls.requests().len(), 1);
    for (target, body, code) in
        [("nobody", json!({}), 404), ("acme", json!({ "now": true }), 400), ("X", json!({}), 400)]
    {
        assert_eq!(gateway.call(&format!("/api/v1/sites/{target}/keys/verify"), &body).await.0, code, "{target}");
    }
}

#[test]
fn each_plugin_tells_its_steps_with_the_sites_own_values() {
    let (mappings, _) = config::shipped_mappings();
    let values = SetupValues {
        url: "https://gate.example/hooks/acme?token=fg_x",
        plain_url: "https://gate.example/hooks/acme",
        token: "fg_x",
        gateway: "https://gate.example",
    };
    let all = operate::plugin_steps(&mappings, &values);
    let generic = all.iter().find(|plugin| plugin.name == "generic").expect("the mapping for any plugin");
    assert!(generic.steps.iter().any(|step| step.contains(values.plain_url)), "{:?}", generic.steps);
    assert!(all.iter().all(|plugin| !plugin.title.is_empty() && !plugin.steps.is_empty()));
}

//! The admin JSON API over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use formgate::app;
use formgate::config::{Config, Listen};
use formgate::destination::{BaseUrl, Secret};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{Filter, Order, Store};
use formgate::telemetry::{Degraded, NotTaking};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::cli::{Place, Ran};
use crate::gateway::{self, TOKEN, header, lead_body, post, send, status};
use crate::scripted_api::{Reply, ScriptedApi};

pub(crate) const ADMIN: &str = "fga_an_admin_token_for_tests";

pub(crate) struct Api {
    store: Arc<dyn Store>,
    pub(crate) app: app::Running,
}

impl Api {
    /// A gateway whose KaiCalls is away.
    pub(crate) fn start() -> Self {
        Self::start_on(Arc::new(MemoryStore::new(Duration::ZERO)))
    }

    fn start_on(store: Arc<dyn Store>) -> Self {
        Self::with(store, |_config| {})
    }

    pub(crate) fn with(store: Arc<dyn Store>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = gateway::config();
        change(&mut config);
        let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        config.server.listen = vec![Listen { address, tls: None }];
        config.admin.listen = address;
        config.admin.token = Some(Secret::new(ADMIN.to_owned()));
        config.mappings = Arc::new(formgate::config::shipped_mappings().0);
        let app = app::start_on(config, Arc::clone(&store)).expect("started");
        Self { store, app }
    }

    pub(crate) async fn raw(&self, method: &str, target: &str, headers: &str, body: &str) -> String {
        let fixed = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        send(self.app.admin(), format!("{fixed}{headers}{length}\r\n{body}")).await
    }

    pub(crate) async fn get(&self, target: &str) -> (u16, Value) {
        let answer = self.raw("GET", target, &format!("Authorization: Bearer {ADMIN}\r\n"), "").await;
        (status(&answer), gateway::json(&answer))
    }

    pub(crate) async fn post(&self, target: &str, body: &str) -> (u16, Value) {
        let headers = format!("Authorization: Bearer {ADMIN}\r\nContent-Type: application/json\r\n");
        let answer = self.raw("POST", target, &headers, body).await;
        (status(&answer), gateway::json(&answer))
    }

    /// Posts what is held for want of an address.
    pub(crate) async fn hold(&self, count: usize) {
        for _ in 0..count {
            self.queue("nowhere").await;
        }
    }

    pub(crate) async fn queue(&self, email: &str) {
        let request = post("/hooks/acme", &format!("Authorization: Bearer {TOKEN}\r\n"), &lead_body(email));
        assert_eq!(status(&send(self.app.gateway()[0], request).await), 200);
    }
}

#[tokio::test]
async fn only_the_token_lets_in_and_only_under_the_listeners_name() {
    let api = Api::start();
    let short = &ADMIN[..ADMIN.len() - 1];
    for headers in [
        String::new(),
        format!("Authorization: Bearer {short}\r\n"),
        format!("Authorization: Bearer {ADMIN}x\r\n"),
        format!("Authorization: Basic {ADMIN}\r\n"),
        format!("Authorization: Bearer {TOKEN}\r\n"),
    ] {
        for (method, target) in
            [("GET", "/api/v1"), ("GET", "/api/v1/leads"), ("POST", "/api/v1/leads/erase"), ("GET", "/api/v1/x")]
        {
            let answer = api.raw(method, target, &headers, "").await;
            assert_eq!(status(&answer), 401, "{method} {target}");
            assert!(header(&answer, "www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        }
    }
    let evil = format!(
        "GET /api/v1/leads HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(status(&send(api.app.admin(), evil).await), 403);
    let (code, hello) = api.get("/api/v1").await;
    assert_eq!((code, &hello["sites"]), (200, &1.into()));
}

#[tokio::test]
async fn who_waits_for_kaicalls_keeps_nobody_else_waiting() {
    let kaicalls = ScriptedApi::start().await;
    let told = Arc::new(Notify::new());
    let widget = Reply::json(200, r#"{"success":true,"recentLeads":[],"leadsThisWeek":3}"#);
    kaicalls.on("dashboard-widget", widget.when(&told));
    let base_url = BaseUrl::parse(&kaicalls.base_url()).expect("a URL");
    let store = Arc::new(MemoryStore::new(Duration::ZERO));
    let api = Arc::new(Api::with(store, |config| config.upstream.base_url = base_url));
    let mut shows = JoinSet::new();
    for _ in 0..9 {
        let api = Arc::clone(&api);
        shows.spawn(async move { api.get("/api/v1/sites/acme?kaicalls=true").await });
    }
    kaicalls.wait_for(1).await;
    for _ in 0..20 {
        assert_eq!(api.get("/api/v1/status").await.0, 200);
    }
    assert!(shows.try_join_next().is_none(), "they wait for KaiCalls");
    told.notify_one();
    while let Some(shown) = shows.join_next().await {
        let (code, shown) = shown.expect("no panic");
        assert_eq!((code, &shown["kaicalls"]["leads_this_week"]), (200, &3.into()), "{shown}");
    }
    assert_eq!(kaicalls.requests().len(), 1, "one question for a pair");
}

#[tokio::test]
async fn problems_say_what_is_wrong_and_which_request_it_was() {
    let api = Api::start();
    for (target, code) in [
        ("/api/v1/leads?state=lost", 400),
        ("/api/v1/leads?colour=red", 400),
        ("/api/v1/leads?site=a&site=b", 400),
        ("/api/v1/leads?limit=0", 400),
        ("/api/v1/leads?order=up", 400),
        ("/api/v1/leads/export?order=newest", 400),
        ("/api/v1/leads?cursor=x", 400),
        ("/api/v1/leads?since=soon", 400),
        ("/api/v1/leads/export?format=xml", 400),
        ("/api/v1/sites?limit=1", 400),
        ("/api/v1/sites/acme?kaicalls=maybe", 400),
        ("/api/v1/sites/Acme", 400),
        ("/api/v1/sites/nobody", 404),
        ("/api/v1/sites/acme/forms", 404),
        ("/api/v1/leads/ffffffff", 404),
        ("/api/v1/leads/nonsense", 400),
        ("/api/v1/leads/retry/x", 404),
        ("/api/v1/else", 404),
        ("/api/v1/leads/retry", 405),
    ] {
        let (found, problem) = api.get(target).await;
        assert_eq!((found, &problem["status"]), (code, &code.into()), "{target}: {problem}");
        assert_eq!(problem["request_id"].as_str().map(str::len), Some(32), "{target}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{target}");
    }
    let given = format!("Authorization: Bearer {ADMIN}\r\nX-Request-Id: mine-1\r\n");
    let answer = api.raw("GET", "/api/v1/else", &given, "").await;
    assert_eq!(
        (&gateway::json(&answer)["request_id"], header(&answer, "x-request-id")),
        (&"mine-1".into(), Some("mine-1"))
    );
}

#[tokio::test]
async fn bodies_are_bounded_and_known_in_every_key() {
    let api = Api::start();
    api.hold(1).await;
    let deep = format!("{{\"filter\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let large = format!("{{\"ids\":[\"{}\"]}}", "0".repeat(70_000));
    for (target, body, code) in [
        ("/api/v1/leads/retry", "{}", 400),
        ("/api/v1/leads/retry", "", 400),
        ("/api/v1/leads/retry", "[]", 400),
        ("/api/v1/leads/retry", r#"{"filter":{},"ids":["0198"]}"#, 400),
        ("/api/v1/leads/retry", r#"{"filter":{},"again":true}"#, 400),
        ("/api/v1/leads/retry", r#"{"filter":{},"rate":0}"#, 400),
        ("/api/v1/leads/retry", r#"{"filter":{"colour":"red"}}"#, 400),
        ("/api/v1/leads/drop", r#"{"filter":{},"yes":true}"#, 400),
        ("/api/v1/leads/erase", r#"{"email":"nobody"}"#, 400),
        ("/api/v1/leads/erase", r#"{"email":"a@b.co","ids":["0198"]}"#, 400),
        ("/api/v1/leads/erase", "{}", 400),
        ("/api/v1/store/backup", r#"{"file":"relative.db"}"#, 400),
        ("/api/v1/store/salvage", r#"{"a":1}"#, 400),
        ("/api/v1/leads/retry", &deep, 400),
        ("/api/v1/leads/retry", &large, 413),
        ("/api/v1/leads/show", "{}", 405),
        ("/api/v1/store/else", "{}", 404),
    ] {
        let (found, problem) = api.post(target, body).await;
        assert_eq!(found, code, "{target} {}: {problem}", &body[..body.len().min(60)]);
    }
    let no_json =
        api.raw("POST", "/api/v1/leads/drop", &format!("Authorization: Bearer {ADMIN}\r\n"), r#"{"filter":{}}"#).await;
    assert_eq!(status(&no_json), 415);
    assert_eq!(
        api.store.scan(&Filter::default(), Order::Oldest, None, 9).await.expect("read").heads[0].revision,
        1,
        "nothing was done"
    );
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let api = Api::start();
    api.hold(7).await;
    let list = async |parameters: &str| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let (code, page) = api.get(&format!("/api/v1/leads?limit=3&state=held{parameters}{cursor}")).await;
            assert_eq!(code, 200, "{page}");
            let leads = page["leads"].as_array().expect("leads");
            assert!(leads.len() <= 3);
            ids.extend(leads.iter().map(|lead| lead["id"].as_str().expect("an id").to_owned()));
            let Some(next) = page["next"].as_str() else { return ids };
            cursor = format!("&cursor={next}");
        }
    };
    let ids = list("&order=oldest").await;
    assert!(ids.len() == 7 && ids.is_sorted(), "{ids:?}");
    let newest = ids.iter().rev().cloned().collect::<Vec<_>>();
    assert_eq!((list("").await, list("&order=newest").await), (newest.clone(), newest));
    let (_, groups) = api.get("/api/v1/leads/groups").await;
    assert_eq!((&groups["groups"][0]["leads"], &groups["groups"][0]["sites"]), (&7.into(), &1.into()));
    let (_, life) = api.get(&format!("/api/v1/leads/{}", ids[0])).await;
    assert_eq!((&life["entry"]["reason"], &life["errors"][0]["code"]), (&"invalid".into(), &"invalid".into()));
    let (_, trace) = api.get(&format!("/api/v1/leads/{}/trace", ids[0])).await;
    assert_eq!(trace["steps"][0]["what"], "accepted, held: no valid lead: email invalid");
}

#[tokio::test]
async fn the_verbs_change_what_they_say() {
    let api = Api::start();
    api.hold(3).await;
    let (_, dry) = api.post("/api/v1/leads/drop", r#"{"filter":{"site":"acme"},"dry_run":true}"#).await;
    assert_eq!(dry["results"].as_array().map(Vec::len), Some(3));
    let (_, dropped) = api.post("/api/v1/leads/drop", r#"{"filter":{"site":"acme"},"limit":2}"#).await;
    assert_eq!((dropped["results"].as_array().map(Vec::len), dropped["next"].is_string()), (Some(2), true));
    let body = json!({"filter": {"site": "acme"}, "cursor": dropped["next"]}).to_string();
    let (_, rest) = api.post("/api/v1/leads/drop", &body).await;
    assert_eq!((rest["results"].as_array().map(Vec::len), rest["next"].is_null()), (Some(1), true));
    let id = rest["results"][0]["id"].as_str().expect("an id");
    let (_, retried) = api.post("/api/v1/leads/retry", &json!({"ids": [id]}).to_string()).await;
    assert_eq!(retried["results"][0]["outcome"], "held");
    let export =
        api.raw("GET", "/api/v1/leads/export?format=ndjson", &format!("Authorization: Bearer {ADMIN}\r\n"), "").await;
    assert_eq!((status(&export), header(&export, "content-type")), (200, Some("application/x-ndjson")));
    assert_eq!(export.matches("\"reason\":").count(), 3);
    let (_, erased) = api.post("/api/v1/leads/erase", &json!({"ids": [id, "ffffffff"]}).to_string()).await;
    assert_eq!((erased["entries"][0]["id"].as_str(), &erased["missing"][0]), (Some(id), &"ffffffff".into()));
    assert_eq!(api.get(&format!("/api/v1/leads/{id}")).await.0, 404);
    let (code, problem) = api.post("/api/v1/store/backup", r#"{"file":"/nowhere/copy.db"}"#).await;
    assert_eq!((code, &problem["type"]), (503, &"urn:formgate:problem:store".into()));
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("set [queue].url to sqlite:")),
        "{problem}"
    );
    assert_eq!(api.post("/api/v1/store/salvage", "{}").await.0, 200);
}

#[tokio::test]
async fn a_long_retry_keeps_no_monitor_waiting() {
    let api = Arc::new(Api::start());
    api.hold(8).await;
    let (_, dropped) = api.post("/api/v1/leads/drop", r#"{"filter":{}}"#).await;
    let ids: Vec<_> = dropped["results"].as_array().expect("results").iter().map(|done| done["id"].clone()).collect();
    let body = json!({"ids": ids, "rate": 1}).to_string();
    let slow = Arc::clone(&api);
    let retry = tokio::spawn(async move { slow.post("/api/v1/leads/retry", &body).await });
    // It is under way once the first is changed.
    let begun = async {
        let is_held = Filter { state: Some(formgate::queue::State::Held), ..Filter::default() };
        while api.store.scan(&is_held, Order::Oldest, None, 1).await.expect("read").heads.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), begun).await.expect("it begins");
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(&api.raw("GET", target, "", "").await), 200, "{target}");
    }
    assert_eq!(api.get("/api/v1/leads").await.0, 200);
    assert!(!retry.is_finished(), "it goes on meanwhile");
    retry.abort();
}

impl Api {
    /// Runs the program beside the gateway in this process.
    async fn run(&self, line: &[&str], admin: &str) -> Ran {
        let config = format!("[admin]\ntoken = \"{ADMIN}\"\n[queue]\nurl = \"memory:\"\n");
        let place = Place::of(&[("config.toml", &config)]);
        let mut command = tokio::process::Command::from(place.command(line));
        Ran::of(command.args(["--admin", admin]).output().await.expect("it runs"))
    }

    pub(crate) async fn metrics(&self) -> String {
        send(self.app.admin(), "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
    }
}

#[tokio::test]
async fn lines_of_the_audit_that_found_no_room_are_written_once_there_is_some() {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("audit.ndjson");
    // Every write into this one finds no room.
    std::os::unix::fs::symlink("/dev/full", &file).expect("linked");
    let api = Api::with(Arc::new(MemoryStore::new(Duration::ZERO)), |config| {
        config.server.data = Some(data.path().to_owned());
    });
    api.hold(1).await;
    let (code, dropped) = api.post("/api/v1/leads/drop", r#"{"filter":{}}"#).await;
    assert_eq!((code, &dropped["audit_waits"]), (200, &true.into()), "{dropped}");
    std::fs::remove_file(&file).expect("removed");
    api.app.stop().await;
    let lines = std::fs::read_to_string(&file).expect("an audit");
    let outcomes: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["outcome"].clone()).collect();
    assert_eq!(outcomes, ["begun", "done"], "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_how_the_gateway_is_and_check_in_one_line() {
    let api = Api::start();
    api.hold(2).await;
    let (code, told) = api.get("/api/v1/status").await;
    assert_eq!(
        (code, &told["ready"], &told["sites"], &told["leads"]["held"]),
        (200, &true.into(), &1.into(), &2.into())
    );
    assert_eq!((&told["version"], &told["store"]["kind"]), (&env!("CARGO_PKG_VERSION").into(), &"memory".into()));
    assert_eq!(told["causes"][0]["leads"], 2);
    let (_, brief) = api.get("/api/v1/status?brief=true").await;
    assert_eq!(brief["causes"], json!([]));

    let admin = api.app.admin().to_string();
    let ran = api.run(&["status"], &admin).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("\nleads   0 queued, 2 held, 0 dead, 0 delivered\n"), "{}", ran.data);
    assert!(ran.data.contains("2 leads held, 1 site: no valid lead: email invalid"), "{}", ran.data);
    assert_eq!(api.run(&["status", "--output", "json"], &admin).await.json()["leads"]["held"], 2);
    let ran = api.run(&["status", "--check"], &admin).await;
    assert_eq!((ran.code, ran.data.as_str(), ran.talk.as_str()), (0, "ready\n", ""));
    api.app.metrics().set_degraded(Degraded::BackupFailed, true);
    let ran = api.run(&["status", "--check"], &admin).await;
    assert_eq!((ran.code, ran.data.as_str()), (0, "ready; degraded: backup_failed\n"), "it takes leads all the same");
    api.app.metrics().stop_taking(NotTaking::Stopping);
    let ran = api.run(&["status", "--check"], &admin).await;
    assert_eq!((ran.code, ran.data.as_str()), (1, "not ready: not asked\n"), "{}", ran.talk);

    let nobody = "127.0.0.1:1";
    let ran = api.run(&["status"], nobody).await;
    assert_eq!((ran.code, ran.data.as_str()), (69, ""), "{}", ran.talk);
    let ran = api.run(&["status", "--check"], nobody).await;
    assert_eq!((ran.code, ran.data.lines().count()), (1, 1), "{}{}", ran.data, ran.talk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_has_metrics_of_its_own_and_a_restart_remembers_when_it_posted() {
    let api = Api::start();
    api.hold(2).await;
    let page = api.metrics().await;
    for line in [
        "formgate_site_received_total{site=\"acme\"} 2",
        "formgate_site_delivered_total{site=\"acme\"} 0",
        "formgate_site_queue_entries{site=\"acme\",state=\"held\"} 2",
        "formgate_site_paused{site=\"acme\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    let last = "formgate_site_last_received_timestamp_seconds{site=\"acme\"} ";
    assert!(page.contains(last), "{page}");

    let again = Api::start_on(Arc::clone(&api.store));
    let remembered = async {
        while !again.metrics().await.contains(last) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), remembered).await.expect("it is read from the store");
    assert!(again.metrics().await.contains("formgate_site_received_total{site=\"acme\"} 0\n"));
}

#[tokio::test]
async fn a_sites_metrics_count_what_is_delivered_and_say_that_it_is_paused() {
    let kaicalls = ScriptedApi::start().await;
    let api = Api::with(Arc::new(MemoryStore::new(Duration::ZERO)), |config| {
        config.upstream.base_url = BaseUrl::parse(&kaicalls.base_url()).expect("a URL");
    });
    let shows = async |line: &str| {
        let shown = async { while !api.metrics().await.lines().any(|found| found == line) {} };
        assert!(tokio::time::timeout(Duration::from_secs(20), shown).await.is_ok(), "{line}: {}", api.metrics().await);
    };
    api.queue("jane@example.com").await;
    shows("formgate_site_delivered_total{site=\"acme\"} 1").await;
    kaicalls.always(Reply::error(401, "Unauthorized"));
    api.queue("june@example.com").await;
    shows("formgate_site_paused{site=\"acme\"} 1").await;
    shows("formgate_site_queue_entries{site=\"acme\",state=\"queued\"} 1").await;
}

#[tokio::test]
async fn only_announced_pings_are_remembered() {
    let api = Api::start();
    let name = format!("doctor-{}", "0a".repeat(16));
    let ping = format!("/hooks/{name}");
    let arrivals = format!("/api/v1/pings/{name}");
    let arrive = async || status(&send(api.app.gateway()[0], post(&ping, "Via: 1.1 proxy\r\n", "{}")).await);
    assert_eq!((arrive().await, api.get(&arrivals).await.0), (401, 404), "nobody announced it");
    assert_eq!(api.post("/api/v1/pings", r#"{"name":"acme"}"#).await.0, 400);
    assert_eq!(api.post("/api/v1/pings", &json!({ "name": name }).to_string()).await.0, 200);
    assert_eq!(api.get(&arrivals).await, (200, json!({ "arrivals": [] })));
    assert_eq!(arrive().await, 401, "an announced name lets nobody in");
    let (code, known) = api.get(&arrivals).await;
    assert_eq!((code, &known["arrivals"][0]["peer"]), (200, &json!("127.0.0.1")));
    assert_eq!(known["arrivals"][0]["proxy_headers"], json!(["via"]));
    let (code, process) = api.get("/api/v1/process").await;
    assert!(code == 200 && process["open_files"].is_object(), "{process}");
}

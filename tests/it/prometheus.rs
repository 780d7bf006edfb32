//! A real Prometheus loads the alert rules and scrapes a real gateway; rules and dashboard name only what the gateway tells.
//!
//! A machine without Prometheus fails here, and says how to get it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use formgate::app::{self, Running};
use formgate::config::{self, Sources};
use jiff::civil::date;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};

use crate::gateway::{self, TOKEN, json, lead_body, status};
use crate::scripted_api::ScriptedApi;

const PATIENCE: Duration = Duration::from_secs(60);
const RULES: &str = "packaging/prometheus";
const DASHBOARD: &str = "packaging/grafana/formgate.json";
/// Labels that Prometheus adds to what it scrapes.
const ADDED: [&str; 2] = ["job", "instance"];

/// A Prometheus that scrapes a gateway each second, and the gateway.
struct Watched {
    gateway: Running,
    _api: ScriptedApi,
    prometheus: SocketAddr,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Watched {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let api = ScriptedApi::start().await;
        let gateway = start_gateway(folder.path(), &api.base_url());
        let (prometheus, process) = start_prometheus(folder.path(), gateway.admin());
        let watched = Self { gateway, _api: api, prometheus, _process: process, _folder: folder };
        watched.until("it is ready", async |watched| watched.try_get("/-/ready").await.contains(" 200 ")).await;
        watched
    }

    async fn try_get(&self, path: &str) -> String {
        // HTTP/1.0, so that the answer comes in one piece.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.prometheus);
        gateway::try_send(self.prometheus, request).await.unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = json(&self.try_get(path).await);
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    async fn query(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC))).await["result"]
            .clone()
    }

    /// Each alert's rule, as Prometheus has read it.
    async fn rules(&self) -> Vec<Value> {
        let groups = self.get("/api/v1/rules").await["groups"].clone();
        groups
            .as_array()
            .expect("groups")
            .iter()
            .flat_map(|group| group["rules"].as_array().expect("rules").clone())
            .collect()
    }

    /// What fires.
    async fn alerts(&self) -> BTreeSet<String> {
        let alerts = self.get("/api/v1/alerts").await["alerts"].clone();
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().expect("a name").to_owned();
        let alerts = alerts.as_array().expect("alerts").iter();
        alerts.filter(|alert| alert["state"] == "firing").map(name).collect()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let poll = async {
            while !holds(self).await {
                // Another process' time can't be paused.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn page(&self) -> String {
        let admin = self.gateway.admin();
        gateway::send(admin, format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")).await
    }

    async fn post(&self, token: &str) -> u16 {
        let token = format!("Authorization: Bearer {token}\r\n");
        let post = gateway::post("/hooks/acme/contact", &token, &lead_body("jane@example.com"));
        status(&gateway::send(self.gateway.gateway()[0], post).await)
    }
}

/// Starts a gateway with everything that has metrics: a certificate, a token that expires, a sink.
fn start_gateway(folder: &Path, api: &str) -> Running {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let tls = |file: &str| root().join("tests/it/tls").join(file);
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\", {{ address = \"127.0.0.1:0\", tls = {{ cert = {:?}, key = {:?} }} }}]\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[kaicalls]\nbase_url = \"{api}\"\n\
         [[notify]]\nname = \"ops\"\nurl = \"https://127.0.0.1:1/\"\nallow_private = true\nsecret = \"whsec_{}\"\n\
         [[site]]\nid = \"acme\"\npublic_key = \"wp_pk_acme\"\nsecret_key = \"wp_sk_acme\"\n\
         tokens = [{{ sha256 = \"{sha256}\", expires = 2099-01-01 }}]\n",
        tls("good.pem"),
        tls("server.key"),
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    );
    let path = folder.join("config.toml");
    fs::write(&path, config).expect("written");
    let starting = config::start(&path, &Sources::with_environment([]), date(2026, 11, 21));
    let (config, origin) = starting.in_force.unwrap_or_else(|| panic!("{}", starting.loaded.diagnostics.render(false)));
    app::start(config, origin).expect("started")
}

/// Starts the Prometheus that scripts/setup unpacked, else the system's, on a free port.
fn start_prometheus(folder: &Path, gateway: SocketAddr) -> (SocketAddr, Child) {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder").to_owned();
    let unpacked = target.join("prometheus/usr/bin/prometheus");
    let program = if unpacked.exists() { unpacked } else { PathBuf::from("prometheus") };
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\n\
         scrape_configs:\n  - job_name: formgate\n    static_configs: [{{ targets: [\"{gateway}\"] }}]\n",
        root().join(RULES).join("*.rules.yml")
    );
    let file = folder.join("prometheus.yml");
    fs::write(&file, config).expect("written");
    // It doesn't say which port it took where it is told to take any.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let process = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address={free}"))
        .args(["--log.level=error"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("there is no Prometheus: run scripts/setup --test");
    (free, process)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Reads each file of rules in a folder.
fn rule_files(folder: &Path) -> impl Iterator<Item = (String, String)> {
    let files = fs::read_dir(folder).expect("rules").map(|entry| entry.expect("a file").path());
    let files = files.filter(|path| path.to_string_lossy().ends_with(".rules.yml"));
    files.map(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("rules"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_loads_the_rules_and_an_alert_fires_when_a_post_is_refused() {
    let watched = Watched::start().await;
    let all: usize = rule_files(&root().join(RULES)).map(|(_, text)| text.matches("- alert: ").count()).sum();
    watched
        .until("each rule was evaluated", async |watched| {
            let rules = watched.rules().await;
            assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
            rules.len() == all && rules.iter().all(|rule| rule["health"] == "ok")
        })
        .await;
    watched.until("it is scraped", async |watched| is_one(&watched.query("formgate_ready").await)).await;
    assert_eq!(watched.post(TOKEN).await, 200);
    assert!(is_one(&watched.query(r#"up{job="formgate"}"#).await));
    assert_eq!(watched.alerts().await, BTreeSet::new());

    assert_eq!(watched.post("fg_another").await, 401);
    watched
        .until("the alert fires", async |watched| {
            let alerts = watched.alerts().await;
            assert!(alerts.iter().all(|alert| alert == "FormgatePostsRefused"), "{alerts:?}");
            !alerts.is_empty()
        })
        .await;
    watched.gateway.stop().await;
}

/// Does as docs/alerts.md says to a copy of the rules.
#[tokio::test]
async fn one_command_makes_a_url_of_each_runbook() {
    const RUNBOOK: &str = "runbook_url: https://formgate-docs.example/docs/";
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in rule_files(&root().join(RULES)) {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let page = fs::read_to_string(root().join("docs/alerts.md")).expect("the page");
    let command = page.lines().map(str::trim).find(|line| line.starts_with("sed -i ")).expect("the command");
    let command = command.replace("/etc/prometheus", &folder.path().display().to_string());
    let ran = Command::new("sh").args(["-eu", "-c", &command]).status().await.expect("there is sh");
    assert!(ran.success(), "{command}");
    for (name, text) in rule_files(folder.path()) {
        let urls = text.lines().filter_map(|line| line.trim().strip_prefix(RUNBOOK));
        let mut seen = 0;
        for url in urls {
            let page = url.split('#').next().and_then(|page| page.strip_suffix(".html")).expect(url);
            // The page of a folder has another name on the site.
            assert!(root().join(format!("docs/{page}.md")).exists() && !page.ends_with("README"), "{name}: {url}");
            seen += 1;
        }
        assert_eq!(seen, text.matches("- alert: ").count(), "{name}: each alert has the URL of its runbook");
    }
}

fn is_one(result: &Value) -> bool {
    result[0]["value"][1] == "1"
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_dashboard_name_only_metrics_and_labels_of_a_running_gateway() {
    let watched = Watched::start().await;
    assert_eq!(watched.post(TOKEN).await, 200);
    assert_eq!(watched.post("fg_another").await, 401);
    watched
        .until("the lead is delivered", async |watched| {
            watched.page().await.contains("formgate_site_delivered_total{site=\"acme\"} 1")
        })
        .await;
    watched.until("the sink is known", async |watched| watched.page().await.contains("formgate_notify_backlog{")).await;
    let metrics = Told::of(&watched.page().await);

    let mut found = Vec::new();
    let rules = watched.rules().await;
    for rule in &rules {
        let name = rule["name"].as_str().expect("a name");
        let said = rule["annotations"].to_string();
        metrics.check(rule["query"].as_str().expect("a query"), (name, said.split("$labels.")), &mut found);
    }
    let queries = metrics.check_dashboard(&mut found);
    for query in &queries {
        // It fails where Prometheus doesn't understand it.
        watched.query(query).await;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(rules.len() >= 30 && queries.len() > 50, "{} rules, {} queries", rules.len(), queries.len());
    watched.gateway.stop().await;
}

/// What a gateway tells: each series' name, and its labels.
struct Told(BTreeMap<String, BTreeSet<String>>);

impl Told {
    fn of(page: &str) -> Self {
        let lines = page.lines().filter(|line| line.starts_with("formgate_") || line.starts_with("process_"));
        Self(lines.map(|line| (name_of(line).to_owned(), labels_of(&line[name_of(line).len()..]))).collect())
    }

    /// Complains of the dashboard as of a query; returns its queries, as Grafana would send them.
    fn check_dashboard(&self, found: &mut Vec<String>) -> Vec<String> {
        let text = fs::read_to_string(root().join(DASHBOARD)).expect("the dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        let mut queries = Vec::new();
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().expect("a title");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
                let query = target["expr"].as_str().expect("a query");
                let legend = target["legendFormat"].as_str().expect("a legend");
                self.check(query, (title, legend.split("{{")), found);
                let query = query.replace("$__rate_interval", "1m").replace("$job", "formgate");
                queries.push(query.replace("$instance", ".*"));
            }
        }
        queries
    }

    /// Complains of what a query names and the gateway doesn't tell, and of labels in what is said of it that it can't give: each
    /// piece of that but the first begins with one.
    fn check<'a>(&self, query: &str, (place, said): (&str, impl Iterator<Item = &'a str>), found: &mut Vec<String>) {
        let mut all: BTreeSet<String> = ADDED.map(str::to_owned).into();
        let starts = query.match_indices(|char: char| char.is_ascii_alphabetic()).map(|(at, _)| at);
        let starts =
            starts.filter(|at| !query[..*at].ends_with(|char: char| char.is_ascii_alphanumeric() || char == '_'));
        for name in
            starts.map(|at| &query[at..]).filter(|rest| rest.starts_with("formgate_") || rest.starts_with("process_"))
        {
            let metric = name_of(name);
            let Some(labels) = self.0.get(metric) else {
                found.push(format!("{place}: no gateway tells {metric}"));
                continue;
            };
            all.extend(labels.iter().cloned());
            let named = labels_of(&name[metric.len()..]);
            let foreign = named.iter().filter(|label| !labels.contains(*label) && !ADDED.contains(&label.as_str()));
            found.extend(foreign.map(|label| format!("{place}: {metric} has no label {label}")));
        }
        for list in ["by (", "on ("].iter().flat_map(|word| query.split(word).skip(1)) {
            let labels = list.split(')').next().unwrap_or_default().split(',').map(str::trim);
            found.extend(
                labels.filter(|label| !all.contains(*label)).map(|label| format!("{place}: nothing has {label}")),
            );
        }
        let named = said.skip(1).map(first_word);
        found.extend(
            named.filter(|label| !all.contains(*label)).map(|label| format!("{place}: no label {label} to show")),
        );
    }
}

fn first_word(text: &str) -> &str {
    text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').next().unwrap_or_default()
}

fn name_of(text: &str) -> &str {
    first_word(text)
}

/// Reads the names of the labels in the braces that a text begins with.
fn labels_of(text: &str) -> BTreeSet<String> {
    let Some(inside) = text.strip_prefix('{') else { return BTreeSet::new() };
    // Every second piece is a value.
    let names = inside.split('"').step_by(2).take_while(|piece| !piece.starts_with('}'));
    names.map(|piece| first_word(piece.trim_start_matches([',', ' '])).to_owned()).collect()
}

#[test]
fn what_the_gateway_does_not_tell_is_found() {
    let told = Told::of("formgate_a{site=\"x}\",state=\"held\"} 1\nformgate_b_bucket{le=\"5\"} 1\n");
    let check = |query| {
        let mut found = Vec::new();
        told.check(query, ("here", "of {{job}}".split("{{")), &mut found);
        found
    };
    let good =
        r#"sum by (job, le) (rate(formgate_b_bucket{job="x", le="5"}[1m])) / formgate_a{site=~"}|y",state!="z"}"#;
    assert_eq!(check(good), [""; 0]);
    assert_eq!(check("formgate_c > 1"), ["here: no gateway tells formgate_c"]);
    assert_eq!(check(r#"formgate_a{reason="x"}"#), ["here: formgate_a has no label reason"]);
    assert_eq!(check("max by (sink) (formgate_a)"), ["here: nothing has sink"]);
    let mut found = Vec::new();
    told.check("formgate_a", ("here", "of {{sink}}".split("{{")), &mut found);
    assert_eq!(found, ["here: no label sink to show"]);
}

//! The configuration while everything runs: what is changed counts, what is broken harms only itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::app;
use formgate::config::{self, Config, Live, Origin, Reloaded, Sources};
use formgate::lead::{EntryId, FormId, SiteId};
use formgate::operate::{Recheck, recheck_held};
use formgate::queue::memory::MemoryStore;
use formgate::queue::{Appended, NewEntry, Reading, Reason, State, Store};
use formgate::received::Received;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use sha2::{Digest as _, Sha256};

use crate::gateway::{self, TOKEN, lead_body, status};
use crate::scripted_api::{Reply, ScriptedApi};

pub(crate) const TODAY: Date = date(2026, 11, 21);

/// A configuration in files: two sites, each with its secret in a file, and a mapping.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new(base_url: &str) -> Self {
        let files = Self(tempfile::tempdir().expect("a folder"));
        files.write(
            "config.toml",
            &format!(
                r#"
                [server]
                listen = "127.0.0.1:0"
                [admin]
                listen = "127.0.0.1:0"
                [kaicalls]
                base_url = "{base_url}"
                [queue]
                url = "memory:"
                "#
            ),
        );
        for name in ["acme", "beta"] {
            files.write(&format!("secrets/{name}"), "wp_sk_1");
            files.write_site(name, name);
        }
        files
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("written");
    }

    /// Saves as most editors do: a new file takes the old one's name.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        self.write(&format!("{name}~"), text);
        fs::rename(self.path(&format!("{name}~")), self.path(name)).expect("renamed");
    }

    pub(crate) fn write_site(&self, id: &str, title: &str) {
        let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
        let site = format!(
            "id = \"{id}\"\nname = \"{title}\"\npublic_key = \"wp_pk_{id}\"\n\
             secret_key = {{ file = \"../secrets/{id}\" }}\ntokens = [{{ sha256 = \"{sha256}\" }}]\n"
        );
        self.write(&format!("sites/{id}.toml"), &site);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path("config.toml")
    }

    pub(crate) fn sources() -> Sources {
        Sources::with_environment([])
    }

    pub(crate) fn start(&self) -> (Live, Arc<ArcSwap<Config>>) {
        let (config, origin) = self.in_force();
        let config = Arc::new(ArcSwap::from_pointee(config));
        (Live::new(origin, Arc::clone(&config)), config)
    }

    fn in_force(&self) -> (Config, Origin) {
        let starting = config::start(&self.config_path(), &Self::sources(), TODAY);
        assert!(!starting.loaded.diagnostics.has_errors(), "{}", starting.loaded.diagnostics.render(false));
        starting.in_force.expect("it can be served")
    }
}

fn id(name: &str) -> SiteId {
    SiteId::parse(name).expect("a slug")
}

fn title(config: &ArcSwap<Config>, site: &str) -> Option<String> {
    config.load().sites.get(&id(site)).and_then(|site| site.name.clone())
}

pub(crate) fn sound(reloaded: &Reloaded) {
    assert!(reloaded.stand_ins.is_empty(), "{:?}", reloaded.stand_ins);
    assert!(!reloaded.diagnostics.has_errors(), "{}", reloaded.diagnostics.render(false));
}

#[test]
fn every_kind_of_change_is_seen_at_the_second_look() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, _config) = files.start();
    assert_eq!([live.has_changed(), live.has_changed()], [false, false]);
    let changes: [(&str, &dyn Fn()); 7] = [
        ("a secret", &|| files.replace("secrets/acme", "wp_sk_2")),
        ("a site", &|| files.write_site("acme", "Acme anew")),
        ("a new site", &|| files.write_site("gamma", "Gamma")),
        ("its secret", &|| files.write("secrets/gamma", "wp_sk_1")),
        ("a new mapping", &|| files.write("mappings/mine.toml", "title = \"Mine\"")),
        ("a site gone", &|| fs::remove_file(files.path("sites/gamma.toml")).expect("removed")),
        ("the configuration", &|| {
            let text = fs::read_to_string(files.config_path()).expect("text");
            files.replace("config.toml", &format!("{text}\n[limits]\n"));
        }),
    ];
    for (name, change) in changes {
        change();
        assert_eq!([live.has_changed(), live.has_changed()], [false, true], "{name}");
        live.reload(TODAY);
        assert_eq!([live.has_changed(), live.has_changed()], [false, false], "{name}");
    }
    // An editor's own files are nobody's business.
    files.write("sites/.acme.toml.swp", "x");
    files.write("sites/acme.toml~", "x");
    assert_eq!([live.has_changed(), live.has_changed()], [false, false]);
}

#[test]
fn a_broken_site_harms_only_itself_and_goes_on_as_it_was() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, config) = files.start();
    files.write("sites/acme.toml", "id = \"acme\"\nsecret_key = \"wp_sk_hush");
    files.write_site("beta", "Beta anew");
    let reloaded = live.reload(TODAY);
    assert!(reloaded.diagnostics.has_errors());
    assert_eq!(reloaded.kept_sites(), [id("acme")]);
    assert_eq!(
        (title(&config, "acme").as_deref(), title(&config, "beta").as_deref()),
        (Some("acme"), Some("Beta anew"))
    );
    assert!(!format!("{reloaded:?}").contains("hush"), "{reloaded:?}");

    // Still broken at the next reload, still there.
    let reloaded = live.reload(TODAY);
    assert_eq!(reloaded.kept_sites(), [id("acme")]);
    files.write_site("acme", "Acme mended");
    sound(&live.reload(TODAY));
    assert_eq!(title(&config, "acme").as_deref(), Some("Acme mended"));
}

#[test]
fn a_site_without_its_secret_goes_on_with_the_last_one() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, config) = files.start();
    fs::remove_file(files.path("secrets/acme")).expect("removed");
    files.write_site("acme", "Acme anew");
    assert_eq!(live.reload(TODAY).kept_sites(), [id("acme")]);
    assert_eq!(title(&config, "acme").as_deref(), Some("acme"));
}

#[test]
fn a_broken_table_of_the_configuration_harms_only_itself() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, config) = files.start();
    let sound = fs::read_to_string(files.config_path()).expect("text");
    files.write("config.toml", &sound.replace("http://127.0.0.1:1", "ftp://x"));
    files.write_site("beta", "Beta anew");
    let reloaded = live.reload(TODAY);
    assert!(reloaded.is_config_broken && reloaded.diagnostics.has_errors());
    assert_eq!(reloaded.stand_ins.len(), 1, "{:?}", reloaded.stand_ins);
    assert_eq!(config.load().upstream.base_url.as_str(), "http://127.0.0.1:1");
    assert_eq!(title(&config, "beta").as_deref(), Some("Beta anew"));
}

#[test]
fn a_configuration_that_is_no_toml_leaves_everything_as_it_was_but_what_it_includes() {
    let files = Files::new("http://127.0.0.1:1");
    let text = fs::read_to_string(files.config_path()).expect("text");
    let inline = "[sites]\ninclude = [\"sites/*.toml\", \"more/*.toml\"]\n[[site]]\nid = \"inline\"\npublic_key = \"wp_pk_1\"\nsecret_key = \"wp_sk_1\"\n";
    files.write("config.toml", &format!("{text}\n{inline}"));
    fs::create_dir(files.path("more")).expect("a folder");
    fs::rename(files.path("sites/beta.toml"), files.path("more/beta.toml")).expect("moved");
    let (live, config) = files.start();
    files.write("config.toml", "what");
    files.write_site("acme", "Acme anew");
    let reloaded = live.reload(TODAY);
    assert!(reloaded.is_config_broken);
    assert_eq!(config.load().sites.len(), 3);
    assert_eq!(title(&config, "acme").as_deref(), Some("Acme anew"));
    assert_eq!(title(&config, "beta").as_deref(), Some("beta"));
    assert!(config.load().sites[&id("inline")].keys.is_some(), "it goes on with its keys");
}

#[test]
fn what_only_a_start_can_change_stays_and_is_told() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, config) = files.start();
    let before = fs::read_to_string(files.config_path()).expect("text");
    let text = before.replace("127.0.0.1:0\"\n                [admin]", "127.0.0.1:1\"\n                [admin]");
    let text = text.replace("memory:\"", "memory:\"\ndedupe = \"1h\"\nkeep = { held = \"1d\" }");
    files.write("config.toml", &text);
    let reloaded = live.reload(TODAY);
    sound(&reloaded);
    assert_eq!(config.load().needs_restart, ["[server].listen", "[queue].dedupe"]);
    // Put back, nothing waits any more.
    let changed = config.load();
    files.write("config.toml", &before);
    sound(&live.reload(TODAY));
    assert_eq!(config.load().needs_restart, [""; 0]);
    let config = changed;
    assert_eq!(config.server.listen[0].address.port(), 0);
    assert_eq!(config.queue.dedupe, Duration::from_secs(600));
    assert_eq!(config.queue.keep.held, Duration::from_secs(86_400));
}

async fn post(address: std::net::SocketAddr, site: &str, email: &str) -> u16 {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    status(&gateway::send(address, gateway::post(&format!("/hooks/{site}"), &token, &lead_body(email))).await)
}

fn start(files: &Files) -> app::Running {
    let (config, origin) = files.in_force();
    app::start(config, origin).expect("started")
}

async fn until<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it comes")
}

#[tokio::test]
async fn a_mended_key_is_found_without_being_asked_and_its_leads_go_out() {
    let api = ScriptedApi::start().await;
    let files = Files::new(&api.base_url());
    let running = start(&files);
    api.on_intake(Reply::error(401, "Unauthorized"));
    assert_eq!(post(running.gateway()[0], "acme", "jane@example.com").await, 200);
    until(api.wait_for(1)).await;
    files.replace("secrets/acme", "wp_sk_2\n");
    let requests = until(api.wait_for(2)).await;
    assert_eq!(requests[1].header("authorization"), Some("Bearer wp_pk_acme:wp_sk_2"));
    assert_eq!(requests[1].header("idempotency-key"), requests[0].header("idempotency-key"));
    running.stop().await;
}

#[tokio::test]
async fn a_reload_that_is_asked_for_counts_in_metrics() {
    let api = ScriptedApi::start().await;
    let files = Files::new(&api.base_url());
    let running = start(&files);
    let address = running.gateway()[0];
    assert_eq!(post(address, "gamma", "jane@example.com").await, 401);
    files.write("secrets/gamma", "wp_sk_1");
    files.write_site("gamma", "Gamma");
    running.reload();
    until(async { while post(address, "gamma", "jane@example.com").await != 200 {} }).await;
    files.write("config.toml", "what");
    running.reload();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", running.admin());
    let failed = r#"formgate_config_reload_total{result="failed"} 1"#;
    until(async { while !gateway::send(running.admin(), &request).await.contains(failed) {} }).await;
    assert_eq!(post(address, "gamma", "joe@example.com").await, 200);
    running.stop().await;
}

async fn hold(store: &dyn Store, number: u8, site: &str, reason: Reason, body: &str) {
    let headers = [("content-type", b"application/json".as_slice())];
    let entry = NewEntry {
        id: EntryId::new(u64::from(number), &[number; 10]),
        site: id(site),
        form: FormId::parse("contact").expect("a slug"),
        state: State::Held,
        reason,
        accepted_at: Timestamp::UNIX_EPOCH,
        keep: None,
        reading: Reading::default(),
        received: Received::from_parts("POST", None, headers, body.to_owned().into()),
    };
    assert_eq!(store.append(entry.clone(), None).await.expect("appended"), Appended::New(entry.id));
}

#[tokio::test]
async fn held_entries_that_would_pass_now_are_counted() {
    let mut config = gateway::config();
    config.mappings = Arc::new(formgate::config::shipped_mappings().0);
    let store = MemoryStore::new(Duration::ZERO);
    let (good, bad) = (lead_body("jane@example.com"), r#"{"email":"nowhere"}"#);
    for (number, (site, reason, body)) in (0..).zip([
        ("acme", Reason::Invalid, good.as_str()),
        ("acme", Reason::SiteGone, &good),
        ("acme", Reason::Invalid, bad),
        ("acme", Reason::OverLimit, &good),
        ("gone", Reason::Invalid, &good),
        ("acme", Reason::Salvaged, &good),
    ]) {
        hold(&store, number, site, reason, body).await;
    }
    for number in 10..110 {
        hold(&store, number, "acme", Reason::Undecodable, &good).await;
    }
    let found = recheck_held(&store, &Arc::new(config)).await.expect("looked through");
    assert_eq!(found, Recheck { would_pass: 102, looked_at: 106, has_more: false });
}

#[test]
fn a_certificate_that_is_away_for_a_moment_delays_no_change_for_long() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, config) = files.start();
    let text = fs::read_to_string(files.config_path()).expect("text");
    files.write("config.toml", &text.replace("[server]", "[server]\ntls = { cert = \"tls.pem\", key = \"tls.pem\" }"));
    files.write_site("acme", "changed meanwhile");
    assert!(live.reload(TODAY).is_config_broken);
    assert_eq!(title(&config, "acme").as_deref(), Some("changed meanwhile"));
    files.write("tls.pem", "");
    assert_eq!([live.has_changed(), live.has_changed()], [false, true]);
    assert!(!live.reload(TODAY).is_config_broken);
    assert_eq!(title(&config, "acme").as_deref(), Some("changed meanwhile"));
}

#[test]
fn a_file_that_cannot_be_read_is_watched_too() {
    let files = Files::new("http://127.0.0.1:1");
    let (live, _config) = files.start();
    let path: &Path = &files.config_path();
    fs::remove_file(path).expect("removed");
    assert!(live.reload(TODAY).is_config_broken);
    assert_eq!([live.has_changed(), live.has_changed()], [false, false]);
    files.write("config.toml", "");
    assert_eq!([live.has_changed(), live.has_changed()], [false, true]);
}

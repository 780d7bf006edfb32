//! Files that break or vanish take no site with them: neither while the gateway runs nor when it starts.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use formgate::app::{self, Running};
use formgate::config::{
    self, Config, ConfigPart, Live, PartFault, Recorded, Reloaded, Removals, Sources, StandIn, StandInSource, Starting,
};
use formgate::lead::SiteId;
use formgate::telemetry::Degraded;
use jiff::civil::{Date, date};
use sha2::{Digest as _, Sha256};

use crate::gateway::{self, TOKEN, header, lead_body, status};
use crate::log_lines::LogLines;
use crate::scripted_api::ScriptedApi;

const TODAY: Date = date(2026, 11, 21);
const SITES: usize = 30;
/// Tables of `config.toml` that stand for themselves.
const SECTIONS: usize = 9;

/// A fleet of sites, each in a file with its key in another, and a mapping that `site-00` names.
struct Fleet(tempfile::TempDir);

impl Fleet {
    fn new(base_url: &str) -> Self {
        let fleet = Self(tempfile::tempdir().expect("a folder"));
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [kaicalls]\nbase_url = \"{base_url}\"\n"
        );
        fleet.write("config.toml", &config);
        fleet.write("mappings/visits.toml", "title = \"Visits\"\n[lead]\nmessage = \"wish\"\n");
        for number in 0..SITES {
            fleet.write(&format!("secrets/{number:02}"), "wp_sk_filed");
            let more = if number == 0 { "[forms.contact]\nmapping = \"visits\"\n" } else { "" };
            fleet.write(&format!("sites/{number:02}.toml"), &site(number, more));
        }
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
    }

    fn append(&self, name: &str, text: &str) {
        let before = fs::read_to_string(self.path(name)).expect("text");
        self.write(name, &(before + text));
    }

    fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn starting(&self) -> Starting {
        config::start(&self.path("config.toml"), &Sources::with_environment([]), TODAY)
    }

    /// Starts to follow the files, and leaves a copy of what they give.
    fn follow(&self) -> (Live, Arc<ArcSwap<Config>>) {
        let (config, origin) = self.starting().in_force.expect("it can be served");
        let config = Arc::new(ArcSwap::from_pointee(config));
        let live = Live::new(origin, Arc::clone(&config));
        live.keep_copy().expect("copied");
        (live, config)
    }

    fn run(&self) -> Running {
        let (config, origin) = self.starting().in_force.expect("it can be served");
        app::start(config, origin).expect("started")
    }

    fn command(&self, line: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
        command.args(line).args(["--config", "config.toml"]).current_dir(self.0.path()).env_clear();
        command.output().expect("it runs")
    }
}

fn site(number: usize, more: &str) -> String {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "id = \"site-{number:02}\"\npublic_key = \"wp_pk_{number:02}\"\n\
         secret_key = {{ file = \"../secrets/{number:02}\" }}\ntokens = [{{ sha256 = \"{sha256}\" }}]\n{more}"
    )
}

fn inline_site(number: usize, secret: &str) -> String {
    let key = format!("secret_key = \"{secret}\"");
    let site = site(number, "").replace(&format!("secret_key = {{ file = \"../secrets/{number:02}\" }}"), &key);
    format!("[[site]]\n{site}")
}

fn id(number: usize) -> SiteId {
    SiteId::parse(&format!("site-{number:02}")).expect("a slug")
}

fn in_force(config: &ArcSwap<Config>) -> usize {
    config.load().sites.len()
}

fn faults(stand_ins: &[StandIn]) -> Vec<(ConfigPart, PartFault, StandInSource)> {
    stand_ins.iter().map(|stand_in| (stand_in.part.clone(), stand_in.fault, stand_in.by)).collect()
}

fn nothing_stands_in(reloaded: &Reloaded) {
    assert_eq!(reloaded.stand_ins, [], "{}", reloaded.diagnostics.render(false));
}

async fn post_with(address: SocketAddr, number: usize, token: &str) -> String {
    let token = format!("Authorization: Bearer {token}\r\n");
    let path = format!("/hooks/site-{number:02}/contact");
    gateway::send(address, gateway::post(&path, &token, &lead_body(&format!("jane{number}@example.com")))).await
}

async fn post(address: SocketAddr, number: usize) -> u16 {
    status(&post_with(address, number, TOKEN).await)
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), poll).await.expect("it comes");
}

async fn metrics(running: &Running) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", running.admin());
    gateway::send(running.admin(), &request).await
}

#[tokio::test]
async fn a_renamed_mapping_drops_no_site_that_names_it() {
    let api = ScriptedApi::start().await;
    let fleet = Fleet::new(&api.base_url());
    let running = fleet.run();
    fleet.rename("mappings/visits.toml", "mappings/bookings.toml");
    running.reload();
    until(async || metrics(&running).await.contains("formgate_config_broken 1\n")).await;
    assert!(metrics(&running).await.contains(r#"formgate_degraded{reason="config_broken"} 1"#));
    assert_eq!(post(running.gateway()[0], 0).await, 200);
    let sent = tokio::time::timeout(Duration::from_secs(20), api.wait_for(1)).await.expect("delivered");
    assert_eq!(sent[0].header("authorization"), Some("Bearer wp_pk_00:wp_sk_filed"));
    // The site's own file may follow, and then nothing stands in any more.
    fleet.write("sites/00.toml", &site(0, "[forms.contact]\nmapping = \"bookings\"\n"));
    until(async || metrics(&running).await.contains("formgate_config_broken 0\n")).await;
    running.stop().await;
}

#[tokio::test]
async fn what_stands_in_is_said_when_it_begins_and_when_it_ends() {
    let (lines, _guard) = LogLines::begin();
    let fleet = Fleet::new("http://127.0.0.1:1");
    let running = fleet.run();
    let address = running.gateway()[0];
    let is_refused = || running.metrics().degraded().contains(&Degraded::ReloadRefused);
    fleet.rename("sites", "away");
    running.reload();
    until(async || is_refused()).await;
    assert_eq!(post(address, 7).await, 200);
    until(async || !lines.events("config.reload_refused").is_empty()).await;
    until(async || !lines.events("config.stand_in").is_empty()).await;
    let told = &lines.events("config.stand_in")[0];
    assert_eq!((&told["level"], &told["fault"]), (&"ERROR".into(), &"gone".into()));
    assert!(told["parts"].as_str().is_some_and(|parts| parts.contains("site `site-00`")), "{told}");
    assert!(told["message"].as_str().is_some_and(|words| words.contains("last-good version")), "{told}");

    fleet.rename("away", "sites");
    running.reload();
    until(async || !is_refused()).await;
    until(async || !lines.events("config.mended").is_empty()).await;
    assert!(!lines.events("config.warning").is_empty(), "no site has a region");
    // A site that is taken out on purpose is said too: its forms are refused from then on.
    assert!(lines.events("config.sites_gone").is_empty());
    fleet.write("sites/03.toml", &site(3, "").replace("site-03", "renamed"));
    running.reload();
    until(async || !lines.events("config.sites_gone").is_empty()).await;
    assert_eq!(lines.events("config.sites_gone")[0]["sites"], "site-03");
    assert_eq!(post(address, 3).await, 401);
    running.stop().await;
}

#[test]
fn a_site_whose_mapping_is_gone_takes_changes_of_its_own() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    fleet.remove("mappings/visits.toml");
    fleet.write("sites/00.toml", &site(0, "name = \"New\"\n[forms.contact]\nmapping = \"visits\"\n"));
    let reloaded = live.reload(TODAY);
    let mapping = (ConfigPart::Mapping("visits".to_owned()), PartFault::Gone, StandInSource::LastGood);
    assert_eq!(faults(&reloaded.stand_ins), [mapping]);
    assert!(reloaded.diagnostics.has_errors());
    assert_eq!(config.load().sites[&id(0)].name.as_deref(), Some("New"));
    assert_eq!(
        config.load().mappings.get("visits").and_then(|mapping| mapping.title.clone()),
        Some("Visits".to_owned())
    );
    // Named by nobody, it is gone.
    fleet.write("sites/00.toml", &site(0, ""));
    nothing_stands_in(&live.reload(TODAY));
    assert!(config.load().mappings.get("visits").is_none());
}

#[test]
fn an_own_mapping_in_the_place_of_a_shipped_one_stays_while_a_site_names_it() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.write("mappings/wpforms.toml", "title = \"Mine\"\n");
    fleet.write("sites/01.toml", &site(1, "[forms.contact]\nmapping = \"wpforms\"\n"));
    let (live, config) = fleet.follow();
    let is_own = |config: &ArcSwap<Config>| config.load().mappings.get("wpforms").map(|mapping| mapping.own);
    fleet.remove("mappings/wpforms.toml");
    assert_eq!(live.reload(TODAY).stand_ins.len(), 1);
    assert_eq!(is_own(&config), Some(true));
    // A copy of the shipped one says that this is meant.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/wpforms.toml");
    fs::copy(shipped, fleet.path("mappings/wpforms.toml")).expect("copied");
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(is_own(&config), Some(false));
}

#[test]
fn a_mistyped_include_loses_nothing_that_was_there() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    for wrong in [
        "[mappings]\ninclude = [\"maps/*.toml\"]\n",
        "[mappings]\ninclude = [\"mappings/visits.tml\"]\n",
        "[mappings]\ninclude = \"mappings/*.toml\"\n",
        "[sites]\ninclude = [\"site/*.toml\"]\n",
        "[sites]\ninclude = [\"sites/*.tml\"]\n",
        "[sites]\ninclude = [\"*/*.toml\"]\n",
        "[sites]\ninclude = []\n[mappings]\ninclude = []\n",
    ] {
        fleet.write("config.toml", &format!("{sound}{wrong}"));
        let reloaded = live.reload(TODAY);
        assert!(!reloaded.stand_ins.is_empty() && reloaded.diagnostics.has_errors(), "{wrong}");
        assert_eq!(in_force(&config), SITES, "{wrong}");
        assert!(config.load().mappings.get("visits").is_some(), "{wrong}");
        assert_eq!(fleet.starting().in_force.expect("it starts").0.sites.len(), SITES, "{wrong}");
    }
    fleet.write("config.toml", &sound);
    nothing_stands_in(&live.reload(TODAY));
}

#[test]
fn a_folder_that_vanishes_takes_no_site_with_it() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    fleet.rename("sites", "away");
    assert_eq!([live.has_changed(), live.has_changed()], [false, true]);
    let reloaded = live.reload(TODAY);
    assert_eq!((in_force(&config), reloaded.stand_ins.len(), reloaded.is_refused), (SITES, SITES, true));
    let errors = reloaded.diagnostics.render(false);
    assert!(errors.contains("and 25 more were last read from here"), "{errors}");
    assert!(errors.contains("formgate sites remove SITE"), "{errors}");
    // Another folder in its place, as an empty mount is.
    fs::create_dir(fleet.path("sites")).expect("a folder");
    assert!(live.reload(TODAY).is_refused);
    assert_eq!(in_force(&config), SITES);
    fleet.write("sites/30.toml", &site(30, "").replace("secrets/30", "secrets/00"));
    assert!(live.reload(TODAY).is_refused);
    assert_eq!(in_force(&config), SITES + 1);
    fleet.remove("sites");
    fleet.rename("away", "sites");
    let reloaded = live.reload(TODAY);
    assert_eq!(faults(&reloaded.stand_ins), [(ConfigPart::Site(id(30)), PartFault::Gone, StandInSource::LastGood)]);
    assert!(!reloaded.is_refused);
}

#[test]
fn a_site_moves_from_file_to_file_and_into_the_configuration() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    fleet.rename("sites/01.toml", "sites/one.toml");
    fleet.remove("sites/02.toml");
    fleet.append("config.toml", &inline_site(2, "wp_sk_inline"));
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(in_force(&config), SITES);
    // Twice meanwhile: neither is taken, both go on.
    fs::copy(fleet.path("sites/one.toml"), fleet.path("sites/03.toml")).expect("copied");
    let reloaded = live.reload(TODAY);
    assert_eq!(in_force(&config), SITES);
    assert!(reloaded.kept_sites().contains(&id(1)) && reloaded.kept_sites().contains(&id(3)), "{reloaded:?}");
    // An id that is changed where it stands is a site less and a site more.
    fleet.write("sites/03.toml", &site(3, "").replace("site-03", "renamed"));
    nothing_stands_in(&live.reload(TODAY));
    assert!(!config.load().sites.contains_key(&id(3)));
    assert_eq!(in_force(&config), SITES);
}

#[test]
fn many_sites_are_never_taken_out_of_a_file_at_once() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.remove("sites");
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    let with =
        |count: usize| sound.clone() + &(0..count).map(|number| inline_site(number, "wp_sk_1")).collect::<String>();
    fleet.write("config.toml", &with(20));
    let (live, config) = fleet.follow();
    fleet.write("config.toml", &with(18));
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(in_force(&config), 18);
    fleet.write("config.toml", &with(16));
    let reloaded = live.reload(TODAY);
    assert_eq!((in_force(&config), reloaded.is_refused), (18, true));
    assert_eq!(reloaded.stand_ins[0].fault, PartFault::TakenOut);
    fleet.write("config.toml", &sound);
    assert!(live.reload(TODAY).is_refused);
    assert_eq!(in_force(&config), 18);
}

#[test]
fn a_copy_under_way_is_not_read() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, _config) = fleet.follow();
    let whole = site(40, "");
    for part in [whole.len() / 3, whole.len() / 2, whole.len()] {
        fleet.write("sites/40.toml", &whole[..part]);
        assert!(!live.has_changed(), "it grew since the last look");
    }
    assert!(live.has_changed());
}

#[test]
fn one_broken_file_of_many_stops_no_start() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, _config) = fleet.follow();
    for broken in ["id = \"site-03", "id = \"site-03\"\nnmae = \"x\"\n", ""] {
        fleet.write("sites/03.toml", broken);
        let starting = fleet.starting();
        assert_eq!(
            faults(&starting.stand_ins),
            [(ConfigPart::Site(id(3)), PartFault::Broken, StandInSource::LastGood)],
            "{broken}"
        );
        let (config, _) = starting.in_force.expect("it starts");
        assert_eq!((config.sites.len(), config.missing), (SITES, config::Missing::default()), "{broken}");
        assert!(config.sites[&id(3)].keys.is_some(), "what the copy refers to is there");
    }
    // What stood in at a start is still there at the next.
    let before = fs::read(fleet.path("data/last-good/configuration.json")).expect("the copy");
    drop(live);
    drop(fleet.follow());
    assert_eq!(fs::read(fleet.path("data/last-good/configuration.json")).expect("the copy"), before);
}

#[tokio::test]
async fn without_a_copy_a_site_that_cannot_be_read_turns_refusals_into_503() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let sound = fs::read_to_string(fleet.path("sites/03.toml")).expect("text");
    fleet.write("sites/03.toml", "id = \"site-03");
    let running = fleet.run();
    let address = running.gateway()[0];
    let counted = metrics(&running).await;
    assert!(counted.contains("formgate_config_reload_total{result=\"failed\"} 1\n"), "{counted}");
    assert!(!counted.contains("formgate_config_reload_total{result=\"ok\"} 1\n"), "{counted}");
    assert_eq!(post(address, 4).await, 200);
    for (number, token) in [(3, TOKEN), (4, "fg_wrong"), (99, TOKEN)] {
        let answer = post_with(address, number, token).await;
        assert_eq!(status(&answer), 503, "{answer}");
        assert!(header(&answer, "retry-after").is_some(), "{answer}");
    }
    fleet.write("sites/03.toml", &sound);
    running.reload();
    until(async || metrics(&running).await.contains("formgate_config_broken 0\n")).await;
    assert_eq!(post(address, 3).await, 200);
    assert_eq!(status(&post_with(address, 4, "fg_wrong").await), 401);
    running.stop().await;
}

#[tokio::test]
async fn without_a_copy_what_a_lost_mapping_was_meant_for_is_held() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let mapping = fs::read_to_string(fleet.path("mappings/visits.toml")).expect("text");
    fleet.remove("mappings/visits.toml");
    for number in 1..20 {
        fleet.write(&format!("sites/{number:02}.toml"), &site(number, "[forms.contact]\nmapping = \"visits\"\n"));
    }
    let starting = fleet.starting();
    assert_eq!(starting.stand_ins.len(), 20);
    assert!(
        starting.stand_ins.iter().all(|part| part.fault == PartFault::Incomplete && part.by == StandInSource::Itself)
    );
    assert_eq!(
        starting.loaded.diagnostics.count(config::Severity::Error),
        1,
        "one problem, however many sites name it"
    );
    let running = fleet.run();
    let address = running.gateway()[0];
    let answer = post_with(address, 0, TOKEN).await;
    assert!(status(&answer) == 200 && answer.contains("\"held\""), "{answer}");
    assert_eq!(status(&post_with(address, 0, "fg_wrong").await), 401, "every site is known");
    fleet.write("mappings/visits.toml", &mapping);
    running.reload();
    until(async || metrics(&running).await.contains("formgate_config_broken 0\n")).await;
    assert!(post_with(address, 0, TOKEN).await.contains("\"queued\""));
    running.stop().await;
}

#[tokio::test]
async fn a_broken_admin_table_stops_no_start_where_its_default_port_is_taken() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    fleet.write("config.toml", &sound.replace("[admin]\nlisten", "[admin]\nlissen"));
    // By this, or else by another.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8081");
    let running = fleet.run();
    assert_eq!(post(running.gateway()[0], 4).await, 200);
    let degraded = running.metrics().degraded();
    assert!(degraded.starts_with(&[Degraded::ConfigBroken, Degraded::AdminBroken]), "{degraded:?}");
    running.stop().await;
}

#[tokio::test]
async fn an_admin_table_whose_last_good_version_is_in_force_has_no_defaults_in_force() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let running = fleet.run();
    until(async || fleet.path("data/last-good").exists()).await;
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    fleet.write("config.toml", &sound.replace("[admin]\nlisten", "[admin]\nlissen"));
    running.reload();
    until(async || !running.metrics().degraded().is_empty()).await;
    assert_eq!(running.metrics().degraded(), [Degraded::ConfigBroken]);
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let ready = gateway::send(running.admin(), request).await;
    assert_eq!((status(&ready), &gateway::json(&ready)["checks"]["config"]), (200, &"broken".into()));
    fleet.write("config.toml", &sound);
    running.reload();
    until(async || running.metrics().degraded().is_empty()).await;
    let ready = gateway::send(running.admin(), request).await;
    assert_eq!(gateway::json(&ready)["checks"]["config"], "ok");
    running.stop().await;
}

#[tokio::test]
async fn a_copy_that_cannot_be_kept_needs_a_person_and_is_tried_until_it_is_there() {
    let (lines, _guard) = LogLines::begin();
    let fleet = Fleet::new("http://127.0.0.1:1");
    // A file in the place of its folder.
    fleet.write("data/last-good", "");
    let running = fleet.run();
    until(async || running.metrics().degraded() == [Degraded::CopyFailed]).await;
    fleet.remove("data/last-good");
    until(async || running.metrics().degraded().is_empty()).await;
    assert!(fleet.path("data/last-good").is_dir());
    assert_eq!(lines.events("config.copy_failed").len(), 1);
    running.stop().await;
}

#[test]
fn sites_that_stand_in_are_sites() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let warned = |starting: &Starting| starting.loaded.diagnostics.render(false).contains("there are no sites");
    let (live, _config) = fleet.follow();
    fleet.remove("sites");
    assert!(!warned(&fleet.starting()));
    assert!(!live.reload(TODAY).diagnostics.render(false).contains("there are no sites"));
    fleet.remove("data");
    assert!(warned(&fleet.starting()));
}

#[test]
fn a_key_that_is_missing_is_no_broken_configuration() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.remove("secrets/03");
    let said = |fleet: &Fleet| String::from_utf8(fleet.command(&["status"]).stderr).expect("text");
    assert!(said(&fleet).contains("are missing; run `formgate check`"), "{}", said(&fleet));
    fleet.write("sites/04.toml", "id =");
    assert!(said(&fleet).contains("is broken or missing; run `formgate check`"), "{}", said(&fleet));
}

#[tokio::test]
async fn while_kaicalls_address_is_unknown_submissions_are_taken_and_that_is_degraded() {
    let api = ScriptedApi::start().await;
    let fleet = Fleet::new(&api.base_url());
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    fleet.write("config.toml", &sound.replace("http://", "ftp://"));
    let running = fleet.run();
    assert_eq!(post(running.gateway()[0], 4).await, 200);
    assert_eq!(running.metrics().degraded(), [Degraded::ConfigBroken, Degraded::DeliveryOff]);
    running.stop().await;
}

#[test]
fn an_emptied_mapping_stays_as_it_was() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    for emptied in ["", "\n# what it does\n"] {
        fleet.write("mappings/visits.toml", emptied);
        let stand_ins = live.reload(TODAY).stand_ins;
        assert_eq!(
            faults(&stand_ins),
            [(ConfigPart::Mapping("visits".to_owned()), PartFault::Broken, StandInSource::LastGood)]
        );
        assert!(config.load().mappings.get("visits").is_some_and(|mapping| mapping.title.is_some()));
    }
}

#[tokio::test]
async fn a_site_without_its_key_takes_submissions_and_sends_them_once_it_is_there() {
    let api = ScriptedApi::start().await;
    let fleet = Fleet::new(&api.base_url());
    fleet.remove("secrets/05");
    let starting = fleet.starting();
    assert_eq!(faults(&starting.stand_ins), [(ConfigPart::Site(id(5)), PartFault::NoKeys, StandInSource::Itself)]);
    let running = fleet.run();
    let address = running.gateway()[0];
    assert_eq!(running.metrics().degraded(), [Degraded::KeysMissing], "nothing is broken");
    // One that is there and wrong was meant to be right.
    fleet.write("secrets/06", "garbage");
    let wrong = fleet.starting().stand_ins.into_iter().find(|it| it.part == ConfigPart::Site(id(6))).expect("told");
    assert_eq!(wrong.fault, PartFault::Incomplete);
    fleet.write("secrets/06", "wp_sk_filed");
    assert_eq!((post(address, 5).await, post(address, 6).await), (200, 200));
    let sent = tokio::time::timeout(Duration::from_secs(20), api.wait_for(1)).await.expect("delivered");
    assert_eq!(sent[0].header("authorization"), Some("Bearer wp_pk_06:wp_sk_filed"));
    assert_eq!(status(&post_with(address, 5, "fg_wrong").await), 401);
    fleet.write("secrets/05", "wp_sk_found");
    running.reload();
    let sent = tokio::time::timeout(Duration::from_secs(20), api.wait_for(2)).await.expect("delivered");
    assert_eq!(sent[1].header("authorization"), Some("Bearer wp_pk_05:wp_sk_found"));
    running.stop().await;
}

#[test]
fn a_start_without_the_folder_of_sites_serves_them_by_the_copy() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    drop(fleet.follow());
    fleet.remove("sites");
    fleet.remove("mappings");
    let (config, _) = fleet.starting().in_force.expect("it starts");
    assert_eq!(config.sites.len(), SITES);
    assert_eq!(config.sites[&id(7)].keys.as_ref().map(|keys| keys.secret().expose()), Some("wp_sk_filed"));
    assert!(config.mappings.get("visits").is_some());
    let checked = fleet.command(&["check"]);
    let told = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(78), "{told}");
    assert!(
        told.contains("and 25 more were last read from here") && told.contains("mapping `visits` was last read"),
        "{told}"
    );
    // Even without config.toml, or with something else in its place.
    for text in [None, Some("what")] {
        text.map_or_else(|| fleet.remove("config.toml"), |text| fleet.write("config.toml", text));
        let (config, _) = fleet.starting().in_force.expect("it starts");
        assert_eq!((config.sites.len(), config.upstream.base_url.as_str()), (SITES, "http://127.0.0.1:1"));
    }
}

#[test]
fn a_removal_is_recorded_before_its_file_goes() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, _config) = fleet.follow();
    let removed = || fs::read_to_string(fleet.path("data/last-good/removed.json")).expect("text");
    assert_eq!(fleet.command(&["sites", "remove", "site-09"]).status.code(), Some(0));
    let changed = |name: &str| fs::metadata(fleet.path(name)).and_then(|found| found.modified()).expect("a time");
    assert!(changed("data/last-good/removed.json") <= changed("sites"), "the file went first");
    nothing_stands_in(&live.reload(TODAY));
    // Recorded while its file is there still, it goes on, whatever a reload makes of that.
    let part = ConfigPart::Site(id(8));
    let removals = Removals::of(&fleet.path("config.toml"), &Sources::with_environment([]), TODAY);
    assert_eq!(removals.record(&part).expect("recorded"), Recorded::Now);
    nothing_stands_in(&live.reload(TODAY));
    live.keep_copy().expect("copied");
    assert!(!removed().contains("site-08"), "it counts as put back");
    assert_eq!(fleet.command(&["sites", "remove", "site-08"]).status.code(), Some(0));
    nothing_stands_in(&live.reload(TODAY));
}

#[test]
fn what_was_removed_is_written_anew_where_it_cannot_be_read() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, _config) = fleet.follow();
    let removed = || fs::read_to_string(fleet.path("data/last-good/removed.json")).expect("text");
    assert_eq!(fleet.command(&["sites", "remove", "site-07"]).status.code(), Some(0));
    nothing_stands_in(&live.reload(TODAY));
    for corrupt in ["", "{\"version\":1,\"content\":{\"sites\":[\"site", "what"] {
        fleet.write("data/last-good/removed.json", corrupt);
        nothing_stands_in(&live.reload(TODAY));
        live.keep_copy().expect("copied");
        assert!(removed().contains("site-07"), "what the gateway knew: {corrupt}");
        fleet.write("data/last-good/removed.json", corrupt);
        let ran = fleet.command(&["sites", "remove", "site-09"]);
        assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(removed().contains("site-09"), "{corrupt}");
        fleet.write("sites/09.toml", &site(9, ""));
        fleet.write("data/last-good/removed.json", corrupt);
    }
}

#[test]
fn a_removal_holds_also_where_the_copy_could_not_be_written_meanwhile() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    let remove = || assert_eq!(fleet.command(&["sites", "remove", "site-09"]).status.code(), Some(0));
    remove();
    nothing_stands_in(&live.reload(TODAY));
    live.keep_copy().expect("copied");
    let copy = fleet.path("data/last-good/configuration.json");
    fs::remove_file(&copy).expect("removed");
    fs::create_dir(&copy).expect("an obstacle");
    fleet.write("sites/09.toml", &site(9, ""));
    nothing_stands_in(&live.reload(TODAY));
    assert!(live.keep_copy().is_err());
    remove();
    fs::remove_dir(&copy).expect("removed");
    live.keep_copy().expect("copied");
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(in_force(&config), SITES - 1);
}

#[test]
fn no_token_is_added_to_a_site_whose_file_lost_its_end() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (_live, _config) = fleet.follow();
    let whole = site(8, "");
    let cut = &whole[..whole.find("tokens").expect("it is there")];
    fleet.write("sites/08.toml", cut);
    let ran = fleet.command(&["sites", "token", "site-08"]);
    assert_eq!(ran.status.code(), Some(78), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(fs::read_to_string(fleet.path("sites/08.toml")).expect("text"), cut);
}

/// What an interrupted copy, or a full disk, leaves of `config.toml`: TOML all the same.
#[test]
fn a_configuration_that_is_empty_or_cut_short_stays_as_it_was() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append(
        "config.toml",
        "[queue]\nurl = \"sqlite:data/other.db\"\ndedupe = \"1m\"\n[limits]\n[backup]\nto = \"b\"\n",
    );
    let (live, config) = fleet.follow();
    let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
    let before = |table: &str| whole[..whole.find(table).expect("it is there")].to_owned();
    for cut in [
        String::new(),
        "\n# The gateway of Acme\n".to_owned(),
        before("[kaicalls]"),
        before("base_url"),
        before("[queue]"),
        before("url = \"sqlite"),
        before("[limits]"),
    ] {
        fleet.write("config.toml", &cut);
        let starting = fleet.starting();
        assert_eq!(starting.stand_ins.len(), SECTIONS, "{cut}");
        let is_last_good = |part: &StandIn| (part.fault, part.by) == (PartFault::Broken, StandInSource::LastGood);
        assert!(starting.stand_ins.iter().all(is_last_good), "{cut}");
        assert!(starting.loaded.diagnostics.prevent_serving(), "{cut}");
        let (started, _) = starting.in_force.expect("it starts");
        assert_eq!(started.upstream.base_url.as_str(), "http://127.0.0.1:1", "{cut}");
        assert_eq!((started.queue.dedupe.as_secs(), started.sites.len()), (60, SITES), "{cut}");
        assert_eq!(started.server.listen[0].address.port(), 0, "{cut}");
        assert!(live.reload(TODAY).is_config_broken, "{cut}");
        assert!(config.load().backup.is_some(), "{cut}");
        live.keep_copy().expect("copied");
    }
    fleet.write("config.toml", "");
    for line in [&["check"][..], &["serve", "--strict"]] {
        let ran = fleet.command(line);
        assert_eq!(ran.status.code(), Some(78));
        let told = [ran.stdout, ran.stderr].concat();
        assert!(String::from_utf8_lossy(&told).contains("this file is empty"), "{line:?}");
    }
    // Restored, nothing is left of it.
    fleet.write("config.toml", &whole);
    nothing_stands_in(&live.reload(TODAY));
}

#[test]
fn what_a_person_takes_out_of_the_configuration_is_gone() {
    let tables = "[limits]\n[queue]\nurl = \"sqlite:data/other.db\"\n[backup]\nto = \"b\"\n";
    for (out, with) in [
        ("[backup]\nto = \"b\"\n", ""),
        ("[limits]\n", ""),
        // While something follows, nothing was cut off.
        ("[queue]\nurl = \"sqlite:data/other.db\"\n", ""),
        ("[kaicalls]\nbase_url = \"http://127.0.0.1:1\"\n", ""),
        // The default, written out.
        (
            "[queue]\nurl = \"sqlite:data/other.db\"\n[backup]\nto = \"b\"\n",
            "[queue]\nurl = \"sqlite:data/formgate.db\"\n",
        ),
    ] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        fleet.append("config.toml", tables);
        let (live, _config) = fleet.follow();
        let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
        fleet.write("config.toml", &whole.replace(out, with));
        assert_eq!(fleet.starting().stand_ins, [], "{out}");
        nothing_stands_in(&live.reload(TODAY));
    }
}

#[test]
fn a_table_that_is_commented_out_is_gone_with_what_it_moved() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", "[queue]\nurl = \"sqlite:data/other.db\"\n[limits]\n[backup]\nto = \"b\"\n");
    let (live, config) = fleet.follow();
    let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
    let at = whole.find("[queue]").expect("it is there");
    let commented: String = whole[at..].lines().map(|line| format!("# {line}\n")).collect();
    fleet.write("config.toml", &format!("{}{commented}", &whole[..at]));
    assert_eq!(fleet.starting().stand_ins, []);
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(config.load().needs_restart, ["[queue].url"]);
    assert!(config.load().backup.is_none());
}

/// What is written under a name that nobody knows was meant for something: its defaults are not that.
#[test]
fn a_table_with_a_mistyped_name_stays_as_it_was() {
    for (table, section, mistyped) in [
        ("[limits]\nclient = { rate = \"7/min\", burst = 7 }\n", "limits", "limit"),
        ("[limits]\nclient = { rate = \"7/min\", burst = 7 }\n", "limits", "throttling"),
        ("[backup]\nto = \"b\"\n", "backup", "backups"),
        ("[alerts]\noverdue = \"7m\"\n", "alerts", "alert"),
        ("[[notify]]\nurl = \"https://hooks.example/x\"\n", "notify", "notfy"),
        ("[mail]\nsmtp = \"smtp://localhost:25\"\nfrom = \"a@agency.example\"\n", "mail", "mial"),
    ] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        let before = fs::read_to_string(fleet.path("config.toml")).expect("text");
        fleet.write("config.toml", &format!("{table}{before}"));
        let (live, config) = fleet.follow();
        let was = sections(&config);
        fleet.write("config.toml", &format!("{}{before}", table.replace(section, mistyped)));
        let wanted = (ConfigPart::Section(section), PartFault::Broken, StandInSource::LastGood);
        for _ in 0..2 {
            let reloaded = live.reload(TODAY);
            let told: Vec<_> = reloaded.stand_ins.iter().map(|it| (it.part.clone(), it.fault, it.by)).collect();
            assert_eq!(told, std::slice::from_ref(&wanted), "{mistyped}");
            assert_eq!(sections(&config), was, "{mistyped}");
            live.keep_copy().expect("copied");
        }
        // Without it a start would begin with others.
        let in_force = fleet.starting().in_force;
        if section == "limits" {
            assert!(in_force.is_none(), "{mistyped}");
        } else if section != "notify" {
            // The copy has no URL of a sink, which may hold a secret.
            let config = ArcSwap::from_pointee(in_force.expect("it starts").0);
            assert_eq!(sections(&config), was, "{mistyped}");
        }
    }
}

/// A first start has nothing else to go by: it serves with the defaults, but for those that would lead elsewhere.
#[test]
fn a_mistyped_name_keeps_a_first_start_only_from_another_place() {
    for (mistyped, serves) in [("limit", true), ("alert", true), ("serve", false), ("queu", false)] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        fleet.append("config.toml", &format!("[{mistyped}]\n"));
        let config = fs::read_to_string(fleet.path("config.toml")).expect("text");
        fleet.write("config.toml", &config.replace("[server]\nlisten = \"127.0.0.1:0\"\n", ""));
        let starting = fleet.starting();
        assert_eq!(starting.in_force.is_some(), serves, "{mistyped}");
        assert!(starting.loaded.diagnostics.has_errors(), "{mistyped}");
    }
}

/// A comment that says something else is no sign that somebody took the old value out.
#[test]
fn a_comment_before_what_is_lost_does_not_take_it_out() {
    let database = "url = \"sqlite:data/other.db\"\n";
    for (before, kept) in [
        ("[queue]\n# url = \"postgres://db.example/formgate\"\n", ""),
        ("# [[notify]]\n# url = \"https://hooks.example/x\"\n", "[queue]\n"),
        ("# [queue]\n# The store: url = \"sqlite:data/other.db\"\n", "[queue]\n"),
    ] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        fleet.append("config.toml", &format!("{before}{kept}{database}"));
        let (live, config) = fleet.follow();
        let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
        let cut = whole.find(&format!("{kept}{database}")).expect("it is there");
        fleet.write("config.toml", &whole[..cut]);
        assert!(live.reload(TODAY).is_config_broken, "{before}");
        assert_eq!(config.load().needs_restart, [""; 0], "{before}");
        let in_force = fleet.starting().in_force.expect("it starts").0;
        assert!(format!("{:?}", in_force.queue.url).contains("other.db"), "{before}");
    }
}

/// What tables of `config.toml` say that have defaults.
fn sections(config: &ArcSwap<Config>) -> String {
    let Config { limits, backup, sinks, mail, alerts, .. } = &*config.load_full();
    format!("{limits:?} {backup:?} {sinks:?} {mail:?} {alerts:?}")
}

/// Whoever stands in the folder of another program has its `config.toml` before him.
#[test]
fn a_configuration_of_another_program_is_told_and_never_served() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    for foreign in ["[package]\nname = \"x\"\n", "theme = \"dark\"\n[params]\nlisten = \"0.0.0.0:80\"\n"] {
        fleet.write("config.toml", foreign);
        for line in [&["check"][..], &["serve"], &["leads", "list"]] {
            let ran = fleet.command(line);
            assert_eq!(ran.status.code(), Some(78), "{line:?}");
            let told = String::from_utf8([ran.stdout, ran.stderr].concat()).expect("text");
            assert!(told.contains("isn't a formgate configuration") && told.contains("--config"), "{told}");
            assert!(!told.contains("unknown key"), "{told}");
        }
        assert!(!fleet.path("data").exists(), "nothing begins there");
    }
}

/// A site that takes no token, sends what is only tried out, or sends by another's keys, is worse than an old one.
#[test]
fn a_site_that_is_cut_short_stays_as_it_was() {
    let more = "deliver = false\nhosts = [\"a.example\"]\n[forms.a]\nmapping = \"visits\"\n\
                [forms.b]\npublic_key = \"wp_pk_b\"\nsecret_key = { file = \"../secrets/00\" }\n";
    let alone = site(29, more);
    let inline = format!("[[site]]\n{alone}").replace("../", "").replace("[forms", "[site.forms");
    for (name, begin, whole) in
        [("sites/29.toml", "", alone), ("config.toml", "[server]\nlisten = \"127.0.0.1:0\"\n", inline)]
    {
        let fleet = Fleet::new("http://127.0.0.1:1");
        fleet.remove("sites/29.toml");
        fleet.write("config.toml", "[server]\nlisten = \"127.0.0.1:0\"\n");
        fleet.write(name, &format!("{begin}{whole}"));
        let (live, config) = fleet.follow();
        let table = |id: &str| if begin.is_empty() { format!("[forms.{id}]") } else { format!("[site.forms.{id}]") };
        for cut in ["tokens", "deliver", "hosts", &table("a"), &table("b")] {
            let rest = &whole[..whole.find(cut).expect("it is there")];
            fleet.write(name, &format!("{begin}{rest}# more\n"));
            let broken = (ConfigPart::Site(id(29)), PartFault::Broken, StandInSource::LastGood);
            let starting = fleet.starting();
            assert!(faults(&starting.stand_ins).contains(&broken), "{name} before {cut}");
            let (started, _) = starting.in_force.expect("it starts");
            let reloaded = live.reload(TODAY);
            assert!(faults(&reloaded.stand_ins).contains(&broken), "{name} before {cut}");
            let told = reloaded.diagnostics.render(false);
            assert!(told.contains("site `site-29` seems to be cut short"), "{told}");
            for config in [&started, &**config.load()] {
                let site = &config.sites[&id(29)];
                assert_eq!((site.tokens.len(), site.deliver, site.hosts.len()), (1, false, 1), "{name} before {cut}");
                assert_eq!((site.rules.forms.len(), site.form_keys.len()), (2, 1), "{name} before {cut}");
            }
            live.keep_copy().expect("copied");
        }
        assert_eq!(fleet.command(&["check"]).status.code(), Some(78));
        fleet.write(name, &format!("{begin}{whole}"));
        nothing_stands_in(&live.reload(TODAY));
    }
}

#[test]
fn what_a_person_takes_out_of_a_site_is_gone() {
    let form = "[forms.a]\nmapping = \"visits\"\n";
    for (more, with) in [
        // One thing at the end that neither refuses nor sends.
        ("hosts = [\"a.example\"]\n", ""),
        (form, ""),
        ("[forms.a]\nmapping = \"visits\"\non_invalid = \"reject\"\n", form),
        // A value that is shorter or written in another way.
        (
            "[forms.a]\nmatch = { exists = [\"$.a\"], equals = { \"$.b\" = \"1\" } }\n",
            "[forms.a]\nmatch = { exists = [\"$.a\"] }\n",
        ),
        (
            "[forms.a.lead]\nname = { join = [\"first\", \"last\"], with = \" \" }\n",
            "[forms.a.lead]\nname = \"whole\"\n",
        ),
        // Something follows, which was there or is new.
        ("deliver = false\nhosts = [\"a.example\"]\n", "hosts = [\"a.example\"]\n"),
        ("deliver = false\nhosts = [\"a.example\"]\n", "unknown_forms = \"hold\"\n"),
        // Written out, or commented out.
        ("deliver = false\n", "deliver = true\n"),
        ("deliver = false\n", "# deliver = false   # to try it out\n\n"),
        ("deliver = false\nwpforms_secret = { file = \"../secrets/00\" }\n", "#deliver=false\n# wpforms_secret = {}\n"),
        ("deliver = false\n[forms.a]\nmapping = \"visits\"\n", "deliver = true\n"),
    ] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        fleet.write("sites/08.toml", &site(8, more));
        let (live, _config) = fleet.follow();
        fleet.write("sites/08.toml", &site(8, with));
        assert_eq!(fleet.starting().stand_ins, [], "{more} {with}");
        nothing_stands_in(&live.reload(TODAY));
    }
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    let whole = site(8, "");
    let before_tokens = &whole[..whole.find("tokens").expect("it is there")];
    fleet.write("sites/08.toml", &format!("{before_tokens}tokens = []\n"));
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(config.load().sites[&id(8)].tokens, []);
}

/// A file that lost the name of its data folder leads to the default one: there a word is left of where the copy is.
#[test]
fn a_copy_in_another_data_folder_is_found_by_a_file_that_lost_its_name() {
    for table in ["[queue]\nurl = \"sqlite:elsewhere/formgate.db\"\n", "[server]\ndata = \"elsewhere\"\n"] {
        let fleet = Fleet::new("http://127.0.0.1:1");
        let kaicalls = "[kaicalls]\nbase_url = \"http://127.0.0.1:1\"\n";
        let begin = "[admin]\nlisten = \"127.0.0.1:0\"\n";
        let whole = format!("{begin}{kaicalls}{table}");
        fleet.write("config.toml", &whole);
        let (live, _config) = fleet.follow();
        for cut in ["", begin, &format!("{begin}{kaicalls}")] {
            fleet.write("config.toml", cut);
            let (config, origin) = fleet.starting().in_force.expect("it starts");
            assert_eq!(config.data_folder(), Some(fleet.path("elsewhere").as_path()), "{cut}");
            assert_eq!(config.upstream.base_url.as_str(), "http://127.0.0.1:1", "{cut}");
            assert_eq!((config.sites.len(), origin.stand_ins.len()), (SITES, SECTIONS), "{cut}");
        }
        // Who means the default writes it out, and nothing leads elsewhere after the next start.
        fleet.write("config.toml", &format!("{begin}{kaicalls}[queue]\nurl = \"sqlite:data/formgate.db\"\n"));
        drop(live);
        let (_live, config) = fleet.follow();
        assert_eq!(config.load().data_folder(), Some(fleet.path("data").as_path()));
        assert!(fleet.path("data/last-good/configuration.json").exists());
        fleet.write("config.toml", begin);
        let (config, _) = fleet.starting().in_force.expect("it starts");
        assert_eq!(config.data_folder(), Some(fleet.path("data").as_path()));
    }
}

#[test]
fn an_empty_configuration_without_a_copy_says_where_one_was_looked_for() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.write("config.toml", "");
    let ran = fleet.command(&["serve"]);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(78), "{told}");
    assert!(told.contains("this file has no last-good version: there is no copy in data/last-good"), "{told}");
}

#[test]
fn what_serves_is_never_guessed_and_the_rest_is() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    drop(fleet.follow());
    let sound = fs::read_to_string(fleet.path("config.toml")).expect("text");
    for table in ["server", "queue", "limits"] {
        let listen = "listen = \"127.0.0.1:0\"\n[admin]";
        let broken = match table {
            "server" => sound.replacen(listen, "lisen = 1\n[admin]", 1),
            _ => format!("{sound}[{table}]\nodd = 1\n"),
        };
        fleet.write("config.toml", &broken);
        assert!(fleet.starting().in_force.is_none(), "{table}");
        assert_eq!(fleet.command(&["serve"]).status.code(), Some(78), "{table}");
    }
    for (broken, by) in [("[backup]\nodd = 1\n", StandInSource::LastGood), ("[notfy]\n", StandInSource::Itself)] {
        fleet.write("config.toml", &format!("{sound}{broken}"));
        let starting = fleet.starting();
        assert_eq!(starting.stand_ins.iter().map(|stand_in| stand_in.by).collect::<Vec<_>>(), [by]);
        assert!(starting.in_force.is_some());
        assert_eq!(fleet.command(&["check"]).status.code(), Some(78));
        assert_eq!(fleet.command(&["serve", "--strict"]).status.code(), Some(78));
    }
    fleet.remove("data");
    fleet.write("config.toml", &sound.replace("http://127.0.0.1:1", "ftp://x"));
    let (config, _) = fleet.starting().in_force.expect("it takes submissions");
    assert!(config.missing.upstream, "nothing may be sent to a guessed address");
}

#[test]
fn sites_that_were_there_and_are_nowhere_stop_a_start() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let running = fleet.run();
        assert_eq!(post(running.gateway()[0], 8).await, 200);
        running.stop().await;
    });
    fleet.remove("sites");
    fleet.remove("data/last-good");
    let ran = fleet.command(&["serve"]);
    assert_eq!(ran.status.code(), Some(75), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn the_copy_is_its_owners_alone_and_holds_no_secret() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", &inline_site(31, "wp_sk_hush"));
    fleet.append("config.toml", "wpforms_secret = [\"hush-sign\"] # hush\n[site.forms.a]\npublic_key = \"wp_pk_b\"\nsecret_key = 'wp_sk_hush2'\n");
    let (_live, config) = fleet.follow();
    assert_eq!(in_force(&config), SITES + 1);
    let mode = |name: &str| fs::metadata(fleet.path(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("data/last-good"), mode("data/last-good/configuration.json")), (0o700, 0o600));
    let copy = fs::read_to_string(fleet.path("data/last-good/configuration.json")).expect("text");
    for secret in ["hush", "wp_sk_filed", TOKEN] {
        assert!(!copy.contains(secret), "{secret}");
    }
    // Its site takes submissions all the same; its leads wait, and none goes out by another's keys.
    fleet.write("config.toml", "what");
    let (config, _) = fleet.starting().in_force.expect("it starts");
    let site = &config.sites[&id(31)];
    assert!(site.keys.is_none() && site.lacks_signature_secret && site.tokens.len() == 1);
    assert!(site.keys_of(&formgate::lead::FormId::parse("a").expect("a slug")).is_none());
    assert!(config.missing.credentials && config.missing.keys);
}

#[test]
fn a_site_goes_for_good_when_it_is_removed() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", &format!("# kept\n{}", inline_site(31, "wp_sk_1")));
    fleet.append("config.toml", &format!("# gone\n{}", inline_site(32, "wp_sk_1")));
    let (live, config) = fleet.follow();
    let remove = |site: &str| fleet.command(&["sites", "remove", site]);
    // Written in a file of its own, in config.toml, and nowhere any more.
    fleet.remove("sites/10.toml");
    for site in ["site-09", "site-32", "site-10"] {
        let removed = remove(site);
        assert_eq!(removed.status.code(), Some(0), "{}", String::from_utf8_lossy(&removed.stderr));
    }
    assert!(!fleet.path("sites/09.toml").exists());
    let text = fs::read_to_string(fleet.path("config.toml")).expect("text");
    assert!(text.contains("# kept\n") && text.contains("site-31") && !text.contains("site-32"), "{text}");
    assert_eq!([live.has_changed(), live.has_changed()], [false, true]);
    nothing_stands_in(&live.reload(TODAY));
    live.keep_copy().expect("copied");
    assert_eq!(in_force(&config), SITES - 1);
    assert_eq!(fleet.starting().in_force.expect("it starts").0.sites.len(), SITES - 1);
    assert_eq!(remove("site-09").status.code(), Some(0), "done twice it changes nothing");
    // Put back, and gone again by accident: it stays.
    fleet.write("sites/09.toml", &site(9, ""));
    nothing_stands_in(&live.reload(TODAY));
    live.keep_copy().expect("copied");
    fleet.remove("sites/09.toml");
    assert_eq!(live.reload(TODAY).kept_sites(), [id(9)]);
}

#[test]
fn sites_are_removed_listed_and_given_tokens_while_a_table_is_broken() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", &format!("{}{}", inline_site(31, "wp_sk_1"), inline_site(32, "wp_sk_1")));
    let (live, config) = fleet.follow();
    let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
    fleet.write("config.toml", &whole.replace("[admin]", "[admin]\nlistne = 1"));
    fleet.append("sites/05.toml", "nmae = \"Five\"\n");

    let listed = fleet.command(&["sites", "list", "--output", "json"]);
    assert_eq!(listed.status.code(), Some(0), "{}", String::from_utf8_lossy(&listed.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(SITES + 2), "{rows}");
    assert!(String::from_utf8_lossy(&listed.stderr).contains("`formgate check` shows them"));
    for (site, file) in [("site-03", "sites/03.toml"), ("site-31", "config.toml")] {
        let before = fs::read_to_string(fleet.path(file)).expect("text").matches("sha256").count();
        let made = fleet.command(&["sites", "token", site]);
        assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
        assert_eq!(fs::read_to_string(fleet.path(file)).expect("text").matches("sha256").count(), before + 1);
    }
    for site in ["site-03", "site-05", "site-31"] {
        let ran = fleet.command(&["sites", "remove", site]);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(0) && told.contains("was removed from"), "{told}");
    }
    assert!(!fleet.path("sites/03.toml").exists() && !fleet.path("sites/05.toml").exists());
    let text = fs::read_to_string(fleet.path("config.toml")).expect("text");
    assert!(text.contains("site-32") && !text.contains("site-31"), "{text}");
    live.reload(TODAY);
    assert_eq!(in_force(&config), SITES - 1);

    // Emptied, it has none of its sites: their files are found all the same.
    fleet.write("config.toml", "");
    let ran = fleet.command(&["sites", "remove", "site-04"]);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(!fleet.path("sites/04.toml").exists());
}

#[test]
fn a_removal_that_fails_leaves_the_site_in_force() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", &inline_site(31, "wp_sk_1"));
    let (live, config) = fleet.follow();
    fleet.append("config.toml", "what\n");
    let ran = fleet.command(&["sites", "remove", "site-31"]);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(78) && told.contains("it isn't valid TOML"), "{told}");
    live.reload(TODAY);
    assert!(config.load().sites.contains_key(&id(31)), "it goes on");
    // A file of its own that can't be deleted: nobody changes the folder, whoever runs this.
    let copy = fs::read_to_string(fleet.path("data/last-good/configuration.json")).expect("text");
    let file = fleet.path("sites/05.toml").display().to_string();
    fleet.write("data/last-good/configuration.json", &copy.replace(&file, "/proc/version"));
    fleet.remove("sites/05.toml");
    fleet.write("config.toml", "[sites]\ninclude = [\"sites/*.toml\", \"/proc/version\"]\n");
    let ran = fleet.command(&["sites", "remove", "site-05"]);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(74) && told.contains("can't remove /proc/version"), "{told}");
    assert!(!fleet.path("data/last-good/removed.json").exists(), "nothing is recorded");
}

#[test]
fn a_removal_that_is_taken_back_leaves_those_before_it() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (live, config) = fleet.follow();
    assert_eq!(fleet.command(&["sites", "remove", "site-07"]).status.code(), Some(0));
    let removals = Removals::of(&fleet.path("config.toml"), &Sources::with_environment([]), TODAY);
    let [before, now] = [7, 8].map(|number| ConfigPart::Site(id(number)));
    assert_eq!(removals.record(&before).expect("recorded"), Recorded::Before);
    assert_eq!(removals.record(&now).expect("recorded"), Recorded::Now);
    fleet.write("sites/08.toml", "what");
    removals.take_back(&now).expect("taken back");
    assert!(removals.contains(&before) && !removals.contains(&now));
    assert_eq!(live.reload(TODAY).kept_sites(), [id(8)]);
    assert_eq!(in_force(&config), SITES - 1);
}

#[test]
fn a_name_that_no_site_has_is_an_error_unless_it_was_removed() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (_live, _config) = fleet.follow();
    let remove = |line: &[&str]| {
        let ran = fleet.command(&[&["sites", "remove"], line].concat());
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, told) = remove(&["site-99"]);
    assert!(code == Some(2) && told.contains("there is no site `site-99`") && told.contains("did you mean"), "{told}");
    let (code, told) = remove(&["--mapping", "visits"]);
    assert!(code == Some(2) && told.contains("there is no mapping `visits` whose file is gone"), "{told}");
    assert_eq!(remove(&["site-09"]).0, Some(0));
    let (code, told) = remove(&["site-09"]);
    assert!(code == Some(0) && told.contains("was already removed"), "{told}");
}

#[test]
fn a_site_that_its_file_lacks_now_is_said_to_come_back_with_it() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    fleet.append("config.toml", &inline_site(31, "wp_sk_1"));
    let (live, config) = fleet.follow();
    let whole = fs::read_to_string(fleet.path("config.toml")).expect("text");
    fleet.write("config.toml", "");
    let ran = fleet.command(&["sites", "remove", "site-31"]);
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.code() == Some(0) && told.contains("would bring it back"), "{told}");
    live.reload(TODAY);
    assert_eq!(in_force(&config), SITES);
    fleet.write("config.toml", &whole);
    nothing_stands_in(&live.reload(TODAY));
    assert_eq!(in_force(&config), SITES + 1);
}

/// A file that holds another site by now is not removed with the one it held.
#[test]
fn a_file_that_is_another_sites_by_now_stays() {
    let fleet = Fleet::new("http://127.0.0.1:1");
    let (_live, _config) = fleet.follow();
    let other = site(5, "nmae = \"Five\"\n").replace("site-05", "renamed");
    fleet.write("sites/05.toml", &other);
    let ran = fleet.command(&["sites", "remove", "site-05"]);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(fs::read_to_string(fleet.path("sites/05.toml")).expect("it is there"), other);
}

//! `formgate keys` against the sandbox, as a process: mint, verify, rotate, and what a kill leaves behind.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use formgate::sandbox::{self, Endpoint, Fault, LiveKey, Sandbox};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::{Place, Ran};
use crate::gateway::{self, TOKEN, lead_body, status};

pub(crate) const LIVE_KEY: &str = "kc_live_hush0123456789hush0123456789hush01234567";
/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(live_keys: &[&str]) -> Sandbox {
    let mut options = sandbox::Options::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    options.live_keys = live_keys.iter().map(|key| LiveKey::parse(key).expect("a key")).collect();
    Sandbox::start(options).expect("it starts")
}

pub(crate) fn config(base_url: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[kaicalls]\nbase_url = \"{base_url}\"\n\
         api_key = {{ env = \"KAICALLS_API_KEY\" }}\n[queue]\nurl = \"sqlite:data/formgate.db\"\n\
         retry = {{ first = \"50ms\", max = \"100ms\" }}\n[limits]\nsite = {{ rate = \"6000/min\", burst = 6000 }}\n\
         gateway = {{ rate = \"60000/min\", burst = 60000 }}\n"
    )
}

fn site(id: &str, more: &str) -> String {
    let sha256 = hex::encode(Sha256::digest(TOKEN));
    format!(
        "# {id}\nid = \"{id}\" # ours\nurl = \"https://{id}.example\"\ntokens = [{{ sha256 = \"{sha256}\" }}]\n{more}"
    )
}

/// Runs the program with the operator's key in its environment.
pub(crate) async fn run(place: &Arc<Place>, line: &[&str]) -> Ran {
    let mut command = place.command(line);
    command.env("KAICALLS_API_KEY", LIVE_KEY);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
    let ran = Ran::of(output);
    assert!(!ran.data.contains("hush") && !ran.talk.contains("hush"), "{}\n{}", ran.data, ran.talk);
    ran
}

fn text(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path(name)).expect(name)
}

/// Returns the public key that a site's file names.
fn public_key(place: &Place, site: &str) -> String {
    let table: toml::Table = text(place, &format!("sites/{site}.toml")).parse().expect("TOML");
    table["public_key"].as_str().expect("a public key").to_owned()
}

#[tokio::test]
async fn a_pair_is_minted_verified_and_written_and_nothing_the_second_time() {
    let sandbox = start(&[LIVE_KEY]);
    let acme = site("acme", "");
    let place = Arc::new(Place::of(&[("config.toml", &config(&sandbox.base_url())), ("sites/acme.toml", &acme)]));
    assert_eq!(run(&place, &["keys", "verify"]).await.code, 78, "it has no pair yet");

    let ran = run(&place, &["keys", "mint", "acme", "--output", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let row = ran.json()[0].clone();
    assert_eq!((&row["minted"], &row["business_id"]), (&true.into(), &"biz_sandbox".into()), "{row}");
    let written = text(&place, "sites/acme.toml");
    let key = public_key(&place, "acme");
    assert!(written.starts_with(&acme), "what was there stays: {written}");
    assert!(written.contains("secret_key = { file = \"../secrets/acme_sk\" }"), "{written}");
    let secret = fs::metadata(place.path("secrets/acme_sk")).expect("a secret");
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    assert!(!ran.data.contains(text(&place, "secrets/acme_sk").trim()), "the secret is shown nowhere");
    assert!(!place.path("secrets/.acme.mint").exists());

    let before = fs::metadata(place.path("sites/acme.toml")).expect("there").modified().expect("a time");
    let again = run(&place, &["keys", "mint", "acme"]).await;
    assert_eq!(again.code, 0, "{}", again.talk);
    assert!(again.data.contains("nothing was minted"), "{}", again.data);
    assert_eq!(public_key(&place, "acme"), key);
    assert_eq!(fs::metadata(place.path("sites/acme.toml")).expect("there").modified().expect("a time"), before);
    let verified = run(&place, &["keys", "verify"]).await;
    assert_eq!(verified.code, 0, "{}\n{}", verified.data, verified.talk);
    assert!(verified.data.contains("acme  -     ok    biz_sandbox"), "{}", verified.data);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_cure() {
    let sandbox = start(&["kc_live_another0123456789another0123456789anoth"]);
    let base_url = sandbox.base_url();
    let place = |config: &str| Arc::new(Place::of(&[("config.toml", config), ("sites/acme.toml", &site("acme", ""))]));
    let sound = place(&config(&base_url));

    let refused = run(&sound, &["keys", "mint", "acme"]).await;
    assert_eq!(refused.code, 77, "{}", refused.talk);
    assert!(refused.talk.contains("KaiCalls refuses [kaicalls].api_key: 401"), "{}", refused.talk);
    assert!(!sound.path("secrets/.acme.mint").exists(), "an answer that says no leaves nothing in doubt");

    let none = place(&config(&base_url).replace("api_key", "# api_key"));
    let ran = run(&none, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 78, "{}", ran.talk);
    assert!(ran.talk.contains("[kaicalls].api_key is not set"), "{}", ran.talk);

    let other = place(&config(&base_url).replace("{ env = \"KAICALLS_API_KEY\" }", "\"wp_sk_hush\""));
    let ran = run(&other, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    assert!(ran.talk.contains("it is a site's secret key"), "{}", ran.talk);

    let unset = place(&config(&base_url).replace("KAICALLS_API_KEY", "NOWHERE"));
    let ran = run(&unset, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 78, "{}", ran.talk);
    assert!(ran.talk.contains("`NOWHERE` is not set"), "{}", ran.talk);
    let checked = unset.run(&["check"]);
    assert!(!checked.data.contains("NOWHERE"), "only those who mint need it: {}", checked.data);

    let ran = run(&sound, &["keys", "mint", "amce"]).await;
    assert_eq!(ran.code, 2, "{}", ran.talk);
    assert!(ran.talk.contains("the only one is acme"), "{}", ran.talk);
    let ran = run(&sound, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 2, "{}", ran.talk);
    assert!(ran.talk.contains("`formgate keys mint acme` gives it one"), "{}", ran.talk);
}

/// A sandbox whose API key is limited, and a site without a pair.
fn limited(limits: &str) -> (Sandbox, Arc<Place>) {
    let sandbox = start(&[&format!("{LIVE_KEY}{limits}")]);
    let config = config(&sandbox.base_url());
    let place = Arc::new(Place::of(&[("config.toml", &config), ("sites/acme.toml", &site("acme", ""))]));
    (sandbox, place)
}

#[tokio::test]
async fn what_an_api_key_may_not_do_is_told_with_its_cure() {
    for (limits, line, told) in [
        (",scope=leads:read,never-mints", &["keys", "mint", "acme"][..], "may lack the scope to write leads"),
        (",expires=2020-01-01,never-mints", &["keys", "mint", "acme"], "mistyped, expired or deleted"),
        (",business=biz_1,business=biz_2", &["keys", "mint", "acme"], "needs --business ID"),
        (",business=biz_1", &["keys", "mint", "acme", "--business", "biz_2"], "belong to another business"),
    ] {
        let (_sandbox, place) = limited(limits);
        let ran = run(&place, line).await;
        assert_eq!(ran.code, 77, "{limits}: {}", ran.talk);
        assert!(ran.talk.contains(told), "{limits}: {}", ran.talk);
        assert_eq!(text(&place, "sites/acme.toml"), site("acme", ""), "{limits}");
    }
    let (_sandbox, place) = limited(",business=biz_1,business=biz_2");
    let ran = run(&place, &["keys", "mint", "acme", "--business", "biz_2", "--output", "json"]).await;
    assert_eq!((ran.code, &ran.json()[0]["business_id"]), (0, &"biz_2".into()), "{}", ran.talk);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_named_and_what_passes_is_waited_for() {
    let (sandbox, place) = limited("");
    let keys = |fault: Fault| sandbox.add_fault(Fault { endpoint: Endpoint::Keys, ..fault }).expect("a fault");
    let times = std::num::NonZeroU32::new(1);
    keys(Fault { drop_after_commit: true, times, ..Fault::default() });
    let ran = run(&place, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("acme (https://acme.example), id unknown"), "{}", ran.talk);
    assert_eq!(sandbox.connections().len(), 3, "its own, the lost one, and the one in use");
    let again = run(&place, &["keys", "rotate", "acme"]).await;
    assert!(!again.talk.contains("id unknown"), "it is told once: {}", again.talk);

    let begun = tokio::time::Instant::now();
    keys(Fault { status: Some(429), retry_after: Some("2".to_owned()), times, ..Fault::default() });
    let ran = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    keys(Fault { status: Some(500), times: std::num::NonZeroU32::new(3), ..Fault::default() });
    assert_eq!(run(&place, &["keys", "rotate", "acme"]).await.code, 0);
    assert_eq!(text(&place, "secrets/minted-in-vain.csv").lines().count(), 2, "an answer that says no is none");
}

#[tokio::test]
async fn a_new_pair_that_is_refused_is_never_used() {
    let (sandbox, place) = limited("");
    let refused = Fault { endpoint: Endpoint::Verify, status: Some(401), ..Fault::default() };
    sandbox.add_fault(refused).expect("a fault");
    let ran = run(&place, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    let minted = sandbox.connections().pop().expect("a connection").connection_id;
    assert!(ran.talk.contains(&minted), "{minted} in {}", ran.talk);
    assert_eq!(text(&place, "sites/acme.toml"), site("acme", ""));
    assert!(!place.path("secrets/acme_sk").exists());
}

#[tokio::test]
async fn each_pair_has_a_row_and_the_worst_decides_the_exit_code() {
    let sandbox = start(&[]);
    let keys = sandbox.keys();
    let own = format!("public_key = \"{}\"\nsecret_key = \"{}\"\n", keys.public_key, keys.secret_key);
    let wrong = format!("public_key = \"{}\"\nsecret_key = \"wp_sk_0123456789abcdef\"\n", keys.public_key);
    let config = config(&sandbox.base_url());
    let place = Arc::new(Place::of(&[
        ("config.toml", &config),
        ("sites/good.toml", &site("good", &own)),
        ("sites/bad.toml", &site("bad", &wrong)),
        ("sites/none.toml", &site("none", "")),
        ("sites/branch.toml", &site("branch", &format!("{own}[forms.south]\n{wrong}"))),
    ]));
    let ran = run(&place, &["keys", "verify", "--output", "json"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    let rows = ran.json();
    let row = |site: &str, form: Option<&str>| {
        let is_it = |row: &&serde_json::Value| row["site"] == site && row["form"].as_str() == form;
        rows.as_array().expect("rows").iter().find(is_it).expect("a row").clone()
    };
    assert_eq!(row("good", None)["state"], "ok");
    assert_eq!(row("none", None)["state"], "missing");
    let refused = row("branch", Some("south"));
    assert_eq!((&refused["state"], &row("branch", None)["state"]), (&"refused".into(), &"ok".into()));
    assert!(refused["why"].as_str().is_some_and(|why| why.contains("Invalid API Key.”: the secret key")), "{refused}");

    assert_eq!(run(&place, &["keys", "verify", "good"]).await.code, 0);
    assert_eq!(run(&place, &["keys", "verify", "good", "none"]).await.code, 78);
    sandbox.stop().await;
    let away = run(&place, &["keys", "verify", "good", "none"]).await;
    assert_eq!(away.code, 75, "{}\n{}", away.data, away.talk);
    assert!(away.data.contains("connection refused"), "{}", away.data);
}

/// A folder with two sites without a pair, of which the first has come so far.
fn left_by_a_kill(sandbox: &Sandbox, progress: &str) -> Arc<Place> {
    let config = config(&sandbox.base_url());
    let place = Arc::new(Place::of(&[
        ("config.toml", &config),
        ("sites/acme.toml", &site("acme", "")),
        ("sites/beta.toml", &site("beta", "")),
        ("secrets/.acme.mint", progress),
    ]));
    fs::set_permissions(place.path("secrets"), fs::Permissions::from_mode(0o700)).expect("permissions");
    place
}

/// How far a mint has come whose pair is known.
fn minted(public_key: &str, secret_file: &str, connection_id: &str) -> String {
    let pair = format!(r#""public_key":"{public_key}","secret_file":"{secret_file}""#);
    let step = format!(r#"{{"minted":{{{pair},"business_id":null,"connection_id":"{connection_id}"}}}}"#);
    format!(r#"{{"step":{step},"url":null,"asked_at":"2026-11-30T08:00:00Z","replaces":null}}"#)
}

#[tokio::test]
async fn a_mint_that_was_killed_before_its_answer_or_its_secret_is_named() {
    let sandbox = start(&[]);
    let asked = r#"{"step":"asked","url":"https://acme.example","asked_at":"2026-11-30T08:00:00Z","replaces":null}"#;
    let place = left_by_a_kill(&sandbox, asked);
    let ran = run(&place, &["keys", "mint", "acme", "beta"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let told = "acme (https://acme.example), id unknown, asked for at 2026-11-30T08:00:00Z";
    assert!(ran.talk.contains(told), "{}", ran.talk);
    assert_eq!(text(&place, "secrets/minted-in-vain.csv").lines().count(), 2, "the heading and one");

    let place = left_by_a_kill(&sandbox, &minted("wp_pk_x", "acme_x_sk", "conn_x"));
    let ran = run(&place, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("acme (no site URL), conn_x, asked for at 2026-11-30T08:00:00Z"), "{}", ran.talk);
    assert!(!place.path("secrets/.acme.mint").exists());
}

#[tokio::test]
async fn a_mint_that_was_killed_later_is_gone_on_with() {
    let sandbox = start(&[]);
    let place = left_by_a_kill(&sandbox, "");
    fs::remove_file(place.path("secrets/.acme.mint")).expect("removed");
    assert_eq!(run(&place, &["keys", "mint", "acme"]).await.code, 0);
    // The pair is there, and the site's file doesn't name it.
    let key = public_key(&place, "acme");
    fs::write(place.path("sites/acme.toml"), site("acme", "")).expect("written");
    let progress = minted(&key, "acme_sk", "conn_1");
    fs::write(place.path("secrets/.acme.mint"), &progress).expect("written");
    let ran = run(&place, &["keys", "mint", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert_eq!(public_key(&place, "acme"), key, "nothing was minted anew");
    assert!(!place.path("secrets/.acme.mint").exists());

    // The site's file names it: nothing but the last step is missing, and that is no rotation.
    fs::write(place.path("secrets/.acme.mint"), progress).expect("written");
    assert_eq!(run(&place, &["keys", "rotate", "acme"]).await.code, 0);
    assert_ne!(public_key(&place, "acme"), key);
}

#[tokio::test]
async fn a_pair_that_others_have_too_is_not_to_be_revoked_yet() {
    let sandbox = start(&[LIVE_KEY]);
    let pair =
        format!("public_key = \"{}\"\nsecret_key = \"{}\"\n", sandbox.keys().public_key, sandbox.keys().secret_key);
    let config = config(&sandbox.base_url());
    let place = Arc::new(Place::of(&[
        ("config.toml", &config),
        ("sites/acme.toml", &site("acme", &pair)),
        ("sites/beta.toml", &site("beta", &pair)),
        ("sites/gamma.toml", &site("gamma", &format!("[forms.south]\n{pair}"))),
    ]));
    let ran = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("These have it too: beta, gamma"), "{}", ran.data);
}

/// Starts the gateway and gives its address once it listens.
pub(crate) async fn serve(place: &Place) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
    command.args(["serve", "--log-format", "json", "--config"]).arg(place.path("config.toml"));
    let streams = command.stderr(Stdio::piped()).stdout(Stdio::null()).stdin(Stdio::null());
    let mut child = streams.kill_on_drop(true).spawn().expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let listening = async {
        loop {
            let line = log.next_line().await.expect("its log").expect("it says so before it ends");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"].as_str().is_some_and(|message| message.starts_with("gateway.listening")) {
                return event["address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
            }
        }
    };
    let address = tokio::time::timeout(PATIENCE, listening).await.expect("it listens in time");
    // The pipe is read on, or the process would stop at a full one.
    drop(tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} }));
    (child, address)
}

async fn post(address: SocketAddr, number: u32) -> u16 {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let request = gateway::post("/hooks/acme", &token, &lead_body(&format!("jane{number}@example.com")));
    status(&gateway::send(address, request).await)
}

/// Posts until it is told to stop, and returns how many posts were taken: all.
async fn load(address: SocketAddr, stopping: Arc<tokio::sync::Notify>) -> u32 {
    let mut taken = 0;
    loop {
        assert_eq!(post(address, taken).await, 200);
        taken += 1;
        tokio::select! {
            () = stopping.notified() => return taken,
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

/// Rotates a pair again and again, each time killed a little later.
async fn rotate_and_kill(place: &Place) {
    for after in [15, 30, 60, 120, 500, 1_500] {
        let mut command = place.command(&["keys", "rotate", "acme"]);
        command.env("KAICALLS_API_KEY", LIVE_KEY).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rotation = Command::from(command).kill_on_drop(true).spawn().expect("it starts");
        tokio::time::sleep(Duration::from_millis(after)).await;
        rotation.kill().await.expect("killed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_rotates_under_load_without_a_lost_lead_also_where_it_is_killed() {
    let sandbox = start(&[LIVE_KEY]);
    let place =
        Arc::new(Place::of(&[("config.toml", &config(&sandbox.base_url())), ("sites/acme.toml", &site("acme", ""))]));
    assert_eq!(run(&place, &["keys", "mint", "acme"]).await.code, 0);
    let first = public_key(&place, "acme");
    let (_gateway, address) = serve(&place).await;
    let stopping = Arc::new(tokio::sync::Notify::new());
    let posting = tokio::spawn(load(address, Arc::clone(&stopping)));
    rotate_and_kill(&place).await;
    let ran = run(&place, &["keys", "rotate", "acme", "--output", "json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let last = public_key(&place, "acme");
    assert_eq!(ran.json()["public_key"], *last);
    assert_ne!(last, first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    stopping.notify_one();
    let taken = posting.await.expect("no post was refused");
    tokio::time::timeout(PATIENCE, sandbox.wait_for(taken.into())).await.expect("all arrive");
    let leads = sandbox.leads();
    let emails: BTreeSet<_> = leads.iter().map(|lead| &lead.email).collect();
    assert_eq!(emails.len(), usize::try_from(taken).expect("few"), "each arrived");
    assert_eq!(leads.first().map(|lead| lead.public_key.as_str()), Some(&*first));
    assert_eq!(leads.last().map(|lead| lead.public_key.as_str()), Some(&*last));
    assert_eq!(run(&place, &["keys", "verify", "acme"]).await.code, 0);
    check_what_is_left(&place, &sandbox, &[&first, &last, &sandbox.keys().public_key]);
}

/// One pair is left, no secret lies about that nothing names, and each connection in vain is named.
fn check_what_is_left(place: &Place, sandbox: &Sandbox, known: &[&str]) {
    let names = fs::read_dir(place.path("secrets")).expect("a folder");
    let names = names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let secrets: Vec<_> = names.filter(|name| name.contains("_sk")).collect();
    assert_eq!(secrets.len(), 1, "{secrets:?}");
    let named = fs::read_to_string(place.path("secrets/minted-in-vain.csv")).unwrap_or_default();
    let others: Vec<_> =
        sandbox.connections().into_iter().filter(|it| !known.contains(&it.public_key.as_str())).collect();
    let unnamed = others.iter().filter(|it| !named.contains(&it.connection_id)).count();
    let lost = named.lines().filter(|line| line.contains("the answer was lost")).count();
    assert!(unnamed <= lost, "each connection in vain is named: {others:?}\n{named}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_whose_pair_is_refused_resumes_at_once_with_another() {
    let sandbox = start(&[LIVE_KEY]);
    let refused = "public_key = \"wp_pk_0123456789abcdef\"\nsecret_key = \"wp_sk_0123456789abcdef\"\n";
    let acme = site("acme", refused);
    let place = Arc::new(Place::of(&[("config.toml", &config(&sandbox.base_url())), ("sites/acme.toml", &acme)]));
    let (_gateway, address) = serve(&place).await;
    for number in 0..3 {
        assert_eq!(post(address, number).await, 200);
    }
    assert!(sandbox.leads().is_empty());
    let ran = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("The connection of wp_pk_0123456789abcdef can be revoked"), "{}", ran.data);
    tokio::time::timeout(PATIENCE, sandbox.wait_for(3)).await.expect("they arrive at once");
    let written = text(&place, "sites/acme.toml");
    assert!(!written.contains("wp_sk_"), "the old secret is gone from the file: {written}");
}

/// A folder with a sandbox's configuration and these sites.
fn folder_of(sandbox: &Sandbox, sites: &[(&str, &str)]) -> Arc<Place> {
    let config = config(&sandbox.base_url());
    let files: Vec<_> = sites.iter().map(|(id, more)| (format!("sites/{id}.toml"), site(id, more))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Arc::new(Place::of(&[&[("config.toml", config.as_str())], files.as_slice()].concat()))
}

fn own_pair(sandbox: &Sandbox) -> String {
    let keys = sandbox.keys();
    format!("public_key = \"{}\"\nsecret_key = \"{}\"\n", keys.public_key, keys.secret_key)
}

#[tokio::test]
async fn a_site_stays_with_its_business() {
    let sandbox = start(&[LIVE_KEY]);
    let place = folder_of(&sandbox, &[("acme", "")]);
    let business = async |line: &[&str]| run(&place, line).await.json()["business_id"].clone();
    assert_eq!(run(&place, &["keys", "mint", "acme", "--business", "biz_1"]).await.code, 0);
    assert_eq!(business(&["keys", "rotate", "acme", "--output", "json"]).await, "biz_1");
    let other = run(&place, &["keys", "rotate", "acme", "--business", "biz_2"]).await;
    assert_eq!(other.code, 2, "{}", other.talk);
    assert!(other.talk.contains("of business biz_1, not of biz_2"), "{}", other.talk);

    // What a killed run minted for another business isn't gone on with.
    let key = public_key(&place, "acme");
    let progress = minted(&key, "acme_sk", "conn_1").replace("\"business_id\":null", "\"business_id\":\"biz_1\"");
    let fresh = folder_of(&sandbox, &[("acme", "")]);
    fs::create_dir(fresh.path("secrets")).expect("a folder");
    fs::write(fresh.path("secrets/acme_sk"), "wp_sk_x").expect("written");
    fs::write(fresh.path("secrets/.acme.mint"), progress).expect("written");
    let ran = run(&fresh, &["keys", "mint", "acme", "--business", "biz_2"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("business biz_2") && ran.talk.contains("conn_1"), "{}\n{}", ran.data, ran.talk);
}

#[tokio::test]
async fn keys_that_cannot_be_read_here_are_keys_all_the_same() {
    let sandbox = start(&[LIVE_KEY]);
    let keys = format!("public_key = \"{}\"\nsecret_key = {{ env = \"ACME_SK\" }}\n", sandbox.keys().public_key);
    let place = folder_of(&sandbox, &[("acme", &keys)]);
    let before = text(&place, "sites/acme.toml");
    for line in [&["keys", "mint", "acme"][..], &["keys", "rotate", "acme"], &["keys", "verify", "acme"]] {
        let ran = run(&place, line).await;
        assert_eq!(ran.code, 78, "{line:?}: {}", ran.talk);
        let told = format!("{}{}", ran.data, ran.talk);
        assert!(told.contains("the variable `ACME_SK` isn't set in this environment"), "{line:?}: {told}");
    }
    assert_eq!(text(&place, "sites/acme.toml"), before);

    // The folder of the secrets isn't mounted.
    let keys = "public_key = \"wp_pk_0123456789abcdef\"\nsecret_key = { file = \"../secrets/beta_sk\" }\n";
    fs::write(place.path("sites/beta.toml"), site("beta", keys)).expect("written");
    let ran = run(&place, &["keys", "mint", "beta"]).await;
    assert_eq!(ran.code, 78, "{}", ran.talk);
    assert!(ran.talk.contains("secrets/beta_sk doesn't exist"), "{}", ran.talk);
    assert_eq!(sandbox.connections().len(), 1, "nothing was minted");
}

#[tokio::test]
async fn a_linked_folder_of_sites_names_the_secret_by_its_whole_path() {
    let sandbox = start(&[LIVE_KEY]);
    let place = folder_of(&sandbox, &[("acme", &own_pair(&sandbox))]);
    fs::create_dir(place.path("deep")).expect("a folder");
    fs::rename(place.path("sites"), place.path("deep/sites")).expect("moved");
    std::os::unix::fs::symlink(place.path("deep/sites"), place.path("sites")).expect("a link");
    let ran = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let verified = run(&place, &["keys", "verify"]).await;
    assert_eq!(verified.code, 0, "{}\n{}", verified.data, verified.talk);
}

#[tokio::test]
async fn a_form_with_the_sites_own_pair_is_told_before_anything_is_minted() {
    let sandbox = start(&[LIVE_KEY]);
    let pair = own_pair(&sandbox);
    let place = folder_of(&sandbox, &[("acme", &format!("{pair}[forms.south]\n{pair}"))]);
    let ran = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(ran.code, 78, "{}", ran.talk);
    assert!(ran.talk.contains("name the site's own pair: south"), "{}", ran.talk);
    assert_eq!(sandbox.connections().len(), 1);
}

#[tokio::test]
async fn a_secret_is_kept_while_any_file_names_it() {
    let sandbox = start(&[LIVE_KEY]);
    let place = folder_of(&sandbox, &[("dental", ""), ("acme-dental", "")]);
    assert_eq!(run(&place, &["keys", "mint", "dental", "acme-dental", "dental"]).await.code, 0);
    assert_eq!(sandbox.connections().len(), 3, "a site that is named twice is minted for once");
    // Its name ends like the other's.
    assert_eq!(run(&place, &["keys", "rotate", "dental"]).await.code, 0);
    assert!(!place.path("secrets/dental_sk").exists() && place.path("secrets/acme-dental_sk").exists());
    let shared = text(&place, "sites/acme-dental.toml").replace("id = \"acme-dental\"", "id = \"shared\"");
    fs::write(place.path("sites/shared.toml"), shared).expect("written");
    assert_eq!(run(&place, &["keys", "rotate", "acme-dental"]).await.code, 0);
    assert!(place.path("secrets/acme-dental_sk").exists());
}

#[tokio::test]
async fn an_old_pair_that_could_not_be_shown_is_shown_the_next_time() {
    let sandbox = start(&[LIVE_KEY]);
    let place = folder_of(&sandbox, &[("acme", &own_pair(&sandbox))]);
    let mut command = place.command(&["keys", "rotate", "acme"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    command.env("KAICALLS_API_KEY", LIVE_KEY).stdout(full);
    let status = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs").status;
    assert_eq!(status.code(), Some(74));
    let again = run(&place, &["keys", "rotate", "acme"]).await;
    assert_eq!(again.code, 0, "{}", again.talk);
    assert!(again.data.contains(&sandbox.keys().public_key), "{}", again.data);
    assert_eq!(sandbox.connections().len(), 2, "it was gone on with");
}

#[tokio::test]
async fn who_asks_to_be_left_alone_for_an_hour_is_not_asked_again() {
    let (sandbox, place) = limited("");
    let fault = Fault {
        endpoint: Endpoint::Keys,
        status: Some(429),
        retry_after: Some("3600".to_owned()),
        times: std::num::NonZeroU32::new(1),
        ..Fault::default()
    };
    sandbox.add_fault(fault).expect("a fault");
    fs::write(place.path("sites/beta.toml"), site("beta", "")).expect("written");
    let ran = run(&place, &["keys", "mint", "acme", "beta", "--output", "json"]).await;
    assert_eq!(ran.code, 75, "{}", ran.talk);
    let rows = ran.json();
    let error = |at: usize| rows[at]["error"].as_str().expect("an error").to_owned();
    assert!(error(0).contains("asks to be left alone for 3600 s"), "{rows}");
    assert!(error(1).contains("asks to be left alone for another"), "{rows}");
    assert_eq!(sandbox.connections().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_runs_from_its_last_good_version_is_left_alone() {
    let sandbox = start(&[LIVE_KEY]);
    let place = folder_of(&sandbox, &[("acme", &own_pair(&sandbox)), ("beta", &own_pair(&sandbox))]);
    let (_gateway, _) = serve(&place).await;
    fs::write(place.path("sites/acme.toml"), "id = \"acme\"\nregion = \"xx\"\n").expect("broken");
    fs::remove_file(place.path("sites/beta.toml")).expect("gone");
    for site in ["acme", "beta"] {
        let ran = run(&place, &["keys", "rotate", site]).await;
        assert_eq!(ran.code, 78, "{site}: {}", ran.talk);
        assert!(ran.talk.contains("uses its last-good version"), "{site}: {}", ran.talk);
    }
    assert_eq!(sandbox.connections().len(), 1);
    let verified = run(&place, &["keys", "verify"]).await;
    assert_eq!(verified.code, 78, "{}\n{}", verified.data, verified.talk);
    assert!(verified.data.contains("sites/acme.toml has errors"), "{}", verified.data);
}

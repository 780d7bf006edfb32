//! `formgate sites add`, `import`, `token`, `pause` and `resume` as a process, against the sandbox and a running gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use formgate::sandbox::{self, Endpoint, Fault, LiveKey, Sandbox};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::cli::Place;
use crate::gateway::{self, lead_body, status};
use crate::keys::{LIVE_KEY, config, run, serve};

/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
const PUBLIC_URL: &str = "public_url = \"https://gate.example\"";

fn start() -> Sandbox {
    let mut options = sandbox::Options::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    options.live_keys = vec![LiveKey::parse(LIVE_KEY).expect("a key")];
    Sandbox::start(options).expect("it starts")
}

/// A folder with a configuration and no site.
fn empty(sandbox: &Sandbox) -> Arc<Place> {
    let config = config(&sandbox.base_url()).replacen("[server]", &format!("[server]\n{PUBLIC_URL}"), 1);
    Arc::new(Place::of(&[("config.toml", &config)]))
}

fn text(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path(name)).expect(name)
}

fn site_table(place: &Place, site: &str) -> toml::Table {
    text(place, &format!("sites/{site}.toml")).parse().expect("TOML")
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// The digests that a site's file has.
fn digests(place: &Place, site: &str) -> Vec<String> {
    let tokens = site_table(place, site)["tokens"].as_array().expect("tokens").clone();
    tokens.iter().map(|token| token["sha256"].as_str().expect("a digest").to_owned()).collect()
}

/// The rows of a file of what to paste, by site: webhook URL, token, region.
fn pasted(path: &Path) -> BTreeMap<String, [String; 3]> {
    let mut reader = csv::Reader::from_path(path).expect("a file to paste from");
    let mut rows = BTreeMap::new();
    for row in reader.records().map(|row| row.expect("a row")) {
        let cell = |at: usize| row.get(at).expect("a cell").to_owned();
        assert!(rows.insert(cell(0), [cell(3), cell(4), cell(5)]).is_none(), "{} has two rows", cell(0));
    }
    rows
}

/// Every file of a folder, with what would change if it were written.
fn stamps(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let meta = entry.metadata().expect("there");
        if meta.is_dir() {
            found.extend(stamps(&entry.path()));
        } else {
            found.insert(entry.path(), (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        }
    }
    found
}

const ROSTER: &str = "\u{feff}ID;Name;URL;Region\r\n\
    acme;Acme, Dental;https://acme.de;\r\n\
    beta;;https://beta.example;US\r\n\
    gamma;Gamma;https://gamma.example;\r\n";

#[tokio::test]
async fn a_spreadsheet_is_brought_in_once_and_nothing_the_second_time() {
    let sandbox = start();
    let place = empty(&sandbox);
    fs::write(place.path("clients.csv"), ROSTER).expect("written");
    let planned = run(&place, &["sites", "import", "clients.csv", "--mint", "--dry-run"]).await;
    assert_eq!(planned.code, 0, "{}", planned.talk);
    assert!(planned.data.contains("acme: would write its file, mint a key pair, make a token"), "{}", planned.data);
    assert!(planned.talk.contains("3 rows: 3 would be added"), "{}", planned.talk);
    assert_eq!(stamps(&place.path("")).len(), 2, "nothing was written");
    assert_eq!(sandbox.connections().len(), 1, "nobody was asked");

    let ran = run(&place, &["sites", "import", "clients.csv", "--mint"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("3 rows: 3 added"), "{}", ran.talk);
    let paste = place.path("clients.paste.csv");
    assert_eq!(fs::metadata(&paste).expect("there").permissions().mode() & 0o777, 0o600);
    let rows = pasted(&paste);
    for (site, [url, token, region]) in &rows {
        assert_eq!(*url, format!("https://gate.example/hooks/{site}?token={token}"));
        assert_eq!(digests(&place, site), [hash(token)], "{site}");
        let expected = match site.as_str() {
            "acme" => "DE",
            "beta" => "US",
            _ => "",
        };
        assert_eq!(region, expected, "{site}");
    }
    assert_eq!(rows.len(), 3);
    assert_eq!(site_table(&place, "acme")["name"].as_str(), Some("Acme, Dental"));
    assert_eq!(site_table(&place, "acme")["region"].as_str(), Some("DE"));
    assert_eq!(run(&place, &["keys", "verify"]).await.code, 0);
    assert_eq!(run(&place, &["check"]).await.code, 0);

    let before = stamps(&place.path(""));
    let again = run(&place, &["sites", "import", "clients.csv", "--mint", "--output", "json"]).await;
    assert_eq!((again.code, &again.json()["unchanged"]), (0, &3.into()), "{}", again.talk);
    assert_eq!(stamps(&place.path("")), before);
    assert_eq!(sandbox.connections().len(), 4, "its own and three");
}

#[tokio::test]
async fn what_to_paste_follows_the_gateways_address() {
    let sandbox = start();
    let place = empty(&sandbox);
    fs::write(place.path("clients.csv"), ROSTER).expect("written");
    let line = ["sites", "import", "clients.csv", "--out", "paste.csv"];
    assert_eq!(run(&place, &line).await.code, 0);
    let moved = text(&place, "config.toml").replace("gate.example", "new.example");
    fs::write(place.path("config.toml"), moved).expect("written");
    let moved = run(&place, &line).await;
    assert_eq!(moved.code, 0, "{}", moved.talk);
    assert!(moved.talk.contains("3 rows of what to paste written anew"), "{}", moved.talk);
    for (site, [url, token, _]) in pasted(&place.path("paste.csv")) {
        assert_eq!(url, format!("https://new.example/hooks/{site}?token={token}"));
        assert_eq!(digests(&place, &site), [hash(&token)], "{site}");
    }
}

#[tokio::test]
async fn bad_rows_are_all_told_and_the_good_ones_done() {
    let sandbox = start();
    let place = empty(&sandbox);
    let roster = "id,url,region,business_id\nAcme,https://acme.example,US,\nbeta,beta.example,us,\n\
                  gamma,https://gamma.example,US,\ndelta,https://d.example\nx,https://a.example,,\nx,https://b.example,,\n";
    fs::write(place.path("clients.csv"), roster).expect("written");
    let ran = run(&place, &["sites", "import", "clients.csv", "--out", "paste.csv"]).await;
    assert_eq!(ran.code, 1, "{}", ran.talk);
    for told in [
        "line 2, column 1: id: ",
        "line 3, column 2: url: it isn't a web address; write https://beta.example",
        "line 3, column 3: region: ",
        "line 5: the row has 2 values, the header 4; ",
        "line 6, column 1: id: `x` is also on line 7; ",
        "line 7, column 1: id: `x` is also on line 6; ",
    ] {
        assert!(ran.data.contains(told), "{told} is missing in\n{}", ran.data);
    }
    assert!(ran.talk.contains("6 rows: 1 added, 5 bad"), "{}", ran.talk);
    assert_eq!(pasted(&place.path("paste.csv")).into_keys().collect::<Vec<_>>(), ["gamma"]);
    // Without keys the site takes submissions all the same, and says what it lacks.
    let shown = run(&place, &["check"]).await;
    assert!(shown.data.contains("gamma_secret_key doesn't exist"), "{}", shown.data);

    fs::write(place.path("clients.csv"), "id,url,phone\nacme,https://acme.example,1\n").expect("written");
    let refused = run(&place, &["sites", "import", "clients.csv"]).await;
    assert_eq!(refused.code, 2, "{}", refused.talk);
    assert!(refused.talk.contains("the unknown column `phone`") && refused.talk.contains("id,name,url,region"));
}

#[tokio::test]
async fn pairs_that_are_given_are_verified_and_what_differs_is_left() {
    let sandbox = start();
    let place = empty(&sandbox);
    let keys = sandbox.keys();
    let roster = format!(
        "id,url,public_key,secret_key\nacme,https://acme.example,{},{}\nbeta,https://beta.example,wp_pk_0123456789abcdef,wp_sk_hush0123456789\n",
        keys.public_key, keys.secret_key
    );
    fs::write(place.path("clients.csv"), &roster).expect("written");
    let ran = run(&place, &["sites", "import", "clients.csv"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    assert!(ran.data.contains("line 3: beta failed: KaiCalls refuses the key pair"), "{}", ran.data);
    assert_eq!(text(&place, "secrets/acme_sk").trim(), keys.secret_key);
    assert!(!place.path("sites/beta.toml").exists() && !ran.data.contains(&keys.secret_key));

    let other = "id,name,url\nacme,Acme,https://other.example\n";
    fs::write(place.path("clients.csv"), other).expect("written");
    let before = stamps(&place.path("sites"));
    let ran = run(&place, &["sites", "import", "clients.csv", "--mint"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("line 2: acme is there already with another url, name: "), "{}", ran.data);
    assert_eq!(stamps(&place.path("sites")), before);
}

#[tokio::test]
async fn kaicalls_away_is_told_and_gone_on_with() {
    let sandbox = start();
    let place = empty(&sandbox);
    fs::write(place.path("clients.csv"), ROSTER).expect("written");
    let refused = Fault {
        endpoint: Endpoint::Keys,
        site_url: Some("https://beta.example".to_owned()),
        status: Some(403),
        body: Some(r#"{"error":{"code":"forbidden","message":"No"}}"#.to_owned()),
        ..Fault::default()
    };
    sandbox.add_fault(refused).expect("a fault");
    let ran = run(&place, &["sites", "import", "clients.csv", "--mint"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    assert!(ran.data.contains("line 3: beta failed: KaiCalls mints no key pair for this site: 403"), "{}", ran.data);
    sandbox.clear_faults();
    let ran = run(&place, &["sites", "import", "clients.csv", "--mint"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("3 rows: 1 added, 2 unchanged"), "{}", ran.talk);
}

#[tokio::test]
async fn a_token_that_was_written_down_before_a_kill_is_used() {
    let sandbox = start();
    let place = empty(&sandbox);
    fs::write(place.path("clients.csv"), ROSTER).expect("written");
    let token = "fg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    let header = "id,name,url,webhook_url,token,region\r\n";
    let row = format!("acme,,https://acme.de,https://gate.example/hooks/acme?token={token},{token},DE\r\n");
    // The second row was cut short by the kill.
    fs::write(place.path("paste.csv"), format!("{header}{row}beta,,https://be")).expect("written");
    fs::set_permissions(place.path("paste.csv"), fs::Permissions::from_mode(0o600)).expect("permissions");
    let ran = run(&place, &["sites", "import", "clients.csv", "--out", "paste.csv"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let rows = pasted(&place.path("paste.csv"));
    assert_eq!(rows["acme"][1], token);
    for (site, [_, token, _]) in &rows {
        assert_eq!(digests(&place, site), [hash(token)], "{site}");
    }
    assert_eq!(rows.len(), 3);

    fs::write(place.path("paste.csv"), "name,phone\nJane,1\n").expect("written");
    fs::write(place.path("clients.csv"), "id,url\nnew,https://new.example\n").expect("written");
    let foreign = run(&place, &["sites", "import", "clients.csv", "--out", "paste.csv"]).await;
    assert_eq!(foreign.code, 2, "{}", foreign.talk);
    assert_eq!(text(&place, "paste.csv"), "name,phone\nJane,1\n");
    let itself = run(&place, &["sites", "import", "clients.csv", "--out", "clients.csv"]).await;
    assert_eq!(itself.code, 2, "{}", itself.talk);
}

#[tokio::test]
async fn a_site_is_added_once_with_what_to_do_in_its_plugin() {
    let sandbox = start();
    let place = empty(&sandbox);
    let line =
        ["sites", "add", "acme", "--url", "https://acme.co.uk", "--name", "Acme", "--mint", "--plugin", "gravity"];
    let foretold = run(&place, &[&line[..], &["--dry-run"]].concat()).await;
    assert_eq!(foretold.code, 0, "{}", foretold.talk);
    assert!(foretold.data.contains("would add acme to ") && !place.path("sites").exists(), "{}", foretold.data);
    let ran = run(&place, &line).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let (_, token) = ran.data.split_once("?token=").expect("a URL to paste");
    let token = token.split_whitespace().next().expect("a token");
    assert_eq!(digests(&place, "acme"), [hash(token)]);
    for told in [
        "GB, because of the URL",
        "Gravity Forms:\n\n  1. ",
        "2. Request URL: https://gate.example/hooks/acme?token=fg_",
    ] {
        assert!(ran.data.contains(told), "{told} is missing in\n{}", ran.data);
    }
    assert_eq!(run(&place, &["keys", "verify", "acme"]).await.code, 0);

    let before = stamps(&place.path(""));
    let again = run(&place, &line).await;
    assert_eq!(again.code, 0, "{}", again.talk);
    assert!(again.data.contains("nothing was changed") && again.data.contains("?token=fg_…"), "{}", again.data);
    assert_eq!(stamps(&place.path("")), before);
    let other = run(&place, &["sites", "add", "acme", "--url", "https://acme.example"]).await;
    assert_eq!(other.code, 2, "{}", other.talk);
    assert!(other.talk.contains("with another url") && other.talk.contains("acme.toml"), "{}", other.talk);
    for wrong in [
        &["sites", "add", "beta", "--url", "beta.example"][..],
        &["sites", "add", "beta", "--url", "https://beta.example", "--plugin", "nothing"],
        &["sites", "add", "beta", "--url", "https://beta.example", "--region", "XX"],
        &["sites", "add", "Beta", "--url", "https://beta.example"],
    ] {
        assert_eq!(run(&place, wrong).await.code, 2, "{wrong:?}");
    }
    assert_eq!(stamps(&place.path("")), before);
}

#[tokio::test]
async fn a_site_with_a_pair_of_its_own_is_verified_and_one_without_waits() {
    let sandbox = start();
    let place = empty(&sandbox);
    let keys = sandbox.keys();
    fs::write(place.path("acme.key"), format!("{}\n", keys.secret_key)).expect("written");
    let add = |id: &'static str, public: String, secret: &'static str| {
        let url = format!("https://{id}.example");
        let place = Arc::clone(&place);
        async move {
            let line = ["sites", "add", id, "--url", &url, "--public-key", &public, "--secret-key-file", secret];
            run(&place, &[&line[..], &["--output", "json"]].concat()).await
        }
    };
    let ran = add("acme", keys.public_key.clone(), "acme.key").await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert_eq!(ran.json()["business_id"], "biz_sandbox");
    assert!(!ran.data.contains(&keys.secret_key));
    let refused = add("beta", "wp_pk_0123456789abcdef".to_owned(), "acme.key").await;
    assert_eq!(refused.code, 77, "{}", refused.talk);
    assert!(!place.path("sites/beta.toml").exists());

    let without = run(&place, &["sites", "add", "gamma", "--url", "https://gamma.example"]).await;
    assert_eq!(without.code, 0, "{}", without.talk);
    assert!(without.data.contains("formgate keys mint gamma"), "{}", without.data);
    let (_, token) = without.data.split_once("?token=").expect("a URL to paste");
    let token = token.split_whitespace().next().expect("a token").to_owned();
    let (_gateway, address) = serve(&place).await;
    assert_eq!(post(address, "gamma", &token, 1).await, 200);
    assert_eq!(run(&place, &["keys", "mint", "gamma"]).await.code, 0);
    tokio::time::timeout(PATIENCE, sandbox.wait_for(1)).await.expect("its lead waited for its keys");
}

#[tokio::test]
async fn where_all_sites_are_tables_a_new_one_is_a_table() {
    let sandbox = start();
    let config = config(&sandbox.base_url());
    let config =
        format!("{config}\n# ours\n[[site]]\nid = \"own\"\npublic_key = \"wp_pk_0\"\nsecret_key = \"wp_sk_0\"\n");
    let place = Arc::new(Place::of(&[("config.toml", &config)]));
    let ran = run(&place, &["sites", "add", "acme", "--url", "https://acme.example", "--mint"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let written = text(&place, "config.toml");
    assert!(written.starts_with(&config), "{written}");
    assert!(written.contains("\n[[site]]\nid = \"acme\"\n") && !place.path("sites").exists(), "{written}");
    assert!(written.contains("secret_key = { file = \"secrets/acme_sk\" }"), "{written}");
    assert_eq!(run(&place, &["keys", "verify", "acme"]).await.code, 0);
}

async fn post(address: SocketAddr, site: &str, token: &str, number: u32) -> u16 {
    let token = format!("Authorization: Bearer {token}\r\n");
    let request = gateway::post(&format!("/hooks/{site}"), &token, &lead_body(&format!("jane{number}@example.com")));
    status(&gateway::send(address, request).await)
}

/// Posts until the answer is the one that is waited for.
async fn until(address: SocketAddr, token: &str, wanted: u16) {
    let asked = async {
        while post(address, "acme", token, 0).await != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the gateway picks the change up");
}

#[tokio::test]
async fn a_paused_site_holds_its_leads_until_it_is_resumed() {
    let sandbox = start();
    let place = empty(&sandbox);
    let added =
        run(&place, &["sites", "add", "acme", "--url", "https://acme.example", "--mint", "--output", "json"]).await;
    let token = added.json()["token"].as_str().expect("a token").to_owned();
    let before = text(&place, "sites/acme.toml");
    let paused = run(&place, &["sites", "pause", "acme"]).await;
    assert_eq!(paused.code, 0, "{}", paused.talk);
    assert!(paused.talk.contains("the reason deliver_off"), "{}", paused.talk);
    let again = run(&place, &["sites", "pause", "acme", "--output", "json"]).await;
    assert_eq!((again.code, &again.json()["changed"]), (0, &false.into()));

    let (_gateway, address) = serve(&place).await;
    for number in 0..3 {
        assert_eq!(post(address, "acme", &token, number).await, 200);
    }
    assert!(sandbox.leads().is_empty());
    let kept = run(&place, &["sites", "resume", "acme", "--keep-held"]).await;
    assert_eq!(kept.code, 0, "{}", kept.talk);
    assert!(kept.talk.contains("formgate leads retry --site acme --reason deliver_off"), "{}", kept.talk);
    // The last line of a site says so: the end of a file that is cut short would be missing.
    assert_eq!(text(&place, "sites/acme.toml"), format!("{before}deliver = true\n"));
    let resumed = run(&place, &["sites", "resume", "acme", "--output", "json"]).await;
    assert_eq!((resumed.code, &resumed.json()["released"]), (0, &3.into()), "{}", resumed.talk);
    tokio::time::timeout(PATIENCE, sandbox.wait_for(3)).await.expect("they are sent");
    let nothing = run(&place, &["sites", "resume", "acme"]).await;
    assert_eq!(nothing.code, 0, "{}", nothing.talk);
    assert!(
        nothing.data.contains("are on already") && nothing.talk.contains("0 held leads queued"),
        "{}",
        nothing.talk
    );
}

#[tokio::test]
async fn a_token_overlaps_with_another_until_it_is_revoked() {
    let sandbox = start();
    let place = empty(&sandbox);
    let added =
        run(&place, &["sites", "add", "acme", "--url", "https://acme.example", "--mint", "--output", "json"]).await;
    let old = added.json()["token"].as_str().expect("a token").to_owned();
    let (_gateway, address) = serve(&place).await;
    assert_eq!(post(address, "acme", &old, 1).await, 200);
    let line = ["sites", "token", "add", "acme", "--note", "new URL", "--expires", "2999-12-31", "--output", "json"];
    let made = run(&place, &line).await;
    let new = made.json()["token"].as_str().expect("a token").to_owned();
    until(address, &new, 200).await;
    assert_eq!(post(address, "acme", &old, 2).await, 200);
    let listed = async |token: &str| {
        let listed = run(&place, &["sites", "token", "list", "acme", "--output", "json"]).await;
        assert_eq!(listed.code, 0, "{}", listed.talk);
        let digits = &hash(token)[..12];
        listed.json().as_array().expect("rows").iter().find(|row| row["sha256"] == digits).expect("a row").clone()
    };
    let row = listed(&new).await;
    assert_eq!((&row["note"], &row["expires"]), (&"new URL".into(), &"2999-12-31".into()));
    let used = async {
        while listed(&old).await["last_used"].is_null() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    tokio::time::timeout(PATIENCE, used).await.expect("the gateway notes the use");

    let revoked = run(&place, &["sites", "token", "revoke", "acme", &hash(&old)[..12]]).await;
    assert_eq!(revoked.code, 0, "{}", revoked.talk);
    assert!(revoked.talk.contains("it was last used "), "{}", revoked.talk);
    until(address, &old, 401).await;
    assert_eq!(post(address, "acme", &new, 3).await, 200);
    assert_eq!(run(&place, &["sites", "token", "revoke", "acme", &old]).await.code, 2, "it is gone already");
    let last = run(&place, &["sites", "token", "revoke", "acme", "--note", "new URL"]).await;
    assert_eq!(last.code, 0, "{}", last.talk);
    assert!(last.talk.contains("it was the last valid token"), "{}", last.talk);
    // The short form is the same as `add`; a site may be called like a command.
    let short = run(&place, &["sites", "token", "acme", "--note", "short"]).await;
    assert_eq!(short.code, 0, "{}", short.talk);
    assert!(short.data.contains("Token for acme:  fg_"), "{}", short.data);
}

const SITES: usize = 500;
const KILLS: usize = 2;
/// Requests to KaiCalls at once.
const IN_FLIGHT: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_sites_are_brought_in_through_failures_and_kills() {
    let sandbox = start();
    let place = empty(&sandbox);
    let rows: String = (0..SITES).map(|at| format!("s{at:03},Site {at},https://s{at:03}.example\n")).collect();
    fs::write(place.path("clients.csv"), format!("id,name,url\n{rows}")).expect("written");
    let fault = |endpoint, status, retry_after: Option<&str>| {
        let retry_after = retry_after.map(str::to_owned);
        let fault = Fault { endpoint, status: Some(status), retry_after, percent: Some(3), ..Fault::default() };
        sandbox.add_fault(fault).expect("a fault");
    };
    fault(Endpoint::Keys, 429, Some("1"));
    fault(Endpoint::Verify, 500, None);
    let line = ["sites", "import", "clients.csv", "--mint", "--output", "json"];
    let connections = |sandbox: &Sandbox| sandbox.connections().len();
    for kill in 1..=KILLS {
        let mut command = place.command(&line);
        command.env("KAICALLS_API_KEY", LIVE_KEY).stdout(Stdio::null()).stderr(Stdio::null());
        let mut import = Command::from(command).kill_on_drop(true).spawn().expect("it starts");
        // Somewhere in the middle of its work, at no particular step.
        let wanted = connections(&sandbox) + SITES / 4;
        let far_enough = async {
            while connections(&sandbox) < wanted {
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(240), far_enough).await.expect("it goes on");
        import.kill().await.expect("killed");
        if kill == 1 {
            // An endpoint has one fault at a time.
            fault(Endpoint::Keys, 500, None);
            fault(Endpoint::Verify, 429, Some("1"));
        }
    }
    let ran = run(&place, &line).await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.data, ran.talk);
    sandbox.clear_faults();
    assert_all_in(&sandbox, &place, &ran.json()).await;
    let before = stamps(&place.path(""));
    let again = run(&place, &line).await;
    assert_eq!((again.code, &again.json()["unchanged"]), (0, &SITES.into()), "{}", again.talk);
    assert_eq!(stamps(&place.path("")), before);
    one_rotates_under_load(&sandbox, &place, "s250").await;
}

/// One of the sites gets another pair while it is posted to, and each of its leads arrives.
async fn one_rotates_under_load(sandbox: &Sandbox, place: &Arc<Place>, site: &'static str) {
    let pair = || site_table(place, site)["public_key"].as_str().expect("a key").to_owned();
    let first = pair();
    let (_gateway, address) = serve(place).await;
    let [_, token, _] = pasted(&place.path("clients.paste.csv")).remove(site).expect("its row");
    let stopping = Arc::new(tokio::sync::Notify::new());
    let stopped = Arc::clone(&stopping);
    let posting = tokio::spawn(async move {
        let mut taken = 0;
        while tokio::time::timeout(Duration::from_millis(5), stopped.notified()).await.is_err() {
            assert_eq!(post(address, site, &token, taken).await, 200);
            taken += 1;
        }
        taken
    });
    let ran = run(place, &["keys", "rotate", site]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    tokio::time::sleep(Duration::from_millis(200)).await;
    stopping.notify_one();
    let taken = posting.await.expect("no post was refused");
    tokio::time::timeout(PATIENCE, sandbox.wait_for(taken.into())).await.expect("all arrive");
    let leads = sandbox.leads();
    let emails: BTreeSet<_> = leads.iter().map(|lead| &lead.email).collect();
    assert_eq!(emails.len(), usize::try_from(taken).expect("few"));
    let keys: BTreeSet<_> = leads.iter().map(|lead| lead.public_key.clone()).collect();
    assert_eq!(keys, BTreeSet::from([first, pair()]), "sent with the old pair, then with the new one");
}

/// Every site has a pair that verifies and a token that its row names, and every connection beside them is named.
async fn assert_all_in(sandbox: &Sandbox, place: &Arc<Place>, report: &Value) {
    let verified = run(place, &["keys", "verify", "--output", "json"]).await;
    assert_eq!(verified.code, 0, "{}", verified.talk);
    let rows = verified.json();
    let rows = rows.as_array().expect("rows");
    assert!(rows.len() == SITES && rows.iter().all(|row| row["state"] == "ok"), "{report}");
    let pasted = pasted(&place.path("clients.paste.csv"));
    assert_eq!(pasted.len(), SITES);
    let mut in_use = BTreeMap::new();
    for (site, [_, token, _]) in &pasted {
        assert_eq!(digests(place, site), [hash(token)], "{site}");
        let key = site_table(place, site)["public_key"].as_str().expect("a key").to_owned();
        assert!(in_use.insert(key, site).is_none(), "a pair of two sites");
    }
    let own = &sandbox.keys().public_key;
    let unused =
        sandbox.connections().into_iter().filter(|it| it.public_key != *own && !in_use.contains_key(&it.public_key));
    let named = fs::read_to_string(place.path("secrets/minted-in-vain.csv")).unwrap_or_default();
    let mut by_site: BTreeMap<String, usize> = BTreeMap::new();
    for connection in unused {
        *by_site.entry(connection.site_url.expect("its site")).or_default() += 1;
    }
    for (url, count) in &by_site {
        let told = named.lines().filter(|line| line.contains(url.as_str())).count();
        assert!(told >= *count, "{url}: {count} connections are unused, {told} are named\n{named}");
    }
    let told = named.lines().count().saturating_sub(1);
    assert!(told <= KILLS * IN_FLIGHT, "more are named than can have been lost: {named}");
    let notes = fs::read_dir(place.path("secrets")).expect("a folder").filter_map(Result::ok);
    let notes = notes.filter(|entry| entry.file_name().to_string_lossy().ends_with(".mint")).count();
    assert_eq!(notes, 0, "nothing is left to be done");
}

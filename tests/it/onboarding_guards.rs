//! What `formgate sites add` and `import` leave alone: sites that only the gateway can read or still uses, tokens that were
//! revoked, and files of others.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use formgate::sandbox::{self, LiveKey, Sandbox};
use sha2::{Digest as _, Sha256};

use crate::cli::{Place, Ran};
use crate::gateway::{self, TOKEN, lead_body, status};
use crate::keys::{LIVE_KEY, config, run, serve};

fn start() -> Sandbox {
    let mut options = sandbox::Options::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    options.live_keys = vec![LiveKey::parse(LIVE_KEY).expect("a key")];
    Sandbox::start(options).expect("it starts")
}

/// A folder with sites whose token is [`TOKEN`].
fn place(sandbox: &Sandbox, sites: &[(&str, &str)]) -> Arc<Place> {
    let place = Place::of(&[("config.toml", &config(&sandbox.base_url()))]);
    fs::create_dir(place.path("sites")).expect("made");
    for (id, keys) in sites {
        let tokens = format!("tokens = [{{ sha256 = \"{}\" }}]", hash(TOKEN));
        let text = format!("id = \"{id}\"\nurl = \"https://{id}.example\"\n{keys}{tokens}\n");
        fs::write(place.path(&format!("sites/{id}.toml")), text).expect("written");
    }
    Arc::new(place)
}

fn roster(place: &Place, sites: &[&str]) {
    let rows: String = sites.iter().map(|id| format!("{id},https://{id}.example\n")).collect();
    fs::write(place.path("clients.csv"), format!("id,url\n{rows}")).expect("written");
}

fn text(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path(name)).expect(name)
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

async fn import(place: &Arc<Place>, more: &[&str]) -> Ran {
    run(place, &[&["sites", "import", "clients.csv"], more].concat()).await
}

async fn add(place: &Arc<Place>, site: &str, more: &[&str]) -> Ran {
    let url = format!("https://{site}.example");
    run(place, &[&["sites", "add", site, "--url", &url], more].concat()).await
}

async fn post(address: SocketAddr, site: &str) -> u16 {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let request = gateway::post(&format!("/hooks/{site}"), &token, &lead_body("jane@example.com"));
    status(&gateway::send(address, request).await)
}

#[tokio::test]
async fn a_site_that_lost_its_file_or_its_end_keeps_its_tokens() {
    let sandbox = start();
    let place = place(&sandbox, &[("acme", ""), ("beta", ""), ("gamma", "")]);
    let (gateway, address) = serve(&place).await;
    let copied = async {
        while !place.path("data/last-good").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), copied).await.expect("the copy is written");
    let cut = "id = \"acme\"\nurl = \"https://acme.example\"\n";
    fs::write(place.path("sites/acme.toml"), cut).expect("written");
    fs::remove_file(place.path("sites/beta.toml")).expect("removed");
    roster(&place, &["acme", "beta", "gamma"]);
    for mint in [&[][..], &["--mint"]] {
        let ran = import(&place, mint).await;
        assert_eq!(ran.code, 1, "{}\n{}", ran.data, ran.talk);
        assert!(ran.data.contains("line 2: acme failed: site `acme` uses its last-good version"), "{}", ran.data);
        assert!(ran.data.contains("acme.toml first; `formgate check` shows"), "{}", ran.data);
        assert!(ran.data.contains("line 3: beta failed: ") && ran.data.contains("sites remove beta`"), "{}", ran.data);
        for site in ["acme", "beta"] {
            let ran = add(&place, site, mint).await;
            assert_eq!(ran.code, 78, "{}", ran.talk);
            assert!(ran.talk.contains("uses its last-good version"), "{}", ran.talk);
        }
    }
    assert_eq!(text(&place, "sites/acme.toml"), cut);
    assert!(!place.path("sites/beta.toml").exists());
    tokio::time::sleep(Duration::from_secs(2)).await;
    for site in ["acme", "beta", "gamma"] {
        assert_eq!(post(address, site).await, 200, "{site}");
    }
    drop(gateway);
}

#[tokio::test]
async fn keys_that_only_the_gateway_can_read_are_not_replaced() {
    let sandbox = start();
    let elsewhere =
        "public_key = \"wp_pk_0123456789abcdef\"\nsecret_key = { env = \"FORMGATE_TEST_OF_THE_GATEWAY\" }\n";
    let place = place(&sandbox, &[("acme", elsewhere)]);
    let before = text(&place, "sites/acme.toml");
    roster(&place, &["acme"]);
    let imported = import(&place, &["--mint"]).await;
    assert_eq!(imported.code, 1, "{}", imported.talk);
    assert!(imported.data.contains("acme failed: site `acme` has keys that can't be read here"), "{}", imported.data);
    let added = add(&place, "acme", &["--mint"]).await;
    assert_eq!(added.code, 78, "{}", added.talk);
    assert!(added.talk.contains("FORMGATE_TEST_OF_THE_GATEWAY"), "{}", added.talk);
    assert_eq!(import(&place, &[]).await.code, 0, "without --mint its keys are nobody's business");
    assert_eq!(text(&place, "sites/acme.toml"), before);
    assert_eq!(sandbox.connections().len(), 1, "its own");
}

#[tokio::test]
async fn nobody_is_asked_for_keys_of_a_site_that_cannot_be_written() {
    let sandbox = start();
    let place = place(&sandbox, &[("acme", "")]);
    fs::write(place.path("sites/beta.toml"), "junk").expect("written");
    roster(&place, &["beta"]);
    let added = add(&place, "beta", &["--mint"]).await;
    assert_eq!(added.code, 78, "{}", added.talk);
    let imported = import(&place, &["--mint"]).await;
    assert_eq!(imported.code, 1, "{}", imported.talk);
    assert!(imported.data.contains("beta.toml is there already, and isn't read as this site"), "{}", imported.data);
    assert_eq!(sandbox.connections().len(), 1, "its own");
    assert!(!place.path("secrets/.beta.mint").exists());
}

#[tokio::test]
async fn an_import_that_cannot_write_tells_what_it_knows() {
    let sandbox = start();
    let place = place(&sandbox, &[]);
    fs::remove_dir(place.path("sites")).expect("removed");
    fs::write(place.path("sites"), "").expect("written");
    roster(&place, &["acme", "Beta"]);
    let ran = import(&place, &["--mint"]).await;
    assert_eq!(ran.code, 74, "{}\n{}", ran.data, ran.talk);
    assert!(ran.data.contains("line 3, column 1: id: ") && ran.data.contains("acme failed: not done"), "{}", ran.data);
    assert!(ran.talk.contains("2 rows: 0 added, 1 failed, 1 bad"), "{}", ran.talk);
    assert_eq!(sandbox.connections().len(), 1, "its own");
}

#[tokio::test]
async fn a_token_that_was_revoked_does_not_come_back() {
    let sandbox = start();
    let place = place(&sandbox, &[]);
    fs::write(place.path("sites/own.toml"), "id = \"own\"\nurl = \"https://own.example\"\ntokens = []\n")
        .expect("written");
    roster(&place, &["acme", "own"]);
    let first = import(&place, &["--mint"]).await;
    assert_eq!(first.code, 0, "{}", first.talk);
    let note = ["sites", "token", "revoke", "acme", "--note", "made by formgate sites import"];
    let revoked = run(&place, &note).await;
    assert_eq!(revoked.code, 0, "{}", revoked.talk);
    assert!(!revoked.talk.contains("paste file"), "{}", revoked.talk);
    let before = ["acme", "own"].map(|site| text(&place, &format!("sites/{site}.toml")));
    let again = import(&place, &["--mint"]).await;
    assert_eq!(again.code, 0, "{}", again.talk);
    assert_eq!(["acme", "own"].map(|site| text(&place, &format!("sites/{site}.toml"))), before);
    for site in before {
        assert!(site.contains("tokens = []"), "{site}");
    }
}

#[tokio::test]
async fn a_paste_file_that_others_may_read_gets_no_token() {
    let sandbox = start();
    let place = place(&sandbox, &[]);
    roster(&place, &["acme"]);
    let paste = place.path("clients.paste.csv");
    fs::write(&paste, "").expect("written");
    fs::set_permissions(&paste, fs::Permissions::from_mode(0o644)).expect("permissions");
    let ran = import(&place, &[]).await;
    assert_eq!(ran.code, 2, "{}", ran.talk);
    assert!(ran.talk.contains("chmod 600 ") && !place.path("sites/acme.toml").exists(), "{}", ran.talk);
    fs::remove_file(&paste).expect("removed");
    fs::write(place.path("elsewhere.csv"), "").expect("written");
    fs::set_permissions(place.path("elsewhere.csv"), fs::Permissions::from_mode(0o600)).expect("permissions");
    std::os::unix::fs::symlink("elsewhere.csv", &paste).expect("a link");
    assert_eq!(import(&place, &[]).await.code, 0);
    assert!(text(&place, "elsewhere.csv").contains("\nacme,") && paste.is_symlink());
}

#[tokio::test]
async fn what_two_imports_at_once_announce_works() {
    let sandbox = start();
    let place = place(&sandbox, &[]);
    let sites: Vec<String> = (0..60).map(|at| format!("s{at:02}")).collect();
    roster(&place, &sites.iter().map(String::as_str).collect::<Vec<_>>());
    // Both have planned all rows before either may write.
    let folder = fs::File::open(place.path("sites")).expect("a folder");
    folder.lock().expect("locked");
    let files = ["one.csv", "other.csv"];
    let release = async {
        while !files.iter().all(|file| place.path(file).exists()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        folder.unlock().expect("unlocked");
    };
    let [one, other] = files.map(|file| {
        let place = Arc::clone(&place);
        async move { import(&place, &["--out", file]).await }
    });
    let (one, other, ()) = tokio::join!(one, other, release);
    for ran in [&one, &other] {
        assert_eq!(ran.code, 0, "{}\n{}", ran.data, ran.talk);
    }
    let announced: usize = files.iter().map(|file| announced_in(&place, &place.path(file))).sum();
    assert_eq!(announced, sites.len());
}

/// Counts the tokens of a paste file, each of which is in its site's file.
fn announced_in(place: &Place, paste: &Path) -> usize {
    let rows: Vec<_> =
        csv::Reader::from_path(paste).expect("a file").records().map(|row| row.expect("a row")).collect();
    for row in &rows {
        let site = text(place, &format!("sites/{}.toml", &row[0]));
        assert!(site.contains(&hash(&row[4])), "{} is announced with a token that doesn't work", &row[0]);
    }
    rows.len()
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_minted_and_no_mint_needs_no_key() {
    let sandbox = start();
    let keys = sandbox.keys();
    let pair = format!("public_key = \"{}\"\nsecret_key = \"{}\"\n", keys.public_key, keys.secret_key);
    let place = place(&sandbox, &[("acme", ""), ("beta", &pair)]);
    let foretold = add(&place, "acme", &["--mint", "--dry-run"]).await;
    assert_eq!(foretold.code, 0, "{}", foretold.talk);
    assert!(foretold.data.contains("would mint the key pair of acme"), "{}", foretold.data);
    assert_eq!(sandbox.connections().len(), 1, "its own");

    let without = text(&place, "config.toml").replace("api_key", "# api_key");
    fs::write(place.path("config.toml"), without).expect("written");
    roster(&place, &["beta"]);
    let imported = import(&place, &["--mint"]).await;
    assert_eq!(imported.code, 0, "{}", imported.talk);
    let added = add(&place, "beta", &["--mint"]).await;
    assert_eq!(added.code, 0, "{}", added.talk);
    assert_eq!(add(&place, "acme", &["--mint"]).await.code, 78, "this one would be minted");
}

#[tokio::test]
async fn a_token_that_could_not_be_shown_is_named() {
    let sandbox = start();
    let place = place(&sandbox, &[("acme", "")]);
    for line in [&["sites", "token", "acme"][..], &["sites", "add", "beta", "--url", "https://beta.example"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
        let mut command = place.command(line);
        command.stdout(full);
        let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("it runs");
        let ran = Ran::of(ran);
        assert_eq!(ran.code, 74, "{}", ran.talk);
        let (_, digits) = ran.talk.split_once("formgate sites token revoke ").expect("a way back");
        let (site, rest) = digits.split_once(' ').expect("a site");
        let digits = &rest[..12];
        assert!(text(&place, &format!("sites/{site}.toml")).contains(digits), "{}", ran.talk);
        assert_eq!(run(&place, &["sites", "token", "revoke", site, digits]).await.code, 0);
    }
}

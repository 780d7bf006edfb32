//! The program as a person or a script meets it: exit codes, streams, shapes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::gateway::{self, TOKEN};

const CAPTURE: &str = "POST /hooks/acme/contact?token=fg_old HTTP/1.1\r\nHost: elsewhere\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 47\r\n\r\nname=Jane&email=jane%40example.com&message=Hi+!";
const LEAD: &str =
    r#"{"expect": {"name": "Jane", "email": "jane@example.com", "message": "Hi !"}, "notes": "as captured"}"#;

/// A folder to run the program in, without any configuration but its own.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            let path = place.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
        command.args(line).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        Ran::of(self.command(line).output().expect("it runs"))
    }
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) talk: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code().unwrap_or(-1), data: text(output.stdout), talk: text(output.stderr) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect(&self.talk)
    }
}

const SITE: &str = "# Acme\nid = \"acme\"\nregion = \"US\"\npublic_key = \"wp_pk_0123456789abcdef\"\nsecret_key = \"wp_sk_hush0123456789abcdef\"\ntokens = [] # none yet\n\n[forms.contact]\n";

fn sound() -> Place {
    Place::of(&[("config.toml", "[server]\n"), ("sites/acme.toml", SITE)])
}

/// The commands whose help is kept.
const HELPS: &[&[&str]] = &[
    &["--help"],
    &["demo", "--help"],
    &["init", "--help"],
    &["serve", "--help"],
    &["check", "--help"],
    &["status", "--help"],
    &["tail", "--help"],
    &["doctor", "--help"],
    &["explain", "--help"],
    &["test", "--help"],
    &["replay", "--help"],
    &["leads", "--help"],
    &["leads", "list", "--help"],
    &["leads", "show", "--help"],
    &["leads", "trace", "--help"],
    &["leads", "retry", "--help"],
    &["leads", "drop", "--help"],
    &["leads", "export", "--help"],
    &["leads", "amend", "--help"],
    &["leads", "capture", "--help"],
    &["leads", "erase", "--help"],
    &["leads", "salvage", "--help"],
    &["leads", "backup", "--help"],
    &["sites", "--help"],
    &["sites", "add", "--help"],
    &["sites", "import", "--help"],
    &["sites", "pause", "--help"],
    &["sites", "resume", "--help"],
    &["sites", "list", "--help"],
    &["sites", "show", "--help"],
    &["sites", "token", "--help"],
    &["sites", "token", "add", "--help"],
    &["sites", "token", "list", "--help"],
    &["sites", "token", "revoke", "--help"],
    &["keys", "--help"],
    &["keys", "verify", "--help"],
    &["keys", "mint", "--help"],
    &["keys", "rotate", "--help"],
    &["store", "--help"],
    &["store", "restore", "--help"],
    &["sandbox", "--help"],
    &["schema", "--help"],
    &["completions", "--help"],
];

#[test]
fn help_is_as_it_was() {
    let place = Place::of(&[]);
    let mut whole = String::new();
    for line in HELPS {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""), "{line:?}");
        whole.push_str(&format!("$ formgate {}\n{}\n", line.join(" "), ran.data));
    }
    insta::assert_snapshot!("help", whole);
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let place = Place::of(&[("a.http", "nonsense")]);
    for line in [
        &["nonsense"][..],
        &[],
        &["explain"],
        &["explain", "nowhere.http"],
        &["explain", "a.http"],
        &["explain", "a.http", "--site", "Not A Site"],
        &["test", "nowhere"],
        &["replay", "a.http"],
        &["replay", "a.http", "--to", "gateway"],
        &["sandbox", "--listen", "nowhere"],
        &["sandbox", "--listen", "127.0.0.1:0", "--fault-status", "42"],
    ] {
        let ran = place.run(line);
        assert_eq!((ran.code, ran.data.as_str()), (2, ""), "{line:?}: {}", ran.talk);
        assert!(!ran.talk.is_empty(), "{line:?}");
    }
    assert!(place.run(&["--version"]).data.starts_with("formgate "));
}

#[test]
fn check_says_what_is_there_or_what_is_wrong() {
    let place = sound();
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("1 site, 1 form, "), "{}", ran.data);
    assert!(ran.data.contains("nobody can post to site `acme` yet"), "{}", ran.data);
    let json = place.run(&["check", "--output", "json"]).json();
    assert_eq!(
        (json["errors"].as_u64(), json["warnings"].as_u64(), json["sites"].as_u64()),
        (Some(0), Some(1), Some(1))
    );

    let strict = place.run(&["check", "--strict"]);
    assert_eq!(strict.code, 78, "a site that nobody can post to is a warning: {}", strict.data);
    assert!(strict.talk.contains("--strict"), "{}", strict.talk);
    let missing = SITE
        .replace("tokens = []", "wpforms_secret = \"x\"")
        .replace("\"wp_sk_hush0123456789abcdef\"", "{ file = \"sk\" }");
    fs::write(place.path("sites/acme.toml"), missing).expect("written");
    assert_eq!((place.run(&["check"]).code, place.run(&["check", "--strict"]).code), (0, 78), "the key isn't there");
    fs::write(place.path("sites/sk"), "wp_sk_hush0123456789abcdef").expect("written");
    fs::set_permissions(place.path("sites/sk"), fs::Permissions::from_mode(0o600)).expect("permissions");
    let ran = place.run(&["check", "--strict"]);
    assert_eq!(ran.code, 0, "{}", ran.data);
    fs::write(place.path("sites/acme.toml"), SITE).expect("written");

    fs::write(place.path("config.toml"), "[server]\nlistne = 1\n").expect("written");
    let ran = place.run(&["check", "--config", "config.toml"]);
    let said = "config.toml: 1 error, 1 warning\n`formgate serve` can't start: [server], [queue] and [limits] must be usable\n";
    assert_eq!((ran.code, ran.talk.as_str()), (78, said));
    assert!(ran.data.contains("config.toml:2:1") && ran.data.contains("did you mean `listen`?"), "{}", ran.data);
    let json = place.run(&["check", "--output", "json"]);
    assert_eq!((json.code, json.json()["diagnostics"][0]["line"].as_u64()), (78, Some(2)));
    assert_eq!(Place::of(&[]).run(&["check"]).code, 78, "no configuration at all");
}

#[test]
fn check_reads_certificates_and_keys_as_serve_does() {
    let server = "[server]\ntls = { cert = \"tls.pem\", key = \"tls.key\" }\n";
    let (chain, key) = (include_str!("tls/good.pem"), include_str!("tls/server.key"));
    let place = Place::of(&[("config.toml", server), ("tls.pem", chain), ("tls.key", key)]);
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.data);
    fs::write(place.path("tls.key"), "hush").expect("written");
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 78, "{}", ran.data);
    assert!(ran.data.contains("tls.key has no PEM private key"), "{}", ran.data);
    assert!(!ran.data.contains("hush"), "{}", ran.data);
}

#[test]
fn secrets_that_are_not_on_this_machine_fail_no_check() {
    let site = SITE.replace("\"wp_sk_hush0123456789abcdef\"", "{ file = \"nowhere\" }");
    let place = Place::of(&[("config.toml", "[server]\n"), ("sites/acme.toml", &site)]);
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.data);
    assert!(ran.data.contains("1 value missing on this machine"), "{}", ran.data);
    assert_eq!(place.run(&["sites", "token", "acme"]).code, 0, "a token can be made all the same");
}

#[test]
fn explaining_and_testing_need_no_secret() {
    for elsewhere in ["{ file = \"nowhere\" }", "{ env = \"FORMGATE_NOT_SET\" }"] {
        let site =
            SITE.replace("\"wp_pk_0123456789abcdef\"", elsewhere).replace("\"wp_sk_hush0123456789abcdef\"", elsewhere);
        let form = format!("{site}mapping = \"own\"\n[forms.contact.extras]\nto = \"message\"\n");
        let mapping = "[lead]\nemail = \"email\"\n[extras]\nto = \"drop\"\n[[example]]\nbody = \"email=a%40b.co&b=1\"\n\
                       lead = { name = \"a\", email = \"a@b.co\", message = \"Submitted through example\" }\n";
        let files = [
            ("config.toml", "[server]\n"),
            ("sites/acme.toml", &form),
            ("mappings/own.toml", mapping),
            ("a.http", CAPTURE),
        ];
        let place = Place::of(&files);
        let ran = place.run(&["explain", "--site", "acme", "--form", "contact", "a.http", "--output", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.talk);
        let message = ran.json()["lead"]["message"].to_string();
        assert!(message.contains("Hi !"), "the form's `to` goes before its mapping's: {message}");
        assert_eq!(place.run(&["test"]).code, 0);
    }
}

#[test]
fn explain_works_without_and_with_a_configuration() {
    let place = Place::of(&[("a.http", CAPTURE), ("b.json", r#"{"your-email":"jane@example.com"}"#)]);
    let ran = place.run(&["explain", "a.http", "--output", "json"]);
    assert_eq!(
        (ran.code, ran.talk.as_str()),
        (0, "no configuration found; using the shipped mappings, without a site's rules\n")
    );
    let json = ran.json();
    assert_eq!(json["lead"], serde_json::json!({"name": "Jane", "email": "jane@example.com", "message": "Hi !"}));
    assert_eq!((json["form"].as_str(), json["plugin"].as_str()), (Some("contact"), Some("kaicalls")));
    let bare =
        place.run(&["explain", "b.json", "--content-type", "application/json", "--form", "quote", "--output", "json"]);
    assert_eq!((bare.json()["form"].as_str(), bare.json()["lead"]["name"].as_str()), (Some("quote"), Some("jane")));
    assert!(place.run(&["explain", "a.http"]).data.contains("→ email"));

    let place = sound();
    fs::write(place.path("a.http"), CAPTURE).expect("written");
    let form = format!("{SITE}lead = {{ name = \"email\", phone = {{ default = \"+14155552671\" }} }}\n");
    fs::write(place.path("sites/acme.toml"), form).expect("written");
    let json =
        place.run(&["explain", "--config", "config.toml", "--site", "acme", "a.http", "--output", "json"]).json();
    assert_eq!((json["rules"]["name"].as_str(), json["rules"]["phone"].as_str()), (Some("email"), Some("default")));
    let ran = place.run(&["explain", "--site", "nobody", "a.http"]);
    assert_eq!(ran.code, 2);
    assert!(ran.talk.contains("there is no site `nobody`\n  help: the only one is acme"), "{}", ran.talk);
    fs::write(place.path("config.toml"), "nonsense").expect("written");
    assert_eq!(place.run(&["explain", "a.http"]).code, 78);
}

#[test]
fn test_fails_with_1_where_a_case_differs_and_runs_the_fixtures_by_itself() {
    let place = Place::of(&[("fixtures/x/a.http", CAPTURE), ("fixtures/x/a.json", LEAD)]);
    let ran = place.run(&["test"]);
    assert_eq!(ran.code, 0, "{}", ran.data);
    fs::write(place.path("fixtures/x/a.json"), LEAD.replace("Hi !", "Hi!")).expect("written");
    let ran = place.run(&["test", "fixtures"]);
    assert_eq!(ran.code, 1);
    assert!(ran.data.starts_with("FAIL fixtures/x/a.http\n  message\n    - Hi!\n    + Hi !\n"), "{}", ran.data);
    let json = place.run(&["test", "--output", "json"]).json();
    assert_eq!(json["cases"][0]["differences"][0]["what"], "message");
}

#[test]
fn a_mapping_that_fails_its_example_fails_the_test() {
    let mapping =
        "[[detect]]\nkeys = [\"x\"]\n[[example]]\nbody = \"x=1&email=a%40b.co\"\nlead = { email = \"c@b.co\" }\n";
    let place = Place::of(&[("config.toml", "[server]\n"), ("mappings/mine.toml", mapping)]);
    let ran = place.run(&["test"]);
    assert_eq!(ran.code, 1, "{}", ran.talk);
    assert!(ran.data.contains("mappings/mine.toml:3:1") && ran.data.contains("broken mappings: mine"), "{}", ran.data);
}

#[test]
fn the_programs_own_fixtures_hold() {
    let place = Place::of(&[]);
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), place.path("fixtures")).expect("a link");
    let ran = place.run(&["test"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.data, ran.talk);
}

#[test]
fn a_token_is_shown_once_and_its_hash_is_written() {
    let place = sound();
    let line = ["sites", "token", "acme", "--note", "CF7", "--expires", "2999-06-30", "--output", "json"];
    let ran = place.run(&line);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let json = ran.json();
    let token = json["token"].as_str().expect("a token");
    assert!(token.starts_with("fg_") && token.len() == 46, "{token}");
    assert_eq!(json["url_with_token"].as_str(), Some(&*format!("http://127.0.0.1:8080/hooks/acme?token={token}")));
    assert!(ran.talk.contains("set [server].public_url"), "{}", ran.talk);
    let sha256 = json["sha256"].as_str().expect("a hash");
    let written = fs::read_to_string(place.path("sites/acme.toml")).expect("the file");
    let tokens = format!("tokens = [{{ sha256 = \"{sha256}\", note = \"CF7\", expires = 2999-06-30 }}] # none yet");
    assert_eq!(written, SITE.replace("tokens = [] # none yet", &tokens));
    assert_eq!(fs::metadata(place.path("sites/acme.toml")).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!ran.talk.contains(token) && !written.contains(token));

    let again = place.run(&["sites", "token", "acme"]);
    assert!(again.data.contains("Authorization: Bearer fg_") && !again.data.contains(token), "{}", again.data);
    assert_eq!(place.run(&["check"]).code, 0);
    let list = place.run(&["sites", "list", "--output", "json"]).json();
    assert_eq!((list[0]["id"].as_str(), list[0]["tokens"]["valid"].as_u64()), (Some("acme"), Some(2)));
    let table = place.run(&["sites", "list"]).data;
    assert!(
        table.starts_with(
            "SITE  NAME  FORMS    TOKENS  DELIVER  STATUS  FILE\nacme  -     contact  2       yes      ok      "
        ),
        "{table}"
    );
    assert_eq!(place.run(&["sites", "token", "nobody"]).code, 2);
    assert_eq!(place.run(&["sites", "token", "acme", "--expires", "2001-01-01"]).code, 2);

    fs::write(place.path("config.toml"), "[server]\npublic_url = \"https://gate.agency.example/\"\n").expect("written");
    let ran = place.run(&["sites", "token", "acme"]);
    assert!(ran.data.contains("\n  https://gate.agency.example/hooks/acme?token=fg_"), "{}", ran.data);
    assert!(!ran.talk.contains("public_url"), "{}", ran.talk);
    let list = place.run(&["sites", "list", "--output", "json"]).json();
    assert_eq!(list[0]["hook_url"], "https://gate.agency.example/hooks/acme");
}

#[test]
fn a_broken_site_is_listed_with_its_place() {
    let place = sound();
    let misspelt = SITE.replace("acme", "beta").replace("region = \"US\"", "nmae = \"Beta\"");
    fs::write(place.path("sites/beta.toml"), misspelt).expect("written");
    let table = place.run(&["sites", "list"]).data;
    let broken = "broken (sites/beta.toml:3:1)";
    assert!(table.lines().any(|line| line.starts_with("beta") && line.contains(broken)), "{table}");
    let list = place.run(&["sites", "list", "--output", "json"]).json();
    assert_eq!((list[1]["broken"].as_bool(), list[1]["problem"].as_str()), (Some(true), Some("sites/beta.toml:3:1")));
    assert!(list[0]["problem"].is_null(), "{list}");
}

#[test]
fn a_site_that_is_not_there_is_answered_with_the_nearest_names() {
    let place = sound();
    for number in 0..20 {
        let site = SITE.replace("acme", &format!("site-{number}"));
        fs::write(place.path(&format!("sites/{number}.toml")), site).expect("written");
    }
    let explain = ["explain", "a.http", "--site", "acne"];
    fs::write(place.path("a.http"), CAPTURE).expect("written");
    for line in [&["sites", "token", "acne"][..], &explain] {
        let ran = place.run(line);
        assert_eq!(ran.code, 2, "{}", ran.talk);
        assert!(ran.talk.contains("did you mean one of acme, site-0, site-1? (21 in all)"), "{}", ran.talk);
        assert!(!ran.talk.contains("site-15"), "{}", ran.talk);
    }
}

#[test]
fn a_test_that_expects_nothing_passes_with_a_note_and_fails_where_it_must_be_whole() {
    let place = Place::of(&[("fixtures/a.http", CAPTURE), ("fixtures/b.http", CAPTURE), ("fixtures/b.json", LEAD)]);
    let ran = place.run(&["test"]);
    assert_eq!(ran.code, 0, "{}", ran.data);
    assert!(ran.data.ends_with("1 of the cases passed, 0 failed, 1 not tested: no expectation\n"), "{}", ran.data);
    let ran = place.run(&["test", "--strict", "--junit", "results.xml"]);
    assert_eq!(ran.code, 1, "{}", ran.data);
    assert!(ran.data.contains("FAIL fixtures/a.http\n  no expectation: "), "{}", ran.data);
    let results = fs::read_to_string(place.path("results.xml")).expect("the results");
    assert!(results.contains("    <testcase classname=\"fixtures\" name=\"b.http\"/>\n"), "{results}");
    assert!(results.contains("name=\"a.http\">\n      <failure message=\"no expectation: "), "{results}");
    assert!(results.contains("<testcase classname=\"mappings.generic\" name=\"example 1\"/>"), "{results}");
    fs::write(place.path("fixtures/a.json"), LEAD.replace("Jane\"", "Jane & <Co>\"")).expect("written");
    let ran = place.run(&["test", "--junit", "results.xml"]);
    assert_eq!(ran.code, 1, "{}", ran.data);
    let results = fs::read_to_string(place.path("results.xml")).expect("the results");
    assert!(results.contains("<failure message=\"differs in name\">"), "{results}");
    assert!(results.contains("Jane &amp; &lt;Co&gt;"), "{results}");
    fs::write(place.path("fixtures/a.json"), LEAD).expect("written");
    assert_eq!(place.run(&["test", "--strict"]).code, 0);
}

#[test]
fn an_example_that_expects_nothing_fails_a_strict_test() {
    let mapping = "[[detect]]\nexists = [\"$.mine\"]\n[[example]]\nbody = \"mine=1&email=a%40b.co\"\nlead = {}\n";
    let place = Place::of(&[("config.toml", "[server]\n"), ("mappings/mine.toml", mapping)]);
    let ran = place.run(&["test"]);
    assert!(ran.code == 0 && ran.data.contains("not tested mine, example 1"), "{}", ran.data);
    assert_eq!(place.run(&["test", "--strict"]).code, 1);
    fs::write(place.path("mappings/mine.toml"), mapping.replace("lead = {}", "lead = { name = \"Nobody\" }"))
        .expect("written");
    assert_eq!(place.run(&["test", "--junit", "results.xml"]).code, 1);
    let results = fs::read_to_string(place.path("results.xml")).expect("the results");
    assert!(results.contains("<testcase classname=\"mappings.mine\" name=\"line 3\">"), "{results}");
    assert!(results.contains("this example has a different result"), "{results}");
}

#[test]
fn completions_name_the_commands() {
    let ran = Place::of(&[]).run(&["completions", "bash"]);
    assert!(ran.code == 0 && ran.data.contains("explain"), "{}", ran.talk);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::of(&[]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output =
        place.command(&["completions", "zsh"]).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
    let ran = Ran::of(output);
    assert_eq!((ran.code, ran.talk.as_str()), (0, ""));
}

/// Runs the program beside a gateway in this process.
async fn replay(place: &Place, line: &[&str]) -> Ran {
    let mut command = tokio::process::Command::from(place.command(line));
    Ran::of(command.output().await.expect("it runs"))
}

#[tokio::test]
async fn replay_posts_as_captured_and_compares_the_answers() {
    let gateway = gateway::start();
    let held = CAPTURE.replace("email=jane%40example.com", "email=nowhere.........&x");
    let place = Place::of(&[("a.http", CAPTURE), ("a.json", LEAD), ("b.http", &held), ("b.json", LEAD)]);
    let to = format!("http://{}/hooks/acme/contact", gateway.address);
    let ran = replay(&place, &["replay", "a.http", "--to", &to, "--token", TOKEN]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.data, ran.talk);
    let entry = gateway.shelf.only();
    assert_eq!(ran.data, format!("ok   a.http  200 queued  {}\n", entry.id));
    assert_eq!((entry.received.query.as_deref(), entry.received.method.as_str()), (None, "POST"));
    assert!(ran.talk.contains("1 case posted, 1 compared, 0 failed"), "{}", ran.talk);

    let to_with_token = format!("{to}?token={TOKEN}");
    let ran = replay(&place, &["replay", ".", "--to", &to_with_token, "--concurrency", "2", "--output", "json"]).await;
    assert_eq!(ran.code, 1, "{}", ran.talk);
    let json = ran.json();
    assert_eq!(
        (json[0]["status"].as_str(), json[0]["differences"].as_array().map(Vec::len)),
        (Some("duplicate"), Some(0))
    );
    assert_eq!(json[1]["differences"][0]["found"].as_str(), Some("200 held"));
}

#[tokio::test]
async fn replay_tells_a_refused_token_from_a_gateway_that_is_away() {
    let gateway = gateway::start();
    let place = Place::of(&[("a.http", CAPTURE)]);
    let to = format!("http://{}/hooks/acme", gateway.address);
    let ran = replay(&place, &["replay", "a.http", "--to", &to, "--token", "fg_wrong"]).await;
    assert_eq!(ran.code, 77, "{}", ran.talk);
    assert!(!ran.talk.contains("fg_wrong"), "{}", ran.talk);
    let away = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let to = format!("http://{away}/hooks/acme?token=fg_hush");
    let ran = replay(&place, &["replay", "a.http", "--to", &to]).await;
    assert_eq!(ran.code, 75, "{}", ran.talk);
    assert!(!ran.talk.contains("fg_hush"), "{}", ran.talk);
}

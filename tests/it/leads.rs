//! `formgate leads` as an operator runs it: through the running gateway, and on the store itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use formgate::lead::{EntryId, FormId, SiteId};
use formgate::queue::sqlite::{Options, SqliteStore};
use formgate::queue::{NewEntry, Reading, Reason, State, Store as _};
use formgate::received::Received;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::gateway::{self, TOKEN, json};
use crate::process;
use crate::scripted_api::{Reply, ScriptedApi};

/// How long a process may take for anything; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const FORM: &str = "application/x-www-form-urlencoded";

/// A folder with a configuration, KaiCalls as a script, and perhaps a gateway.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    api: ScriptedApi,
    pub(crate) gateway: Option<Gateway>,
}

pub(crate) struct Gateway {
    pub(crate) child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    pub(crate) log: Lines<BufReader<ChildStderr>>,
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) talk: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}{}", self.data, self.talk))
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let desk =
            Self { folder: tempfile::tempdir().expect("a folder"), api: ScriptedApi::start().await, gateway: None };
        desk.write_config("");
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_config(&self, form: &str) {
        process::write_config(self.folder.path(), &self.api.base_url(), form);
    }

    pub(crate) async fn start(&mut self) {
        let (child, log) = self.serve(&[]);
        self.begin(child, log).await;
    }

    /// Takes a gateway that starts for the running one.
    pub(crate) async fn begin(&mut self, child: Child, mut log: Lines<BufReader<ChildStderr>>) {
        let address = |event: &Value| event["address"].as_str().and_then(|it| it.parse().ok()).expect("an address");
        let gateway = address(&until(&mut log, |event| event["message"] == "gateway.listening").await);
        let admin = address(&until(&mut log, |event| event["message"] == "admin.listening").await);
        self.gateway = Some(Gateway { child, address: gateway, admin, log });
    }

    /// Starts a gateway, and gives its log.
    pub(crate) fn serve(&self, more: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>) {
        let line = [&["serve", "--log-format", "json"], more].concat();
        let mut child = self.command(&line).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("piped")).lines();
        (child, log)
    }

    pub(crate) async fn stop(&mut self) {
        let mut gateway = self.gateway.take().expect("it runs");
        gateway.child.kill().await.expect("killed");
    }

    /// Waits until the running gateway says something.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&mut self.gateway.as_mut().expect("it runs").log, wanted).await
    }

    pub(crate) async fn post(&self, kind: &str, body: &str) -> String {
        let address = self.gateway.as_ref().expect("it runs").address;
        let headers = format!("Authorization: Bearer {TOKEN}\r\n");
        let request = gateway::post("/hooks/acme/contact", &headers, body).replace("application/json", kind);
        let answer = json(&gateway::send(address, request).await);
        answer["id"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
        command.args(line).current_dir(self.folder.path()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Runs `formgate leads`, through the gateway where one runs.
    async fn leads(&self, line: &[&str]) -> Ran {
        let admin = self.gateway.as_ref().map(|gateway| gateway.admin.to_string());
        let admin = admin.as_deref().map_or_else(Vec::new, |admin| vec!["--admin", admin]);
        self.run(&[&["leads"], line, &admin].concat()).await
    }

    pub(crate) async fn run(&self, line: &[&str]) -> Ran {
        let ran = tokio::time::timeout(PATIENCE, self.command(line).stderr(Stdio::piped()).output()).await;
        let ran = ran.expect("it ends in time").expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran { code: ran.status.code().unwrap_or(-1), data: text(ran.stdout), talk: text(ran.stderr) }
    }

    async fn done(&self, line: &[&str]) -> Ran {
        let ran = self.leads(line).await;
        assert_eq!(ran.code, 0, "{line:?}: {}{}", ran.data, ran.talk);
        ran
    }

    pub(crate) fn audit(&self) -> Vec<Value> {
        let lines = fs::read_to_string(self.path("data/audit.ndjson")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Every byte of the data folder.
    fn bytes(&self) -> Vec<u8> {
        let files = fs::read_dir(self.path("data")).expect("the data folder").map(|file| file.expect("a file").path());
        // The reserve is nothing but room, and large.
        let files = files.filter(|path| path.is_file() && path.extension().is_none_or(|it| it != "reserve"));
        files.flat_map(|path| fs::read(path).expect("read")).collect()
    }
}

pub(crate) async fn until(log: &mut Lines<BufReader<ChildStderr>>, wanted: impl Fn(&Value) -> bool) -> Value {
    let read = async {
        loop {
            let line = log.next_line().await.expect("its log").expect("it says so before it ends");
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it says so in time")
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let lower = bytes.to_ascii_lowercase();
    lower.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Three leads: delivered, held for want of an address, held since it can't be decoded.
async fn with_three() -> (Desk, [String; 3]) {
    let mut desk = Desk::new().await;
    desk.start().await;
    let good = desk.post(FORM, "name=Jane&email=jane%40example.com&message=Hello").await;
    desk.until(|event| event["result"] == "delivered").await;
    let bad = desk.post(FORM, "name=Bob&email=nowhere&message=%3Dcmd()").await;
    let answer = desk.post("image/png", "\u{1}").await;
    assert_eq!(answer, "", "415 has no id");
    let listed = desk.done(&["list", "--reason", "undecodable", "--output", "json"]).await.json();
    let odd = listed[0]["id"].as_str().expect("an id").to_owned();
    (desk, [good, bad, odd])
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one walk through all verbs, twice")]
async fn the_verbs_work_through_the_gateway_and_on_the_store_alike() {
    let (mut desk, [good, bad, odd]) = with_three().await;
    for by in ["admin-api", "cli"] {
        if by == "cli" {
            desk.stop().await;
        }
        let ran = desk.done(&["list", "--output", "ndjson"]).await;
        let ids: Vec<Value> =
            ran.data.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect();
        assert_eq!(ids, [odd.as_str(), &bad, &good], "the newest first");
        let oldest = desk.done(&["list", "--oldest", "--limit", "2", "--output", "json"]).await;
        assert_eq!((&oldest.json()[0]["id"], &oldest.json()[1]["id"]), (&good.as_str().into(), &bad.as_str().into()));
        assert!(oldest.talk.contains("showing 2; use --limit 20 for more"), "{}", oldest.talk);
        assert_eq!(ran.talk.contains("working on the store itself"), by == "cli", "{}", ran.talk);
        let table = desk.done(&["list", "--state", "delivered"]).await.data;
        assert!(table.contains(&good) && table.contains("jane@example.com") && table.lines().count() == 2, "{table}");
        let csv = desk.done(&["list", "--output", "csv", "--text", "JANE@"]).await.data;
        assert!(csv.starts_with("id,site,") && csv.contains(",Jane,jane@example.com,,Hello,"), "{csv}");

        let groups = desk.done(&["list", "--group", "reason"]).await.data;
        assert!(groups.contains("1 lead, 1 site: no valid lead: email invalid"), "{groups}");
        let life = desk.done(&["show", &good[..18], "--output", "json"]).await.json();
        assert_eq!(life["entry"]["lead_id"], "lead_1");
        assert_eq!(
            (&life["rules"]["email"], &life["history"][1]["attempt"]["status"]),
            (&"$.email".into(), &200.into())
        );
        let shown = desk.done(&["show", &bad]).await.data;
        assert!(shown.contains("email    invalid:") && shown.contains("formgate leads retry"), "{shown}");
        let trace = desk.done(&["trace", &good]).await.data;
        assert!(trace.contains("accepted, queued") && trace.contains("attempt 1: delivered, 200"), "{trace}");

        let dry = desk.done(&["retry", "--all", "--dry-run"]).await;
        assert!(dry.talk.contains("2 leads would stay held"), "{}", dry.talk);
        let export = desk.done(&["export", "--state", "delivered"]).await.data;
        assert_eq!(export.matches("\r\n").count(), 2, "{export}");
        let exported = desk.done(&["export", "--output", "json"]).await.json();
        assert_eq!(exported.as_array().map(Vec::len), Some(3));
        let salvaged = desk.done(&["salvage", "--output", "json"]).await.json();
        assert_eq!(salvaged["recovered"], 0);
        assert_eq!(
            desk.audit().last().map(|line| (line["by"].clone(), line["verb"].clone())),
            Some((by.into(), "salvage".into()))
        );
    }
}

#[tokio::test]
async fn a_mended_form_and_a_retry_deliver_what_was_held() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let held = desk.post(FORM, "who=Jane&email=jane%40nowhere&other=jane%40example.com&text=Hello").await;
    assert_eq!(desk.done(&["retry", &held, "--output", "json"]).await.json()[0]["outcome"], "unchanged");
    desk.write_config("[site.forms.contact.lead]\n            email = \"other\"");
    desk.until(|event| event["message"].as_str().is_some_and(|it| it.starts_with("config.reloaded"))).await;
    let dry = desk.done(&["retry", "--site", "acme", "--dry-run"]).await;
    assert!(dry.data.contains("queued") && dry.data.contains("jane@example.com"), "{}", dry.data);
    assert!(dry.talk.contains("dry run: 1 lead would be queued"), "{}", dry.talk);
    assert!(desk.api.requests().is_empty());

    assert!(desk.done(&["retry", "--site", "acme"]).await.talk.contains("1 queued"));
    desk.until(|event| event["result"] == "delivered").await;
    assert_eq!(desk.api.requests()[0].json()["email"], "jane@example.com");
    let again = desk.leads(&["retry", &held]).await;
    assert_eq!(again.code, 1, "a delivered one is not sent twice: {}", again.talk);
    assert!(again.data.contains("--again"), "{}", again.data);
    desk.done(&["retry", &held, "--again"]).await;
    desk.until(|event| event["result"] == "delivered").await;
    assert_eq!(desk.api.requests().len(), 2);

    let audit = desk.audit();
    let acts: Vec<_> = audit.iter().map(|line| (line["verb"].as_str(), line["outcome"].as_str())).collect();
    assert!(
        acts.chunks(2).all(|act| act == [(Some("retry"), Some("begun")), (Some("retry"), Some("done"))]),
        "{acts:?}"
    );
    assert_eq!(audit[3]["entries"], 1);
    assert_eq!((&audit[3]["filter"], &audit[1]["ids"]), (&"site=acme".into(), &1.into()));
    let mode = fs::metadata(desk.path("data/audit.ndjson")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Jane in every state and encoding, and another whose address ends as hers does; gives the other's id.
async fn with_jane(desk: &mut Desk) -> String {
    desk.post(FORM, "name=Jane&email=jane%40example.com&message=Hello").await;
    desk.until(|event| event["result"] == "delivered").await;
    desk.post("application/json", r#"{"name":"J","email":"nowhere","note":"ask \u006aane\u0040example.com"}"#).await;
    let dropped = desk.post(FORM, "name=J&email=nowhere&note=Jane%2540Example.com").await;
    desk.done(&["drop", &dropped]).await;
    desk.post("image/png", "\u{1} <JANE@example.com>").await;
    let other = desk.post(FORM, "name=Joe&email=mary-jane%40example.com&message=Hello").await;
    desk.until(|event| event["result"] == "delivered").await;
    desk.api.always(Reply::error(503, "later"));
    desk.post("application/json", r#"{"name":"Jane","email":"Jane@Example.com","message":"Waiting"}"#).await;
    desk.until(|event| event["result"] == "failed").await;
    other
}

#[tokio::test]
async fn a_person_is_erased_from_every_state_and_every_byte() {
    for on_the_store in [false, true] {
        let mut desk = Desk::new().await;
        desk.start().await;
        let other = with_jane(&mut desk).await;
        let ways = ["jane%40example.com", "jane@example.com", r"\u006aane\u0040example.com", "jane%2540example.com"];
        for written in ways {
            assert!(holds(&desk.bytes(), written), "{written} is there before");
        }
        if on_the_store {
            desk.stop().await;
        }
        let dry = desk.done(&["erase", "--email", "JANE@example.com", "--dry-run"]).await;
        assert!(dry.talk.contains("5 leads would be erased"), "{}", dry.talk);
        let asked = desk.leads(&["erase", "--email", "JANE@example.com"]).await;
        assert!(
            asked.code == 2 && asked.talk.contains("erasing 5 leads needs a confirmation"),
            "{}{}",
            asked.code,
            asked.talk
        );
        assert!(asked.talk.contains("--yes erases them"), "{}", asked.talk);
        assert_eq!(desk.done(&["list", "--output", "json"]).await.json().as_array().map(Vec::len), Some(6));
        let erased = desk.done(&["erase", "--email", "JANE@example.com", "--yes", "--output", "json"]).await;
        assert_eq!(erased.json().as_array().map(Vec::len), Some(5), "{}", erased.talk);

        let bytes = desk.bytes().to_ascii_lowercase();
        let left = |text: &str| bytes.windows(text.len()).filter(|it| *it == text.as_bytes()).count();
        for written in ways {
            assert_eq!(left(written), left(&format!("mary-{written}")), "{written} is left");
        }
        assert_eq!(left("ask "), 0, "what she wrote is left");
        assert!(!holds(&fs::read(desk.path("data/audit.ndjson")).expect("an audit"), "jane"));
        let act = desk.audit().pop().expect("a line");
        assert_eq!((&act["by_email"], &act["entries"], &act["outcome"]), (&true.into(), &5.into(), &"done".into()));
        let rest = desk.done(&["list", "--output", "json"]).await.json();
        let rest: Vec<_> = rest.as_array().expect("leads").iter().map(|lead| &lead["id"]).collect();
        assert_eq!(rest, [&Value::from(other)]);
    }
}

#[tokio::test]
async fn a_lead_is_amended_through_the_gateway_and_on_the_store_alike() {
    let (mut desk, [good, bad, odd]) = with_three().await;
    let refused = desk.leads(&["amend", &good, "--email", "bob@example.com"]).await;
    assert!(refused.code == 2 && refused.talk.contains("was delivered"), "{}{}", refused.code, refused.talk);
    let invalid = desk.leads(&["amend", &bad, "--email", "bob@nowhere"]).await;
    assert!(invalid.code == 2 && invalid.talk.contains("email invalid: "), "{}{}", invalid.code, invalid.talk);
    let dry = desk.done(&["amend", &bad, "--email", "bob@example.com", "--dry-run"]).await;
    assert!(
        dry.data.contains("bob@example.com") && dry.talk.contains("1 lead would be queued"),
        "{}{}",
        dry.data,
        dry.talk
    );
    desk.done(&["amend", &bad, "--email", "bob@example.com", "--message", "Hello there"]).await;
    desk.until(|event| event["result"] == "delivered").await;
    let sent = desk.api.requests();
    let sent = String::from_utf8_lossy(&sent.last().expect("a lead").body).into_owned();
    assert!(sent.contains("bob@example.com") && sent.contains("Hello there"), "{sent}");
    let shown = desk.done(&["show", &bad]).await.data;
    assert!(shown.contains("email: nowhere → bob@example.com (by admin-api, "), "{shown}");
    assert!(desk.done(&["export", "--text", "nowhere"]).await.data.contains("bob@example.com"));

    desk.stop().await;
    let invalid = desk.leads(&["amend", &odd, "--name", "Ann"]).await;
    assert!(invalid.code == 2 && invalid.talk.contains("email missing: "), "{}{}", invalid.code, invalid.talk);
    let json = desk.done(&["amend", &odd, "--name", "Ann", "--email", "ann@example.com", "--output", "json"]).await;
    assert_eq!(json.json()[0]["outcome"], "queued");
    desk.start().await;
    desk.until(|event| event["result"] == "delivered").await;
    let audit = desk.audit();
    let acts: Vec<_> = audit.iter().filter(|line| line["verb"] == "amend").collect();
    assert_eq!(acts.len(), 4, "{acts:?}");
    assert_eq!((&acts[0]["fields"][0], &acts[0]["fields"][1]), (&"email".into(), &"message".into()));
    for value in ["bob@", "ann@", "Hello there"] {
        assert!(!holds(&fs::read(desk.path("data/audit.ndjson")).expect("an audit"), &value.to_lowercase()), "{value}");
    }
    desk.done(&["erase", "--email", "ann@example.com", "--yes"]).await;
    desk.stop().await;
    assert!(!holds(&desk.bytes(), "ann@example.com"), "nothing of her is left");
}

fn held(number: u64) -> NewEntry {
    NewEntry {
        id: EntryId::new(number, &[1; 10]),
        site: SiteId::parse("acme").expect("a site"),
        form: FormId::parse("contact").expect("a form"),
        state: State::Held,
        reason: Reason::Invalid,
        accepted_at: Timestamp::UNIX_EPOCH,
        keep: None,
        reading: Reading::default(),
        received: Received::default(),
    }
}

#[tokio::test]
async fn a_stored_request_becomes_a_fixture_that_passes_and_can_be_posted() {
    let (mut desk, [good, bad, odd]) = with_three().await;
    let boundary = "multipart/form-data; boundary=b";
    let upload = "--b\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\njane@example.com\r\n--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\r\n12345\r\n--b--\r\n";
    let cut = desk.post(boundary, upload).await;
    for by in ["admin-api", "cli"] {
        if by == "cli" {
            desk.stop().await;
        }
        let captured = desk.done(&["capture", &good, "--to", by]).await;
        let file = captured.data.lines().next().expect("a file").to_owned();
        assert!(
            file.starts_with(&format!("{by}/kaicalls/contact-{}", &good[..18])) && file.ends_with(".http"),
            "{file}"
        );
        assert!(captured.talk.contains("a visitor's data"), "{}", captured.talk);
        let bytes = fs::read(desk.path(&file)).expect("read");
        assert!(holds(&bytes, "post /hooks/acme") && holds(&bytes, "jane%40example.com") && !holds(&bytes, "fg_"));
        for id in [&bad, &odd, &cut] {
            desk.done(&["capture", id, "--to", by]).await;
        }
        let tested = desk.run(&["test", by, "--output", "json"]).await;
        assert_eq!((tested.code, &tested.json()["passed"]), (0, &4.into()), "{}{}", tested.data, tested.talk);
        let again = desk.leads(&["capture", &good, "--to", by]).await;
        assert!(again.code == 74 && again.talk.contains("already exists"), "{}{}", again.code, again.talk);
    }
    let notes = desk.done(&["capture", &cut, "--to", "third"]).await.talk;
    assert!(notes.contains("contents of uploads aren't stored"), "{notes}");
    assert_eq!(desk.audit().iter().filter(|line| line["verb"] == "capture" && line["outcome"] == "done").count(), 11);
    desk.start().await;
    let address = desk.gateway.as_ref().expect("it runs").address;
    let to = format!("http://{address}/hooks/acme?token={TOKEN}");
    let replayed = desk.run(&["replay", "cli/kaicalls", "--to", &to, "--output", "json"]).await;
    assert!(
        replayed.json().as_array().is_some_and(|cases| cases.iter().all(|case| case["code"] == 200)),
        "{}",
        replayed.data
    );
}

#[tokio::test]
async fn what_an_operator_corrected_is_no_part_of_a_fixture() {
    let (desk, [_, bad, _]) = with_three().await;
    desk.done(&["amend", &bad, "--email", "bob@example.com"]).await;
    let captured = desk.done(&["capture", &bad, "--to", "fixtures"]).await;
    assert!(captured.talk.contains("an operator corrected this lead"), "{}", captured.talk);
    let file = captured.data.lines().next().expect("a file").replace(".http", ".json");
    let expected = fs::read_to_string(desk.path(&file)).expect("read");
    assert!(expected.contains("reject") && !expected.contains("bob@example.com"), "{expected}");
}

/// An operator may run a verb as root: the gateway's user must be able to write what that leaves.
#[tokio::test]
async fn what_root_makes_belongs_to_the_owner_of_the_folder() {
    const USER: u32 = 12_345;
    let desk = Desk::new().await;
    if let Err(error) = std::os::unix::fs::chown(desk.folder.path(), Some(USER), Some(USER)) {
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "only root can give a folder away");
        eprintln!("not tested: only root can make files for another user");
        return;
    }
    let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::UNIX_EPOCH };
    let store = SqliteStore::open(&desk.path("data/formgate.db"), options).expect("opened");
    assert!(store.append(held(1), None).await.is_ok());
    desk.done(&["drop", &held(1).id.to_string()]).await;
    desk.done(&["backup", "copy.db"]).await;
    let data = fs::read_dir(desk.path("data")).expect("the data folder").map(|file| file.expect("a file").path());
    let mut names = Vec::new();
    for path in data.chain([desk.path("data"), desk.path("copy.db")]) {
        let found = fs::metadata(&path).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (USER, USER), "{}", path.display());
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
    }
    for name in ["formgate.db-wal", "formgate.db-shm", "formgate.db.lock", "formgate.db.reserve", "audit.ndjson"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let removed = desk.run(&["sites", "remove", "acme"]).await;
    assert_eq!(removed.code, 0, "{}", removed.talk);
    for name in ["data/last-good", "data/last-good/removed.json"] {
        let found = fs::metadata(desk.path(name)).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (USER, USER), "{name}");
    }
}

/// More leads than one page of the command has: every one is listed once, in each way of writing, and in each order.
#[tokio::test]
async fn all_leads_are_listed_page_by_page() {
    let desk = Desk::new().await;
    let options = Options { dedupe_window: Duration::ZERO, max_size: None, opened_at: Timestamp::UNIX_EPOCH };
    let store = Arc::new(SqliteStore::open(&desk.path("data/formgate.db"), options).expect("opened"));
    let mut appends = JoinSet::new();
    for number in 0..230 {
        let store = Arc::clone(&store);
        appends.spawn(async move { store.append(held(number), None).await.expect("appended") });
    }
    appends.join_all().await;
    drop(store);
    let posted: Vec<String> = (0..230).map(|number| held(number).id.to_string()).collect();
    let listed = desk.done(&["list", "--limit", "0", "--output", "json"]).await.json();
    let ids = listed.as_array().expect("a list").iter().map(|lead| lead["id"].as_str().unwrap_or_default());
    let newest: Vec<&str> = posted.iter().rev().map(String::as_str).collect();
    assert_eq!(ids.collect::<Vec<_>>(), newest);
    let table = desk.done(&["list", "--limit", "0", "--oldest"]).await.data;
    let ids: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids, posted);
    assert_eq!(desk.done(&["list"]).await.data.lines().count(), 101, "a hundred, and the head");
    assert_eq!(desk.done(&["list", "--site", "acme", "--state", "dead", "--output", "json"]).await.data, "[]\n");
}

#[tokio::test]
async fn a_backup_is_restored_by_putting_it_in_place() {
    let (mut desk, [good, bad, odd]) = with_three().await;
    let ran = desk.done(&["backup", "copy.db"]).await;
    assert!(ran.data.starts_with("3 entries copied to "), "{}", ran.data);
    let mode = fs::metadata(desk.path("copy.db")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "it holds what visitors sent");
    let twice = desk.leads(&["backup", "copy.db"]).await;
    assert_eq!(twice.code, 74, "a file that is there stays: {}", twice.talk);
    let ran = desk.leads(&["backup", "no-folder/copy.db"]).await;
    assert!(ran.code == 74 && ran.talk.contains("the running gateway writes the copy"), "{}: {}", ran.code, ran.talk);
    desk.done(&["erase", &good, &bad, &odd]).await;
    desk.stop().await;
    desk.done(&["backup", "empty.db"]).await;

    for file in ["formgate.db", "formgate.db-wal", "formgate.db-shm"] {
        drop(fs::remove_file(desk.path("data").join(file)));
    }
    fs::copy(desk.path("copy.db"), desk.path("data/formgate.db")).expect("copied");
    desk.start().await;
    let listed = desk.done(&["list", "--output", "json"]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert_eq!(desk.done(&["show", &good, "--output", "json"]).await.json()["entry"]["state"], "delivered");
}

#[tokio::test]
async fn a_store_that_is_set_aside_is_salvaged_and_told() {
    let (mut desk, [good, ..]) = with_three().await;
    desk.stop().await;
    // The beginning of the file says what it is; without it nothing can be opened.
    let file = desk.path("data/formgate.db");
    // What opens the store alone takes the log over into the file.
    desk.done(&["list"]).await;
    let mut bytes = fs::read(&file).expect("the store");
    bytes[..64].fill(0xff);
    fs::write(&file, bytes).expect("spoilt");
    desk.start().await;
    let admin = desk.gateway.as_ref().expect("it runs").admin;
    let readyz = async || {
        let answer = gateway::send(admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        (gateway::status(&answer), json(&answer)["degraded"].clone())
    };
    assert_eq!(readyz().await, (200, serde_json::json!(["store_set_aside"])));
    let ran = desk.leads(&["salvage"]).await;
    assert!(ran.code == 0 && ran.data.contains("3 entries merged back"), "{}{}", ran.data, ran.talk);
    assert_eq!(readyz().await, (200, serde_json::json!([])));
    assert!(desk.done(&["show", &good]).await.data.contains("jane@example.com"));
    assert!(desk.done(&["salvage"]).await.talk.contains("no store was set aside"));
}

#[tokio::test]
async fn where_no_gateway_runs_a_store_set_aside_is_told_and_an_erasure_names_it() {
    let (mut desk, [good, ..]) = with_three().await;
    desk.stop().await;
    desk.done(&["list"]).await;
    let file = desk.path("data/formgate.db");
    let mut bytes = fs::read(&file).expect("the store");
    bytes[..64].fill(0xff);
    fs::write(&file, bytes).expect("spoilt");
    for _ in 0..2 {
        let talk = desk.done(&["list"]).await.talk;
        assert!(talk.contains("is set aside as") && talk.contains("formgate leads salvage"), "{talk}");
    }
    desk.done(&["salvage"]).await;
    for address in ["jane@example.com", "nobody@example.com"] {
        let erased = desk.leads(&["erase", "--email", address, "--yes"]).await;
        assert!(erased.code == 74 && erased.talk.contains("formgate.db.salvaged-"), "{}{}", erased.code, erased.talk);
        assert!(erased.talk.contains("delete it"), "{}", erased.talk);
    }
    assert_eq!(desk.leads(&["show", &good]).await.code, 1, "it is gone all the same");
}

#[tokio::test]
async fn what_a_visitor_typed_does_nothing_to_a_terminal_or_a_spreadsheet() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let body = r#"{"name":"=A1+1","email":"jane@example.com","phone":"+1 503 555 0142","message":"a\u001b[31m\u202eb","k\u001b]0;x\u0007":"\u0007\u009b31m"}"#;
    let id = desk.post("application/json", body).await;
    desk.until(|event| event["result"] == "delivered").await;
    for line in [
        &["list"][..],
        &["list", "--output", "json"],
        &["show", &id],
        &["show", &id, "--output", "json"],
        &["trace", &id],
    ] {
        let data = desk.done(line).await.data;
        let acts = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{9b}".contains(c);
        assert!(!data.contains(acts), "{line:?}: {data:?}");
    }
    let csv = desk.done(&["export"]).await.data;
    assert!(csv.contains(",'=A1+1,jane@example.com,+15035550142,"), "{csv}");
}

#[tokio::test]
async fn a_drop_of_many_asks_first() {
    let (desk, [_, bad, odd]) = with_three().await;
    let ran = desk.leads(&["drop", "--site", "acme"]).await;
    assert_eq!((ran.code, ran.talk.contains("--yes")), (2, true), "{}", ran.talk);
    assert_eq!(desk.leads(&["drop"]).await.code, 2);
    assert_eq!(desk.leads(&["drop", &bad, "--site", "acme"]).await.code, 2);
    assert!(desk.done(&["drop", "--site", "acme", "--dry-run"]).await.talk.contains("2 leads would be dropped"));
    assert!(desk.done(&["drop", &odd]).await.data.contains("dropped"));
    assert!(desk.done(&["drop", "--site", "acme", "--yes"]).await.data.contains(&bad));
    let dead = desk.done(&["list", "--state", "dead", "--output", "json"]).await.json();
    assert_eq!(dead.as_array().map(Vec::len), Some(2));
    assert_eq!(dead[0]["cause"], "dropped by an operator");
}

#[tokio::test]
async fn the_admin_token_is_made_once_and_a_wrong_one_is_told() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let file = desk.path("data/admin.token");
    let token = fs::read_to_string(&file).expect("a token");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    desk.stop().await;
    desk.start().await;
    assert_eq!(fs::read_to_string(&file).expect("a token"), token);
    desk.done(&["list"]).await;
    fs::write(&file, "fga_not_the_token_it_runs_with").expect("written");
    let ran = desk.leads(&["list"]).await;
    assert_eq!((ran.code, ran.talk.contains("refuses the admin token")), (77, true), "{}", ran.talk);
    fs::remove_file(&file).expect("removed");
    let ran = desk.leads(&["list"]).await;
    assert_eq!((ran.code, ran.talk.contains("no admin token")), (77, true), "{}", ran.talk);
}

#[tokio::test]
async fn a_broken_configuration_keeps_nobody_from_the_leads() {
    let (mut desk, [_, bad, _]) = with_three().await;
    let sound = fs::read_to_string(desk.path("config.toml")).expect("text");
    let broken = sound.replace("base_url = \"http", "base_url = \"nonsense").replace("id = \"acme\"", "id = \"acme");
    fs::write(desk.path("config.toml"), broken).expect("written");
    desk.done(&["show", &bad]).await;
    assert_eq!(desk.run(&["status"]).await.code, 0);
    desk.stop().await;
    let ran = desk.run(&["leads", "list", "--offline"]).await;
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.talk.contains("run `formgate check`"), "{}", ran.talk);

    fs::write(desk.path("config.toml"), sound.replace("base_url = \"http", "base_url = \"nonsense")).expect("written");
    fs::remove_dir_all(desk.path("data/last-good")).expect("removed");
    desk.done(&["amend", &bad, "--email", "bob@example.com"]).await;
    let shown = desk.done(&["show", &bad]).await.data;
    assert!(shown.contains("[kaicalls] can't be used"), "{shown}");
}

#[tokio::test]
async fn each_failure_has_its_exit_code_and_its_cure() {
    let mut desk = Desk::new().await;
    let code = async |desk: &Desk, line: &[&str]| {
        let ran = desk.run(&[&["leads"], line].concat()).await;
        assert!(
            ran.code == 0 || ran.talk.contains("help: ") || ran.talk.contains("For more information"),
            "{line:?}: {}",
            ran.talk
        );
        ran.code
    };
    assert_eq!(code(&desk, &["list"]).await, 74, "there is no store yet");
    assert!(!desk.path("data").exists(), "looking makes no store");
    desk.start().await;
    desk.post(FORM, "name=Bob&email=nowhere").await;
    let gateway = desk.gateway.as_ref().expect("it runs").address.to_string();
    assert_eq!(code(&desk, &["list", "--admin", &gateway]).await, 69, "that is no admin API");
    desk.stop().await;
    assert_eq!(code(&desk, &["list", "--admin", "127.0.0.1:1"]).await, 69);
    assert_eq!(code(&desk, &["list", "--offline"]).await, 0);
    assert_eq!(code(&desk, &["list", "--config", "nowhere.toml"]).await, 78);
    for wrong in [
        &["list", "--state", "lost"][..],
        &["list", "--since", "soon"],
        &["retry"],
        &["erase"],
        &["list", "--output", "xml"],
    ] {
        let ran = desk.run(&[&["leads"], wrong].concat()).await;
        assert_eq!((ran.code, ran.data.as_str()), (2, ""), "{wrong:?}: {}", ran.talk);
    }
    for missing in [&["show", "ffffffff"][..], &["trace", "ffffffff"], &["retry", "ffffffff"], &["erase", "ffffffff"]] {
        assert_eq!(desk.leads(missing).await.code, 1, "{missing:?}");
    }
    let config = fs::read_to_string(desk.path("config.toml")).expect("the configuration");
    fs::write(desk.path("config.toml"), config.replace("sqlite:data/formgate.db", "memory:")).expect("written");
    assert_eq!(code(&desk, &["list"]).await, 69);
}

pub(crate) fn says(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["message"].as_str().is_some_and(|message| message.split(':').next() == Some(name))
}

#[tokio::test]
async fn the_command_line_needs_no_token_where_the_socket_is() {
    let mut desk = Desk::new().await;
    desk.start().await;
    fs::remove_file(desk.path("data/admin.token")).expect("removed");
    let mode = |name: &str| fs::metadata(desk.path(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("data/run"), mode("data/run/admin.sock")), (0o700, 0o600));
    let ran = desk.run(&["leads", "salvage"]).await;
    assert_eq!((ran.code, ran.talk.contains("working on the store itself")), (0, false), "{}", ran.talk);
    let uid = fs::metadata(desk.path("data")).expect("it is there").uid();
    let by: Vec<_> = desk.audit().iter().map(|line| line["by"].clone()).collect();
    assert_eq!(by, [format!("uid:{uid}"), format!("uid:{uid}")]);
    let over_tcp = desk.leads(&["list"]).await;
    assert_eq!(over_tcp.code, 77, "over TCP it is asked for: {}", over_tcp.talk);

    desk.stop().await;
    assert!(desk.path("data/run/admin.sock").exists(), "it was killed");
    let ran = desk.run(&["leads", "list"]).await;
    assert_eq!((ran.code, ran.talk.contains("working on the store itself")), (0, true), "{}", ran.talk);
    desk.start().await;
    let ran = desk.run(&["leads", "list"]).await;
    assert_eq!((ran.code, ran.talk.contains("working on the store itself")), (0, false), "{}", ran.talk);
}

#[tokio::test]
async fn a_second_gateway_does_not_take_the_socket_and_an_upgrade_does() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let is_answered = async |desk: &Desk| {
        let ran = desk.run(&["leads", "list"]).await;
        (ran.code, ran.talk.contains("working on the store itself")) == (0, false)
    };
    let (mut second, mut log) = desk.serve(&[]);
    until(&mut log, says("admin.socket_missing")).await;
    until(&mut log, says("admin.listening")).await;
    second.kill().await.expect("killed");
    assert!(is_answered(&desk).await);

    let (mut next, mut log) = desk.serve(&["--upgrade"]);
    until(&mut log, says("upgrade.waiting")).await;
    let mut first = desk.gateway.take().expect("it runs").child;
    signal(&first, "-QUIT").await;
    until(&mut log, says("admin.listening")).await;
    tokio::time::timeout(PATIENCE, first.wait()).await.expect("it ends").expect("a status");
    assert!(is_answered(&desk).await, "the old one has left the new one its socket");
    signal(&next, "-TERM").await;
    tokio::time::timeout(PATIENCE, next.wait()).await.expect("it ends").expect("a status");
    assert!(!desk.path("data/run/admin.sock").exists());
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args([name, &id]).status().await.expect("kill is there");
    assert!(sent.success());
}

#[tokio::test]
async fn the_token_is_not_sent_where_others_could_read_it() {
    let desk = Desk::new().await;
    fs::create_dir(desk.path("data")).expect("made");
    fs::write(desk.path("data/admin.token"), "fga_0123456789012345678901234567890").expect("written");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // The system takes it for this machine's; nothing says that it is.
    let admin = format!("http://0.0.0.0:{port}");
    let line = ["leads", "list", "--admin", &admin];
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.expect("read") > 0);
        }
        let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(refused.as_bytes()).await.expect("sent");
        String::from_utf8(request).expect("text").to_lowercase()
    };
    let (ran, request) = tokio::join!(desk.run(&line), answering);
    assert!(!request.contains("authorization") && !request.contains("fga_"), "{request}");
    assert!(ran.code == 77 && ran.talk.contains("plain HTTP") && ran.talk.contains("https://"), "{}", ran.talk);
}

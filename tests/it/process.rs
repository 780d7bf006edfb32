//! The program itself, as a process: what outlives a kill.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use formgate::app;
use formgate::config::Listen;
use formgate::queue::memory::MemoryStore;
use formgate::telemetry::{LogFormat, log_to_stderr};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::gateway::{self, TOKEN, json, lead_body, status};
use crate::scripted_api::ScriptedApi;

/// How long the process may take for anything; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a configuration with one site, `acme`, whose table ends with `more`.
pub(crate) fn write_config(folder: &Path, api: &str, more: &str) {
    let sha256: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        [admin]
        listen = "127.0.0.1:0"
        [kaicalls]
        base_url = "{api}"
        [queue]
        url = "sqlite:data/formgate.db"
        retry = {{ first = "50ms", max = "100ms" }}
        [[site]]
        id = "acme"
        public_key = "wp_pk_acme"
        secret_key = "wp_sk_acme"
        tokens = [{{ sha256 = "{sha256}" }}]
        {more}
        "#
    );
    std::fs::write(folder.join("config.toml"), config).expect("written");
}

/// Starts the gateway and gives its address once it listens.
pub(crate) async fn serve(folder: &Path) -> (Child, std::net::SocketAddr) {
    let (child, address, mut log) = serve_with_log(folder).await;
    // The pipe is read on, or the process would stop at a full one.
    drop(tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} }));
    (child, address)
}

type Log = Lines<BufReader<ChildStderr>>;

/// Reads the log on to an event of that name.
async fn until_event(log: &mut Log, name: &str) -> serde_json::Value {
    let read = async {
        loop {
            let line = log.next_line().await.expect("its log").expect("it says so before it ends");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"].as_str().is_some_and(|message| message.split(':').next() == Some(name)) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it says so in time")
}

async fn serve_with_log(folder: &Path) -> (Child, std::net::SocketAddr, Log) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_formgate"))
        .args(["serve", "--log-format", "json", "--config"])
        .arg(folder.join("config.toml"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let listening = until_event(&mut log, "gateway.listening").await;
    let address = listening["address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
    (child, address, log)
}

pub(crate) async fn post(address: std::net::SocketAddr, email: &str) -> String {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    gateway::send(address, gateway::post("/hooks/acme", &token, &lead_body(email))).await
}

#[tokio::test]
async fn a_lead_answered_200_survives_a_kill_and_is_delivered_after_the_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url(), "");
    api.go_away().await;
    let (mut first, address) = serve(folder.path()).await;
    let answer = post(address, "jane@example.com").await;
    assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()));
    // Child::kill is SIGKILL: nothing is flushed, closed or drained.
    first.kill().await.expect("killed");

    api.come_back().await;
    let (_second, _) = serve(folder.path()).await;
    // The kill may have met an attempt: then KaiCalls is asked first whether it has the lead.
    let intake = async {
        let mut asked = 0;
        loop {
            asked += 1;
            let requests = api.wait_for(asked).await;
            if let Some(lead) = requests.into_iter().find(|request| request.header("idempotency-key").is_some()) {
                return lead;
            }
        }
    };
    let lead = tokio::time::timeout(PATIENCE, intake).await.expect("the lead arrives");
    assert_eq!(lead.json()["email"], "jane@example.com");
    assert_eq!(lead.header("idempotency-key"), json(&answer)["id"].as_str());
}

#[tokio::test]
async fn a_term_signal_ends_the_process_with_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url(), "");
    let (mut child, address) = serve(folder.path()).await;
    assert_eq!(status(&post(address, "jane@example.com").await), 200);
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there");
    assert!(sent.success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").expect("a status");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn a_stderr_that_nobody_reads_stops_no_request_and_no_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url(), "");
    // From here on its log is not read: the pipe holds 64 KiB.
    let (mut child, address, _unread) = serve_with_log(folder.path()).await;
    for number in 0..500 {
        let posted = tokio::time::timeout(PATIENCE, post(address, &format!("jane{number}@example.com"))).await;
        assert_eq!(status(&posted.expect("it waits for nobody")), 200);
    }
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there");
    assert!(sent.success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").expect("a status");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn problems_that_nobody_reads_stop_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), "http://127.0.0.1:1", "");
    std::fs::create_dir(folder.path().join("sites")).expect("a folder");
    for number in 0..60 {
        let file = folder.path().join(format!("sites/{number}.toml"));
        std::fs::write(file, format!("id = \"site-{number}\"\nlisten = 1\n")).expect("written");
    }
    // Full, so that not one line more can be written.
    let (full, mut unread) = tokio::net::unix::pipe::pipe().expect("a pipe");
    full.writable().await.expect("it is empty");
    while full.try_write(&[b'\n'; 4096]).is_ok() {}
    let _gateway = Command::new(env!("CARGO_BIN_EXE_formgate"))
        .args(["serve", "--log-format", "json", "--config"])
        .arg(folder.path().join("config.toml"))
        .stderr(full.into_blocking_fd().expect("a pipe's end"))
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let socket = folder.path().join("data/run/admin.sock");
    let started = async {
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, started).await.expect("it starts");
    // What it said is the worst of it, and how much more there is.
    let read = async {
        let mut said = String::new();
        let mut piece = [0; 4096];
        while !said.contains("gateway.listening") {
            let length = unread.read(&mut piece).await.expect("read");
            said.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        said
    };
    let said = tokio::time::timeout(PATIENCE, read).await.expect("it says so");
    assert_eq!(said.matches("error: ").count(), 50, "{said}");
    assert!(said.contains(" more; `formgate check` shows all"), "{said}");
}

const CHILD: &str = "FORMGATE_TEST_LOG_LINES";

/// Runs in a process of its own, started by the test below, which reads stderr only when it has been told the count.
#[test]
fn log_lines_as_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let _logging = log_to_stderr(LogFormat::Json).expect("logging");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut config = gateway::config();
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.listen = vec![Listen { address: local, tls: None }];
        config.admin.listen = local;
        let store = Arc::new(MemoryStore::new(Duration::ZERO));
        let app = app::start_on(config, store).expect("started");
        // The first look at the count is behind it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for number in 0..10_000 {
            tracing::info!(number, "a line that is long enough to fill a pipe with a few hundred of its kind");
        }
        let page = String::from_utf8(app.metrics().text().expect("a page")).expect("text");
        let count = page.lines().find(|line| line.starts_with("formgate_log_lines_dropped_total ")).expect("a count");
        println!("\n{count}");
        std::io::stdin().read_line(&mut String::new()).expect("there is room by now");
        // The next look at the count.
        tokio::time::sleep(Duration::from_secs(10)).await;
        app.stop().await;
    });
}

#[tokio::test]
async fn log_lines_that_nobody_reads_are_counted_and_that_is_said() {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "process::log_lines_as_a_child", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
    let counting = async {
        loop {
            let line = told.next_line().await.expect("its output").expect("it says so before it ends");
            if let Some(count) = line.strip_prefix("formgate_log_lines_dropped_total ") {
                return count.parse::<u64>().expect("a count");
            }
        }
    };
    let dropped = tokio::time::timeout(PATIENCE, counting).await.expect("nothing waits for a log line");
    assert!((1..10_000).contains(&dropped), "{dropped}");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
    for _ in 0..1_000 {
        assert!(log.next_line().await.expect("its log").is_some(), "some thousand wait");
    }
    child.stdin.take().expect("piped").write_all(b"\n").await.expect("written");
    let event = until_event(&mut log, "log.lines_dropped").await;
    assert!(event["lines"].as_u64().is_some_and(|lines| lines >= dropped), "{event}");
    while let Ok(Some(_)) = log.next_line().await {}
}

#[tokio::test]
async fn a_hangup_signal_reads_the_configuration_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url(), "");
    let (child, address, mut log) = serve_with_log(folder.path()).await;
    let id = child.id().expect("it runs").to_string();
    let hang_up = async || {
        let sent = Command::new("kill").args(["-HUP", &id]).status().await.expect("kill is there");
        assert!(sent.success());
    };
    let path = folder.path().join("config.toml");
    let sound = std::fs::read_to_string(&path).expect("the configuration");
    let broken = format!("{sound}\nsecret_kye = \"wp_sk_hush\"");
    std::fs::write(&path, broken).expect("written");
    hang_up().await;
    until_event(&mut log, "config.reload_failed").await;
    let problem = until_event(&mut log, "config.problem").await;
    let said = problem.to_string();
    assert!(said.contains("unknown key `secret_kye`") && !said.contains("hush"), "{said}");
    assert_eq!(status(&post(address, "jane@example.com").await), 200);

    std::fs::write(&path, sound.replace("acme", "beta")).expect("written");
    hang_up().await;
    until_event(&mut log, "config.reloaded").await;
    assert_eq!(status(&post(address, "joe@example.com").await), 401);
}

//! The program itself, as a process: what outlives a kill.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
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
async fn serve(folder: &Path) -> (Child, std::net::SocketAddr) {
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

async fn post(address: std::net::SocketAddr, email: &str) -> String {
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

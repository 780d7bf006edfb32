//! The program itself, as a process: what outlives a kill.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::gateway::{self, TOKEN, json, lead_body, status};
use crate::scripted_api::ScriptedApi;

/// How long the process may take for anything; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn write_config(folder: &Path, api: &str) {
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
        "#
    );
    std::fs::write(folder.join("config.toml"), config).expect("written");
}

/// Starts the gateway and gives its address once it listens.
async fn serve(folder: &Path) -> (Child, std::net::SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_formgate"))
        .args(["serve", "--log-format", "json", "--config"])
        .arg(folder.join("config.toml"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let listening = async {
        loop {
            let line = lines.next_line().await.expect("its log").expect("it listens before it ends");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "gateway.listening" {
                break event["address"].as_str().and_then(|address| address.parse().ok()).expect("an address");
            }
        }
    };
    let address = tokio::time::timeout(PATIENCE, listening).await.expect("it listens in time");
    // The pipe is read on, or the process would stop at a full one.
    drop(tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} }));
    (child, address)
}

async fn post(address: std::net::SocketAddr, email: &str) -> String {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    gateway::send(address, gateway::post("/hooks/acme", &token, &lead_body(email))).await
}

#[tokio::test]
async fn a_lead_answered_200_survives_a_kill_and_is_delivered_after_the_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url());
    api.go_away().await;
    let (mut first, address) = serve(folder.path()).await;
    let answer = post(address, "jane@example.com").await;
    assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"queued".into()));
    // Child::kill is SIGKILL: nothing is flushed, closed or drained.
    first.kill().await.expect("killed");

    api.come_back().await;
    let (_second, _) = serve(folder.path()).await;
    let requests = tokio::time::timeout(PATIENCE, api.wait_for(1)).await.expect("the lead arrives");
    assert_eq!(requests[0].json()["email"], "jane@example.com");
    assert_eq!(requests[0].header("idempotency-key"), json(&answer)["id"].as_str());
}

#[tokio::test]
async fn a_term_signal_ends_the_process_with_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    write_config(folder.path(), &api.base_url());
    let (mut child, address) = serve(folder.path()).await;
    assert_eq!(status(&post(address, "jane@example.com").await), 200);
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill is there");
    assert!(sent.success());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends").expect("a status");
    assert_eq!(ended.code(), Some(0));
}

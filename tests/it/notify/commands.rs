//! The program as a user has it: a gateway that tells, `notify test` and `notify list`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::{got, receiver, types};
use crate::gateway;
use crate::process;
use crate::scripted_api::ScriptedApi;

const PATIENCE: Duration = Duration::from_secs(60);

struct Ran {
    code: Option<i32>,
    data: Value,
    talk: String,
}

async fn run(folder: &Path, line: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
    command.args(line).args(["--output", "json"]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it runs");
    let data = serde_json::from_slice(&ran.stdout).unwrap_or_default();
    Ran { code: ran.status.code(), data, talk: String::from_utf8_lossy(&ran.stderr).into_owned() }
}

fn sink(name: &str, url: &str, events: &str) -> String {
    format!("\n[[notify]]\nname = \"{name}\"\nurl = \"{url}\"\nevents = [{events}]\n")
}

#[tokio::test]
async fn a_gateway_tells_of_a_delivered_lead_and_of_a_refused_post() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = ScriptedApi::start().await;
    let receiver = receiver().await;
    let ops = sink("ops", &format!("{}/ops", receiver.base_url()), "\"lead.delivered\", \"site.posts_refused\"");
    process::write_config(folder.path(), &api.base_url(), &ops);
    let (_gateway, address) = process::serve(folder.path()).await;
    // The notifier takes its place a moment after the start.
    tokio::time::timeout(PATIENCE, async {
        while run(folder.path(), &["notify", "list"]).await.data.as_array().is_none_or(Vec::is_empty) {}
    })
    .await
    .expect("it begins");
    let refused =
        gateway::send(address, gateway::post("/hooks/acme", "Authorization: Bearer fg_wrong\r\n", "{}")).await;
    assert_eq!(gateway::status(&refused), 401);
    process::post(address, "jane@example.com").await;
    tokio::time::timeout(PATIENCE, receiver.wait_for(2)).await.expect("both are told");
    let mut told = types(&receiver, "ops");
    told.sort();
    assert_eq!(told, ["lead.delivered", "site.posts_refused"]);
    let refused = got(&receiver, "ops").into_iter().find(|(event, _)| event == "site.posts_refused").expect("told").1;
    assert_eq!(refused["refused"][0]["mistake"], "unknown_token");
    let listed = tokio::time::timeout(PATIENCE, async {
        loop {
            let listed = run(folder.path(), &["notify", "list"]).await;
            if listed.data[0]["sent"] == 2 {
                return listed;
            }
        }
    });
    let listed = listed.await.expect("it is counted");
    assert_eq!((&listed.data[0]["name"], &listed.data[0]["state"]), (&"ops".into(), &"ok".into()));
    assert!(!listed.data.to_string().contains("127.0.0.1"), "{}", listed.data);
}

#[tokio::test]
async fn notify_test_shows_what_came_back_without_a_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = receiver().await;
    let url = |name| format!("{}/{name}", receiver.base_url());
    let sinks =
        format!("{}{}", sink("ops", &url("ops"), "\"lead.dead\""), sink("chat", "http://127.0.0.1:1/chat", "\"*\""));
    process::write_config(folder.path(), "http://127.0.0.1:1", &sinks);
    let one = run(folder.path(), &["notify", "test", "ops"]).await;
    assert_eq!(one.code, Some(0), "{}", one.talk);
    assert_eq!(types(&receiver, "ops"), ["notify.test"]);
    let all = run(folder.path(), &["notify", "test"]).await;
    assert_eq!(all.code, Some(1));
    assert_eq!((&all.data[0]["ok"], &all.data[1]["result"]), (&true.into(), &"connection refused".into()));
    let unknown = run(folder.path(), &["notify", "test", "opps"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.talk.contains("there are: ops, chat"), "{}", unknown.talk);
    let nobody = run(folder.path(), &["notify", "list"]).await;
    assert_eq!(nobody.code, Some(69), "{}", nobody.talk);
}

//! `formgate tail` as a process of its own, beside a gateway that is another.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use crate::gateway::lead_body;
use crate::leads::{Desk, says, signal, until};

/// How long a process may take for anything; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";

/// The program at work, and what it writes.
struct Tail {
    child: Child,
    data: Lines<BufReader<ChildStdout>>,
    talk: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    fn start(desk: &Desk, more: &[&str]) -> Self {
        let mut child = desk.command(&[&["tail"], more].concat()).stderr(Stdio::piped()).spawn().expect("it starts");
        let data = BufReader::new(child.stdout.take().expect("piped")).lines();
        let talk = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { child, data, talk }
    }

    /// Waits until it watches, posts, and returns the first line that it wrote.
    async fn first(&mut self, desk: &Desk) -> String {
        self.says("watching").await;
        desk.post(JSON, &lead_body("first@example.com")).await;
        let line = tokio::time::timeout(PATIENCE, self.data.next_line()).await.expect("it shows it");
        line.expect("its output").expect("it goes on")
    }

    /// Reads on to an event of that kind.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let read = async {
            loop {
                let line = self.data.next_line().await.expect("its output").expect("it goes on");
                let event: Value = serde_json::from_str(&line).expect("JSON");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("it comes in time")
    }

    async fn says(&mut self, wanted: &str) {
        let read =
            async { while !self.talk.next_line().await.expect("its talk").expect("it goes on").contains(wanted) {} };
        tokio::time::timeout(PATIENCE, read).await.expect("it says so");
    }

    async fn code(&mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("a status").code()
    }
}

#[tokio::test]
async fn it_shows_what_happens_follows_an_upgrade_and_ends_with_the_gateway() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let mut tail = Tail::start(&desk, &["--output", "ndjson", "--site", "acme"]);
    let first: Value = serde_json::from_str(&tail.first(&desk).await).expect("JSON");
    assert_eq!((&first["site"], first.get("lead")), (&json!("acme"), None));
    let id = desk.post(JSON, &lead_body("last@example.com")).await;
    let queued = tail.until(|event| event["id"] == id.as_str()).await;
    assert_eq!((&queued["what"], &queued["result"]), (&json!("request"), &json!("queued")));
    let delivered = tail.until(|event| event["id"] == id.as_str() && event["what"] == "attempt").await;
    assert_eq!((&delivered["result"], &delivered["status"]), (&json!("delivered"), &json!(200)));

    let (child, mut log) = desk.serve(&["--upgrade"]);
    until(&mut log, says("upgrade.waiting")).await;
    let former = desk.gateway.take().expect("it runs");
    signal(&former.child, "-QUIT").await;
    desk.begin(child, log).await;
    tail.says("reconnecting").await;
    tail.says("watching the new gateway").await;
    let id = desk.post(JSON, &lead_body("later@example.com")).await;
    tail.until(|event| event["id"] == id.as_str() && event["result"] == "queued").await;

    signal(&desk.gateway.as_ref().expect("it runs").child, "-TERM").await;
    tail.says("the gateway is stopping").await;
    assert_eq!(tail.code().await, Some(0));
}

#[tokio::test]
async fn it_ends_with_success_when_it_is_told_to_or_nobody_reads_on() {
    let mut desk = Desk::new().await;
    desk.start().await;
    let mut told = Tail::start(&desk, &["--leads"]);
    let line = told.first(&desk).await;
    let has = |word: &str| line.split_whitespace().any(|found| found == word);
    assert!(has("acme/contact") && has("request") && has("queued"), "{line}");
    let person = told.data.next_line().await.expect("its output").expect("the lead");
    assert!(person.contains("Jane <first@example.com>") && !person.contains('\u{1b}'), "{person}");
    signal(&told.child, "-INT").await;
    assert_eq!(told.code().await, Some(0));
    let begun = desk.audit().into_iter().find(|line| line["verb"] == "stream").expect("it is written down");
    assert!(begun["by"].as_str().is_some_and(|by| by.starts_with("uid:")), "{begun}");

    let mut unread = Tail::start(&desk, &[]);
    unread.first(&desk).await;
    let Tail { mut child, data, talk: _talk } = unread;
    drop(data);
    desk.post(JSON, &lead_body("nobody@example.com")).await;
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends");
    assert_eq!(ended.expect("a status").code(), Some(0));
}

#[tokio::test]
async fn without_a_gateway_it_says_so_and_a_killed_one_is_noticed() {
    let mut desk = Desk::new().await;
    let ran = desk.run(&["tail"]).await;
    assert_eq!((ran.code, ran.data.as_str()), (69, ""));
    assert!(ran.talk.contains("no gateway answers") && ran.talk.contains("formgate serve"), "{}", ran.talk);
    desk.start().await;
    let ran = desk.run(&["tail", "--site", "Not A Site"]).await;
    assert!(ran.code == 2 && ran.talk.contains("the id of a site"), "{} {}", ran.code, ran.talk);
    let mut tail = Tail::start(&desk, &[]);
    tail.first(&desk).await;
    desk.stop().await;
    tail.says("the gateway is gone").await;
    assert_eq!(tail.code().await, Some(69));
}

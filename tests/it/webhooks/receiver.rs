//! What is posted, judged by other people's libraries: signatures by the one that Standard Webhooks gives out for Python,
//! bodies by `jsonschema` and `docs/events.schema.json`.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use formgate::event::EventType;
use formgate::notify::sink::Sent;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::{client, failure, notices, target};
use crate::gateway::{send, status};
use crate::python::python;

/// How long Python may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
const OLD: u8 = 1;
const NEW: u8 = 2;

struct Receiver {
    port: u16,
    said: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Receiver {
    /// Starts a receiver that knows the old secret at `/old` and the new one at `/new`.
    async fn start() -> Self {
        let secret = |name, byte| format!("{name}=whsec_{}", STANDARD.encode([byte; 32]));
        let mut command = python("webhook_receiver.py");
        let mut child = command.args([SCHEMA, &secret("old", OLD), &secret("new", NEW)]).spawn().expect("Python runs");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let port = next(&mut said).await.parse().expect("a port");
        Self { port, said, _child: child }
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// Returns what it says of the next post.
    async fn said(&mut self) -> Value {
        serde_json::from_str(&next(&mut self.said).await).expect("JSON")
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("Python answers in time");
    line.expect("text").expect("Python is still there: its words are on stderr")
}

#[tokio::test]
async fn every_type_of_event_is_verified_and_valid() {
    let mut receiver = Receiver::start().await;
    let client = client();
    let target = target(&receiver.url("old"), &[OLD]);
    let mut types = BTreeSet::new();
    for notice in notices::of_every_type() {
        let sent = client.post(&target, &notice, Timestamp::now()).await;
        let said = receiver.said().await;
        assert_eq!(sent, Sent::Taken, "{}: {} {}", notice.event, said["refused"], said["mistakes"]);
        let body: Value = serde_json::from_str(said["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!((&body["type"], &body["timestamp"]), (&notice.event.as_str().into(), &notices::AT.into()));
        types.insert(notice.event.as_str());
    }
    assert_eq!(types.len(), EventType::ALL.len(), "each type is sent");
}

#[tokio::test]
async fn while_secrets_are_rotated_the_old_one_fits_and_so_does_the_new() {
    let mut receiver = Receiver::start().await;
    let client = client();
    let notice = notices::test();
    for name in ["old", "new"] {
        let target = target(&receiver.url(name), &[NEW, OLD]);
        assert_eq!(client.post(&target, &notice, Timestamp::now()).await, Sent::Taken, "{name}");
        let said = receiver.said().await;
        assert_eq!(said["headers"]["webhook-signature"].as_str().map(|text| text.matches("v1,").count()), Some(2));
    }
}

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused() {
    let mut receiver = Receiver::start().await;
    let client = client();
    let notice = notices::test();
    let now = Timestamp::now();
    let (past, future) = (now - SignedDuration::from_mins(6), now + SignedDuration::from_mins(6));
    for (keys, at, why) in [
        (&[NEW][..], now, "No matching signature found"),
        (&[], now, "Missing required headers"),
        (&[OLD], past, "Message timestamp too old"),
        (&[OLD], future, "Message timestamp too new"),
    ] {
        let sent = client.post(&target(&receiver.url("old"), keys), &notice, at).await;
        assert_eq!(failure(sent).why, "401 Unauthorized");
        assert_eq!(receiver.said().await["refused"], why);
    }
}

#[tokio::test]
async fn a_body_that_was_changed_on_the_way_is_refused() {
    let mut receiver = Receiver::start().await;
    let sent = client().post(&target(&receiver.url("old"), &[OLD]), &notices::test(), Timestamp::now()).await;
    assert_eq!(sent, Sent::Taken);
    let said = receiver.said().await;
    let header = |name: &str| format!("{name}: {}\r\n", said["headers"][name].as_str().expect("a header"));
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header).concat();
    let body = said["body"].as_str().expect("a body");
    let address = ([127, 0, 0, 1], receiver.port).into();
    for (body, expected) in [(body.to_owned(), 204), (body.replacen("a test", "A test", 1), 401)] {
        let request = crate::gateway::post("/old", &headers, &body);
        assert_eq!(status(&send(address, request).await), expected);
    }
}

#[test]
fn the_schema_has_each_event_and_no_other() {
    let schema: Value = serde_json::from_slice(&std::fs::read(SCHEMA).expect("a file")).expect("JSON");
    let listed: Vec<&str> =
        schema["oneOf"].as_array().expect("a list").iter().filter_map(|one| one["$ref"].as_str()).collect();
    let expected = EventType::ALL.map(|event| format!("#/$defs/{event}"));
    assert_eq!(listed, expected);
    for event in EventType::ALL {
        assert_eq!(schema["$defs"][event.as_str()]["properties"]["type"]["const"], event.as_str());
    }
}

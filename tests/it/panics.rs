//! Panics: each harms one submission at most, and quotes nobody.

use std::time::Duration;

use bytes::Bytes;
use formgate::accept::{BodyKeeping, Options};
use formgate::lead::FormId;
use formgate::pipeline::{self, Keeper, KeptBody, Mappings, Processed, SiteRules, TooMuchToKeep};
use formgate::queue::{Reason, State};
use formgate::received::Received;
use formgate::telemetry::{LogFormat, install_panic_hook, log_to_stderr};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::gateway::{self, Running, Trouble, header, json, lead_body, start, start_behind, status};
use crate::log_lines::LogLines;

/// Stands for a parser that meets what its author didn't think of.
fn process(mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Processed {
    let body = String::from_utf8_lossy(&received.body);
    assert!(!body.contains("poison"), "the parser met {body}");
    pipeline::process(mappings, site, form, received)
}

fn start_with_poison() -> Running {
    start_behind(None, Options::default(), |_config| {}, |gateway| gateway.with_pipeline(process))
}

#[tokio::test]
async fn a_panic_in_the_pipeline_holds_the_submission_as_it_came() {
    install_panic_hook();
    let (lines, _guard) = LogLines::begin();
    let gateway = start_with_poison();
    let large = format!("poison {}", "x".repeat(200_000));
    for (number, email) in ["poison@example.com", &large].into_iter().enumerate() {
        let body = lead_body(email);
        let answer = gateway.post("/hooks/acme/contact", &body).await;
        assert_eq!((status(&answer), &json(&answer)["status"]), (200, &"held".into()), "{answer}");
        let entry = gateway.shelf.entries().pop().expect("an entry");
        assert_eq!((entry.state, entry.reason), (State::Held, Reason::Undecodable));
        assert_eq!(entry.reading.oddities, ["decoder_panicked"]);
        assert_eq!(entry.received.body, body);
        assert!(gateway.page().contains(&count("held", number + 1)));
    }
    let told = lines.events("pipeline.panicked");
    assert_eq!(told.len(), 2, "{}", lines.text());
    for (event, entry) in told.iter().zip(gateway.shelf.entries()) {
        assert_eq!((&event["level"], &event["id"]), (&"ERROR".into(), &entry.id.to_string().into()));
        assert!(event["location"].as_str().is_some_and(|location| location.starts_with(file!())), "{event}");
    }
    assert!(!lines.text().contains("poison"), "{}", lines.text());
    let answer = gateway.post("/hooks/acme/contact", &lead_body("jane@example.com")).await;
    assert_eq!(json(&answer)["status"], "queued");
}

/// Stands for what keeps a body, where that meets what its author didn't think of.
fn push(keeper: &mut Keeper, chunk: Bytes) -> Result<(), TooMuchToKeep> {
    assert!(!keeper.streams() || find(&chunk, b"poison").is_none(), "the keeper met {chunk:?}");
    keeper.push(chunk)
}

fn finish(keeper: Keeper) -> Result<KeptBody, TooMuchToKeep> {
    let kept = keeper.finish()?;
    assert!(find(&kept.body, b"poison").is_none() && find(&kept.body, b"venom").is_none(), "the keeper met poison");
    Ok(kept)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

const MULTIPART: &str = "multipart/form-data; boundary=XX";

async fn post_parts(gateway: &Running, parts: &[(&str, &str)]) -> (String, String) {
    let part =
        |(head, content): &(&str, &str)| format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n");
    let body = parts.iter().map(part).collect::<String>() + "--XX--\r\n";
    let token = format!("Authorization: Bearer {}\r\n", gateway::TOKEN);
    let head = format!(
        "POST /hooks/acme/contact HTTP/1.1\r\nHost: x\r\n{token}Content-Type: {MULTIPART}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    (gateway::send(gateway.address, head + &body).await, body)
}

#[tokio::test]
async fn a_panic_while_a_body_is_read_holds_it_as_it_came() {
    install_panic_hook();
    let keeping = BodyKeeping { push, finish };
    let gateway = start_behind(None, Options::default(), |_config| {}, |gateway| gateway.with_keeping(keeping));
    let held = |answer: &str, body: &str| {
        assert_eq!((status(answer), &json(answer)["status"]), (200, &"held".into()), "{answer}");
        let entry = gateway.shelf.entries().pop().expect("an entry");
        assert_eq!((entry.state, entry.reason), (State::Held, Reason::Undecodable));
        assert_eq!(entry.reading.oddities, ["decoder_panicked"]);
        assert_eq!(entry.received.body, body);
        assert!(!entry.received.cut);
    };
    // Small and large; whole, in the middle of parts, and at their end.
    for large in ["", &"x".repeat(200_000)] {
        let body = lead_body(&format!("poison {large}"));
        held(&gateway.post("/hooks/acme/contact", &body).await, &body);
        for word in ["poison", "venom"] {
            let (answer, body) = post_parts(&gateway, &[("name=\"a\"", word), ("name=\"b\"", large)]).await;
            held(&answer, &body);
        }
    }
    assert_eq!(outcomes(&gateway), [count("held", 6)]);
    // What can't be stored whole as it came is not promised to be kept.
    let file = "x".repeat(3 << 20);
    let upload = [("name=\"f\"; filename=\"a.png\"", file.as_str()), ("name=\"a\"", "poison")];
    let (answer, _body) = post_parts(&gateway, &upload).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(header(&answer, "retry-after").is_some() && !answer.contains("poison"), "{answer}");
    assert_eq!(outcomes(&gateway), [count("held", 6), count("panicked", 1)]);
    let (answer, _body) = post_parts(&gateway, &[("name=\"email\"", "jane@example.com")]).await;
    assert_eq!(json(&answer)["status"], "queued");
    assert_eq!(gateway.shelf.entries().len(), 7);
}

#[tokio::test]
async fn a_request_that_panics_has_one_outcome_and_an_answer() {
    install_panic_hook();
    let (lines, _guard) = LogLines::begin();
    let gateway = start();
    gateway.shelf.fail(Trouble::Panicking);
    let answer = gateway.post("/hooks/acme/contact", &lead_body("jane@example.com")).await;
    assert_eq!(status(&answer), 500, "{answer}");
    assert!(!answer.contains("jane"), "{answer}");
    assert_eq!(outcomes(&gateway), [count("panicked", 1)]);
    let told = lines.events("request panicked");
    assert_eq!((told.len(), &told[0]["level"]), (1, &"ERROR".into()), "{}", lines.text());
    assert!(told[0]["location"].as_str().is_some_and(|location| location.contains(".rs:")), "{}", lines.text());
    assert!(!lines.text().contains("jane"), "{}", lines.text());
}

#[test]
fn a_request_that_is_cut_off_has_one_outcome() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gateway = runtime.block_on(async {
        let gateway = start();
        gateway.shelf.fail(Trouble::Silent);
        let mut client = TcpStream::connect(gateway.address).await.expect("a connection");
        let token = format!("Authorization: Bearer {}\r\n", gateway::TOKEN);
        let post = gateway::post("/hooks/acme/contact", &token, &lead_body("jane@example.com"));
        client.write_all(post.as_bytes()).await.expect("sent");
        until(|| gateway.in_flight.count() == 1).await;
        assert!(outcomes(&gateway).is_empty());
        gateway
    });
    // Drops its tasks where they stand, as a stop does that has waited long enough.
    drop(runtime);
    assert_eq!(outcomes(&gateway), [count("aborted", 1)]);
}

const CHILD: &str = "FORMGATE_TEST_PANICS";

/// Runs in a process of its own, started by the test below.
#[test]
fn panics_as_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    install_panic_hook();
    let panic = || {
        let thread = std::thread::Builder::new().name("quoting".to_owned());
        let quoting = thread.spawn(|| panic!("jane@example.com wrote: call me")).expect("a thread");
        quoting.join().expect_err("it panicked");
    };
    panic();
    let _logging = log_to_stderr(LogFormat::Json).expect("logging");
    panic();
}

#[tokio::test]
async fn a_panic_is_told_by_its_location_and_never_by_its_words() {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "panics::panics_as_a_child", "--nocapture"]).env(CHILD, "1");
    let output = child.output().await.expect("it runs");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("jane") && !told.contains("call me"), "{told}");
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("panicked")).collect();
    let [before_logging, logged] = lines[..] else { panic!("two lines: {told}") };
    let place = concat!(file!(), ":");
    assert!(before_logging.starts_with(&format!("error: formgate panicked at {place}")), "{told}");
    let event: serde_json::Value = serde_json::from_str(logged).expect("one event");
    assert_eq!((event["level"].as_str(), event["thread"].as_str()), (Some("ERROR"), Some("quoting")));
    assert!(event["location"].as_str().is_some_and(|location| location.starts_with(place)), "{told}");
}

fn count(outcome: &str, number: usize) -> String {
    format!(r#"formgate_submissions_received_total{{outcome="{outcome}"}} {number}"#)
}

/// The outcomes that there were.
fn outcomes(gateway: &Running) -> Vec<String> {
    let page = gateway.page();
    let lines = page.lines().filter(|line| line.starts_with("formgate_submissions_received_total{"));
    lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it comes to hold");
}

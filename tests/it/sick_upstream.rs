//! What comes back from an upstream, well or sick, and what is made of it: one table, over real connections.

use std::time::Duration;

use formgate::queue::{AttemptResult, Reason, State};

use crate::kaicalls::tls_server;
use crate::scripted_api::{Reply, ScriptedApi};
use crate::world::{World, last_attempt};

/// What a lead meets.
enum Upstream {
    Answers(Reply),
    /// Nothing more after this, until the time is out.
    Stalls(Reply),
    Refuses,
    NoSuchName,
    /// It takes the connection and never says a word of TLS.
    NoHandshake,
    /// A certificate, and whether its authority is trusted.
    Tls(&'static [u8], bool),
}

/// What is to become of a lead after one attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    Delivered(Option<&'static str>),
    /// Tried again after so many seconds at least, and at most the first backoff (100 s) more.
    Again(AttemptResult, i64),
    RefusedOnce,
    Paused,
}

/// Name, what it meets, the status that is recorded, what is to become of it, the words that are kept.
type Row = (&'static str, Upstream, Option<u16>, Expected, Option<&'static str>);

use Expected::{Again, Delivered, Paused, RefusedOnce};
use Upstream::{Answers, NoHandshake, NoSuchName, Refuses, Stalls, Tls};

/// It did not arrive, or was turned away.
const FAILED: Expected = Again(AttemptResult::Failed, 0);
/// It may have arrived, and is posted again all the same: nothing is asked for unless `[kaicalls].confirm` says so.
const AMBIGUOUS: Expected = Again(AttemptResult::Ambiguous, 0);

const NO: &str = r#"{"success":false,"error":"No."}"#;
const NOISE: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"success\":true";
const DATE: (&str, &str) = ("date", "Sat, 01 Aug 2026 10:00:00 GMT");
const PAGE: Option<&str> = Some("an HTML page");

fn yes(status: u16) -> Reply {
    Reply::json(status, r#"{"success":true,"leadId":"lead_7"}"#)
}

/// The WordPress endpoints' envelope of an error.
fn no(status: u16) -> Reply {
    Reply::json(status, NO)
}

/// The other endpoints' envelope of an error.
fn no_object(status: u16) -> Reply {
    Reply::json(status, r#"{"error":{"code":"nope","message":"No, not now."}}"#)
}

fn page(status: u16) -> Reply {
    Reply::html(status, "<html>Something stands between</html>")
}

fn elsewhere(status: u16) -> Reply {
    Reply::with_headers(status, &[("location", "http://127.0.0.1:1/")], "")
}

fn wait(status: u16, header: &str) -> Reply {
    Reply::with_headers(status, &[("retry-after", header), DATE], NO)
}

fn long(status: u16) -> Reply {
    Reply::json(status, &format!(r#"{{"success":true,"pad":"{}"}}"#, "x".repeat(10 << 20)))
}

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table is read as one")]
fn table() -> Vec<Row> {
    let nothing = Some("an empty body");
    vec![
        ("200", Answers(yes(200)), Some(200), Delivered(Some("lead_7")), None),
        ("200 without an id", Answers(Reply::json(200, r#"{"success":true}"#)), Some(200), Delivered(None), None),
        ("200 after 1xx noise", Answers(yes(200).preceded_by(NOISE)), Some(200), Delivered(Some("lead_7")), None),
        ("201", Answers(yes(201)), Some(201), Delivered(Some("lead_7")), None),

        ("200 that says no", Answers(no(200)), Some(200), FAILED, Some("No.")),
        ("200 with the other no", Answers(no_object(200)), Some(200), FAILED, Some("No, not now.")),
        ("200 with a page", Answers(page(200)), Some(200), AMBIGUOUS, PAGE),
        ("200 with nothing", Answers(Reply::json(200, "")), Some(200), AMBIGUOUS, nothing),
        ("200 with other JSON", Answers(Reply::json(200, r#"{"ok":true}"#)), Some(200), AMBIGUOUS, Some("unexpected JSON")),
        ("200 with a text", Answers(Reply::json(200, "ok")), Some(200), AMBIGUOUS, Some("text that is not JSON")),
        ("200 with 10 MB", Answers(long(200)), Some(200), AMBIGUOUS, Some("a body of more than 64 KiB")),
        ("204", Answers(Reply::raw("HTTP/1.1 204 No Content\r\n\r\n")), Some(204), AMBIGUOUS, nothing),

        ("301", Answers(elsewhere(301)), Some(301), FAILED, nothing),
        ("302", Answers(elsewhere(302)), Some(302), FAILED, nothing),
        ("303", Answers(elsewhere(303)), Some(303), FAILED, nothing),
        ("307", Answers(elsewhere(307)), Some(307), FAILED, nothing),
        ("308", Answers(elsewhere(308)), Some(308), FAILED, nothing),

        ("400", Answers(no(400)), Some(400), RefusedOnce, Some("No.")),
        ("400 as an object", Answers(no_object(400)), Some(400), RefusedOnce, Some("No, not now.")),
        ("400 that tells of the lead", Answers(Reply::error(400, "jane1@example.com (jane1) was refused for wp_sk_1")), Some(400), RefusedOnce, Some("… (…) was refused for …")),
        ("400 of a proxy", Answers(page(400)), Some(400), FAILED, PAGE),
        ("401", Answers(no(401)), Some(401), Paused, Some("No.")),
        ("401 as an object", Answers(no_object(401)), Some(401), Paused, Some("No, not now.")),
        ("401 of a proxy", Answers(page(401)), Some(401), FAILED, PAGE),
        ("402", Answers(no(402)), Some(402), FAILED, Some("No.")),
        ("403", Answers(no_object(403)), Some(403), FAILED, Some("No, not now.")),
        ("403 of a firewall", Answers(page(403)), Some(403), FAILED, PAGE),
        ("404", Answers(no(404)), Some(404), FAILED, Some("No.")),
        ("404 of a proxy", Answers(page(404)), Some(404), FAILED, PAGE),
        ("405", Answers(no_object(405)), Some(405), FAILED, Some("No, not now.")),
        ("408", Answers(no_object(408)), Some(408), FAILED, Some("No, not now.")),
        ("409", Answers(no(409)), Some(409), FAILED, Some("No.")),
        ("410", Answers(no(410)), Some(410), FAILED, Some("No.")),
        ("413", Answers(no(413)), Some(413), RefusedOnce, Some("No.")),
        ("413 of a proxy", Answers(page(413)), Some(413), FAILED, PAGE),
        ("422", Answers(no_object(422)), Some(422), RefusedOnce, Some("No, not now.")),
        ("422 of a proxy", Answers(page(422)), Some(422), FAILED, PAGE),

        ("429 with nothing", Answers(no(429)), Some(429), FAILED, Some("No.")),
        ("429 with seconds", Answers(wait(429, "120")), Some(429), Again(AttemptResult::Failed, 120), Some("No.")),
        ("429 with a date", Answers(wait(429, "Sat, 01 Aug 2026 10:05:00 GMT")), Some(429), Again(AttemptResult::Failed, 300), Some("No.")),
        ("429 with a date gone by", Answers(wait(429, "Sat, 01 Aug 2026 09:00:00 GMT")), Some(429), FAILED, Some("No.")),
        ("429 with ten years", Answers(wait(429, "315360000")), Some(429), Again(AttemptResult::Failed, 86_400), Some("No.")),
        ("429 with words", Answers(wait(429, "soon")), Some(429), FAILED, Some("No.")),

        ("500", Answers(no(500)), Some(500), FAILED, Some("No.")),
        ("500 as an object", Answers(no_object(500)), Some(500), FAILED, Some("No, not now.")),
        ("500 of who knows whom", Answers(page(500)), Some(500), AMBIGUOUS, PAGE),
        ("502", Answers(page(502)), Some(502), AMBIGUOUS, PAGE),
        ("502 in the envelope", Answers(no_object(502)), Some(502), AMBIGUOUS, Some("No, not now.")),
        ("503", Answers(no(503)), Some(503), FAILED, Some("No.")),
        ("503 of a proxy", Answers(page(503)), Some(503), FAILED, PAGE),
        ("503 with Retry-After", Answers(wait(503, "60")), Some(503), Again(AttemptResult::Failed, 60), Some("No.")),
        ("503 that says yes", Answers(yes(503)), Some(503), AMBIGUOUS, None),
        ("504", Answers(page(504)), Some(504), AMBIGUOUS, PAGE),

        ("closed before an answer", Answers(Reply::close()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("reset before an answer", Answers(Reply::reset()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("closed in the answer", Answers(Reply::raw(HALF).then_close()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("reset in the answer", Answers(Reply::raw(HALF).then_reset()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("closed after noise", Answers(Reply::raw(NOISE).then_close()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("another protocol", Answers(Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then_close()), None, AMBIGUOUS, Some("connection closed before the answer was complete")),
        ("silence", Stalls(Reply::silence()), None, AMBIGUOUS, Some("answer timed out")),
        ("silence after noise", Stalls(Reply::raw(NOISE).then_silence()), None, AMBIGUOUS, Some("answer timed out")),
        ("silence in the answer", Stalls(Reply::raw(HALF).then_silence()), None, AMBIGUOUS, Some("answer timed out")),

        ("connection refused", Refuses, None, FAILED, Some("connection refused")),
        ("no such name", NoSuchName, None, FAILED, Some("host name not found (DNS)")),
        ("time out before the request", NoHandshake, None, FAILED, Some("connection timed out")),
        ("a trusted certificate", Tls(include_bytes!("tls/good.pem"), true), Some(200), Delivered(Some("lead_tls")), None),
        ("a certificate for another name", Tls(include_bytes!("tls/elsewhere.pem"), true), None, FAILED, Some("TLS: certificate for another name")),
        ("an expired certificate", Tls(include_bytes!("tls/expired.pem"), true), None, FAILED, Some("TLS: certificate expired")),
        ("an unknown authority", Tls(include_bytes!("tls/good.pem"), false), None, FAILED, Some("TLS: certificate from an unknown issuer")),
    ]
}

#[tokio::test]
async fn every_answer_has_its_verdict() {
    for (name, upstream, status, expected, words) in table() {
        let world = meet(upstream).await;
        let id = world.queue("acme", 1).await;
        world.step().await;
        let entry = world.head(id).await;
        let attempt = last_attempt(&entry);
        assert_eq!((attempt.status, attempt.words.as_deref()), (status, words), "{name}");
        let stands = (entry.state, entry.reason, attempt.result, entry.attempts);
        let wait = entry.due_at.map(|due_at| due_at.duration_since(world.now()).as_secs());
        match expected {
            Delivered(lead_id) => {
                assert_eq!(stands, (State::Delivered, Reason::Delivered, AttemptResult::Delivered, 1), "{name}");
                assert_eq!(entry.lead_id.as_deref(), lead_id, "{name}");
            }
            Again(result, least) => {
                assert_eq!(stands, (State::Queued, Reason::Retrying, result, 1), "{name}");
                assert!(wait.is_some_and(|wait| (least..=least + 100).contains(&wait)), "{name}: {wait:?}");
            }
            RefusedOnce => {
                assert_eq!(stands, (State::Queued, Reason::Retrying, AttemptResult::LeadRefused, 1), "{name}");
                assert_eq!(wait, Some(3600), "{name}");
            }
            Paused => {
                assert_eq!(stands, (State::Queued, Reason::Accepted, AttemptResult::KeyRefused, 0), "{name}");
                assert_eq!(wait, Some(300), "{name}");
            }
        }
        assert!(attempt.confirmed.is_none() && world.api.requests().len() <= 1, "{name}: nothing is repeated at once");
    }
}

async fn meet(upstream: Upstream) -> World {
    let api = ScriptedApi::start().await;
    let base_url = api.base_url();
    let short = Duration::from_millis(300);
    match upstream {
        Answers(reply) => {
            api.on_intake(reply);
            World::at(api, &base_url, Duration::from_secs(20), |_config| {})
        }
        Stalls(reply) => {
            api.on_intake(reply);
            World::at(api, &base_url, short, |_config| {})
        }
        Refuses => {
            api.go_away().await;
            World::at(api, &base_url, Duration::from_secs(20), |_config| {})
        }
        NoSuchName => World::at(api, "https://kaicalls.invalid", Duration::from_secs(20), |_config| {}),
        NoHandshake => World::at(api, &base_url.replace("http:", "https:"), short, |_config| {}),
        Tls(certificate, is_trusted) => {
            let roots = is_trusted.then(|| include_bytes!("tls/ca.pem").to_vec());
            World::trusting(api, (&tls_server(certificate), roots), Duration::from_secs(20), |_config| {})
        }
    }
}

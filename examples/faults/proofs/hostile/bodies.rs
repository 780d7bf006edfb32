//! Bodies that come slowly, are too large, or are made to cost time and memory.

use std::time::Duration;

use tokio::task::JoinSet;

use super::super::client::post;
use super::super::gateway::token;
use super::{Ends, Target, count, drip, end_of};

const SLOW: usize = 200;
const UPLOADS: usize = 50;
/// A byte of a slow body comes so often.
const PAUSE: Duration = Duration::from_secs(1);
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const PARTS: &str = "multipart/form-data; boundary=XX";

fn head(more: &str) -> String {
    format!("POST /hooks/acme HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n{more}\r\n", token("acme"))
}

/// Two hundred clients with a token that send a byte a second of what they promised.
pub(super) async fn slow(target: Target) -> Ends {
    let mut tasks = JoinSet::new();
    for number in 0..SLOW {
        tasks.spawn(async move {
            let Ok(mut connection) = target.connect(number).await else { return "closed".to_owned() };
            let head = head(&format!("Content-Type: {FORM}\r\nContent-Length: 1000\r\n"));
            drop(connection.write(head.as_bytes()).await);
            drip(&mut connection, &[b'a'; 90], PAUSE).await
        });
    }
    count(tasks).await
}

/// Fifty uploads of 100 MB at once, with and without their length declared.
pub(super) async fn uploads(target: Target) -> Ends {
    let mut tasks = JoinSet::new();
    for number in 0..UPLOADS {
        tasks.spawn(async move {
            let kind = [FORM, JSON, PARTS].get(number % 3).copied().unwrap_or(FORM);
            let declared = number % 2 == 0;
            let framing = if declared { "Content-Length: 104857600" } else { "Transfer-Encoding: chunked" };
            let head = head(&format!("Content-Type: {kind}\r\n{framing}\r\n"));
            let Ok(mut connection) = target.connect(number).await else { return "closed".to_owned() };
            let mut piece = "x".repeat(1 << 20);
            if !declared {
                piece = format!("100000\r\n{piece}\r\n");
            }
            drop(connection.write(head.as_bytes()).await);
            for _ in 0..100 {
                if connection.write(piece.as_bytes()).await.is_err() {
                    break;
                }
            }
            end_of(&mut connection).await
        });
    }
    count(tasks).await
}

/// Fifty forms with a file of 24 MB, which may be read: of each only name and size are kept.
pub(super) async fn files(target: Target) -> Ends {
    let mut tasks = JoinSet::new();
    for number in 0..UPLOADS {
        tasks.spawn(async move {
            let mut body = String::new();
            for (key, value) in [("name", "Jane"), ("email", &format!("file{number}@example.com"))] {
                body += &format!("--XX\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n");
            }
            body.push_str("--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n");
            let (end, piece) = ("\r\n--XX--\r\n", "x".repeat(1 << 20));
            let length = body.len() + 24 * piece.len() + end.len();
            let head = head(&format!("Content-Type: {PARTS}\r\nContent-Length: {length}\r\n"));
            let Ok(mut connection) = target.connect(number).await else { return "closed".to_owned() };
            drop(connection.write((head + &body).as_bytes()).await);
            for _ in 0..24 {
                drop(connection.write(piece.as_bytes()).await);
            }
            drop(connection.write(end.as_bytes()).await);
            end_of(&mut connection).await
        });
    }
    count(tasks).await
}

/// Bodies within the limits of size that are made to cost more than they weigh.
pub(crate) async fn bombs(target: Target) -> Ends {
    let keys = |count: usize, key: fn(usize) -> String| {
        let keys: Vec<_> = (0..count).map(|number| format!("{}=1", key(number))).collect();
        keys.join("&").into_bytes()
    };
    let part = |header: usize| {
        format!("--XX\r\nContent-Disposition: form-data; name=a; x=\"{}\"\r\n\r\n1\r\n--XX--\r\n", "h".repeat(header))
    };
    let bombs = [
        (JSON, "[".repeat(500_000).into_bytes()),
        (JSON, format!("{}1{}", "{\"a\":".repeat(150_000), "}".repeat(150_000)).into_bytes()),
        (FORM, "a&".repeat(500_000).into_bytes()),
        (FORM, "a&".repeat(1_000_000).into_bytes()),
        (FORM, keys(80_000, |number| format!("k{number:08}"))),
        // Of one hash in PHP, Java and Python 2, in as many orders as there are bits.
        (FORM, keys(30_000, |number| (0..15).map(|bit| if number >> bit & 1 == 1 { "Aa" } else { "BB" }).collect())),
        (FORM, format!("a{}=1", "[b]".repeat(300_000)).into_bytes()),
        (PARTS, format!("{}\r\n{}", "p".repeat(24 << 20), part(1)).into_bytes()),
        (PARTS, format!("{}\r\n{}", "p".repeat(32 << 20), part(1)).into_bytes()),
        (PARTS, part(24 << 20).into_bytes()),
        (PARTS, part(32 << 20).into_bytes()),
        (PARTS, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(18_000).into_bytes()),
    ];
    let mut tasks = JoinSet::new();
    for (number, (kind, body)) in bombs.into_iter().enumerate() {
        tasks.spawn(async move {
            let Ok(mut connection) = target.connect(number * 100).await else { return "closed".to_owned() };
            drop(connection.write(&post("/hooks/acme", &token("acme"), kind, &body)).await);
            end_of(&mut connection).await
        });
    }
    count(tasks).await
}

//! Requests whose end two parsers may see in two places: refused, and never answered as two.

use std::time::Duration;

use tokio::time::timeout;

use super::super::client::Connection;
use super::super::gateway::token;
use super::{Ends, Target, polite_post};

/// A request that is hidden in another's body; answered, it shows that it got through.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: gateway\r\n\r\n";
const WAIT: Duration = Duration::from_millis(1_500);

/// What is sent after the request line and `Host`, with the token; and the statuses it may be answered with.
const CASES: &[(&str, &str, &[u16])] = &[
    ("TE and CL", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}", &[400]),
    ("CL and TE", "Transfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n{HIDDEN}", &[400]),
    ("two lengths", "Content-Length: 3\r\nContent-Length: 48\r\n\r\na=1{HIDDEN}", &[400]),
    ("the same length twice", "Content-Length: 3\r\nContent-Length: 3\r\n\r\na=1", &[200, 400]),
    ("a list of lengths", "Content-Length: 3, 3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a signed length", "Content-Length: +3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a length in hex", "Content-Length: 0x3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a negative length", "Content-Length: -1\r\n\r\n{HIDDEN}", &[400]),
    ("a length of two words", "Content-Length: 3 3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a space before the colon", "Content-Length : 3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a folded header", "X-Fold: a\r\n b\r\nContent-Length: 3\r\n\r\na=1", &[400]),
    ("a folded length", "Content-Length:\r\n 3\r\n\r\na=1{HIDDEN}", &[400]),
    ("bare line feeds", "Content-Length: 3\n\na=1{HIDDEN}", &[400]),
    ("a bare line feed in a header", "X-A: b\nContent-Length: 3\r\n\r\na=1{HIDDEN}", &[400]),
    ("a bare carriage return", "X-A: b\rContent-Length: 48\r\n\r\n{HIDDEN}", &[400]),
    ("a NUL in a header", "X-A: b\0\r\nContent-Length: 3\r\n\r\na=1", &[400]),
    ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}", &[400, 501]),
    ("chunked is not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{HIDDEN}", &[400, 501]),
    ("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{HIDDEN}", &[400, 501]),
    ("a tab before the coding", "Transfer-Encoding:\tchunked\r\n\r\n3\r\na=1\r\n0\r\n\r\n", &[200, 400]),
    ("a coding with a vertical tab", "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n{HIDDEN}", &[400, 501]),
    ("a chunk's size with a sign", "Transfer-Encoding: chunked\r\n\r\n+3\r\na=1\r\n0\r\n\r\n{HIDDEN}", &[400]),
    ("a chunk's size with 0x", "Transfer-Encoding: chunked\r\n\r\n0x3\r\na=1\r\n0\r\n\r\n{HIDDEN}", &[400]),
    (
        "a chunk's size too large",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\na=1\r\n0\r\n\r\n{HIDDEN}",
        &[400, 413],
    ),
    ("a chunk longer than its size", "Transfer-Encoding: chunked\r\n\r\n3\r\na=12345\r\n0\r\n\r\n{HIDDEN}", &[400]),
    ("a chunk that ends in a line feed", "Transfer-Encoding: chunked\r\n\r\n3\na=1\n0\n\n{HIDDEN}", &[400]),
    (
        "a bare line feed in an extension",
        "Transfer-Encoding: chunked\r\n\r\n3;x\ny\r\na=1\r\n0\r\n\r\n{HIDDEN}",
        &[400],
    ),
    ("two hosts", "Host: other\r\nContent-Length: 3\r\n\r\na=1", &[400]),
];

/// All of them, each on a connection of its own, and a good post after each.
pub(crate) async fn all(target: Target) -> Ends {
    let mut ends = Ends::new();
    for (number, (name, rest, allowed)) in CASES.iter().enumerate() {
        let end = send(target, number, rest, allowed).await;
        *ends.entry(end.map_or_else(|wrong| format!("{name}: {wrong}"), str::to_owned)).or_default() += 1;
        if !polite_post(target, 1_000_000 + number).await {
            *ends.entry(format!("{name}: a good post failed afterwards")).or_default() += 1;
        }
    }
    ends
}

async fn send(target: Target, number: usize, rest: &str, allowed: &[u16]) -> Result<&'static str, String> {
    let head = format!("POST /hooks/acme HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n", token("acme"));
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let request = format!("{head}{kind}{}", rest.replace("{HIDDEN}", HIDDEN));
    let mut connection = Connection::open(target.address).await.map_err(|error| error.to_string())?;
    connection.write(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let Ok(Ok(first)) = timeout(WAIT, connection.answer()).await else { return Ok("closed") };
    let second = timeout(WAIT, connection.answer()).await;
    if let Ok(Ok(second)) = second {
        return Err(format!("request {number} is answered twice: {} and {}", first.status, second.status));
    }
    if allowed.contains(&first.status) { Ok("right") } else { Err(format!("answered {}", first.status)) }
}

//! Submissions in every encoding that plugins use.

use super::client::post;
use super::gateway::{SITES, token};

/// How many kinds there are.
const KINDS: usize = 7;

/// Makes submission number `number`; no two are the same. Some are no lead, and are held.
pub(crate) fn submission(number: usize) -> Vec<u8> {
    let site = SITES.get(number % SITES.len()).copied().unwrap_or_default();
    let (token, path) = (token(site), format!("/hooks/{site}"));
    let (name, email) = (format!("Jane {number}"), format!("jane{number}@example.com"));
    let json = format!(r#"{{"name":"{name}","email":"{email}","message":"Number {number}"}}"#);
    let form = format!("name={name}&email={email}&message=Number+{number}").replace("Jane ", "Jane+");
    match number % KINDS {
        0 => post(&path, &token, "application/x-www-form-urlencoded", form.as_bytes()),
        1 => post(&path, &token, "application/json", json.as_bytes()),
        2 => post(&path, &token, "multipart/form-data; boundary=XX", multipart(&name, &email, number).as_bytes()),
        3 => post(&path, &token, "text/plain", json.as_bytes()),
        4 => format!("GET {path}/quote?token={token}&{form} HTTP/1.1\r\nHost: gateway\r\n\r\n").into_bytes(),
        5 => post(&format!("{path}/contact"), &token, "application/json; charset=utf-8", json.as_bytes()),
        _ => post(&path, &token, "application/x-www-form-urlencoded", format!("note=No+lead+{number}").as_bytes()),
    }
}

fn multipart(name: &str, email: &str, number: usize) -> String {
    let message = format!("Number {number}");
    let parts = [("name", name), ("email", email), ("message", &message)];
    let mut body: String = parts
        .iter()
        .map(|(key, value)| format!("--XX\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"))
        .collect();
    body.push_str(
        "--XX\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\
         Content-Type: image/png\r\n\r\n\u{89}PNG\r\n--XX--\r\n",
    );
    body
}

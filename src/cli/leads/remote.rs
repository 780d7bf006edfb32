//! The running gateway's admin API, asked over HTTP: through its socket on this machine, which takes no token, or over TCP.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::replay::post::{self, Client};
use crate::cli::shown;
use crate::destination::Secret;

/// Longest answer that is read, in bytes; an export is not held.
const ANSWER_MAX: usize = 128 * 1024 * 1024;
/// Longest problem of that.
const PROBLEM_MAX: usize = 64 * 1024;
/// For a call; the gateway ends them sooner.
const CALL_TIME: Duration = Duration::from_secs(150);
/// For what takes as long as the disk does.
const STORE_TIME: Duration = Duration::from_secs(2 * 60 * 60);
/// For the first call, which tells whether a gateway runs.
const HELLO_TIME: Duration = Duration::from_secs(5);

/// A gateway that answers. No `Debug`: it holds the token.
pub(in crate::cli) struct Remote {
    client: Client,
    base: String,
    /// How messages call the gateway.
    name: String,
    token: Option<Secret>,
    /// There is a token, and it is not shown to this address.
    is_token_withheld: bool,
}

/// An answer that is read as it comes.
pub(in crate::cli) struct Opened(post::Response);

/// What the first call tells.
pub(super) enum Hello {
    Answered(Remote),
    /// Nobody listens there.
    Nobody,
}

/// A problem that the gateway reported.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RemoteProblem {
    #[serde(rename = "type")]
    kind: String,
    detail: String,
    request_id: String,
}

#[derive(Deserialize)]
struct Greeting {
    formgate: String,
}

impl Opened {
    /// Returns the next piece; none at the end.
    pub(in crate::cli) async fn piece(&mut self) -> Result<Option<Vec<u8>>, anyhow::Error> {
        let piece = self.0.chunk().await.map_err(|error| error.without_url())?;
        Ok(piece.map(|piece| piece.to_vec()))
    }
}

impl Remote {
    /// Asks whether a gateway answers at an address, and takes the token where that stays secret on the way.
    pub(super) async fn hello(address: &str, token: Option<Secret>) -> Result<Hello, Error> {
        let address = address.trim_end_matches('/');
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let Some(is_safe) = keeps_secrets(&base) else {
            return Err(Error::usage(anyhow!("{address} is not an address"))
                .hint("write 127.0.0.1:8081 or https://gate.agency.example"));
        };
        let client = post::client(base.to_ascii_lowercase().starts_with("https://")).map_err(Error::store)?;
        let is_token_withheld = token.is_some() && !is_safe;
        let token = token.filter(|_| is_safe);
        Self { client, name: base.clone(), base, token, is_token_withheld }.greet().await
    }

    /// Asks whether a gateway answers at a socket of this machine.
    pub(super) async fn hello_socket(socket: &Path) -> Result<Hello, Error> {
        let client = post::socket_client(socket).map_err(Error::store)?;
        let base = "http://localhost".to_owned();
        let name = socket.display().to_string();
        Self { client, base, name, token: None, is_token_withheld: false }.greet().await
    }

    async fn greet(self) -> Result<Hello, Error> {
        let remote = self;
        let request = remote.client.get(format!("{}/api/v1", remote.base)).timeout(HELLO_TIME);
        let answer = match remote.authorized(request).send().await {
            Err(error) if error.is_builder() => return Err(Error::usage(anyhow!("{} is not an address", remote.name))),
            Err(error) if error.is_connect() => return Ok(Hello::Nobody),
            answer => answer.map_err(|error| remote.away(error.without_url()))?,
        };
        if answer.status().as_u16() != 200 {
            return Err(remote.refused(answer.status().as_u16(), &read(answer, PROBLEM_MAX).await.unwrap_or_default()));
        }
        let greeting = read(answer, PROBLEM_MAX).await.map_err(|error| remote.away(error))?;
        let greeting: Result<Greeting, _> = serde_json::from_slice(&greeting);
        match greeting {
            Ok(greeting) if !greeting.formgate.is_empty() => Ok(Hello::Answered(remote)),
            _ => Err(remote.away(anyhow!("what answers there isn't formgate"))),
        }
    }

    pub(in crate::cli) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.client.get(self.url(path, query)?).timeout(CALL_TIME);
        self.call(self.authorized(request)).await
    }

    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let time = if path.starts_with("/store/") { STORE_TIME } else { CALL_TIME };
        let request = self.client.post(self.url(path, &())?).timeout(time).json(body);
        self.call(self.authorized(request)).await
    }

    /// Writes an answer to the console as it comes.
    pub(super) async fn copy(&self, path: &str, query: &impl Serialize, console: &mut Console) -> Result<(), Error> {
        let mut answer = self.open(path, query).await?;
        while let Some(piece) = answer.piece().await.map_err(|error| self.away(error))? {
            console.foreign(&piece)?;
        }
        Ok(())
    }

    /// Begins to read an answer as it comes.
    pub(in crate::cli) async fn open(&self, path: &str, query: &impl Serialize) -> Result<Opened, Error> {
        let request = self.client.get(self.url(path, query)?).timeout(STORE_TIME);
        let answer = self.authorized(request).send().await.map_err(|error| self.away(error.without_url()))?;
        let status = answer.status().as_u16();
        if status != 200 {
            return Err(self.refused(status, &read(answer, PROBLEM_MAX).await.unwrap_or_default()));
        }
        Ok(Opened(answer))
    }

    fn url(&self, path: &str, query: &impl Serialize) -> Result<String, Error> {
        let query = serde_urlencoded::to_string(query).map_err(Error::usage)?;
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("{}/api/v1{path}{mark}{query}", self.base))
    }

    fn authorized(&self, request: post::RequestBuilder) -> post::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: post::RequestBuilder) -> Result<T, Error> {
        let answer = request.send().await.map_err(|error| self.away(error.without_url()))?;
        let status = answer.status().as_u16();
        let body = read(answer, ANSWER_MAX).await.map_err(|error| self.away(error))?;
        if status != 200 {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.away(error))
    }

    /// The gateway answers, but not as it should.
    fn away(&self, cause: impl Into<anyhow::Error>) -> Error {
        Error::admin(cause).context(format!("the gateway at {} can't be reached", self.name)).hint(
            "is it the same version as this program? On the gateway's machine, --offline works on the store itself",
        )
    }

    fn refused(&self, status: u16, body: &[u8]) -> Error {
        let RemoteProblem { kind, detail, request_id } = serde_json::from_slice(body).unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let detail = shown::short(&detail, 1_000);
        let told = if detail.is_empty() { format!("it answered {status}") } else { detail };
        match (status, kind) {
            (401, _) if self.is_token_withheld => Error::keys(anyhow!(
                "the admin token isn't sent to {}: over plain HTTP, others could read it",
                self.name
            ))
            .hint(
                "use an https:// address, or run this as the gateway's user on its machine, where the socket needs \
                   no token",
            ),
            (401, _) if self.token.is_none() => Error::keys(anyhow!("no admin token was found")).hint(
                "run this as the gateway's user, who can read admin.token in the data folder, or set [admin].token",
            ),
            (401, _) => Error::keys(anyhow!("the gateway at {} refuses the admin token", self.name)).hint(
                "is this the gateway's configuration? The token is [admin].token, else the file admin.token in the \
                 data folder",
            ),
            (404, "no-such-entry" | "no-such-site") => Error::missing(anyhow!(told)),
            (400 | 409 | 422, _) => Error::usage(anyhow!(told)),
            (503, "busy") => Error::admin(anyhow!("{told}"))
                .context(format!("the gateway at {} is busy", self.name))
                .hint("try again in a moment"),
            (_, "store" | "audit") => Error::store(anyhow!(told)).context("the gateway couldn't do it"),
            _ => self.away(anyhow!("{told} (status {status}, request {})", shown::short(&request_id, 64))),
        }
    }
}

/// Tells whether what is sent to an address stays between the two ends: encrypted, or on this machine; none where it is
/// not the address of a server.
fn keeps_secrets(base: &str) -> Option<bool> {
    let url: http::Uri = base.parse().ok()?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    let is_this_machine = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_name) => host.eq_ignore_ascii_case("localhost"),
    };
    match url.scheme_str() {
        Some("https") => Some(true),
        Some("http") => Some(is_this_machine),
        _ => None,
    }
}

async fn read(mut answer: post::Response, max: usize) -> Result<Vec<u8>, anyhow::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url())? {
        if body.len() + chunk.len() > max {
            return Err(anyhow!("the answer is larger than {max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_busy_is_not_away() {
        let client = post::client(false).expect("a client");
        let name = "x".to_owned();
        let remote = Remote { client, base: name.clone(), name, token: None, is_token_withheld: false };
        let problem = |kind: &str| format!(r#"{{"type":"urn:formgate:problem:{kind}","detail":"So it is"}}"#);
        let busy = remote.refused(503, problem("busy").as_bytes()).render();
        assert!(busy.contains("the gateway at x is busy") && busy.contains("help: try again"), "{busy}");
        let other = remote.refused(503, problem("other").as_bytes()).render();
        assert!(other.contains("can't be reached"), "{other}");
    }

    #[test]
    fn a_token_goes_to_this_machine_or_over_an_encrypted_line() {
        for safe in [
            "https://gate.example",
            "HTTPS://192.0.2.1:8081",
            "http://127.0.0.1:8081",
            "http://127.9.9.9",
            "http://[::1]:8081",
            "http://[::ffff:127.0.0.1]:8081",
            "http://LocalHost:8081",
        ] {
            assert_eq!(keeps_secrets(safe), Some(true), "{safe}");
        }
        for open in [
            "http://192.0.2.1:8081",
            "http://10.0.0.1",
            "http://gate.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1@evil.example",
            "http://0.0.0.0:8081",
            "http://[::2]:8081",
        ] {
            assert_eq!(keeps_secrets(open), Some(false), "{open}");
        }
        for none in ["", "http://", "unix:/tmp/x", "ftp://127.0.0.1", "gate example"] {
            assert_eq!(keeps_secrets(none), None, "{none}");
        }
    }
}

//! A real mail server: `tests/python/mail_server.py`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use formgate::config::{Mail, MailAddress, MailSecurity};
use formgate::destination::Secret;
use formgate::notify::notice::Notice;
use formgate::notify::sink::Sent;
use formgate::notify::sink::mail::Mailer;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::python::python;

pub(super) const GATEWAY: &str = "https://forms.example:8443";
pub(super) const AUTHORITY: &[u8] = include_bytes!("../tls/ca.pem");
const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server of its own for a test; it ends with it.
pub(crate) struct MailServer {
    pub(super) port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl MailServer {
    pub(crate) async fn start(options: &[&str]) -> Self {
        let mut command = python("mail_server.py");
        let mut child = command.args(options).spawn().expect("a mail server");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut server = Self { port: 0, lines, _child: child };
        let port = server.next().await["port"].as_u64().expect("a port");
        server.port = port.try_into().expect("a port");
        server
    }

    /// Starts one that shows a certificate of `tests/it/tls`.
    pub(super) async fn start_encrypted(tls: &str, certificate: &str, options: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
        let file = |name| folder.join(name).into_os_string().into_string().expect("text");
        let (certificate, key) = (file(certificate), file("server.key"));
        let encrypted = ["--tls", tls, "--cert", &certificate, "--key", &key];
        Self::start(&[&encrypted, options].concat()).await
    }

    /// Returns the next mail, or what else it tells.
    pub(super) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("in time").expect("read");
        serde_json::from_str(&line.expect("the server goes on")).expect("JSON")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Takes whatever comes from now on.
    pub(crate) fn collect(self) -> Mails {
        let taken: Arc<Mutex<Vec<Received>>> = Arc::default();
        let kept = Arc::clone(&taken);
        let Self { mut lines, _child, .. } = self;
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().push(Received(serde_json::from_str(&line).expect("JSON")));
            }
        });
        Mails { taken, _reading: reading, _child }
    }

    /// Tells how to send to it.
    pub(crate) fn config(&self, security: MailSecurity) -> Mail {
        let from = MailAddress::parse("formgate@agency.example").expect("an address");
        Mail { host: "localhost".to_owned(), port: self.port, security, user: None, password: None, from }
    }

    /// Sends events to the owner and returns the mail that arrived.
    pub(super) async fn take(&mut self, notices: &[Notice]) -> Received {
        let mail = self.config(MailSecurity::None);
        // Its words about a large mail don't fit a pipe: the server waits for a reader before it answers.
        let (sent, received) = tokio::join!(send(&mail, "owner@acme.example", notices), self.next());
        assert_eq!(sent, Sent::Taken);
        Received(received)
    }
}

/// What a mail server took.
pub(crate) struct Mails {
    taken: Arc<Mutex<Vec<Received>>>,
    _reading: JoinHandle<()>,
    _child: Child,
}

impl Mails {
    /// Returns all of them: the server tells of a mail before it answers, so none is on its way.
    pub(crate) fn all(&self) -> Vec<Received> {
        self.taken.lock().clone()
    }
}

/// Sends events to an address, trusting the test authority.
pub(super) async fn send(mail: &Mail, to: &str, notices: &[Notice]) -> Sent {
    let mailer = Mailer::with_roots(mail, Some(AUTHORITY)).expect("a mailer");
    mailer.send(&MailAddress::parse(to).expect("an address"), notices, GATEWAY).await
}

/// Returns why nothing was taken.
pub(super) fn why(sent: Sent) -> String {
    match sent {
        Sent::Failed(failure) => failure.why,
        other => panic!("{other:?}"),
    }
}

pub(super) fn with_login(mut mail: Mail, user: &str, password: &str) -> Mail {
    mail.user = Some(user.to_owned());
    mail.password = Some(Secret::new(password.to_owned()));
    mail
}

/// A mail as Python's library reads it.
#[derive(Clone)]
pub(crate) struct Received(pub(super) Value);

impl Received {
    /// Returns the text part.
    pub(crate) fn text(&self) -> String {
        self.plain()
    }

    pub(crate) fn subject_line(&self) -> &str {
        self.subject()
    }

    /// Returns the address it was sent to.
    pub(crate) fn to(&self) -> &str {
        self.0["to"][0].as_str().expect("an address")
    }

    /// Returns a header that stands there once.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0["headers"].as_array().expect("headers");
        let mut found =
            headers.iter().filter(|header| header[0].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name)));
        let value = found.next().map(|header| header[1].as_str().expect("text"));
        assert!(found.next().is_none(), "{name} twice: {headers:?}");
        value
    }

    pub(super) fn subject(&self) -> &str {
        self.header("Subject").expect("a subject")
    }

    pub(super) fn plain(&self) -> String {
        self.part("text/plain")["text"].as_str().expect("text").replace("\r\n", "\n")
    }

    pub(super) fn html(&self) -> String {
        self.part("text/html")["text"].as_str().expect("text").replace("\r\n", "\n")
    }

    /// Returns the text of the HTML part as a browser would show it.
    pub(super) fn shown(&self) -> &str {
        self.part("text/html")["shown"]["text"].as_str().expect("text")
    }

    pub(super) fn part(&self, kind: &str) -> &Value {
        let mut parts = self.0["parts"].as_array().expect("parts").iter();
        parts.find(|part| part["type"] == kind).expect("a part")
    }
}

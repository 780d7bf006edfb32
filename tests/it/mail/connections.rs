//! Connections to the mail server: encrypted or not at all, logged in, refused, slow.

use std::time::Duration;

use formgate::config::{MailAddress, MailSecurity};
use formgate::notify::notice::Notice;
use formgate::notify::sink::mail::Mailer;
use formgate::notify::sink::{Sent, SinkFailure};

use super::events::{acme, overdue};
use super::server::{GATEWAY, MailServer, send, why, with_login};

const OWNER: &str = "owner@acme.example";

fn some_lead() -> Vec<Notice> {
    vec![overdue(1, acme(), "Jane Doe", "Hello")]
}

#[tokio::test]
async fn mail_is_encrypted_and_logged_in_as_the_url_says() {
    for (tls, security) in [("implicit", MailSecurity::Tls), ("starttls", MailSecurity::StartTls)] {
        for without in ["PLAIN", "LOGIN"] {
            let options = ["--login", "formgate:s3cr3t", "--without", without];
            let mut server = MailServer::start_encrypted(tls, "good.pem", &options).await;
            let mail = with_login(server.config(security), "formgate", "s3cr3t");
            assert_eq!(send(&mail, OWNER, &some_lead()).await, Sent::Taken, "{tls} without {without}");
            let received = server.next().await;
            assert_eq!(received["tls"], true);
            assert_eq!(received["user"], "formgate");
            assert_eq!(received["from"], "formgate@agency.example");
            assert_eq!(received["to"], serde_json::json!([OWNER]));
        }
    }
}

#[tokio::test]
async fn mail_to_this_machine_needs_neither() {
    let mut server = MailServer::start(&[]).await;
    assert_eq!(send(&server.config(MailSecurity::None), OWNER, &some_lead()).await, Sent::Taken);
    let received = server.next().await;
    assert_eq!((&received["tls"], received["user"].as_str()), (&false.into(), None));
}

#[tokio::test]
async fn a_certificate_that_is_not_the_servers_gets_no_mail() {
    let wrong = [
        ("elsewhere.pem", "TLS: the certificate is for another name"),
        ("expired.pem", "TLS: the certificate has expired"),
    ];
    for (tls, security) in [("implicit", MailSecurity::Tls), ("starttls", MailSecurity::StartTls)] {
        for (certificate, said) in wrong {
            let server = MailServer::start_encrypted(tls, certificate, &[]).await;
            assert_eq!(why(send(&server.config(security), OWNER, &some_lead()).await), said, "{tls}");
        }
    }
}

#[tokio::test]
async fn an_authority_that_the_system_does_not_know_gets_no_mail() {
    let server = MailServer::start_encrypted("implicit", "good.pem", &[]).await;
    let mailer = Mailer::new(&server.config(MailSecurity::Tls)).expect("a mailer");
    let sent = mailer.send(&MailAddress::parse(OWNER).expect("an address"), &some_lead(), GATEWAY).await;
    assert_eq!(why(sent), "TLS: the certificate isn't trusted");
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let server = MailServer::start(&["--login", "formgate:s3cr3t"]).await;
    let mail = with_login(server.config(MailSecurity::StartTls), "formgate", "s3cr3t");
    let said = "the server doesn't offer STARTTLS, so nothing was sent; use smtps:// if it has that";
    assert_eq!(why(send(&mail, OWNER, &some_lead()).await), said);
    assert_took_nothing(server).await;
}

/// Sends one mail more, which must be the first that the server tells of.
async fn assert_took_nothing(mut server: MailServer) {
    let mail = with_login(server.config(MailSecurity::None), "formgate", "s3cr3t");
    assert_eq!(send(&mail, "next@acme.example", &some_lead()).await, Sent::Taken);
    assert_eq!(server.next().await["to"], serde_json::json!(["next@acme.example"]));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_as_such() {
    let server = MailServer::start(&[]).await;
    let said = why(send(&server.config(MailSecurity::Tls), OWNER, &some_lead()).await);
    assert_eq!(said, "TLS: no agreement with the server");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_by_its_code_and_without_an_address() {
    let server = MailServer::start(&["--refuse", OWNER, "--defer", "busy@acme.example"]).await;
    let mail = server.config(MailSecurity::None);
    let refused = |why: &str, is_overload| {
        Sent::Failed(SinkFailure { why: why.to_owned(), retry_after: None, is_overload, is_refused: false })
    };
    assert_eq!(send(&mail, OWNER, &some_lead()).await, refused("the server refused the recipient (550)", false));
    let deferred = refused("the server refused the recipient for now (451)", true);
    assert_eq!(send(&mail, "busy@acme.example", &some_lead()).await, deferred);
}

#[tokio::test]
async fn a_login_that_fails_is_told_without_name_and_password() {
    let server = MailServer::start(&["--login", "formgate:s3cr3t"]).await;
    let wrong = with_login(server.config(MailSecurity::None), "formgate", "s3cr3t!");
    assert_eq!(why(send(&wrong, OWNER, &some_lead()).await), "the server refused the login (535)");
    let nobody = server.config(MailSecurity::None);
    assert_eq!(why(send(&nobody, OWNER, &some_lead()).await), "the server refused the sender's address (530)");
    let plain = MailServer::start(&["--without", "PLAIN", "--without", "LOGIN"]).await;
    let login = with_login(plain.config(MailSecurity::None), "formgate", "s3cr3t");
    let said = "the server offers no login that formgate knows (PLAIN or LOGIN)";
    assert_eq!(why(send(&login, OWNER, &some_lead()).await), said);
}

#[tokio::test]
async fn a_server_that_is_away_is_told_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = MailServer::start(&[]).await;
    let mut mail = server.config(MailSecurity::None);
    mail.port = listener.local_addr().expect("an address").port();
    drop(listener);
    assert_eq!(why(send(&mail, OWNER, &some_lead()).await), "connection refused");
    mail.host = "no-such-host.invalid".to_owned();
    assert_eq!(why(send(&mail, OWNER, &some_lead()).await), "the mail server's name can't be resolved");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_a_minute() {
    let mut server = MailServer::start(&["--stall"]).await;
    let mail = server.config(MailSecurity::None);
    let sending = tokio::spawn(async move { send(&mail, OWNER, &some_lead()).await });
    assert_eq!(server.next().await["stalled"], true);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(why(sending.await.expect("no panic")), "timed out after 60 s");
}

//! What the answers to our own requests say: about the certificate, redirects, who answered, and how large a body may be.

use jiff::Timestamp;

use super::finding::{Check, Finding};
use super::ping::{Answer, Pinged};
use crate::cli::leads::plural;
use crate::cli::status::size;
use crate::kaicalls::{FailureKind, TlsFault};

/// So many days before its end a certificate should have been renewed.
const RENEWED_BEFORE_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Whether the running gateway saw the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Here,
    NotHere,
    /// No gateway can be asked.
    Unknown,
}

/// Judges the certificate; nothing where TLS was not reached.
pub(super) fn judge_tls(pinged: &Pinged, now: Timestamp) -> Option<Finding> {
    match pinged {
        Ok(answer) => answer.certificate_ends.map(|ends| judge_end(ends, now)),
        Err(failure) => match failure.kind {
            FailureKind::Tls(fault) => {
                Some(Finding::bad(Check::Tls, format!("WordPress refuses it: {fault}"), tls_cure(fault)))
            }
            _ => None,
        },
    }
}

fn judge_end(ends: Timestamp, now: Timestamp) -> Finding {
    let days = (ends.as_second() - now.as_second()) / DAY_SECONDS;
    let what = format!("trusted, and valid for {}", plural(u64::try_from(days).unwrap_or_default(), "more day"));
    if days > RENEWED_BEFORE_DAYS {
        return Finding::ok(Check::Tls, what);
    }
    Finding::warn(Check::Tls, what, "renew it now; if renewal is automatic, look why it didn't happen")
}

fn tls_cure(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Expired => "renew the certificate, and reload what serves it",
        TlsFault::NotYetValid => "look at this machine's clock, then at the certificate's first day",
        TlsFault::UnknownIssuer => {
            "serve the whole chain (fullchain.pem, not cert.pem), from an authority that browsers trust; a self-signed \
             certificate doesn't do"
        }
        TlsFault::WrongName => "get a certificate for this name, or correct public_url",
        TlsFault::Revoked => "get a new certificate",
        TlsFault::Certificate | TlsFault::Handshake => {
            "is it TLS 1.2 or later, with a certificate, that listens at this port?"
        }
    }
}

/// Judges the answer to a small request.
pub(super) fn judge_route(pinged: &Pinged, seen: Seen) -> Vec<Finding> {
    let answer = match pinged {
        Ok(answer) => answer,
        Err(failure) if matches!(failure.kind, FailureKind::Tls(_)) => return vec![unseen()],
        Err(failure) => {
            let cure = "look at the proxy's log; if none is in front, at the gateway's";
            return vec![Finding::bad(Check::Route, format!("no answer to a POST: {failure}"), cure)];
        }
    };
    if (300..400).contains(&answer.status) {
        return vec![redirected(answer)];
    }
    let redirect = Finding::ok(Check::Redirect, "a POST is not redirected");
    vec![redirect, judge_answer(answer, seen)]
}

fn unseen() -> Finding {
    Finding::skipped(Check::Route, "nothing is sent without a valid certificate", "fix the certificate first")
}

fn redirected(answer: &Answer) -> Finding {
    let to = answer.location.as_deref().unwrap_or("nowhere");
    let what = format!("a POST is redirected ({}) to {to}", answer.status);
    let cure = "WordPress turns a redirected POST into a GET, and some plugins follow none: set public_url (and the \
                plugins' URLs) to where it leads, or take the redirect out";
    Finding::bad(Check::Redirect, what, cure)
}

fn judge_answer(answer: &Answer, seen: Seen) -> Finding {
    let bad = |what: String, cure: &str| Finding::bad(Check::Route, what, cure);
    match (answer.is_formgate, seen) {
        (true, Seen::Here) => {
            Finding::ok(Check::Route, format!("a POST reaches this gateway in {} ms", answer.took.as_millis()))
        }
        (true, Seen::Unknown) => Finding::warn(
            Check::Route,
            "a formgate answers; whether it is this one isn't known",
            "start the gateway, or name its admin API by --admin",
        ),
        (true, Seen::NotHere) => bad(
            "another formgate answers".to_owned(),
            "compare DNS and the proxy's upstream with [server].listen; if several gateways share the address, run the \
             doctor again until each has answered",
        ),
        (false, Seen::Here) => bad(
            format!("a POST reaches this gateway, and its answer is replaced by {}", answer.by()),
            "plugins need formgate's own answer: turn the proxy's error pages off for /hooks/ (nginx: \
             proxy_intercept_errors off)",
        ),
        (false, Seen::NotHere | Seen::Unknown) => {
            bad(format!("something else answers {}", answer.by()), foreign_cure(answer.status))
        }
    }
}

fn foreign_cure(status: u16) -> &'static str {
    match status {
        404 => "have the proxy pass /hooks/ on to [server].listen, and look whether the name leads to the right server",
        401 | 403 | 405 | 406 | 429 => {
            "a firewall, bot protection or password in front refuses POSTs: make an exception for /hooks/"
        }
        500..=599 => "the proxy can't reach the gateway: compare its upstream with [server].listen",
        _ => "does the name lead to the gateway, and does the proxy pass /hooks/ on to [server].listen?",
    }
}

/// Judges the answer to a request with a large body.
pub(super) fn judge_body(bytes: usize, max_upload: u64, pinged: &Pinged) -> Finding {
    let tenths = (bytes * 10) >> 20;
    let sent = format!("a body of {}.{} MiB", tenths / 10, tenths % 10);
    let cure = format!(
        "raise the limit of what is in front to [server].max_upload, {}: nginx client_max_body_size (1 MiB by default), \
         Apache LimitRequestBody, or the CDN's setting",
        size(max_upload)
    );
    match pinged {
        Ok(answer) if answer.is_formgate => Finding::ok(Check::BodyLimit, format!("{sent} passes")),
        Ok(answer) => Finding::bad(Check::BodyLimit, format!("{sent} is answered {}", answer.by()), cure),
        Err(failure) => Finding::bad(Check::BodyLimit, format!("{sent} has no answer: {failure}"), cure),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;
    use crate::kaicalls::{ConnectFault, NoAnswer};

    fn formgate() -> Answer {
        Answer { status: 401, is_formgate: true, ..Answer::default() }
    }

    fn foreign(status: u16) -> Answer {
        Answer { status, server: Some("nginx".to_owned()), ..Answer::default() }
    }

    fn failed(kind: FailureKind) -> Pinged {
        Err(NoAnswer { kind, sent: false })
    }

    fn grades(findings: &[Finding]) -> Vec<(Check, Grade)> {
        findings.iter().map(|finding| (finding.check, finding.grade)).collect()
    }

    #[test]
    fn who_answered_is_judged_by_answer_and_by_what_the_gateway_saw() {
        let route = |answer, seen| grades(&judge_route(&Ok(answer), seen))[1];
        assert_eq!(route(formgate(), Seen::Here), (Check::Route, Grade::Ok));
        assert_eq!(route(formgate(), Seen::Unknown), (Check::Route, Grade::Warn));
        assert_eq!(route(formgate(), Seen::NotHere), (Check::Route, Grade::Bad));
        assert_eq!(route(foreign(502), Seen::NotHere), (Check::Route, Grade::Bad));
        let replaced = judge_route(&Ok(foreign(502)), Seen::Here);
        assert!(replaced[1].what.contains("replaced by 502 from a server called nginx"), "{replaced:?}");
        let nobody = failed(FailureKind::Connect(ConnectFault::Refused));
        assert_eq!(grades(&judge_route(&nobody, Seen::NotHere)), [(Check::Route, Grade::Bad)]);
        let untrusted = failed(FailureKind::Tls(TlsFault::Expired));
        assert_eq!(grades(&judge_route(&untrusted, Seen::NotHere)), [(Check::Route, Grade::Skipped)]);
    }

    #[test]
    fn a_redirect_is_told_with_its_target() {
        let answer = Answer { location: Some("https://www.gate.example/hooks".to_owned()), ..foreign(301) };
        let found = judge_route(&Ok(answer), Seen::NotHere);
        assert_eq!(grades(&found), [(Check::Redirect, Grade::Bad)]);
        assert!(found[0].what.contains("(301) to https://www.gate.example/hooks"), "{found:?}");
    }

    #[test]
    fn a_certificate_is_judged_by_its_days_and_by_whether_it_is_trusted() {
        let now = Timestamp::from_second(1_790_000_000).expect("a time");
        let days = |days: i64| {
            let ends = Timestamp::from_second(1_790_000_000 + days * DAY_SECONDS).expect("a time");
            judge_tls(&Ok(Answer { certificate_ends: Some(ends), ..formgate() }), now).expect("a finding")
        };
        assert_eq!(days(15).grade, Grade::Ok);
        assert_eq!((days(14).grade, days(1).what.as_str()), (Grade::Warn, "trusted, and valid for 1 more day"));
        assert_eq!(judge_tls(&Ok(formgate()), now), None, "no TLS");
        for fault in [TlsFault::Expired, TlsFault::UnknownIssuer, TlsFault::WrongName, TlsFault::Handshake] {
            let found = judge_tls(&failed(FailureKind::Tls(fault)), now).expect("a finding");
            assert_eq!(found.grade, Grade::Bad);
        }
        assert_eq!(judge_tls(&failed(FailureKind::Dns), now), None);
    }

    #[test]
    fn a_body_must_pass_to_the_gateway() {
        let grade = |pinged| judge_body(1_200_000, 25 << 20, &pinged).grade;
        assert_eq!(grade(Ok(formgate())), Grade::Ok);
        assert_eq!(grade(Ok(foreign(413))), Grade::Bad);
        assert_eq!(grade(failed(FailureKind::Interrupted)), Grade::Bad);
        let told = judge_body(1_200_000, 25 << 20, &Ok(foreign(413))).what;
        assert_eq!(told, "a body of 1.1 MiB is answered 413 from a server called nginx");
    }
}

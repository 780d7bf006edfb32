//! KaiCalls: does it answer at `base_url`, what time is it there, and does it take each site's keys?

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::finding::{Check, Finding};
use crate::config::{Config, Site};
use crate::destination::{BaseUrl, KeyPair};
use crate::kaicalls::{self, Answer, Client, ClientError, Envelope, FailureKind, NoAnswer, Reply, TlsFault, Verified};
use crate::lead::{FormId, SiteId};

/// A clock this far off is worth a look; one further off makes certificates and expiry dates fail.
const CLOCK_OFF: Duration = Duration::from_secs(10);
const CLOCK_WRONG: Duration = Duration::from_secs(300);
/// Pairs that are asked about at one time, and the pause between two.
const AT_ONCE: usize = 8;
const PAUSE: Duration = Duration::from_millis(50);
/// For one question.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// For all pairs.
const KEYS_TIME: Duration = Duration::from_secs(300);

/// Makes a client whose questions end soon.
pub(super) fn client(config: &Config) -> Result<Client, Finding> {
    if config.missing.upstream {
        let what = "[kaicalls] can't be read, so nothing is sent";
        return Err(Finding::bad(Check::BaseUrl, what, "`formgate check` shows what is wrong in it"));
    }
    let upstream = &config.upstream;
    let options = kaicalls::Options::new(upstream.base_url.clone());
    let options = kaicalls::Options { timeout: upstream.timeout.min(ANSWER_TIME), max_in_flight: AT_ONCE, ..options };
    let unusable = |error: ClientError| Finding::bad(Check::BaseUrl, error.to_string(), "install ca-certificates");
    Client::new(options).map_err(unusable)
}

/// Asks KaiCalls something that needs no keys.
pub(super) async fn look(client: &Client, base_url: &BaseUrl) -> Vec<Finding> {
    let reply = client.ask_without_keys().await;
    let clock = match &reply {
        Reply::Answered(Answer { date: Some(date), .. }) => judge_clock(*date, Timestamp::now()),
        _ => Finding::skipped(Check::Clock, "nobody told the time", "fix base_url first"),
    };
    vec![judge_base_url(&reply, base_url), clock]
}

fn judge_base_url(reply: &Reply<Verified>, base_url: &BaseUrl) -> Finding {
    let url = base_url.as_str();
    let answer = match reply {
        Reply::Answered(answer) => answer,
        Reply::Failed(failure) => {
            return Finding::bad(Check::BaseUrl, format!("{url} can't be reached: {failure}"), failure_cure(failure));
        }
    };
    let status = answer.status;
    match &answer.envelope {
        Envelope::Failure if (400..500).contains(&status) && status != 429 => {
            Finding::ok(Check::BaseUrl, format!("{url} answers as KaiCalls does"))
        }
        Envelope::Failure | Envelope::Success(_) => Finding::warn(
            Check::BaseUrl,
            format!("{url} answers {status} in KaiCalls' format, where 400 is documented"),
            "KaiCalls may be in trouble; leads stay queued and are retried",
        ),
        Envelope::Other(_) if (300..400).contains(&status) => Finding::bad(
            Check::BaseUrl,
            format!("{url} redirects ({status})"),
            "set [kaicalls].base_url to where it leads; formgate follows no redirect",
        ),
        Envelope::Other(body) => Finding::bad(
            Check::BaseUrl,
            format!("{url} answers {status} with {body}"),
            "is [kaicalls].base_url KaiCalls' address, without a path? If it is, a proxy or firewall answers instead",
        ),
    }
}

fn failure_cure(failure: &NoAnswer) -> &'static str {
    match failure.kind {
        FailureKind::Dns => "is the name right, and can this machine resolve names?",
        FailureKind::Tls(TlsFault::UnknownIssuer) => {
            "install ca-certificates; if a firewall opens TLS, add its authority to the system's"
        }
        FailureKind::Tls(_) => "look at this machine's clock, and whether a firewall opens TLS",
        _ => "does a firewall keep this machine from connecting out to port 443? Leads stay queued meanwhile",
    }
}

fn judge_clock(theirs: Timestamp, ours: Timestamp) -> Finding {
    let off = ours.duration_since(theirs).unsigned_abs();
    let word = if ours < theirs { "behind" } else { "ahead of" };
    let what = format!("this machine is {} s {word} KaiCalls", off.as_secs());
    let cure = "turn time synchronisation on: systemd-timesyncd or chrony";
    match off {
        // The header has whole seconds, and came a moment ago.
        _ if off < CLOCK_OFF => Finding::ok(Check::Clock, "agrees with KaiCalls'"),
        _ if off < CLOCK_WRONG => Finding::warn(Check::Clock, what, cure),
        _ => Finding::bad(Check::Clock, what, cure),
    }
}

/// A pair of keys, and whose it is.
pub(super) struct OwnedPair {
    site: SiteId,
    form: Option<FormId>,
    keys: KeyPair,
}

/// Returns the pairs of these sites, and what can't be read of them.
pub(super) fn pairs<'a>(sites: impl Iterator<Item = &'a Arc<Site>>) -> (Vec<OwnedPair>, Vec<Finding>) {
    let mut pairs = Vec::new();
    let mut missing = Vec::new();
    for site in sites {
        let own = site.key_pairs().map(|(form, keys)| OwnedPair {
            site: site.id.clone(),
            form: form.cloned(),
            keys: keys.clone(),
        });
        pairs.extend(own);
        if site.lacks_keys() {
            let cure = "leads are stored and wait; `formgate check` names the file or variable";
            missing.push(Finding::bad(Check::Keys, "the keys can't be read", cure).of_site(&site.id, None));
        }
    }
    (pairs, missing)
}

/// Asks KaiCalls about each pair, a few at a time and within the configured rate. `progress` is told how many are done.
pub(super) async fn verify(
    client: &Client,
    config: &Config,
    pairs: Vec<OwnedPair>,
    mut progress: impl FnMut(usize),
) -> Vec<Finding> {
    let deadline = Instant::now() + KEYS_TIME;
    let rate = config.upstream.rate.map(|rate| rate.per / rate.count.get());
    let mut pace = interval(rate.unwrap_or(PAUSE).max(PAUSE));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    let mut findings = Vec::new();
    let mut waiting = pairs.into_iter();
    for pair in waiting.by_ref() {
        let ready = async {
            pace.tick().await;
            Arc::clone(&places).acquire_owned().await.ok()
        };
        let Ok(place) = timeout_at(deadline, ready).await else {
            findings.push(out_of_time(&pair));
            break;
        };
        let client = client.clone();
        asking.spawn(async move {
            let _place = place;
            let reply = client.verify(&pair.keys).await;
            judge_keys(&reply).of_site(&pair.site, pair.form.as_ref())
        });
        while let Some(Ok(finding)) = asking.try_join_next() {
            findings.push(finding);
        }
        progress(findings.len());
    }
    findings.extend(waiting.map(|pair| out_of_time(&pair)));
    while let Some(ended) = asking.join_next().await {
        findings.extend(ended.ok());
        progress(findings.len());
    }
    findings.sort_by(|one, other| (&one.site, &one.form).cmp(&(&other.site, &other.form)));
    findings
}

fn out_of_time(pair: &OwnedPair) -> Finding {
    Finding::skipped(Check::Keys, "not asked: the time ran out", "name the sites to look at")
        .of_site(&pair.site, pair.form.as_ref())
}

fn judge_keys(reply: &Reply<Verified>) -> Finding {
    let again = "run the doctor again; a site whose keys are refused is paused, and its leads stay queued";
    match reply {
        Reply::Answered(answer) => match (&answer.envelope, answer.status) {
            (Envelope::Success(verified), _) => {
                let business = verified.business_id.as_deref().map(|id| format!(", business {id}")).unwrap_or_default();
                Finding::ok(Check::Keys, format!("valid{business}"))
            }
            (Envelope::Failure, 401) => {
                let words = answer.words.as_deref().unwrap_or("Unauthorized");
                let cure = "create a pair on KaiCalls' WordPress page and write it into the site's file; leads stay \
                            queued until then";
                Finding::bad(Check::Keys, format!("KaiCalls refuses the keys: {words}"), cure)
            }
            _ => Finding::warn(Check::Keys, format!("KaiCalls answers {}", answer.status), again),
        },
        Reply::Failed(failure) => Finding::warn(Check::Keys, format!("KaiCalls can't be asked: {failure}"), again),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;
    use crate::kaicalls::UnexpectedBody;

    fn answered(status: u16, envelope: Envelope<Verified>) -> Reply<Verified> {
        Reply::Answered(Answer { status, envelope, retry_after: None, date: None, words: None })
    }

    #[test]
    fn kaicalls_is_told_from_what_is_not() {
        let url = BaseUrl::parse("https://www.kaicalls.com").expect("a URL");
        let grade = |reply| judge_base_url(&reply, &url).grade;
        assert_eq!(grade(answered(400, Envelope::Failure)), Grade::Ok);
        assert_eq!(grade(answered(503, Envelope::Failure)), Grade::Warn);
        assert_eq!(grade(answered(429, Envelope::Failure)), Grade::Warn);
        assert_eq!(grade(answered(404, Envelope::Other(UnexpectedBody::Html))), Grade::Bad);
        let redirect = judge_base_url(&answered(308, Envelope::Other(UnexpectedBody::Empty)), &url);
        assert!(redirect.what.contains("redirects (308)"), "{redirect:?}");
        assert_eq!(grade(Reply::Failed(NoAnswer { kind: FailureKind::Dns, sent: false })), Grade::Bad);
    }

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        let theirs = Timestamp::from_second(1_790_000_000).expect("a time");
        let judge = |off: i64| judge_clock(theirs, Timestamp::from_second(1_790_000_000 + off).expect("a time"));
        assert_eq!([0, 9, -9].map(|off| judge(off).grade), [Grade::Ok; 3]);
        assert_eq!([10, -299].map(|off| judge(off).grade), [Grade::Warn; 2]);
        assert_eq!(judge(-3_600).grade, Grade::Bad);
        assert_eq!(judge(-3_600).what, "this machine is 3600 s behind KaiCalls");
    }

    #[test]
    fn keys_are_valid_refused_or_not_known() {
        let grade = |reply| judge_keys(&reply).grade;
        assert_eq!(grade(answered(200, Envelope::Success(Verified::default()))), Grade::Ok);
        assert_eq!(grade(answered(401, Envelope::Failure)), Grade::Bad);
        assert_eq!(grade(answered(401, Envelope::Other(UnexpectedBody::Html))), Grade::Warn);
        assert_eq!(grade(answered(500, Envelope::Failure)), Grade::Warn);
        assert_eq!(grade(Reply::Failed(NoAnswer { kind: FailureKind::Timeout, sent: true })), Grade::Warn);
    }
}

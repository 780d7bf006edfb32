//! A request that has no outcome yet. However it ends, it is counted and logged exactly once.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use tokio::time::Instant;

use super::reply::{self, Dialect};
use super::{Outcome, Refusal, RequestFailure, StoredStatus};
use crate::accept::browser::{self, Audience};
use crate::accept::gateway::Gateway;
use crate::accept::guard::key_pairs::KeyPairCheck;
use crate::accept::guard::{RefusedCredential, sender};
use crate::http::RequestId;
use crate::lead::{EntryId, FormId, SiteId};
use crate::queue::activity::{Mistake, PostEnd, RefusedPost, StoredPost, TokenPrefix};
use crate::queue::live::{LiveEvent, LiveRequest, LiveWhat};

/// What is known of a request by the time it ends, for its log line.
pub(in crate::accept) struct Trail {
    pub(super) id: RequestId,
    /// Only a site of the configuration: anything else is the client's text.
    pub(in crate::accept) site: Option<SiteId>,
    pub(in crate::accept) form: Option<FormId>,
    pub(in crate::accept) started: Instant,
    /// The entry that was given to the store: it may be there even where the request has no answer.
    pub(in crate::accept) appending: Option<EntryId>,
    /// It has shown no valid credential.
    pub(in crate::accept) is_stranger: bool,
    /// It is a stranger's, and its address' count has it already.
    pub(in crate::accept) is_counted: bool,
    /// The doctor announced it: nobody's post.
    pub(in crate::accept) is_ping: bool,
    /// Whom it is counted for while it is a stranger's.
    pub(in crate::accept) client: Option<IpAddr>,
    /// The token that let it in.
    pub(in crate::accept) token: Option<TokenPrefix>,
    /// Why no credential let it in.
    pub(in crate::accept) credential: Option<RefusedCredential>,
    /// The mapping that was used.
    pub(in crate::accept) mapping: Option<String>,
    /// Who waits for the answer, where that is no plugin.
    pub(in crate::accept) audience: Option<Audience>,
}

/// Owns a request's trail until it has an outcome. Dropped before that, it records that the request was cut off.
#[must_use]
pub(in crate::accept) struct Ongoing<'a> {
    gateway: &'a Gateway,
    pub(in crate::accept) trail: Trail,
    /// What it says of its sender is read only where it is refused.
    pub(in crate::accept) headers: Option<&'a HeaderMap>,
    is_recorded: bool,
}

impl Trail {
    /// Calls the request as the client does, where it may.
    pub(in crate::accept) fn take_id_from(&mut self, headers: &HeaderMap) {
        if let Some(given) = RequestId::given(headers) {
            self.id = given;
        }
    }

    /// Notes what was wrong with a key pair, and whose the public key is, which is no secret.
    pub(in crate::accept) fn note_wrong_keys(&mut self, wrong: &KeyPairCheck<'_>) {
        self.credential = wrong.fault().map(RefusedCredential::from);
        if let KeyPairCheck::WrongSecret(Some(site)) = wrong {
            self.site = Some((*site).clone());
        }
    }
}

impl<'a> Ongoing<'a> {
    /// Begins with a request's first byte.
    pub(in crate::accept) fn begin(gateway: &'a Gateway) -> Self {
        let trail = Trail {
            id: RequestId::random(),
            site: None,
            form: None,
            started: Instant::now(),
            appending: None,
            is_stranger: true,
            is_counted: false,
            is_ping: false,
            client: None,
            token: None,
            credential: None,
            mapping: None,
            audience: None,
        };
        Self { gateway, trail, headers: None, is_recorded: false }
    }

    /// Records the outcome, and makes the answer of it.
    pub(in crate::accept) fn end(mut self, outcome: &Outcome, dialect: Dialect) -> Response<Bytes> {
        let id = &self.trail.id;
        let reply = match &self.trail.audience {
            Some(audience) => browser::answer(outcome, audience, id),
            None => reply::reply(outcome, dialect, id),
        };
        self.is_recorded = true;
        self.record(outcome, Some(reply.status()));
        reply
    }

    /// The one place where a request is counted and logged.
    fn record(&self, outcome: &Outcome, status: Option<StatusCode>) {
        let gateway = self.gateway;
        let trail = &self.trail;
        let duration = trail.started.elapsed();
        let reason = outcome.reason();
        gateway.metrics.request(outcome.end(), duration);
        self.count(outcome, status);
        gateway.metrics.reading(gateway.reading.bytes());
        // Whoever may not post must not decide how long the log gets. What is stored from a page has its form's limit.
        let is_flood = trail.is_stranger && outcome.id().is_none();
        if is_flood && !outcome.needs_somebody() && !gateway.floods.has_line(trail.client) {
            return;
        }
        self.tell_watchers(outcome, status, duration);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = trail.id.as_str(),
                    site = trail.site.as_ref().map(|site| site.as_str()),
                    form = trail.site.as_ref().and(trail.form.as_ref()).map(|form| form.as_str()),
                    outcome = reason,
                    refused = trail.credential.as_ref().map(|refused| refused.fault.as_str()),
                    token_site =
                        trail.credential.as_ref().and_then(|refused| Some(refused.token_site.as_ref()?.as_str())),
                    status = status.map(|status| status.as_u16()),
                    duration_ms = milliseconds(duration),
                    id = outcome.id().or(trail.appending).map(tracing::field::display),
                    error = outcome.error(),
                    location = outcome.location(),
                    "request {reason}"
                )
            };
        }
        if outcome.needs_somebody() { line!(error) } else { line!(info) }
    }

    /// Counts to the site, where it is one of the configuration.
    fn count(&self, outcome: &Outcome, status: Option<StatusCode>) {
        let Gateway { metrics, activity, .. } = self.gateway;
        let trail = &self.trail;
        let now = Timestamp::now();
        match (outcome, &trail.site) {
            (Outcome::Stored(stored), Some(site)) => {
                if !stored.is_spam() {
                    metrics.site_received(site.as_str(), now.as_second());
                }
                let end = match stored.status {
                    _ if stored.is_spam() => PostEnd::Spam,
                    StoredStatus::Queued => PostEnd::Queued,
                    StoredStatus::Held => PostEnd::Held,
                    StoredStatus::Duplicate => PostEnd::Duplicate,
                };
                if let Some(form) = &trail.form {
                    let mapping = trail.mapping.as_deref();
                    activity.stored(site, StoredPost { form, mapping, token: trail.token, end }, now);
                }
            }
            (Outcome::Refused(_), None) if trail.is_ping => {}
            (Outcome::Refused(refusal), site) => self.count_refused(refusal, site.as_ref(), status, now),
            _ => {}
        }
    }

    /// Tells whoever watches, but not of the doctor's request, which is nobody's.
    fn tell_watchers(&self, outcome: &Outcome, status: Option<StatusCode>, duration: Duration) {
        let trail = &self.trail;
        if trail.is_ping && trail.site.is_none() {
            return;
        }
        self.gateway.live.tell(|| {
            let request = LiveRequest {
                result: outcome.end(),
                mistake: match outcome {
                    Outcome::Refused(refusal) => Some(self.mistake(refusal)),
                    _ => None,
                },
                reason: outcome.held_for(),
                status: status.map(|status| status.as_u16()),
                request_id: trail.id.as_str().to_owned(),
            };
            Some(LiveEvent {
                at: Timestamp::now(),
                site: trail.site.clone(),
                form: trail.site.as_ref().and(trail.form.clone()),
                id: outcome.id(),
                what: LiveWhat::Request(request),
                duration_ms: milliseconds(duration),
            })
        });
    }

    /// What was wrong, as the operator is told: more than the sender may know.
    fn mistake(&self, refusal: &Refusal) -> Mistake {
        let fault = self.trail.credential.as_ref().map(|refused| refused.fault);
        fault.map_or_else(|| refusal.mistake(), Mistake::from)
    }

    fn count_refused(&self, refusal: &Refusal, site: Option<&SiteId>, status: Option<StatusCode>, now: Timestamp) {
        let Gateway { metrics, activity, .. } = self.gateway;
        let fault = self.trail.credential.as_ref().map(|refused| refused.fault);
        let mistake = self.mistake(refusal);
        if let Some(site) = site {
            metrics.refused(site.as_str(), refusal.as_str());
            metrics.mistake(site.as_str(), mistake.as_str());
        }
        if let Some(fault) = fault {
            metrics.credential_refused(fault.as_str());
        }
        // What names no site and shows no credential is no post that went astray.
        if site.is_some() || fault.is_some() {
            let status = status.map(|status| status.as_u16()).unwrap_or_default();
            let sender = || self.headers.map(sender).unwrap_or_default();
            activity.refused(site, &RefusedPost { mistake, status, sender: &sender }, now);
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        if !self.is_recorded {
            let failed =
                if std::thread::panicking() { RequestFailure::Panicked(None) } else { RequestFailure::Aborted };
            self.record(&Outcome::Failed(failed), None);
        }
    }
}

//! From what the pipeline made of a submission to what the store is given, and to what the plugin is told.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::accept::guard::host;
use crate::accept::outcome::{Rejected, StoredStatus};
use crate::lead::overlay::Overlay;
use crate::lead::{EntryId, FieldError, Lead};
use crate::pipeline::{End, Fingerprint, HoldReason, OnInvalid, Processed};
use crate::queue::{DedupeKey, NewEntry, Reading, Reason, State};
use crate::received::Received;

/// How long a test is kept: to be looked at, and no longer.
const KEEP_TEST: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What goes into the store, and what is answered once it is there.
pub(super) struct Filed {
    pub(super) entry: NewEntry,
    /// Only leads can be the same as one before.
    pub(super) dedupe: Option<DedupeKey>,
    pub(super) rejected: Option<Rejected>,
    /// What a page is told.
    pub(super) told: StoredStatus,
}

/// What the configuration says about filing a submission.
pub(super) struct FilingRules<'a> {
    pub(super) site: &'a crate::config::Site,
    pub(super) dedupe: bool,
    /// How long a held entry is kept.
    pub(super) keep_held: std::time::Duration,
    /// Over the site's limit, where that says `over = "hold"`.
    pub(super) over_limit: bool,
    /// Several sites share the key pair that it came with, and it names none of them.
    pub(super) is_ambiguous: bool,
    /// The host the request was sent to.
    pub(super) own_host: Option<&'a str>,
}

/// Decides whether a submission is queued or held, and why.
pub(super) fn file(
    rules: &FilingRules<'_>,
    processed: Processed,
    received: Received,
    id: EntryId,
    now: Timestamp,
) -> Filed {
    let Processed { form, mapping, oddities, on_invalid, page, shape, end } = processed;
    let other_host = host::is_other(&rules.site.hosts, &received, page.as_deref(), rules.own_host);
    let mut hold_rule = None;
    let verdict = match end {
        End::Lead { lead, fingerprint } => Filing::of_lead(rules, other_host, lead, fingerprint),
        End::Held { hold, reason, lead, errors } => {
            hold_rule = reason;
            Filing::of_hold(hold, lead, errors, on_invalid)
        }
    };
    let verdict = if rules.is_ambiguous { verdict.ambiguous() } else { verdict };
    let dedupe = verdict.fingerprint.map(|found| dedupe_key(rules.site.id.as_str(), form.as_str(), found));
    let overlay = Overlay::default();
    let lead = verdict.lead;
    let errors = verdict.errors;
    let reading = Reading { mapping, lead, errors, hold_rule, oddities, shape, overlay, page_bytes: 0 };
    let site = rules.site.id.clone();
    let (state, reason) = (verdict.state, verdict.reason);
    let keep = match reason {
        Reason::Test => rules.keep_held.min(KEEP_TEST),
        _ => rules.keep_held,
    };
    let keep = (state == State::Held).then_some(keep);
    // A program that filled in the honeypot isn't told so.
    let told = match (reason, &reading.lead) {
        (Reason::Spam, Some(_)) if rules.site.deliver => StoredStatus::Queued,
        _ => StoredStatus::of(state),
    };
    let entry = NewEntry { id, site, form, state, reason, accepted_at: now, keep, reading, received };
    Filed { entry, dedupe, rejected: verdict.rejected, told }
}

/// How a submission is filed: its state, and why.
struct Filing {
    state: State,
    reason: Reason,
    lead: Option<Lead>,
    errors: Vec<FieldError>,
    fingerprint: Option<Fingerprint>,
    rejected: Option<Rejected>,
}

impl Filing {
    fn of_lead(rules: &FilingRules<'_>, other_host: bool, lead: Lead, fingerprint: Fingerprint) -> Self {
        let (state, reason) = match (rules.site.deliver, other_host, rules.over_limit) {
            (true, false, false) => (State::Queued, Reason::Accepted),
            (true, false, true) => (State::Held, Reason::OverLimit),
            (true, true, _) => (State::Held, Reason::OtherHost),
            (false, ..) => (State::Held, Reason::DeliverOff),
        };
        // A lead of the site itself must never be the duplicate of one that a copy of it tried out.
        let fingerprint = (rules.dedupe && !other_host).then_some(fingerprint);
        Self { state, reason, lead: Some(lead), errors: Vec::new(), fingerprint, rejected: None }
    }

    fn of_hold(hold: HoldReason, lead: Option<Lead>, errors: Vec<FieldError>, on_invalid: OnInvalid) -> Self {
        let (reason, rejected) = match (hold, on_invalid) {
            (HoldReason::Undecodable, _) => (Reason::Undecodable, Some(Rejected::Undecodable)),
            (HoldReason::UnsupportedType, _) => (Reason::Undecodable, Some(Rejected::UnsupportedType)),
            (HoldReason::Invalid, OnInvalid::Reject) => (Reason::Invalid, Some(Rejected::Invalid(errors.clone()))),
            (HoldReason::Invalid, OnInvalid::Hold) => (Reason::Invalid, None),
            (HoldReason::Rule, _) => (Reason::HoldRule, None),
            (HoldReason::UnknownForm, _) => (Reason::UnknownForm, None),
            (HoldReason::Uncertain, _) => (Reason::Uncertain, None),
            (HoldReason::Test, _) => (Reason::Test, None),
            // Whoever fills in a honeypot is told what would be told without it.
            (HoldReason::Spam, OnInvalid::Reject) if !errors.is_empty() => {
                (Reason::Spam, Some(Rejected::Invalid(errors.clone())))
            }
            (HoldReason::Spam, _) => (Reason::Spam, None),
            // The sender did nothing wrong, and can do nothing about it.
            (HoldReason::Panicked, _) => (Reason::Undecodable, None),
        };
        Self { state: State::Held, reason, lead, errors, fingerprint: None, rejected }
    }

    /// Whatever becomes of it, a person has to say first which site it belongs to.
    fn ambiguous(self) -> Self {
        let rejected = self.rejected.filter(|rejected| !matches!(rejected, Rejected::Invalid(_)));
        let state = State::Held;
        let reason = Reason::Ambiguous;
        // Nothing of the site it is kept under may become its duplicate.
        Self { state, reason, rejected, fingerprint: None, ..self }
    }
}

/// Names end with a byte that no name holds, so that no two pairs of them run together.
fn dedupe_key(site: &str, form: &str, fingerprint: Fingerprint) -> DedupeKey {
    let mut digest = Sha256::new();
    for part in [site, form] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.update(fingerprint.0);
    DedupeKey(digest.finalize().into())
}

/// Makes the id of a new entry.
pub(super) fn new_id(now: Timestamp) -> EntryId {
    let unix_ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
    EntryId::new(unix_ms, &rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_lead_on_another_site_or_form_is_another() {
        let print = Fingerprint([7; 32]);
        let key = dedupe_key("acme", "contact", print);
        assert_eq!(key, dedupe_key("acme", "contact", print));
        assert_ne!(key, dedupe_key("acm", "econtact", print));
        assert_ne!(key, dedupe_key("acme", "quote", print));
        assert_ne!(key, dedupe_key("acme", "contact", Fingerprint([8; 32])));
    }

    #[test]
    fn only_what_no_person_need_see_at_once_is_answered_with_success() {
        let verdict = |hold, on_invalid| Filing::of_hold(hold, None, Vec::new(), on_invalid);
        assert!(verdict(HoldReason::Invalid, OnInvalid::Hold).rejected.is_none());
        assert!(matches!(verdict(HoldReason::Invalid, OnInvalid::Reject).rejected, Some(Rejected::Invalid(_))));
        assert!(matches!(verdict(HoldReason::Undecodable, OnInvalid::Hold).rejected, Some(Rejected::Undecodable)));
        assert!(matches!(
            verdict(HoldReason::UnsupportedType, OnInvalid::Hold).rejected,
            Some(Rejected::UnsupportedType)
        ));
        assert!(verdict(HoldReason::Rule, OnInvalid::Reject).rejected.is_none());
        assert!(verdict(HoldReason::UnknownForm, OnInvalid::Reject).rejected.is_none());
    }
}

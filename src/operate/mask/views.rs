//! What is shown of a lead, with addresses and numbers hidden wherever it may hold them.

use super::{mask_phone, mask_raw, mask_text};
use crate::lead::{Extra, LeadField};
use crate::operate::lead_view::LeadView;
use crate::operate::{
    Done, FieldEvidence, LeadPage, Life, ReceivedView, ShownCandidate, ShownCorrection, ShownField, Step, Summary,
    Trace, Tried,
};
use crate::queue::Event;

/// The header that may hold what a visitor typed: a page's address.
const PAGE_HEADER: &str = "referer";

impl LeadView {
    #[must_use]
    pub fn masked(self) -> Self {
        // A lead without a name is called by the local part of its address.
        let is_named_by_address = self.email.rsplit_once('@').is_some_and(|(local, _)| local.starts_with(&self.name));
        let name = match is_named_by_address {
            true => self.name.chars().take(1).chain(super::MARK.chars()).collect(),
            false => text(self.name),
        };
        Self {
            name,
            email: text(self.email),
            phone: self.phone.map(|phone| mask_phone(&phone)),
            message: text(self.message),
        }
    }
}

impl Summary {
    #[must_use]
    pub fn masked(self) -> Self {
        Self { cause: text(self.cause), lead: self.lead.map(LeadView::masked), masked: true, ..self }
    }
}

impl LeadPage {
    #[must_use]
    pub fn masked(self) -> Self {
        Self { leads: self.leads.into_iter().map(Summary::masked).collect(), ..self }
    }
}

impl FieldEvidence {
    fn masked(self) -> Self {
        let candidate = |candidate: ShownCandidate| ShownCandidate {
            keys: candidate.keys.into_iter().map(text).collect(),
            value: text(candidate.value),
            ..candidate
        };
        Self { candidates: self.candidates.into_iter().map(candidate).collect(), ..self }
    }
}

impl Life {
    /// Takes a while for a large body.
    #[must_use]
    pub fn masked(self) -> Self {
        let extra = |extra: Extra<'static>| Extra {
            label: text(extra.label.into_owned()).into(),
            value: text(extra.value.into_owned()).into(),
        };
        Self {
            entry: self.entry.masked(),
            received: self.received.masked(),
            fields: self.fields.into_iter().map(ShownField::masked).collect(),
            found: self.found.into_iter().map(|(field, found)| (field, value_of(field, found))).collect(),
            evidence: self.evidence.into_iter().map(|(field, evidence)| (field, evidence.masked())).collect(),
            amended: self.amended.into_iter().map(ShownCorrection::masked).collect(),
            extras: self.extras.into_iter().map(extra).collect(),
            dropped: self.dropped.into_iter().map(text).collect(),
            history: self.history.into_iter().map(event).collect(),
            ..self
        }
    }
}

/// Masks a lead field's value: what is a phone by its place may be short.
fn value_of(field: LeadField, value: String) -> String {
    match field {
        LeadField::Phone => mask_phone(&value),
        LeadField::Name | LeadField::Email | LeadField::Message => text(value),
    }
}

impl ReceivedView {
    fn masked(mut self) -> Self {
        if let Some(page) = self.headers.get_mut(PAGE_HEADER) {
            *page = mask_raw(page).into_owned();
        }
        let raw = |text: String| mask_raw(&text).into_owned();
        Self { query: self.query.map(raw), body: self.body.map(raw), ..self }
    }
}

impl ShownField {
    fn masked(self) -> Self {
        Self { key: text(self.key), label: self.label.map(text), values: self.values.into_iter().map(text).collect() }
    }
}

impl ShownCorrection {
    fn masked(self) -> Self {
        let value = |value: String| value_of(self.field, value);
        Self { received: self.received.map(value), value: value(self.value), ..self }
    }
}

impl Trace {
    #[must_use]
    pub fn masked(self) -> Self {
        let step = |step: Step| Step { what: text(step.what), ..step };
        Self { steps: self.steps.into_iter().map(step).collect(), ..self }
    }
}

impl Done {
    #[must_use]
    pub fn masked(self) -> Self {
        let lead = |lead: Option<LeadView>| lead.map(LeadView::masked);
        Self { why: text(self.why), before: lead(self.before), after: lead(self.after), ..self }
    }
}

impl Tried {
    #[must_use]
    pub fn masked(self) -> Self {
        Self { results: self.results.into_iter().map(Done::masked).collect(), ..self }
    }
}

fn event(mut event: Event) -> Event {
    if let Some(attempt) = &mut event.attempt {
        attempt.words = attempt.words.take().map(text);
    }
    event
}

fn text(text: String) -> String {
    match mask_text(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(masked) => masked,
    }
}

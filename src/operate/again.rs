//! An entry made again: decoded and mapped by the program, the mappings and the site's rules of now.

use crate::config::{Config, Site};
use crate::lead::{EntryId, FormId};
use crate::pipeline::{self, End, Explained, HoldReason, Processed, SiteRules};
use crate::queue::{Entry, Reading, Reason};
use crate::telemetry;

/// What an entry would be if it came now.
pub(super) struct Remade {
    pub(super) reading: Reading,
    /// Why the pipeline holds it; none: it is a lead to send.
    pub(super) hold: Option<Reason>,
}

impl Remade {
    /// Runs an entry through the pipeline. Takes a while for large bodies.
    pub(super) fn of(config: &Config, site: &Site, entry: &Entry) -> Self {
        let Processed { mapping, oddities, shape, end, .. } = explain(config, Some(site), entry).processed;
        let (hold, lead, errors, hold_rule) = match end {
            End::Lead { lead, .. } => (None, Some(lead), Vec::new(), None),
            End::Held { hold, reason, lead, errors } => (Some(reason_of(hold)), lead, errors, reason),
        };
        let overlay = entry.head.reading.overlay.clone();
        let page_bytes = entry.head.reading.page_bytes;
        Self { reading: Reading { mapping, lead, errors, hold_rule, oddities, shape, overlay, page_bytes }, hold }
    }
}

/// Explains an entry by the rules of now, with what an operator corrected; without a site, by the mappings alone.
///
/// What the URL said of the form is not kept. It is taken as unnamed where that leads to the form the entry is filed under
/// (then the message says what it said at first), else as of that form. A form's `match` written later
/// may turn an entry that is no lead into one, where both forms go to KaiCalls with the same keys.
pub(super) fn explain(config: &Config, site: Option<&Site>, entry: &Entry) -> Explained {
    explain_as(config, site, entry).0
}

/// The same, with the form that the URL is taken to have named.
pub(super) fn explain_as(config: &Config, site: Option<&Site>, entry: &Entry) -> (Explained, Option<FormId>) {
    let no_rules = SiteRules::default();
    let rules = site.map_or(&no_rules, |site| &site.rules);
    let Entry { head, received } = entry;
    let overlay = &head.reading.overlay;
    let by = |form: Option<&FormId>| {
        guarded(head.id, || pipeline::explain_amended(&config.mappings, rules, form, received, overlay))
            .unwrap_or_else(|| pipeline::panicked(rules, form, overlay))
    };
    let unnamed = by(None);
    if unnamed.processed.form == head.form {
        return (unnamed, None);
    }
    let named = by(Some(&head.form));
    let same_keys =
        site.is_some_and(|site| site.form_keys.get(&head.form) == site.form_keys.get(&unnamed.processed.form));
    let is_rescue = |one: &Explained| matches!(one.processed.end, End::Lead { .. });
    let known = rules.forms.iter().any(|form| form.id == unnamed.processed.form);
    if !is_rescue(&named) && is_rescue(&unnamed) && same_keys && known {
        (unnamed, None)
    } else {
        (named, Some(head.form.clone()))
    }
}

/// Explains an entry; none where that panics, so that it hides no other.
pub(super) fn guarded(id: EntryId, explain: impl FnOnce() -> Explained) -> Option<Explained> {
    let explained = telemetry::catch(explain);
    let logged = explained.inspect_err(|panicked| {
        let location = &panicked.location;
        tracing::error!(%id, location, "pipeline.panicked: the lead can't be decoded; please report the location");
    });
    logged.ok()
}

fn reason_of(hold: HoldReason) -> Reason {
    match hold {
        HoldReason::Undecodable | HoldReason::UnsupportedType | HoldReason::Panicked => Reason::Undecodable,
        HoldReason::Invalid => Reason::Invalid,
        HoldReason::Rule => Reason::HoldRule,
        HoldReason::UnknownForm => Reason::UnknownForm,
        HoldReason::Uncertain => Reason::Uncertain,
        HoldReason::Test => Reason::Test,
        HoldReason::Spam => Reason::Spam,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::overlay::Overlay;

    #[test]
    fn an_entry_whose_decoding_panics_is_told_as_undecodable() {
        assert!(guarded(EntryId::new(1, &[7; 10]), || panic!("a parser met jane@example.com")).is_none());
        let explained = pipeline::panicked(&SiteRules::default(), None, &Overlay::default());
        assert_eq!(explained.processed.oddities, [pipeline::DECODER_PANICKED]);
        let End::Held { hold, lead: None, errors, .. } = explained.processed.end else { panic!("it is held") };
        assert_eq!((reason_of(hold), errors.len()), (Reason::Undecodable, 1));
        assert!(!errors[0].detail.contains("jane"));
    }
}

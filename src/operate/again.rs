//! An entry made again: decoded and mapped by the program, the mappings and the site's rules of now.

use crate::config::{Config, Site};
use crate::lead::{EntryId, FormId};
use crate::pipeline::{self, End, Explained, Hold, Processed, SiteRules};
use crate::queue::{Content, Entry, Reason};
use crate::telemetry;

/// What an entry would be if it came now.
pub(super) struct Remade {
    pub(super) content: Content,
    /// Why the pipeline holds it; none: it is a lead to send.
    pub(super) hold: Option<Reason>,
}

impl Remade {
    /// Runs an entry through the pipeline. Takes a while for large bodies.
    pub(super) fn of(config: &Config, site: &Site, entry: &Entry) -> Self {
        let Processed { mapping, oddities, end, .. } = explain(config, Some(site), entry).processed;
        let (hold, lead, errors, hold_rule) = match end {
            End::Lead { lead, .. } => (None, Some(lead), Vec::new(), None),
            End::Held { hold, reason, lead, errors } => (Some(reason_of(hold)), lead, errors, reason),
        };
        let received = entry.content.received.clone();
        Self { content: Content { received, mapping, lead, errors, hold_rule, oddities }, hold }
    }
}

/// Explains an entry by the rules of now; without a site, by the mappings alone.
///
/// What the URL said of the form is not kept. It is taken as unnamed where that leads to the form the entry is filed under
/// (then the message says what it said at first), else as of that form. A form's `match` written later
/// may turn an entry that is no lead into one, where both forms go to KaiCalls with the same keys.
pub(super) fn explain(config: &Config, site: Option<&Site>, entry: &Entry) -> Explained {
    let no_rules = SiteRules::default();
    let rules = site.map_or(&no_rules, |site| &site.rules);
    let by = |form: Option<&FormId>| {
        guarded(entry.id, rules, form, || pipeline::explain(&config.mappings, rules, form, &entry.content.received))
    };
    let unnamed = by(None);
    if unnamed.processed.form == entry.form {
        return unnamed;
    }
    let named = by(Some(&entry.form));
    let same_keys =
        site.is_some_and(|site| site.form_keys.get(&entry.form) == site.form_keys.get(&unnamed.processed.form));
    let is_rescue = |one: &Explained| matches!(one.processed.end, End::Lead { .. });
    let known = rules.forms.iter().any(|form| form.id == unnamed.processed.form);
    if !is_rescue(&named) && is_rescue(&unnamed) && same_keys && known { unnamed } else { named }
}

/// Explains an entry; where that panics, tells it as an entry that can't be decoded, so that it hides no other.
pub(super) fn guarded(
    id: EntryId,
    rules: &SiteRules,
    form: Option<&FormId>,
    explain: impl FnOnce() -> Explained,
) -> Explained {
    telemetry::catch(explain).unwrap_or_else(|panicked| {
        let location = panicked.location;
        tracing::error!(%id, location, "pipeline.panicked: the lead can't be decoded; please report the location");
        pipeline::panicked(rules, form)
    })
}

fn reason_of(hold: Hold) -> Reason {
    match hold {
        Hold::Undecodable | Hold::UnsupportedType | Hold::Panicked => Reason::Undecodable,
        Hold::Invalid => Reason::Invalid,
        Hold::Rule => Reason::HoldRule,
        Hold::UnknownForm => Reason::UnknownForm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_whose_decoding_panics_is_told_as_undecodable() {
        let rules = SiteRules::default();
        let explained = guarded(EntryId::new(1, &[7; 10]), &rules, None, || panic!("a parser met jane@example.com"));
        assert_eq!(explained.processed.oddities, [pipeline::DECODER_PANICKED]);
        let End::Held { hold, lead: None, errors, .. } = explained.processed.end else { panic!("it is held") };
        assert_eq!((reason_of(hold), errors.len()), (Reason::Undecodable, 1));
        assert!(!errors[0].detail.contains("jane"));
    }
}

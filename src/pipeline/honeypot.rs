//! A form's honeypot: a field that people don't see, and that programs fill in.
//!
//! It belongs to the form, whoever posts it: what was stored doesn't say whether it came from a page or from a plugin.

use super::FormRules;
use crate::decode::Submission;
use crate::map::Glob;

/// What stands between a field's name and the name of a part of it.
const SEPARATORS: [char; 2] = ['[', '.'];

/// Returns globs that match the keys under which a honeypot comes.
pub fn keys(name: &str) -> impl Iterator<Item = Glob> + '_ {
    let parts = SEPARATORS.map(|separator| Glob::new(&format!("{name}{separator}*")));
    std::iter::once(Glob::new(name)).chain(parts)
}

/// Tells whether the form has a honeypot and something stands in it.
pub(super) fn is_filled(rules: &FormRules, submission: &Submission<'_>) -> bool {
    let Some(name) = rules.honeypot.as_deref() else { return false };
    let of_it = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATORS));
    let mut fields = submission.fields.iter().filter(|field| of_it(field.key));
    fields.any(|field| field.values.iter().any(|value| !value.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Arena, form, json};
    use crate::lead::FormId;

    fn rules(honeypot: Option<&str>) -> FormRules {
        FormRules {
            id: FormId::fallback(),
            matches: Vec::new(),
            mapping: None,
            on_invalid: None,
            region: None,
            lead: crate::map::LeadRules::default(),
            extras: crate::map::ExtrasRule::default(),
            auto_min: None,
            honeypot: honeypot.map(str::to_owned),
        }
    }

    #[test]
    fn only_something_in_the_field_itself_counts() {
        let arena = Arena::new();
        let trap = rules(Some("website2"));
        for text in ["website2=x", "a=1&website2=&website2=x", "website2[]=x", "website2[url]=x"] {
            assert!(is_filled(&trap, &form(text, &arena)), "{text}");
            assert!(!is_filled(&rules(None), &form(text, &arena)), "{text}");
        }
        for text in ["a=x", "website2=", "website2=+%0A", "website22=x", "website=x", "a=website2"] {
            assert!(!is_filled(&trap, &form(text, &arena)), "{text}");
        }
        assert!(is_filled(&trap, &json(r#"{"website2":{"url":"x"}}"#, &arena)));
        for text in [r#"{"website2":""}"#, r#"{"website2":null}"#, r#"{"website2":[]}"#, r#"{"website2":false}"#] {
            assert!(!is_filled(&trap, &json(text, &arena)), "{text}");
        }
    }

    #[test]
    fn its_keys_are_those_of_the_field_and_of_its_parts() {
        let matches = |key: &str| keys("website2").any(|glob| glob.matches(key));
        assert!(["website2", "website2[]", "website2.url"].into_iter().all(matches));
        assert!(!["website22", "my_website2", "website"].into_iter().any(matches));
    }
}

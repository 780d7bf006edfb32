//! How a lead field was found: told in words when a person asks.

use super::auto::Guess;
use super::form_field::FormField;
use super::selector::Selector;

/// How a lead field was found.
#[derive(Clone, Copy, Debug)]
pub enum FoundBy<'a> {
    Selector(&'a Selector),
    Join(&'a [Selector]),
    Template,
    Default,
    Auto(Guess<'a>),
}

impl FoundBy<'_> {
    /// Says so in words; `fields` are those it was found among.
    pub fn in_words(&self, fields: &[FormField<'_>]) -> String {
        match self {
            Self::Selector(selector) => selector.as_str().to_owned(),
            Self::Join(parts) => {
                format!("join of {}", parts.iter().map(Selector::as_str).collect::<Vec<_>>().join(" + "))
            }
            Self::Template => "template".to_owned(),
            Self::Default => "default".to_owned(),
            Self::Auto(guess) => {
                let keys = guess.from.iter().filter_map(|index| Some(fields.get(*index)?.field.key));
                let most = guess
                    .score
                    .reasons()
                    .max_by_key(|(_, weight)| *weight)
                    .map_or("value", |(reason, _)| reason.as_str());
                format!("auto by {most}: {}", keys.collect::<Vec<_>>().join(" + "))
            }
        }
    }
}

//! What the words tell of values: that they are no name and no message.

use fst::Set;

use super::concept::Concept;
use super::found::{Begins, number_of};
use super::plain::{Plain, head};
use super::{Bytes, Dictionary};

/// Longest value that is asked whether it is a label, in bytes; and whether it is an answer.
const LABEL_MAX: usize = 40;
const ANSWER_MAX: usize = 80;

impl Dictionary {
    /// Tells whether a text addresses somebody, and is no name.
    pub fn is_salutation(&self, text: &str) -> bool {
        text.len() <= LABEL_MAX && holds(&self.salutations, &Plain::of(text))
    }

    /// Tells whether a text addresses somebody, or is what a field for a name, or for reaching somebody, is called: "Full
    /// name", "Your e-mail".
    pub fn is_salutation_or_label(&self, text: &str) -> bool {
        if text.len() > LABEL_MAX {
            return false;
        }
        let words = Plain::of(text);
        let is_label = |number: u64| {
            let has_space = || words.bytes().any(|byte| byte == b' ');
            self.meanings(number).any(|meaning| match meaning.concept {
                Concept::Name => true,
                Concept::FullName | Concept::FirstName | Concept::LastName | Concept::Email | Concept::Phone => {
                    has_space()
                }
                _ => false,
            })
        };
        let phrases = self.phrases.as_fst();
        let whole = || number_of(phrases, words.bytes());
        let first = || number_of(phrases, words.bytes().take_while(|byte| *byte != b' '));
        let rest = || number_of(phrases, words.bytes().skip_while(|byte| *byte != b' ').skip(1));
        holds(&self.salutations, &words)
            || whole().is_some_and(is_label)
            || (first().is_some_and(|number| self.means_nothing(number)) && rest().is_some_and(is_label))
    }

    /// Tells whether a text is an answer that forms offer.
    pub fn is_answer(&self, text: &str) -> bool {
        text.len() <= ANSWER_MAX && holds(&self.answers, &Plain::of(text))
    }

    /// Tells whether text is a sentence of consent.
    pub fn is_agreement(&self, text: &str) -> bool {
        let begins = |text: &str| Begins::of(self.agreements.as_fst(), Plain::of(text).bytes());
        // Most texts are told by their first words, and to write a long one plain takes long.
        match first_words(text).map_or(Begins::Open, begins) {
            Begins::Open => begins(text) == Begins::Yes,
            told => told == Begins::Yes,
        }
    }
}

/// Returns the first words of a long text; none where a tag may go on behind them.
fn first_words(text: &str) -> Option<&str> {
    let start = head(text, START);
    let end = start.rfind(char::is_whitespace).filter(|_| start.len() < text.len() && !start.contains('<'))?;
    start.get(..end)
}

/// How many bytes of a text hold its first words.
const START: usize = 48;

fn holds(set: &Set<Bytes>, words: &Plain<'_>) -> bool {
    number_of(set.as_fst(), words.bytes()).is_some()
}

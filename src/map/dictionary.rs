//! What fields are called: words in several languages, and the part a field so called plays.

use std::collections::HashMap;

use bumpalo::collections::{String as ArenaString, Vec as ArenaVec};

use super::fold::fold;
use crate::decode::{Arena, Field, Hashing};

/// The part a field plays, told by what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Agreement to a policy.
    Consent,
    /// Whom the form is for: never the visitor.
    Recipient,
    Company,
    /// What a program added: tokens, addresses, campaign tags.
    Machine,
    Email,
    Phone,
    FirstName,
    LastName,
    Name,
    Message,
    Subject,
    /// Facts of any other kind: dates, places, numbers, choices.
    Other,
}

impl Role {
    /// All roles in the order in which they are asked: what excludes a field goes first.
    pub const ALL: [Self; 12] = [
        Self::Consent,
        Self::Recipient,
        Self::Machine,
        Self::Company,
        Self::Email,
        Self::Phone,
        Self::FirstName,
        Self::LastName,
        Self::Other,
        Self::Subject,
        Self::Message,
        Self::Name,
    ];

    /// Returns the role's key in a word file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Recipient => "recipient",
            Self::Company => "company",
            Self::Machine => "machine",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Name => "name",
            Self::Message => "message",
            Self::Subject => "subject",
            Self::Other => "other",
        }
    }
}

/// Words by role, of all languages together.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// Phrases by their first word, but for those whose first word is open: most names hold none of them.
    by_word: HashMap<String, Vec<(Role, Phrase)>, Hashing>,
    /// Phrases whose first word is open at its end alone, by the byte it begins with.
    by_start: HashMap<u8, Vec<(Role, Phrase)>, Hashing>,
    /// Phrases whose first word is open at its start.
    open: Vec<(Role, Phrase)>,
    /// How a sentence that agrees to something begins.
    agreements: Vec<String>,
}

/// One or more words that follow each other; a word may begin or end with `*`.
#[derive(Clone, Debug)]
struct Phrase {
    /// The phrase is all there is.
    whole: bool,
    words: Vec<Word>,
}

#[derive(Clone, Debug)]
struct Word {
    text: String,
    open_start: bool,
    open_end: bool,
}

impl Dictionary {
    /// Adds phrases for a role. `=name` is only the whole name, `tele*` any word that begins so.
    pub fn add(&mut self, role: Role, phrases: impl IntoIterator<Item = String>) {
        for phrase in phrases.into_iter().map(|phrase| Phrase::new(&phrase)) {
            match phrase.words.first() {
                Some(first) if first.open_start => self.open.push((role, phrase)),
                Some(first) if first.open_end => {
                    let start = first.text.bytes().next().unwrap_or_default();
                    self.by_start.entry(start).or_default().push((role, phrase));
                }
                Some(first) => self.by_word.entry(first.text.clone()).or_default().push((role, phrase)),
                None => {}
            }
        }
    }

    /// Adds the ways in which a sentence of consent begins.
    pub fn add_agreements(&mut self, sentences: impl IntoIterator<Item = String>) {
        self.agreements.extend(sentences.into_iter().map(|sentence| sentence.to_lowercase()));
    }

    /// Returns the part a field plays by its label, else by its key.
    pub fn role(&self, field: &Field<'_>, arena: &Arena) -> Option<Role> {
        let by_label = field.label.and_then(|label| self.role_of(label, arena));
        by_label.or_else(|| self.role_of(field.key, arena))
    }

    fn role_of(&self, name: &str, arena: &Arena) -> Option<Role> {
        let words = words(name, arena);
        let by_start = |word: &&str| self.by_start.get(&word.bytes().next()?);
        let closed = words.iter().filter_map(|word| self.by_word.get(*word)).flatten();
        let phrases = closed.chain(words.iter().filter_map(by_start).flatten()).chain(&self.open);
        let roles = phrases.filter(|(_, phrase)| phrase.is_in(&words)).map(|(role, _)| *role);
        roles.min_by_key(|role| Role::ALL.iter().position(|asked| asked == role))
    }

    /// Tells whether text is a sentence of consent.
    pub fn is_agreement(&self, text: &str) -> bool {
        let text = text.trim_start();
        self.agreements.iter().any(|beginning| {
            if beginning.is_ascii() {
                return text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
            }
            let mut chars = text.chars().flat_map(char::to_lowercase);
            beginning.chars().all(|c| chars.next() == Some(c))
        })
    }
}

impl Phrase {
    fn new(phrase: &str) -> Self {
        let (whole, phrase) = phrase.strip_prefix('=').map_or((false, phrase), |rest| (true, rest));
        let word = |text: &str| Word {
            text: fold(text).into_owned(),
            open_start: text.starts_with('*'),
            open_end: text.ends_with('*'),
        };
        Self { whole, words: phrase.split_whitespace().map(word).filter(|word| !word.text.is_empty()).collect() }
    }

    fn is_in(&self, words: &[&str]) -> bool {
        let fits = |window: &[&str]| window.iter().zip(&self.words).all(|(word, wanted)| wanted.matches(word));
        let lengths_fit = if self.whole { words.len() == self.words.len() } else { words.len() >= self.words.len() };
        lengths_fit && words.windows(self.words.len()).any(fits)
    }
}

impl Word {
    fn matches(&self, word: &str) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => word == self.text,
            (false, true) => word.starts_with(&self.text),
            (true, false) => word.ends_with(&self.text),
            (true, true) => word.contains(&self.text),
        }
    }
}

/// How many words of a key or label are looked at: a whole sentence of consent, not a page.
const WORDS_MAX: usize = 50;

/// Splits a key or label into folded words: at signs, and where lower case turns to upper.
fn words<'n>(name: &'n str, arena: &'n Arena) -> ArenaVec<'n, &'n str> {
    let mut words = ArenaVec::new_in(arena);
    let mut start = None;
    let mut lower_before = false;
    let marks = name.char_indices().chain([(name.len(), ' ')]);
    for (at, c) in marks {
        let begins = c.is_uppercase() && lower_before;
        if (begins || !c.is_alphanumeric())
            && let Some(start) = start.take()
            && words.len() < WORDS_MAX
        {
            words.extend(
                name.get(start..at).map(|word| folded(unnumbered(word), arena)).filter(|word| !word.is_empty()),
            );
        }
        if c.is_alphanumeric() {
            start = start.or(Some(at));
        }
        lower_before = c.is_lowercase();
    }
    words
}

fn folded<'n>(word: &'n str, arena: &'n Arena) -> &'n str {
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return word;
    }
    if word.is_ascii() {
        let lower = ArenaString::from_iter_in(word.chars().map(|c| c.to_ascii_lowercase()), arena);
        return lower.into_bump_str();
    }
    arena.alloc_str(&fold(word))
}

/// `tel1` is a `tel`; a figure alone stays.
fn unnumbered(word: &str) -> &str {
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.is_empty() { word } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary() -> Dictionary {
        let mut dictionary = Dictionary::default();
        let mut add = |role, words: &[&str]| dictionary.add(role, words.iter().map(|word| (*word).to_owned()));
        add(Role::Email, &["email", "e mail"]);
        add(Role::Name, &["name", "names"]);
        add(Role::FirstName, &["first name", "=first"]);
        add(Role::Company, &["company", "firma*"]);
        add(Role::Phone, &["tele*", "*nummer"]);
        dictionary
    }

    #[test]
    fn a_name_of_a_field_tells_its_part() {
        for (name, role) in [
            ("E-Mail", Some(Role::Email)),
            ("yourEmail", Some(Role::Email)),
            ("form_fields[email]", Some(Role::Email)),
            ("First", Some(Role::FirstName)),
            ("first contact", None),
            ("Your First Name", Some(Role::FirstName)),
            ("Company name", Some(Role::Company)),
            ("Firmenname", None),
            ("Rückrufnummer", Some(Role::Phone)),
            ("Téléphone", Some(Role::Phone)),
            ("form_fields[email2]", Some(Role::Email)),
            ("a1b2c3d", None),
            ("unnamed", None),
            ("", None),
        ] {
            assert_eq!(dictionary().role_of(name, &Arena::new()), role, "{name}");
        }
    }

    #[test]
    fn a_label_goes_before_the_key() {
        let field = Field { key: "email", label: Some("Company"), kind: None, values: &[], node: None };
        assert_eq!(dictionary().role(&field, &Arena::new()), Some(Role::Company));
    }
}

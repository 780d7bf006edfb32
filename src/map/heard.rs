//! What the lead says already, so that no extra says it again.

use std::cell::OnceCell;

use super::fate::LeadFields;
use super::markup::without_tags;
use super::words::{Role, Sense};
use crate::decode::Arena;

/// Fewest lines of a value that is a copy of the whole form: each of the lead's fields, with a label or a blank line.
const COPY_LINES: usize = 5;
/// Fewest bytes of a value that is the same as what the lead says, and not as short by chance: "yes", "2".
const SAID_MIN: usize = 4;
/// Fewest bytes of a text that is told from others by how it begins.
const COPY_MIN: usize = 16;

/// What the lead already says, so that no extra says it again.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// Of each field that was used: which lead fields it was found for.
    pub(super) used: Vec<Option<LeadFields>>,
    /// Values that lead fields were made of.
    pub(super) texts: Vec<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) email: Option<&'a str>,
    pub(super) message: Option<&'a str>,
}

/// [`Said`], made ready to be compared: once, since a message may be long and the fields many.
pub(super) struct Heard<'a> {
    texts: Vec<ComparableText<'a>>,
    name: ComparableText<'a>,
    email: ComparableText<'a>,
    message: ComparableText<'a>,
}

impl<'a> Heard<'a> {
    pub(super) fn new(said: &Said<'a>) -> Self {
        let part = |text: Option<&'a str>| ComparableText::new(text.unwrap_or_default());
        Self {
            texts: said.texts.iter().map(|text| ComparableText::new(text)).collect(),
            name: part(said.name),
            email: part(said.email),
            message: part(said.message),
        }
    }

    /// Tells whether a value is a copy of the message that was cut short, or marked up, or told with the name before it.
    fn holds_copy(&self, value: &str) -> bool {
        let is_marked = value.contains('<') && value.contains('>');
        let cut = value.trim_end_matches(['.', '…', ' ']);
        let message = self.message.raw;
        if message.len() < COPY_MIN
            || !(is_marked || cut.len() < value.len() || message.starts_with(value.get(..COPY_MIN).unwrap_or_default()))
        {
            return false;
        }
        let arena = Arena::new();
        let cut = without_tags(cut, &arena).trim();
        let cut = cut
            .strip_prefix(self.name.raw)
            .filter(|_| !self.name.raw.is_empty())
            .unwrap_or(cut)
            .trim_start_matches([' ', ':', '-', ',']);
        cut.len() >= COPY_MIN && message.starts_with(cut)
    }

    /// Tells whether the lead says a value already: as such, as a part of the name, or in a copy of the whole form.
    pub(super) fn says(&self, value: &'a str, sense: Sense) -> bool {
        if self.holds_copy(value) {
            return true;
        }
        let value = ComparableText::new(value);
        // Part of the visitor's name may be part of another's too.
        let is_part = matches!(sense.role, Role::FirstName | Role::LastName) && sense.owner.is_the_visitor();
        let holds = |text: &ComparableText<'_>| !text.get().is_empty() && value.get().contains(text.get());
        (value.raw.len() >= SAID_MIN && self.texts.iter().any(|text| text.is(&value)))
            || (is_part && self.name.holds_words(&value))
            || (value.raw.lines().nth(COPY_LINES - 1).is_some()
                && holds(&self.email)
                && holds(&self.name)
                && holds(&self.message))
    }
}

/// A text for comparison: LF newlines, without regard to case and surrounding space; computed when first needed.
struct ComparableText<'a> {
    raw: &'a str,
    /// It is ASCII, one line and without entities.
    is_simple: bool,
    plain: OnceCell<String>,
}

impl<'a> ComparableText<'a> {
    fn new(raw: &'a str) -> Self {
        let raw = raw.trim();
        let is_simple = raw.bytes().all(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'&'));
        Self { raw, is_simple, plain: OnceCell::new() }
    }

    fn get(&self) -> &str {
        self.plain.get_or_init(|| match self.is_simple {
            true => self.raw.to_ascii_lowercase(),
            false => self.raw.replace("\r\n", "\n").replace("&amp;", "&").trim().to_lowercase(),
        })
    }

    fn is(&self, other: &ComparableText<'_>) -> bool {
        let begins_alike = || self.first().eq(other.first());
        if !self.may_hold(other) || !other.may_hold(self) || !begins_alike() {
            return false;
        }
        match (self.is_simple, other.is_simple) {
            (true, true) => self.raw.eq_ignore_ascii_case(other.raw),
            (false, true) => self.get().eq_ignore_ascii_case(other.raw),
            (_, false) => self.get() == other.get(),
        }
    }

    fn first(&self) -> impl Iterator<Item = char> + use<> {
        self.raw.chars().next().into_iter().flat_map(char::to_lowercase)
    }

    /// Tells whether a text stands in this one, and no word goes on before or behind it.
    fn holds_words(&self, part: &ComparableText<'_>) -> bool {
        if !self.may_hold(part) || part.get().is_empty() {
            return false;
        }
        let text = self.get();
        text.match_indices(part.get()).any(|(at, part)| {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let after = text.get(at + part.len()..).and_then(|text| text.chars().next());
            [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
        })
    }

    /// Tells whether a text is short enough to be a part of this one: neither is written plain where it isn't.
    fn may_hold(&self, part: &ComparableText<'_>) -> bool {
        match part.is_simple {
            true => part.raw.len() <= self.raw.len(),
            false => part.raw.len() <= self.raw.len() * PLAIN_RATIO_MAX,
        }
    }
}

/// How many times as long one of two texts can be that are the same once they are plain: of `&amp;` a fifth stays, and two
/// bytes of a letter can become three.
const PLAIN_RATIO_MAX: usize = 8;

//! The API's words on what it refused: one short line, without what the visitor wrote and without keys.

use crate::lead::Lead;

/// Longest line that is kept, in characters.
const WORDS_MAX: usize = 300;
/// How much of the API's text is looked at, in characters.
const TEXT_MAX: usize = 1_000;
/// The beginning of a value, this many characters of it, is hidden too: the API may cut what it repeats.
const BEGINNING_MIN: usize = 12;
/// So many last digits tell a phone number, however it is written.
const PHONE_DIGITS: usize = 7;
/// What stands for what is hidden.
const MARK: char = '…';
/// What a key begins with.
const KEY_PREFIXES: [&str; 3] = ["wp_pk_", "wp_sk_", "kc_live_"];

/// What must not be seen in the API's words, in lower case and on one line.
#[derive(Default)]
pub(super) struct Mask {
    values: Vec<Vec<char>>,
    phone: Option<String>,
}

impl Mask {
    /// Hides a lead's own values, the words of its name and the lines of its message.
    pub(super) fn of(lead: &Lead) -> Self {
        let message = lead.message();
        let after_label = message.lines().filter_map(|line| line.split_once(": ")).map(|(_, value)| value);
        let texts = [lead.name(), lead.email(), message].into_iter().chain(lead.phone());
        let parts = lead.name().split(' ').filter(|part| part.chars().nth(1).is_some());
        let mut values: Vec<Vec<char>> =
            texts.chain(parts).chain(message.lines()).chain(after_label).map(folded).collect();
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        let phone = lead.phone().map(digits).filter(|phone| phone.len() >= PHONE_DIGITS);
        Self { values, phone }
    }

    /// Returns the text as it may be stored and shown; `None` if nothing is left of it.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        let line: Vec<char> = one_line(text).chars().take(TEXT_MAX).collect();
        let folded: Vec<char> = line.iter().copied().map(fold).collect();
        let mut hidden = vec![false; line.len()];
        self.hide_values(&folded, &mut hidden);
        self.hide_phone(&folded, &mut hidden);
        hide_words(&folded, &mut hidden);
        let shown = cut(&redacted(&line, &hidden));
        (!shown.is_empty()).then_some(shown)
    }

    fn hide_values(&self, line: &[char], hidden: &mut [bool]) {
        for start in 0..line.len() {
            let rest = line.get(start..).unwrap_or_default();
            let before = start.checked_sub(1).and_then(|at| line.get(at));
            for value in &self.values {
                let length = value.iter().zip(rest).take_while(|(a, b)| a == b).count();
                let whole = length == value.len() && is_apart(value.last(), rest.get(length));
                let beginning = length >= BEGINNING_MIN || (length > 2 && length == rest.len());
                if is_apart(before, value.first()) && (whole || beginning) {
                    hide(hidden, start, length);
                }
            }
        }
    }

    /// Hides the lead's phone number, whatever stands between its digits.
    fn hide_phone(&self, line: &[char], hidden: &mut [bool]) {
        let Some(phone) = &self.phone else { return };
        let tail = phone.get(phone.len().saturating_sub(PHONE_DIGITS)..).unwrap_or(phone);
        for (start, run) in runs(line, |c| c.is_ascii_digit() || " +-().,/".contains(c)) {
            let text: String = run.iter().collect();
            if digits(&text).contains(tail) {
                let number = text.trim_start_matches([' ', '-', ')', '.', ',', '/']);
                let blank = text.len() - number.len();
                hide(hidden, start + blank, number.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
            }
        }
    }
}

/// Hides whole words that are an e-mail address or hold a key, whoever's they are.
fn hide_words(line: &[char], hidden: &mut [bool]) {
    for (start, run) in runs(line, |c| !c.is_whitespace() && !"\"'`<>()[]{},;:".contains(c)) {
        let word: String = run.iter().collect();
        let is_address = word.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if is_address || KEY_PREFIXES.iter().any(|prefix| word.contains(prefix)) {
            hide(hidden, start, run.len());
        }
    }
}

/// Returns the longest runs of characters that hold, with where each begins.
fn runs(line: &[char], holds: impl Fn(char) -> bool) -> Vec<(usize, &[char])> {
    let mut start = 0;
    let mut found = Vec::new();
    for run in line.split(|&c| !holds(c)) {
        if !run.is_empty() {
            found.push((start, run));
        }
        start += run.len() + 1;
    }
    found
}

fn hide(hidden: &mut [bool], start: usize, length: usize) {
    hidden.iter_mut().skip(start).take(length).for_each(|hidden| *hidden = true);
}

/// Tells whether a value ends between two characters, and not within a word.
fn is_apart(left: Option<&char>, right: Option<&char>) -> bool {
    let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    !(is_word(left) && is_word(right))
}

fn redacted(line: &[char], hidden: &[bool]) -> String {
    let mut shown = String::with_capacity(line.len());
    for (&c, &hidden) in line.iter().zip(hidden) {
        match hidden {
            false => shown.push(c),
            true if shown.ends_with(MARK) => {}
            true => shown.push(MARK),
        }
    }
    shown.trim().to_owned()
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WORDS_MAX {
        return line.to_owned();
    }
    line.chars().take(WORDS_MAX - 1).chain([MARK]).collect()
}

/// Makes one line: control and direction characters and line ends become spaces, runs of spaces one.
fn one_line(text: &str) -> String {
    let is_directional = |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    let spaced: String =
        text.chars().map(|c| if c.is_control() || is_directional(c) { ' ' } else { c }).take(TEXT_MAX * 4).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn folded(text: &str) -> Vec<char> {
    one_line(text).chars().map(fold).collect()
}

/// One character for one, so that places in the folded line are places in the line.
fn fold(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lead::{Draft, Lead};

    fn mask() -> Mask {
        let draft = Draft {
            name: Some("Jane O'Doe"),
            email: Some("jane@example.com"),
            phone: Some("+1 503 555 0123"),
            message: Some("Hello there, dear dentist\nmy tooth hurts\nBudget: 1200 EUR"),
            ..Draft::default()
        };
        Mask::of(&Lead::check(draft).expect("a lead").lead)
    }

    fn shown(text: &str) -> String {
        mask().apply(text).unwrap_or_default()
    }

    #[test]
    fn what_the_visitor_wrote_is_hidden() {
        assert_eq!(shown("Lead Jane O'Doe exists"), "Lead … exists");
        assert_eq!(shown("JANE is not allowed"), "… is not allowed");
        assert_eq!(shown("bad address: JANE@example.com"), "bad address: …");
        assert_eq!(shown("phone +15035550123 is bad"), "phone … is bad");
        assert_eq!(shown("phone (503) 555-0123 is bad"), "phone … is bad");
        assert_eq!(shown("spam: My tooth hurts."), "spam: ….");
        assert_eq!(shown("spam: hello there, dear den..."), "spam: …...");
        assert_eq!(shown("over 1200 eur"), "over …");
        assert_eq!(shown("ends in my too"), "ends in …");
    }

    #[test]
    fn other_addresses_and_keys_are_hidden_too() {
        assert_eq!(shown("owner (bob@example.org) not found"), "owner (…) not found");
        assert_eq!(shown("bad pair wp_pk_abc:wp_sk_def"), "bad pair …:…");
        assert_eq!(shown("use kc_live_abc"), "use …");
    }

    #[test]
    fn words_that_only_hold_a_value_stay() {
        assert_eq!(shown("Janet is no lead 15035550"), "Janet is no lead 15035550");
        assert_eq!(shown("marjane may"), "marjane may");
        assert_eq!(shown("Failed to create lead"), "Failed to create lead");
    }

    #[test]
    fn words_are_one_line_of_300_characters() {
        assert_eq!(shown("a\r\n\tb\u{1b}[31m\u{202e}c \u{0}"), "a b [31m c");
        assert_eq!(mask().apply(" \n\u{200b} "), None);
        let long = shown(&"é ".repeat(5_000));
        assert_eq!(long.chars().count(), WORDS_MAX);
        assert!(long.ends_with(MARK));
    }
}

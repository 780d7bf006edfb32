//! What the visitor said: name and message, and the extras that go with it.

use serde::{Deserialize, Serialize};

use super::Extra;

/// Longest name, in characters.
const NAME_MAX: usize = 200;
/// Longest message, in characters.
pub(super) const MESSAGE_MAX: usize = 65_536;
/// Ends a message that was longer.
const CUT_MARK: &str = "\n[cut]";

/// A name: one line without control or bidi-override characters, 1 to 200 characters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("is empty")]
    Empty,
    #[error("is longer than {NAME_MAX} characters")]
    TooLong,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidName> {
        let name = one_line(text);
        match name.chars().count() {
            0 => Err(InvalidName::Empty),
            1..=NAME_MAX => Ok(Self(name)),
            _ => Err(InvalidName::TooLong),
        }
    }

    /// Reads the beginning of a text that is longer than any name.
    pub(super) fn parse_start(text: &str) -> Result<Self, InvalidName> {
        Self::parse(&text.chars().take(NAME_MAX).collect::<String>())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// A message: LF newlines, no control characters but tabs, 1 to 65,536 characters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Message(String);

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::compose(Some(&text), &[], None)
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.0
    }
}

impl Message {
    /// Puts the message together: what was written, an empty line, then a line an extra.
    ///
    /// If all of it is empty it says through which form it came.
    pub(super) fn compose(written: Option<&str>, extras: &[Extra<'_>], form_name: Option<&str>) -> Self {
        let written = written.unwrap_or_default();
        let room = |extra: &Extra<'_>| extra.label.len() + extra.value.len() + ": \n".len();
        let mut text = String::with_capacity(written.len() + "\n\n".len() + extras.iter().map(room).sum::<usize>());
        push_paragraphs(written, "\n", &mut text);
        let mut before = if text.is_empty() { "" } else { "\n\n" };
        for extra in extras {
            if push_extra(before, extra, &mut text) {
                before = "\n";
            }
        }
        if text.is_empty() {
            let form = form_name.map(one_line).filter(|name| !name.is_empty());
            text = format!("Submitted through {}", form.as_deref().unwrap_or("the website's form"));
        }
        Self(cut(text))
    }

    /// Returns the message as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes an extra as its line, after what stands before it; tells whether it has a value. Further lines of the value are
/// indented, so that a value can't forge a line.
fn push_extra(before: &str, extra: &Extra<'_>, out: &mut String) -> bool {
    let start = out.len();
    out.push_str(before);
    push_line(&extra.label, out);
    out.push_str(": ");
    let value = out.len();
    push_paragraphs(&extra.value, "\n  ", out);
    let has_value = out.len() > value;
    if !has_value {
        out.truncate(start);
    }
    has_value
}

fn cut(text: String) -> String {
    // No text has more characters than bytes.
    if text.len() <= MESSAGE_MAX || !is_longer(&text, MESSAGE_MAX) {
        return text;
    }
    let keep = MESSAGE_MAX - CUT_MARK.chars().count();
    let mut kept: String = text.chars().take(keep).collect();
    kept.push_str(CUT_MARK);
    kept
}

/// Tells whether a text has more characters than that.
pub(super) fn is_longer(text: &str, max: usize) -> bool {
    text.chars().nth(max).is_some()
}

/// Makes one line of text: runs of white space become one space, control and bidi-override characters go.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_line(text, &mut line);
    line
}

fn push_line(text: &str, out: &mut String) {
    let start = out.len();
    let mut rest = text;
    while let Some(c) = pass_plain(&mut rest, b'!', out) {
        if c.is_whitespace() {
            if out.len() > start && !out.ends_with(' ') {
                out.push(' ');
            }
        } else if !c.is_control() && !is_bidi_override(c) {
            out.push(c);
        }
    }
    if out.len() > start && out.ends_with(' ') {
        out.pop();
    }
}

/// Adds clean lines of text, each but the first after `line_end`: no control characters but tabs, nothing blank around it.
fn push_paragraphs(text: &str, line_end: &str, out: &mut String) {
    let mut rest = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let mut after_return = None;
    while let Some(c) = pass_plain(&mut rest, b' ', out) {
        match c {
            // Of a pair of line ends the first was written.
            '\n' if after_return == Some(rest.len() + 1) => {}
            // Line ends of other conventions too, or they would show as such after the lines have been indented.
            '\n' | '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push_str(line_end),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
        after_return = (c == '\r').then_some(rest.len());
    }
}

/// Writes what a text begins with of the ASCII signs from `first` to `~`, and takes the sign after them off, which may be any.
fn pass_plain(rest: &mut &str, first: u8, out: &mut String) -> Option<char> {
    let plain = rest.bytes().take_while(|byte| (first..=b'~').contains(byte)).count();
    let (run, after) = rest.split_at_checked(plain)?;
    out.push_str(run);
    let mut chars = after.chars();
    let next = chars.next();
    *rest = chars.as_str();
    next
}

/// Embeddings, overrides and isolates (UAX #9 §2): they make text read differently from what it says.
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(label: &'static str, value: &'static str) -> Extra<'static> {
        Extra { label: label.into(), value: value.into() }
    }

    #[test]
    fn a_name_is_one_clean_line() {
        let name = |text: &str| Name::parse(text).map(|name| name.0);
        assert_eq!(name("  Jane \r\n  Q.\tDoe "), Ok("Jane Q. Doe".to_owned()));
        assert_eq!(name("a\u{202E}b\u{0}c"), Ok("abc".to_owned()));
        assert_eq!(name(" \u{7} "), Err(InvalidName::Empty));
        assert_eq!(name(&"é".repeat(200)).map(|name| name.len()), Ok(400));
        assert_eq!(name(&"é".repeat(201)), Err(InvalidName::TooLong));
    }

    #[test]
    fn a_message_is_what_was_written_then_the_extras() {
        let extras = [extra("Budget", "5\r\nForged: yes"), extra("Empty", " "), extra("A\nB", "c")];
        let message = Message::compose(Some("Hello,\r\n\ton\u{0} me. \n"), &extras, None);
        assert_eq!(message.as_str(), "Hello,\n\ton me.\n\nBudget: 5\n  Forged: yes\nA B: c");
        assert_eq!(Message::compose(None, &extras, None).as_str(), "Budget: 5\n  Forged: yes\nA B: c");
    }

    #[test]
    fn a_message_is_never_empty() {
        assert_eq!(Message::compose(None, &[], Some(" Quote ")).as_str(), "Submitted through Quote");
        assert_eq!(Message::compose(Some(" "), &[], None).as_str(), "Submitted through the website's form");
    }

    #[test]
    fn a_message_too_long_is_cut_with_a_mark() {
        let message = Message::compose(Some(&"é".repeat(MESSAGE_MAX + 1)), &[], None);
        assert_eq!(message.as_str().chars().count(), MESSAGE_MAX);
        assert!(message.as_str().ends_with("é\n[cut]"));
        assert!(!Message::compose(Some(&"é".repeat(MESSAGE_MAX)), &[], None).as_str().contains("[cut]"));
    }
}

//! How numbers, times and other people's texts are said.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::notify::notice::NamedSite;

/// Longest name of a site, in characters.
const NAME_MAX: usize = 60;
/// Longest text of somebody else within a sentence: an API's, a program's.
const QUOTED_MAX: usize = 200;
/// What stands for the rest of a text that was cut.
const CUT: char = '…';

/// Returns what a site is called.
pub(super) fn site_name(site: &NamedSite) -> String {
    let name = site.name.as_deref().map(|name| clip(name, NAME_MAX)).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| site.id.to_string())
}

/// Writes a number of things.
pub(super) fn count(number: u64, noun: &str) -> String {
    let noun: Cow<'_, str> = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.into(),
        (_, Some(stem)) => format!("{stem}ies").into(),
        (_, None) => format!("{noun}s").into(),
    };
    format!("{} {noun}", grouped(number))
}

/// Writes how many leads wait, as a clause.
pub(super) fn waiting(leads: u64) -> String {
    match leads {
        0 => "no lead waits".to_owned(),
        1 => "1 lead waits".to_owned(),
        leads => format!("{} wait", count(leads, "lead")),
    }
}

/// Writes a number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a time to the minute, with its zone.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Writes a time as one says it at another moment: without the date on the same day.
pub(super) fn time_seen_from(at: Timestamp, moment: Timestamp) -> String {
    if date(at) == date(moment) { at.to_zoned(TimeZone::UTC).strftime("%H:%M UTC").to_string() } else { time(at) }
}

/// Returns the day of a time, in UTC.
pub(super) fn date(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// Makes somebody else's text fit for a sentence: one line, not too long.
pub(super) fn quoted(text: &str) -> String {
    clip(text, QUOTED_MAX)
}

/// Makes a text one line of so many characters: white space becomes one space, what can't be seen or turns the direction of
/// reading goes.
pub(super) fn clip(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max * 4));
    let mut length = 0;
    let mut is_gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            is_gap = length > 0;
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if length + 1 + usize::from(is_gap) > max {
            cut_last(&mut line, length == max);
            return line;
        }
        if std::mem::take(&mut is_gap) {
            line.push(' ');
            length += 1;
        }
        line.push(c);
        length += 1;
    }
    line
}

/// Puts the sign of a cut behind a line, which may be full.
fn cut_last(line: &mut String, is_full: bool) {
    if is_full {
        line.pop();
    }
    line.push(CUT);
}

/// Writes a text with a capital at its beginning.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Returns a text of several lines without what a mail can't carry or a reader can't see; every line end is a `\n`.
pub(super) fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let keep = |c: char| c == '\n' || c == '\t' || !c.is_control();
    // What other conventions take for a line end would begin a line that nothing indents.
    let as_line_end =
        |c: char| if matches!(c, '\r' | '\u{B}' | '\u{C}' | '\u{85}' | '\u{2028}' | '\u{2029}') { '\n' } else { c };
    text.chars().map(as_line_end).filter(|c| keep(*c)).collect()
}

/// Control characters, and marks that embed, override or isolate a direction (UAX #9 §2) or have no width.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart_and_nouns_their_plural() {
        let said = [(0, "lead"), (1, "lead"), (412, "post"), (1_204, "entry"), (1_000_000, "lead")]
            .map(|(number, noun)| count(number, noun));
        assert_eq!(said, ["0 leads", "1 lead", "412 posts", "1,204 entries", "1,000,000 leads"]);
        assert_eq!([0, 1, 12].map(waiting), ["no lead waits", "1 lead waits", "12 leads wait"]);
    }

    #[test]
    fn a_time_of_the_same_day_needs_no_date() {
        let at: Timestamp = "2026-11-30T09:12:40Z".parse().expect("a time");
        let evening: Timestamp = "2026-11-30T23:59:00Z".parse().expect("a time");
        let next: Timestamp = "2026-12-01T00:00:00Z".parse().expect("a time");
        assert_eq!(time_seen_from(at, evening), "09:12 UTC");
        assert_eq!(time_seen_from(at, next), "2026-11-30 09:12 UTC");
    }

    #[test]
    fn a_line_is_cut_at_its_length_and_holds_no_break_and_no_override() {
        assert_eq!(clip(" a\r\n\t b\u{2028}c\u{0}\u{202E}d ", 10), "a b cd");
        assert_eq!(clip("abcde", 5), "abcde");
        assert_eq!(clip("abcde ", 5), "abcde");
        assert_eq!(clip("abcdef", 5), "abcd…");
        assert_eq!(clip("abcd ef", 5), "abcd…");
        assert_eq!(clip("سارة حداد", 60), "سارة حداد");
    }

    #[test]
    fn lines_end_alike_and_keep_what_they_say() {
        assert_eq!(lines("a\r\nb\rc\u{85}d\u{2028}e\u{0}\tf"), "a\nb\nc\nd\ne\tf");
    }
}

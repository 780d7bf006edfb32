//! A text as a row of characters, each as it is meant, with what is shown of it.

use super::{DIGIT_MARK, MARK};

/// A character as it is meant, and how many bytes it is written in.
#[derive(Clone, Copy)]
pub(super) struct Sign {
    pub(super) meant: char,
    bytes: usize,
    pub(super) shown: Shown,
}

/// What is shown of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As it is written.
    AsIs,
    Nothing,
    /// The mark of a digit.
    Digit,
    /// The at sign of an address, behind what is hidden of its local part.
    At,
    /// The same before a domain of which nothing is shown.
    AtNothing,
    /// The at sign behind a domain of which its end is hidden, and the mark of what follows.
    AtAgain,
    /// The last dot of an address, behind what is hidden of its domain.
    Dot,
}

/// Longest `&#…;` that is read.
const REFERENCE_MAX: usize = 10;

/// Reads a text that is written as it is meant.
pub(super) fn plain(text: &str) -> Vec<Sign> {
    text.chars().map(|meant| Sign::of(meant, meant.len_utf8())).collect()
}

/// Reads a text in which characters may be escaped.
pub(super) fn encoded(text: &str) -> Vec<Sign> {
    let mut signs = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escaped = match first {
            '%' => percent(rest),
            '\\' => json(rest),
            '&' => reference(rest),
            _ => None,
        };
        let sign = escaped.unwrap_or(Sign::of(first, first.len_utf8()));
        signs.push(sign);
        rest = rest.get(sign.bytes..).unwrap_or_default();
    }
    signs
}

/// Writes what is shown of a text.
pub(super) fn written(text: &str, signs: &[Sign]) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for sign in signs {
        let end = at + sign.bytes;
        match sign.shown {
            Shown::AsIs => shown.push_str(text.get(at..end).unwrap_or_default()),
            Shown::Nothing => {}
            Shown::Digit => shown.push_str(DIGIT_MARK),
            Shown::At => shown.extend([MARK, "@"]),
            Shown::AtNothing => shown.extend([MARK, "@", MARK]),
            Shown::AtAgain => shown.extend(["@", MARK]),
            Shown::Dot => shown.extend([MARK, "."]),
        }
        at = end;
    }
    shown
}

impl Sign {
    fn of(meant: char, bytes: usize) -> Self {
        Self { meant, bytes, shown: Shown::AsIs }
    }
}

/// Reads `%C3%A4`: as many bytes as the character has.
fn percent(text: &str) -> Option<Sign> {
    let byte = |at: usize| {
        let escape = text.get(3 * at..3 * at + 3)?;
        u8::from_str_radix(escape.strip_prefix('%').filter(|digits| is_hex(digits))?, 16).ok()
    };
    let first = byte(0)?;
    let width = match first {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let bytes: Vec<u8> = (0..width).map_while(byte).collect();
    let meant = str::from_utf8(&bytes).ok().filter(|_| bytes.len() == width)?.chars().next()?;
    Some(Sign::of(meant, 3 * width))
}

/// Reads `\u0040`. Half of a pair is no character, and hides nothing.
fn json(text: &str) -> Option<Sign> {
    let digits = text.strip_prefix("\\u")?.get(..4).filter(|digits| is_hex(digits))?;
    Some(Sign::of(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, 6))
}

/// Reads `&#64;` and `&#x40;`.
fn reference(text: &str) -> Option<Sign> {
    let after = text.strip_prefix("&#")?;
    let length = after.bytes().take(REFERENCE_MAX).position(|byte| byte == b';')?;
    let number = after.get(..length)?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(Some(digits).filter(|digits| is_hex(digits))?, 16),
        None => number.parse::<u32>(),
    };
    Some(Sign::of(char::from_u32(code.ok()?)?, 2 + length + 1))
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

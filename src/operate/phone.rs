//! Telephone numbers in text, compared by their digits: however one writes a number, it is the same number.

use rlibphonenumber::PHONE_NUMBER_UTIL;

/// Fewer digits are no telephone number, but a year, a price or a house.
pub(super) const DIGITS_MIN: usize = 7;
/// More digits are none either: 15 of a number (E.164), and what is dialled before it.
const DIGITS_MAX: usize = 20;
/// Longest code of a country.
const COUNTRY_CODE_MAX: usize = 3;
/// Most signs between two groups of a number's digits, as in `) - `.
pub(super) const BETWEEN_MAX: usize = 4;

/// A number that is looked for. No `Debug`: it is somebody's.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PhoneDigits {
    /// Without what is dialled before it: `+`, `00`, or a leading `0`.
    digits: String,
    /// Longest part of it that may be the country's code, which not everybody writes.
    country_code_max: usize,
}

/// The digits of one number in a text.
#[derive(Default)]
struct WrittenNumber {
    digits: String,
    /// Where in `digits` each group begins.
    groups: Vec<usize>,
    /// It begins with the country's code: after a `+` or `00`.
    is_international: bool,
}

impl PhoneDigits {
    /// Reads what somebody types to find a number; none where it is no number, or too little of one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_number = text.chars().all(|c| digit(c).is_some() || is_between(c) || is_plus(c));
        let mut numbers = written(text).into_iter();
        let number = numbers.next().filter(|_| is_number)?;
        let digits = number.digits.trim_start_matches('0');
        let fits = (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len()) && numbers.next().is_none();
        let country_code_max = match number.is_international {
            true => COUNTRY_CODE_MAX,
            // North Americans write the code without a sign.
            false => usize::from(digits.len() == 11 && digits.starts_with('1')),
        };
        fits.then(|| Self { digits: digits.to_owned(), country_code_max })
    }

    /// Tells whether a text writes this number, with or without its country's code, or a number that ends in it.
    pub(super) fn stands_in(&self, text: &str) -> bool {
        // Most texts are none: no number has fewer digits.
        let digits = text.chars().filter(|c| digit(*c).is_some()).take(DIGITS_MIN).count();
        digits >= DIGITS_MIN && written(text).iter().any(|number| self.is_in(number))
    }

    fn is_in(&self, number: &WrittenNumber) -> bool {
        let ends = number.groups.iter().skip(1).copied().chain([number.digits.len()]);
        ends.enumerate().any(|(last, end)| {
            let up_to_here = number.digits.get(..end).unwrap_or_default();
            let groups = number.groups.get(..=last).unwrap_or_default();
            self.ends(up_to_here, groups, number.is_international) || self.is_longer_than(up_to_here, groups)
        })
    }

    /// Tells whether digits end in the number: one that a group holds whole, or that begins with a group.
    fn ends(&self, digits: &str, groups: &[usize], is_international: bool) -> bool {
        let Some(begin) = digits.strip_suffix(&self.digits).map(str::len) else { return false };
        let last = groups.last().copied().unwrap_or_default();
        let behind_country_code = is_international && begin <= COUNTRY_CODE_MAX;
        // Zeros before it are dialled, and no part of the number.
        let is_begin = |group: &usize| {
            *group <= begin && digits.get(*group..begin).is_some_and(|dialled| dialled.bytes().all(|byte| byte == b'0'))
        };
        begin >= last || behind_country_code || groups.iter().any(is_begin)
    }

    /// Tells whether the number is what groups write, and the country's code before it.
    fn is_longer_than(&self, digits: &str, groups: &[usize]) -> bool {
        groups.iter().rev().take(DIGITS_MAX).any(|begin| {
            let written = digits.get(*begin..).unwrap_or_default().trim_start_matches('0');
            let code = self.digits.strip_suffix(written).map(str::len);
            written.len() >= DIGITS_MIN && code.is_some_and(|code| code <= self.country_code_max)
        })
    }
}

/// Finds the runs of digits of a text; between the groups of one stand only signs that numbers are written with.
fn written(text: &str) -> Vec<WrittenNumber> {
    let mut numbers = Vec::new();
    let mut number = WrittenNumber::default();
    let mut between = String::new();
    for c in text.chars() {
        match digit(c) {
            Some(digit) => {
                if number.digits.is_empty() {
                    number.is_international = between.ends_with('+') || between.ends_with("+(");
                }
                if number.digits.is_empty() || !between.is_empty() {
                    number.groups.push(number.digits.len());
                }
                between.clear();
                number.digits.push(digit);
            }
            None if is_plus(c) => {
                numbers.push(std::mem::take(&mut number));
                between = "+".to_owned();
            }
            None if is_between(c) && between.len() < BETWEEN_MAX => {
                between.push(if matches!(c, '(' | ')') { c } else { ' ' });
                if c == ')' {
                    number.take_lone_zero();
                }
            }
            None => {
                numbers.push(std::mem::take(&mut number));
                between.clear();
            }
        }
    }
    numbers.push(number);
    numbers.retain(|number| !number.digits.is_empty());
    numbers.into_iter().map(WrittenNumber::without_exit_code).collect()
}

impl WrittenNumber {
    /// Takes away the zero of `+44 (0)20`, which is only dialled within the country.
    fn take_lone_zero(&mut self) {
        let has_country_code = self.is_international || self.digits.starts_with("00");
        let is_lone = self.groups.last().is_some_and(|begin| *begin > 0 && begin + 1 == self.digits.len());
        if has_country_code && is_lone && self.digits.ends_with('0') {
            self.groups.pop();
            self.digits.pop();
        }
    }

    /// Takes away the `00` that is dialled in place of a `+`.
    fn without_exit_code(self) -> Self {
        match self.digits.strip_prefix("00").filter(|_| !self.is_international) {
            None => self,
            Some(digits) => {
                let mut groups: Vec<usize> = self.groups.iter().map(|begin| begin.saturating_sub(2)).collect();
                groups.dedup();
                Self { digits: digits.to_owned(), groups, is_international: true }
            }
        }
    }
}

/// Returns a decimal digit of any script as that of ASCII.
pub(super) fn digit(c: char) -> Option<char> {
    if c.is_ascii() || !c.is_numeric() {
        return Some(c).filter(char::is_ascii_digit);
    }
    PHONE_NUMBER_UTIL.normalize_digits_only(c.encode_utf8(&mut [0; 4])).chars().next()
}

pub(super) fn is_plus(c: char) -> bool {
    matches!(c, '+' | '＋')
}

/// Signs between the groups of a number: blanks, brackets, dots, slashes and dashes of any script.
pub(super) fn is_between(c: char) -> bool {
    let is_dash = matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}' | '\u{ff0d}');
    // Marks that say which way to read, which copied numbers often begin with.
    let is_unseen = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{ad}');
    let is_blank = c.is_whitespace() && !matches!(c, '\n' | '\r');
    is_dash || is_unseen || is_blank || matches!(c, '(' | ')' | '（' | '）' | '.' | '．' | '/' | '／')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands(number: &str, text: &str) -> bool {
        PhoneDigits::parse(number).unwrap_or_else(|| panic!("no number: {number}")).stands_in(text)
    }

    const WAYS: [&str; 12] = [
        "+15035550142",
        "+1 503 555 0142",
        "+1 (503) 555-0142",
        "(503) 555-0142",
        "503.555.0142",
        "503/555 0142",
        "5035550142",
        "1-503-555-0142",
        "00 1 503 555 0142",
        "００１ ５０３ ５５５ ０１４２",
        "٥٠٣ ٥٥٥ ٠١٤٢",
        "\u{202d}503\u{a0}555\u{2011}0142\u{202c}",
    ];

    #[test]
    fn a_number_is_found_however_either_is_written() {
        for number in WAYS {
            for text in WAYS {
                assert!(stands(number, text), "{number} in {text}");
                let message = format!("Since 2019 I can be called 9 to 5, on {text}. Or 503 555 0199!");
                assert!(stands(number, &message), "{number} in {message}");
            }
        }
        assert!(stands("555-0142", "+15035550142") && stands("5550142", "(503) 555-0142"));
        for (number, text) in [
            ("020 7946 0018", "+44 20 7946 0018"),
            ("+44 20 7946 0018", "020 7946 0018"),
            ("+44 (0)20 7946 0018", "+442079460018"),
            ("+442079460018", "+44 (0) 20 7946 0018"),
            ("0044 20 7946 0018", "(020) 7946-0018"),
            ("06 6982 1234", "+390669821234"),
            ("+39 06 6982 1234", "06 6982 1234"),
        ] {
            assert!(stands(number, text), "{number} in {text}");
        }
    }

    #[test]
    fn another_number_is_another_number() {
        for (number, text) in [
            ("5035550142", "5035550143"),
            ("5035550142", "50355501420"),
            ("5035550142", "503 555\n0142"),
            ("5035550142", "503, 555, 0142"),
            ("5035550142", "12 5035 55014 27"),
            ("5035550142", "5550142"),
            ("+15035550142", "5550142"),
            ("+15035550142", "+445035550142"),
            ("34567890", "1234 567890"),
            ("5550142", "0142 555"),
        ] {
            assert!(!stands(number, text), "{number} in {text}");
        }
    }

    #[test]
    fn too_few_digits_or_a_letter_are_no_number() {
        for text in ["", "12", "503555", "503-555", "+1", "5035550142 x", "Route 5035550142", "5035550142,5035550143"] {
            assert!(PhoneDigits::parse(text).is_none(), "{text}");
        }
        assert!(PhoneDigits::parse("123456789012345678901").is_none());
    }
}

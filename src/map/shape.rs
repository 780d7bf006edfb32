//! What a value looks like, for forms whose keys say nothing.

use crate::lead::{Email, Phone, Region};

/// Longest value that is taken for a name, in characters.
const NAME_CHARS: usize = 60;
/// How many digits a phone number has.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

pub(super) fn is_email(text: &str) -> bool {
    Email::is_valid(text)
}

/// Tells whether somebody meant an address: `ann at example dot com`, `ann@example`.
pub(super) fn is_almost_email(text: &str) -> bool {
    let text = text.trim();
    if text.split_whitespace().nth(SPELLED_WORDS).is_some() {
        return false;
    }
    let is_word = !text.contains(char::is_whitespace);
    if is_word || !has_at(text) {
        return is_word && (text.contains('@') || text.contains("(at)") || text.contains("[at]"));
    }
    let text = text.to_lowercase();
    text.split_once(AT).is_some_and(|(_, host)| host.contains('.') || host.contains(" dot "))
}

/// How `@` is spelled.
const AT: &str = " at ";
/// Most words of an address that is spelled out.
const SPELLED_WORDS: usize = 6;

fn has_at(text: &str) -> bool {
    text.as_bytes().windows(AT.len()).any(|part| part.eq_ignore_ascii_case(AT.as_bytes()))
}

/// Tells whether text is a phone number: signs of one, as many digits as one, and not a date, time or plain number.
pub(super) fn is_phone(text: &str, region: Option<Region>) -> bool {
    let text = without_extension(text.trim());
    let is_sign = |c: char| c.is_numeric() || c.is_whitespace() || "+()-./".contains(c);
    if !text.chars().all(is_sign) {
        return false;
    }
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    if !PHONE_DIGITS.contains(&digits) || is_date(text) || is_address_number(text) {
        return false;
    }
    let dialled = text.starts_with(['+', '(', '0', '٠']) || text.contains([' ', '-']) || is_dotted(text, digits);
    dialled || Phone::is_valid(text, region)
}

/// `503.555.0199`; the last group of an amount, `1.500.000.000`, has three figures.
fn is_dotted(text: &str, digits: usize) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').count() >= 3 && matches!(last.len(), 2 | 4) && digits >= 10
}

/// Takes off `x12`, `ext. 12` or `#12`.
fn without_extension(text: &str) -> &str {
    let head = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let mark = head.trim_end();
    let cut = |sign: &str| {
        let at = mark.len().checked_sub(sign.len())?;
        let (number, end) = mark.split_at_checked(at)?;
        end.eq_ignore_ascii_case(sign).then(|| number.trim_end_matches([' ', ',', ';']))
    };
    let number = ["extension", "ext.", "ext", "x", "#"].into_iter().find_map(cut);
    number.filter(|_| head.len() < text.len()).unwrap_or(text)
}

/// Tells whether text is a date or a time in figures.
pub(super) fn is_date(text: &str) -> bool {
    let text = text.trim();
    let day = text.split([' ', 'T']).next().unwrap_or_default();
    let parts = || day.split(['-', '/', '.']);
    let figures = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let short = parts().filter(|part| part.len() <= 2).count();
    let clock = day.split_once(':').is_some_and(|(hour, _)| (1..=2).contains(&hour.len()));
    clock || (parts().count() == 3 && parts().all(figures) && short >= 2 && separators(day) == 1)
}

/// How many different separators a figure has.
fn separators(text: &str) -> usize {
    ['-', '/', '.'].into_iter().filter(|c| text.contains(*c)).count()
}

/// Tells whether text is an IP address.
pub(super) fn is_address_number(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Fewest characters of a word that only a program writes.
const TOKEN_MIN: usize = 16;

/// Tells whether text is what programs write and no visitor: a user agent, an IP address, an id, a hash, a time stamp.
pub(super) fn is_machine(text: &str) -> bool {
    let text = text.trim();
    is_user_agent(text) || is_code(text) || is_address_number(text) || is_token(text) || is_time_stamp(text)
}

/// Tells whether text is how a browser calls itself (RFC 9110 §10.1.5): products with versions, or one of the usual first.
pub(super) fn is_user_agent(text: &str) -> bool {
    text.starts_with("Mozilla/") || (text.starts_with("Opera/") && text.contains('('))
}

/// Tells whether text is a query that a program sends along: GraphQL.
fn is_code(text: &str) -> bool {
    (text.starts_with("mutation") || text.starts_with("query")) && text.contains('{') && text.ends_with('}')
}

/// Tells whether text is one long word of letters and digits that nobody can pronounce.
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    if text.len() < TOKEN_MIN || !text.bytes().all(is_of_token) {
        return false;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    digits >= 3 && letters >= 3
}

/// Fewest digits of a hexadecimal word that only a program writes, whatever its key.
const HEX_MIN: usize = 20;

/// Tells whether a word is a digest in hexadecimal digits.
pub(super) fn is_hash(word: &str) -> bool {
    word.len() >= HEX_MIN
        && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Tells whether text is a time as programs write it: `2026-11-20T15:00:21.889Z`.
fn is_time_stamp(text: &str) -> bool {
    let Some((day, time)) = text.split_once('T') else { return false };
    is_date(day) && time.len() >= 8 && time.bytes().all(|byte| byte.is_ascii_digit() || b":.Z+-".contains(&byte))
}

pub(super) fn is_url(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with("http://") || text.starts_with("https://") || text.starts_with("www.")
}

/// Tells whether text is one line that a person could be called by.
pub(super) fn is_line(text: &str) -> bool {
    let text = text.trim();
    let short = text.chars().count() <= NAME_CHARS && !text.contains('\n');
    let signs = text.chars().filter(|c| c.is_numeric() || "/\\_=<>|#".contains(*c)).count();
    let figures = text.chars().filter(|c| c.is_numeric()).count();
    let is_slug = (signs > 1 && !text.contains(char::is_whitespace)) || figures > 3;
    short && has_letter(text) && !is_slug && !is_url(text) && !is_date(text) && !text.starts_with(['[', '{'])
}

fn has_letter(text: &str) -> bool {
    // The letters of nearly all texts are found as bytes.
    text.bytes().any(|byte| byte.is_ascii_alphabetic()) || (!text.is_ascii() && text.chars().any(char::is_alphabetic))
}

/// Tells whether text may be something a visitor wrote freely: several words or lines.
pub(super) fn is_prose(text: &str) -> bool {
    let text = text.trim();
    if is_url(text) || !has_letter(text) || text.starts_with(['[', '{']) || is_date(text) {
        return false;
    }
    // Scripts without spaces between words.
    let is_dense = |c: &char| ('\u{2E80}'..='\u{FAFF}').contains(c);
    text.contains('\n')
        || text.split_whitespace().nth(1).is_some()
        || text.chars().filter(is_dense).nth(DENSE_WORD).is_some()
}

/// How many letters of such a script are no more than a word.
const DENSE_WORD: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_from_phones() {
        for phone in [
            "+48 601 234 567",
            "(503) 555-1234",
            "0412 345 678",
            "+91-98765-43210",
            "503.555.0199 1",
            "٠٥٠ ١٢٣ ٤٥٦٧",
            "503.555.0199 x12",
            "+15035550199,ext. 4",
            "0412 345 678 EXT 1",
        ] {
            assert!(is_phone(phone, None), "{phone}");
        }
        for other in [
            "2026-12-24",
            "12/24/2026",
            "24.12.2026",
            "17:30",
            "2026-11-21 00:06:18",
            "127.0.0.1",
            "1500",
            "1798133400",
            "Unit x12",
            "1.500.000.000",
            "2026-12-24 x1",
            "hello",
            "",
        ] {
            assert!(!is_phone(other, None), "{other}");
        }
        assert!(is_phone("5035551234", Region::parse("US").ok()));
    }

    #[test]
    fn prose_is_told_from_facts() {
        for text in ["Hello,\r\nMy boiler is leaking.", "Call me", "你好,我家的水管漏水了。", "a\nb"] {
            assert!(is_prose(text), "{text}");
        }
        for other in ["am", "https://example.com/?a b", "2026-12-24 10:00", "1 2 3", "{\"1\": [2]}", "你好吗"] {
            assert!(!is_prose(other), "{other}");
        }
    }

    #[test]
    fn an_address_spelled_out_is_meant_as_one() {
        assert!(is_almost_email("cher at example dot com") && is_almost_email("ann@example"));
        assert!(!is_almost_email("meet me at noon") && !is_almost_email("no valid mail"));
    }
}

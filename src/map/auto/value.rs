//! What filled-in values look like, weighed.

use crate::map::shape;
use crate::map::words::Dictionary;

/// Words that are written in lower case inside names.
const PARTICLES: [&str; 34] = [
    "von", "van", "der", "den", "de", "del", "della", "di", "da", "do", "dos", "das", "du", "des", "la", "le", "el",
    "al", "bin", "ibn", "bint", "ter", "ten", "zu", "zum", "zur", "af", "av", "y", "e", "i", "und", "and", "d",
];
/// What the names of companies end with.
const FIRMS: [&str; 35] = [
    "gmbh", "ag", "kg", "ohg", "ug", "ltd", "limited", "llc", "llp", "inc", "corp", "co", "company", "plc", "pty",
    "sa", "sarl", "sas", "srl", "spa", "sl", "bv", "nv", "ab", "as", "aps", "oy", "oyj", "kft", "zrt", "sro", "doo",
    "ooo", "ооо", "pvt",
];
const JAPANESE_FIRM: &str = "株式会社";
const NAME_CHARS: usize = 60;
const NAME_WORDS: usize = 5;

/// How much a text looks like what a person is called: 0 not at all, to 6.
pub(super) fn name_likeness(text: &str, dictionary: &Dictionary) -> i32 {
    let text = text.trim();
    match written_likeness(text) {
        0 => 0,
        _ if dictionary.is_answer(text) || dictionary.is_salutation(text) => 0,
        likeness => likeness,
    }
}

/// The same, by the signs alone.
fn written_likeness(text: &str) -> i32 {
    let is_of_name = |c: char| {
        c.is_alphabetic()
            || " '’.-‐·・\u{a0}\u{3000}\u{200c}\u{200d}".contains(c)
            || unicode_normalization::char::is_combining_mark(c)
    };
    if text.chars().nth(NAME_CHARS).is_some() || !text.chars().all(is_of_name) || !text.contains(char::is_alphabetic) {
        return 0;
    }
    let words = || text.split_whitespace();
    let count = words().take(NAME_WORDS + 1).count();
    if count > NAME_WORDS || words().any(is_firm) || text.contains(JAPANESE_FIRM) {
        return 0;
    }
    let first_char = |word: &str| word.chars().find(|c| c.is_alphabetic());
    let is_cased = words().filter_map(first_char).any(|c| c.is_lowercase() || c.is_uppercase());
    if !is_cased {
        return uncased_likeness(text, count);
    }
    let small = words().filter(|word| first_char(word).is_some_and(char::is_lowercase));
    let strange = small.filter(|word| !PARTICLES.contains(&word.trim_end_matches('’'))).count();
    match (count, strange) {
        (2..=3, 0) => 6,
        (4..=5, 0) => 4,
        (1, 0) => 3,
        // Typed without a capital.
        (2, 2) => 2,
        (1, 1) => 1,
        _ => 0,
    }
}

fn is_firm(word: &str) -> bool {
    let word = word.trim_matches(['.', ',']);
    match word.is_ascii() && !word.contains('.') {
        true => FIRMS.iter().any(|firm| firm.eq_ignore_ascii_case(word)),
        false => FIRMS.contains(&word.to_lowercase().replace('.', "").as_str()),
    }
}

/// The same, in scripts that know no capitals: judged by how many characters and words there are.
fn uncased_likeness(text: &str, words: usize) -> i32 {
    let chars = text.chars().filter(|c| !c.is_whitespace()).count();
    let is_han = text.chars().any(|c| matches!(c, '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'));
    match (is_han, words, chars) {
        (true, 1..=2, 2..=4) => 5,
        (true, 1..=2, 5..=6) => 2,
        (true, ..) => 0,
        (false, 2..=3, _) => 5,
        (false, 1, _) => 3,
        (false, 4, _) => 2,
        _ => 1,
    }
}

/// Takes the titles and what stands after a comma off a name: `Ing. Vratislav Hujo`, `Hoekzema-Veen, A.`
pub(super) fn without_titles(text: &str) -> &str {
    let mut rest = text.split(',').next().unwrap_or(text).trim();
    while let Some((first, after)) = rest.split_once(' ') {
        if !first.ends_with('.') || first.chars().count() < 3 {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

/// Tells whether a text under a name's label can be a name: no address, number, mark or word of the form.
pub(super) fn can_be_name(text: &str, dictionary: &Dictionary) -> bool {
    let text = text.trim();
    let is_word_byte = |byte: u8| !byte.is_ascii() || byte.is_ascii_alphabetic() || matches!(byte, b' ' | b'-' | b'\'');
    // Nearly all names are words: nothing that has a digit, an @ or a colon.
    let is_words = || text.bytes().all(is_word_byte);
    let is_other = || shape::is_email(text) || shape::is_url(text) || shape::is_date(text) || shape::is_machine(text);
    text.contains(char::is_alphabetic) && (is_words() || !is_other()) && !dictionary.is_salutation_or_label(text)
}

/// How many words a text has, to a number of them; of scripts without spaces about how many.
pub(super) fn words(text: &str, most: usize) -> usize {
    let spaced = text.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).take(most).count();
    // The letters of all those scripts begin with such a byte.
    if spaced == most || !text.bytes().any(|byte| byte >= 0xe0) {
        return spaced;
    }
    let is_dense = |c: &char| matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}');
    let dense = text.chars().filter(is_dense).take(2 * most).count() / 2;
    spaced.max(dense)
}

/// More words than these say no more.
const PROSE_WORDS: usize = 10;

/// How much a text looks like something that somebody wrote: 0 to 30.
pub(super) fn prose(text: &str) -> i32 {
    if !shape::is_prose(text) || shape::is_machine(text) {
        return 0;
    }
    let text = text.trim();
    let count = words(text, PROSE_WORDS);
    let by_words = match count {
        0..=1 => 0,
        2 => 2,
        3 => 5,
        4..=5 => 9,
        6..=9 => 13,
        _ => 17,
    };
    let by_lines = if text.contains('\n') { 8 } else { 0 };
    let ends = text.ends_with(['.', '!', '?', '。', '！', '？', '؟', '।']);
    by_words + by_lines + if ends && count > 1 { 5 } else { 0 }
}

//! Labels and keys as their words are compared: case, accents, width, digits and punctuation aside.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;

/// How many bytes of a label are looked at: a whole sentence of consent, not a page.
const LABEL_MAX: usize = 240;

/// Writes a label or key as words with one space between them: punctuation and digits end a word, as does a capital after a
/// small letter.
pub(super) fn plain(label: &str) -> String {
    match Plain::of(label) {
        Plain::Ascii(label) => ascii_words(label).map(char::from).collect(),
        Plain::Written(words) => words,
    }
}

/// A text as its words are compared.
pub(super) enum Plain<'t> {
    /// Its words are written while they are read: nearly all that is asked is ASCII, and neither markup nor an id.
    Ascii(&'t [u8]),
    Written(String),
}

impl<'t> Plain<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let text = head(text, LABEL_MAX);
        let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_digit() && !matches!(byte, b'<' | b'&');
        if text.bytes().all(is_plain) { Self::Ascii(text.as_bytes()) } else { Self::Written(write(text)) }
    }
}

fn write(label: &str) -> String {
    let label = without_tags(label);
    let label = without_ids(&label);
    let mut words = String::with_capacity(label.len());
    if label.is_ascii() {
        write_words(label.chars(), &mut words);
        return words;
    }
    match label.chars().all(|c| base(c).is_some()) {
        true => write_words(label.chars().filter_map(base), &mut words),
        false => write_words(bare(&label), &mut words),
    }
    unlettered(words)
}

fn bare(text: &str) -> impl Iterator<Item = char> + '_ {
    text.nfkd().filter(|c| !is_accent(*c)).nfc()
}

/// Returns a letter of Latin, Greek or Cyrillic as [`bare`] writes it, where that is one letter whatever stands beside it, and
/// what is no letter anyway: to decompose a text takes as long as all else.
fn base(c: char) -> Option<char> {
    let is_punctuation = matches!(c, '\u{2010}'..='\u{2027}');
    BASES.get(c as usize).copied().flatten().or_else(|| is_punctuation.then_some(c))
}

static BASES: LazyLock<[Option<char>; BASES_END]> = LazyLock::new(|| {
    std::array::from_fn(|code| {
        let letter = u32::try_from(code).ok().and_then(char::from_u32)?;
        let text = letter.to_string();
        let mut bare = bare(&text);
        bare.next().filter(|base| bare.next().is_none() && !is_mark(*base))
    })
});

/// Where the letters of Cyrillic end.
const BASES_END: usize = 0x530;

/// Does for ASCII what [`write_words`] does for all.
pub(super) fn ascii_words(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut before = b' ';
    let mut is_first = true;
    let bytes = text.iter().map(move |byte| {
        let begins = !before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && byte.is_ascii_uppercase());
        before = *byte;
        let is_letter = byte.is_ascii_alphabetic();
        let has_space = is_letter && begins && !is_first;
        is_first &= !is_letter;
        [has_space.then_some(b' '), is_letter.then_some(byte.to_ascii_lowercase())]
    });
    bytes.flatten().flatten()
}

/// Takes out words that a program made up: letters with digits between them, `field_1fac983`, `question_mVGEg3`.
fn without_ids(label: &str) -> Cow<'_, str> {
    let is_part = |c: char| c.is_ascii_alphanumeric();
    let is_id = |word: &str| {
        let inner = word.trim_matches(|c: char| c.is_ascii_digit());
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let is_mixed = inner.bytes().any(|byte| byte.is_ascii_digit());
        let is_hex = word.len() >= HEX_MIN && digits > 0 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        // One digit between letters is a pun: `b2b`, `name1st`.
        is_hex || (is_mixed && word.len() > 3)
    };
    if !label.bytes().any(|byte| byte.is_ascii_digit()) || !label.split(|c| !is_part(c)).any(is_id) {
        return Cow::Borrowed(label);
    }
    let kept = |word: &'_ str| if is_id(word.trim_matches(|c| !is_part(c))) { " ".to_owned() } else { word.to_owned() };
    Cow::Owned(label.split_inclusive(|c| !is_part(c)).map(kept).collect())
}

/// Fewest digits of a hexadecimal id.
const HEX_MIN: usize = 6;

/// Returns the first bytes of a text.
pub(super) fn head(label: &str, most: usize) -> &str {
    let mut end = most.min(label.len());
    while !label.is_char_boundary(end) {
        end -= 1;
    }
    label.get(..end).unwrap_or_default()
}

fn write_words(chars: impl Iterator<Item = char>, words: &mut String) {
    let mut is_lower_before = false;
    let mut is_dense_before = false;
    let mut is_open = false;
    for c in chars {
        if !c.is_alphabetic() && !is_mark(c) {
            // The joiners that Persian and Hindi words are written with part nothing.
            if matches!(c, '\u{200c}' | '\u{200d}' | '\u{ad}') {
                continue;
            }
            is_open = false;
            is_lower_before = false;
            continue;
        }
        let begins =
            !is_open || (is_lower_before && c.is_uppercase()) || (is_dense(c) != is_dense_before && !is_mark(c));
        if begins && !words.is_empty() {
            words.push(' ');
        }
        is_open = true;
        is_lower_before = c.is_lowercase();
        is_dense_before = is_dense(c);
        words.extend(c.to_lowercase().map(letter));
    }
}

/// Letters that are written in more than one way and that no decomposition makes the same.
fn letter(c: char) -> char {
    match c {
        'ł' => 'l',
        'ø' => 'o',
        'đ' | 'ð' => 'd',
        'ı' => 'i',
        'ə' => 'e',
        'ى' | 'ی' => 'ي',
        'ک' => 'ك',
        'ة' => 'ه',
        'ς' => 'σ',
        'є' => 'е',
        c => c,
    }
}

/// Letters that stand for two.
fn unlettered(words: String) -> String {
    if !words.contains(['ß', 'æ', 'œ', 'þ', '\u{640}']) && !words.contains(ARTICLE) {
        return words;
    }
    let mut text =
        words.replace('ß', "ss").replace('æ', "ae").replace('œ', "oe").replace('þ', "th").replace('\u{640}', "");
    if text.contains(ARTICLE) {
        text = text.split(' ').map(without_article).collect::<Vec<_>>().join(" ");
    }
    text
}

/// Arabic's, which is written at the word.
const ARTICLE: &str = "ال";

fn without_article(word: &str) -> &str {
    let rest = word.strip_prefix(ARTICLE).filter(|rest| rest.chars().count() >= 3);
    rest.unwrap_or(word)
}

/// Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic: what is left out as often as it is written.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Signs that are part of a word: vowels of Indic scripts and of Thai.
fn is_mark(c: char) -> bool {
    unicode_normalization::char::is_combining_mark(c)
}

/// Takes out what is written between angle brackets, and the entities of white space.
fn without_tags(label: &str) -> Cow<'_, str> {
    if !label.contains('<') && !label.contains('&') {
        return Cow::Borrowed(label);
    }
    let mut text = String::with_capacity(label.len());
    let mut rest = label;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let Some((_, after)) = tag.split_once('>') else {
            rest = tag;
            break;
        };
        text.push(' ');
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text.replace("&nbsp;", " ").replace("&amp;", "&").replace("&quot;", " ").replace("&#039;", "'"))
}

/// Writes the same words as those do who have no accents to type: `ü` as `ue`, `å` as `aa`.
pub(super) fn transliterated(word: &str) -> Option<String> {
    let pairs = [('ä', "ae"), ('ö', "oe"), ('ü', "ue"), ('å', "aa"), ('ø', "oe")];
    if !word.contains(pairs.map(|(letter, _)| letter)) {
        return None;
    }
    Some(pairs.into_iter().fold(word.to_owned(), |word, (letter, pair)| word.replace(letter, pair)))
}

/// Tells whether words of a letter's script are written without spaces between them.
pub(super) fn is_dense(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_compared_without_what_is_written_in_two_ways() {
        for (label, words) in [
            ("E-Mail *", "e mail"),
            ("yourEmail", "your email"),
            ("q3_q3_fullname0", "q q fullname"),
            ("Prénom", "prenom"),
            ("Imię i nazwisko", "imie i nazwisko"),
            ("Straße", "strasse"),
            ("<strong>Name</strong>&nbsp;(required)", "name required"),
            ("البريد الإلكتروني", "بريد الكتروني"),
            ("नाम", "नाम"),
            ("ﾒｰﾙ", "メール"),
            ("이름", "이름"),
            ("ΌΝΟΜΑ", "ονομα"),
            ("?!", ""),
        ] {
            assert_eq!(plain(label), words, "{label}");
        }
        assert_eq!(transliterated("rückruf").as_deref(), Some("rueckruf"));
    }

    #[test]
    fn ascii_is_written_as_all_is() {
        for label in ["E-Mail *", "yourEmail", "ABCdef", "  a b", "A.B.", "it's (here)", "", "\u{1}x\ty"] {
            let mut words = String::new();
            write_words(label.chars(), &mut words);
            assert_eq!(plain(label), words, "{label}");
        }
    }

    #[test]
    fn a_letter_alone_is_written_as_in_a_word() {
        for word in
            ["Prénom", "Imię", "Größe", "ΌΝΟΜΑ", "Ім’я", "Ёлка", "Đặng", "cafe\u{301}", "İsim", "œuvre", "l’ʼn", "a…b"]
        {
            let mut words = String::new();
            write_words(bare(word), &mut words);
            assert_eq!(plain(word), unlettered(words), "{word}");
        }
        assert_eq!([base('é'), base('Й'), base('’'), base('\u{301}')], [Some('e'), Some('И'), Some('’'), None]);
    }

    #[test]
    fn a_page_in_a_label_is_not_read() {
        assert!(plain(&"ü".repeat(10_000)).len() <= 2 * LABEL_MAX);
    }
}

//! What a form says its fields are, in whatever words.

use super::words::plain_words;

/// The kind of a field, told by its declared type or by a name that a builder made of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Unsaid,
    Email,
    Phone,
    Name,
    LongText,
    Choice,
    Consent,
    File,
    /// Numbers, dates, postal addresses, addresses of pages.
    Fact,
    /// Filled by a program.
    Machine,
}

/// The words of types, the more telling first: `text` in `textarea` is none.
const WORDS: [(&str, Kind); 51] = [
    ("hidden", Kind::Machine),
    ("captcha", Kind::Machine),
    ("submit", Kind::Machine),
    ("button", Kind::Machine),
    ("calculated", Kind::Machine),
    ("honeypot", Kind::Machine),
    ("html", Kind::Machine),
    ("section", Kind::Machine),
    ("heading", Kind::Machine),
    ("textarea", Kind::LongText),
    ("longtext", Kind::LongText),
    ("long text", Kind::LongText),
    ("paragraph", Kind::LongText),
    ("multiline", Kind::LongText),
    ("multi line", Kind::LongText),
    ("text area", Kind::LongText),
    ("email", Kind::Email),
    ("tel", Kind::Phone),
    ("phone", Kind::Phone),
    ("acceptance", Kind::Consent),
    ("consent", Kind::Consent),
    ("gdpr", Kind::Consent),
    ("terms", Kind::Consent),
    ("legal", Kind::Consent),
    ("select", Kind::Choice),
    ("menu", Kind::Choice),
    ("quiz", Kind::Machine),
    ("radio", Kind::Choice),
    ("checkbox", Kind::Choice),
    ("checkboxes", Kind::Choice),
    ("choice", Kind::Choice),
    ("choices", Kind::Choice),
    ("dropdown", Kind::Choice),
    ("multiselect", Kind::Choice),
    ("rating", Kind::Choice),
    ("boolean", Kind::Choice),
    ("yes no", Kind::Choice),
    ("upload", Kind::File),
    ("file", Kind::File),
    ("fileupload", Kind::File),
    ("signature", Kind::File),
    ("date", Kind::Fact),
    ("time", Kind::Fact),
    ("datetime", Kind::Fact),
    ("number", Kind::Fact),
    ("range", Kind::Fact),
    ("url", Kind::Fact),
    ("website", Kind::Fact),
    ("address", Kind::Fact),
    ("fullname", Kind::Name),
    ("name", Kind::Name),
];

/// Types are short.
const KIND_MAX: usize = 60;

impl Kind {
    /// Reads a declared type: `email`, `INPUT_PHONE_NUMBER`, `control_textarea`.
    pub(super) fn of(declared: &str) -> Self {
        if declared.is_empty() || declared.len() > KIND_MAX {
            return Self::Unsaid;
        }
        let exact = WORDS.iter().find(|(word, _)| *word == declared);
        exact.map(|(_, kind)| *kind).unwrap_or_else(|| {
            let words = format!(" {} ", plain_words(declared));
            let has = |word: &str| words.contains(&format!(" {word} "));
            WORDS.iter().find(|(word, _)| has(word)).map_or(Self::Unsaid, |(_, kind)| *kind)
        })
    }

    /// Tells whether a builder named a field by its kind of text alone: `text_1`, `input-3`, `q3_typeA`.
    pub(super) fn is_made_text(key: &str) -> bool {
        if ["input_text", "text_input", "text_field"].contains(&key) {
            return true;
        }
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_numbered = stem.len() < key.len()
            && ["text", "input", "field", "string", "short_text"].contains(&stem.trim_end_matches(['-', '_']));
        let bare = key.strip_prefix('q').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_'));
        let is_lettered = bare
            .and_then(|bare| bare.strip_prefix("type"))
            .is_some_and(|letter| letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_uppercase()));
        is_numbered || is_lettered || is_generic(key)
    }

    /// Reads a name that a builder made of a type and a number: `email-103`, `textarea_1`.
    pub(super) fn of_made(key: &str) -> Self {
        let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_made = stem.len() < key.len() && stem.ends_with(['-', '_']);
        if is_made { Self::of(stem.trim_end_matches(['-', '_'])) } else { Self::Unsaid }
    }
}

/// Tells whether a key says nothing besides an id but that it is a field: `form-field-b0dx1e`.
fn is_generic(key: &str) -> bool {
    let has_id = key.bytes().any(|byte| byte.is_ascii_digit());
    let words = if has_id { plain_words(key) } else { String::new() };
    words.split(' ').any(|word| GENERIC.contains(&word))
        && words.split(' ').all(|word| GENERIC.contains(&word) || word == "form")
}

/// What builders call a field of any kind.
const GENERIC: [&str; 6] = ["field", "input", "text", "question", "element", "item"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_many_words() {
        for (declared, kind) in [
            ("email", Kind::Email),
            ("INPUT_PHONE_NUMBER", Kind::Phone),
            ("control_textarea", Kind::LongText),
            ("FormTextInput", Kind::Unsaid),
            ("MULTIPLE_CHOICE", Kind::Choice),
            ("HIDDEN_FIELDS", Kind::Machine),
            ("text", Kind::Unsaid),
        ] {
            assert_eq!(Kind::of(declared), kind, "{declared}");
        }
        assert_eq!(Kind::of_made("textarea-1"), Kind::LongText);
        assert_eq!(Kind::of_made("email"), Kind::Unsaid);
        assert!(["text_1", "input-3", "q3_typeA", "form-field-b0dx1e"].into_iter().all(Kind::is_made_text));
        assert!(!["text", "form_1", "question_about_5", "q3_name", "email-103"].into_iter().any(Kind::is_made_text));
    }
}

//! What a form says its fields are, in whatever words.

use super::words::plain_words;

/// The kind of a field, from its declared type or from a builder's default name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FieldKind {
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
const WORDS: [(&str, FieldKind); 51] = [
    ("hidden", FieldKind::Machine),
    ("captcha", FieldKind::Machine),
    ("submit", FieldKind::Machine),
    ("button", FieldKind::Machine),
    ("calculated", FieldKind::Machine),
    ("honeypot", FieldKind::Machine),
    ("html", FieldKind::Machine),
    ("section", FieldKind::Machine),
    ("heading", FieldKind::Machine),
    ("textarea", FieldKind::LongText),
    ("longtext", FieldKind::LongText),
    ("long text", FieldKind::LongText),
    ("paragraph", FieldKind::LongText),
    ("multiline", FieldKind::LongText),
    ("multi line", FieldKind::LongText),
    ("text area", FieldKind::LongText),
    ("email", FieldKind::Email),
    ("tel", FieldKind::Phone),
    ("phone", FieldKind::Phone),
    ("acceptance", FieldKind::Consent),
    ("consent", FieldKind::Consent),
    ("gdpr", FieldKind::Consent),
    ("terms", FieldKind::Consent),
    ("legal", FieldKind::Consent),
    ("select", FieldKind::Choice),
    ("menu", FieldKind::Choice),
    ("quiz", FieldKind::Machine),
    ("radio", FieldKind::Choice),
    ("checkbox", FieldKind::Choice),
    ("checkboxes", FieldKind::Choice),
    ("choice", FieldKind::Choice),
    ("choices", FieldKind::Choice),
    ("dropdown", FieldKind::Choice),
    ("multiselect", FieldKind::Choice),
    ("rating", FieldKind::Choice),
    ("boolean", FieldKind::Choice),
    ("yes no", FieldKind::Choice),
    ("upload", FieldKind::File),
    ("file", FieldKind::File),
    ("fileupload", FieldKind::File),
    ("signature", FieldKind::File),
    ("date", FieldKind::Fact),
    ("time", FieldKind::Fact),
    ("datetime", FieldKind::Fact),
    ("number", FieldKind::Fact),
    ("range", FieldKind::Fact),
    ("url", FieldKind::Fact),
    ("website", FieldKind::Fact),
    ("address", FieldKind::Fact),
    ("fullname", FieldKind::Name),
    ("name", FieldKind::Name),
];

/// Types are short.
const KIND_MAX: usize = 60;

impl FieldKind {
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
            ("email", FieldKind::Email),
            ("INPUT_PHONE_NUMBER", FieldKind::Phone),
            ("control_textarea", FieldKind::LongText),
            ("FormTextInput", FieldKind::Unsaid),
            ("MULTIPLE_CHOICE", FieldKind::Choice),
            ("HIDDEN_FIELDS", FieldKind::Machine),
            ("text", FieldKind::Unsaid),
        ] {
            assert_eq!(FieldKind::of(declared), kind, "{declared}");
        }
        assert_eq!(FieldKind::of_made("textarea-1"), FieldKind::LongText);
        assert_eq!(FieldKind::of_made("email"), FieldKind::Unsaid);
        assert!(["text_1", "input-3", "q3_typeA", "form-field-b0dx1e"].into_iter().all(FieldKind::is_made_text));
        assert!(
            !["text", "form_1", "question_about_5", "q3_name", "email-103"].into_iter().any(FieldKind::is_made_text)
        );
    }
}

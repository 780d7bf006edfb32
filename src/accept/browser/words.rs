//! What a visitor is told, in the visitor's language: the texts of `words.json`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::lead::{Code, FieldError, LeadField};

static ALL: LazyLock<Vec<Words>> =
    LazyLock::new(|| serde_json::from_str(include_str!("words.json")).expect("a test reads the same text"));

/// The texts of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    lang: String,
    thanks: Text,
    invalid: Text,
    unreadable: Text,
    too_large: Text,
    files: Text,
    too_many: Text,
    unavailable: Text,
    nothing_here: Text,
    /// What a link to the website is called.
    home: String,
    fields: FieldNames,
    codes: Cures,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldNames {
    name: String,
    email: String,
    phone: String,
    message: String,
}

/// What to do about a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cures {
    missing: String,
    invalid: String,
    too_long: String,
}

/// A page's heading and what it says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) title: String,
    pub(super) text: String,
}

/// What a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Thanks,
    /// The form has fields that are wrong.
    Invalid,
    Unreadable,
    TooLarge,
    Files,
    TooMany,
    Unavailable,
    /// The address only takes posts.
    NothingHere,
}

impl Words {
    pub(super) fn tag(&self) -> &str {
        &self.lang
    }

    pub(super) fn home(&self) -> &str {
        &self.home
    }

    pub(super) fn text(&self, notice: Notice) -> &Text {
        match notice {
            Notice::Thanks => &self.thanks,
            Notice::Invalid => &self.invalid,
            Notice::Unreadable => &self.unreadable,
            Notice::TooLarge => &self.too_large,
            Notice::Files => &self.files,
            Notice::TooMany => &self.too_many,
            Notice::Unavailable => &self.unavailable,
            Notice::NothingHere => &self.nothing_here,
        }
    }

    /// Says which field is wrong, and how; none where no single field is.
    pub(super) fn error(&self, error: &FieldError) -> Option<String> {
        let field = match error.field? {
            LeadField::Name => &self.fields.name,
            LeadField::Email => &self.fields.email,
            LeadField::Phone => &self.fields.phone,
            LeadField::Message => &self.fields.message,
        };
        let cure = match error.code {
            Code::Missing => &self.codes.missing,
            Code::Invalid => &self.codes.invalid,
            Code::TooLong => &self.codes.too_long,
            Code::NoFields | Code::Uncertain => return None,
        };
        Some(format!("{field}: {cure}"))
    }
}

/// Returns the words for a language tag such as `de-AT`.
pub(super) fn of_tag(tag: &str) -> Option<&'static Words> {
    let primary = tag.split(['-', '_']).next().unwrap_or_default();
    ALL.iter().find(|words| words.lang.eq_ignore_ascii_case(primary))
}

/// English.
pub(super) fn fallback() -> &'static Words {
    ALL.first().expect("a test finds English first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_every_text_and_english_is_first() {
        assert_eq!(fallback().tag(), "en");
        for words in ALL.iter() {
            let said = [
                Notice::Thanks,
                Notice::Invalid,
                Notice::Unreadable,
                Notice::TooLarge,
                Notice::Files,
                Notice::TooMany,
                Notice::Unavailable,
                Notice::NothingHere,
            ];
            for notice in said {
                let Text { title, text } = words.text(notice);
                assert!(!title.is_empty() && !text.is_empty(), "{}: {notice:?}", words.tag());
            }
            for field in LeadField::ALL {
                for code in [Code::Missing, Code::Invalid, Code::TooLong] {
                    assert!(words.error(&FieldError::new(field, code, "…")).is_some(), "{}: {field:?}", words.tag());
                }
            }
            assert!(!words.home().is_empty());
        }
    }

    #[test]
    fn a_tag_is_read_by_its_first_part() {
        let found = |tag| of_tag(tag).map(Words::tag);
        assert_eq!(
            ["de", "DE-at", "pt_BR", "zz", "", "d"].map(found),
            [Some("de"), Some("de"), Some("pt"), None, None, None]
        );
    }
}

//! The words by which auto knows a field, a file a language.

use std::path::PathBuf;

use super::diagnostic::Diagnostics;
use super::reader::{Keys, Table};
use super::shipped::WORDS;
use super::source::SourceFile;
use crate::map::{Dictionary, Role};

const KEYS: Keys = Keys {
    table: "a word file",
    keys: &[
        "consent",
        "recipient",
        "company",
        "machine",
        "email",
        "phone",
        "first_name",
        "last_name",
        "name",
        "message",
        "subject",
        "other",
        "agreements",
    ],
};

/// Reads the shipped words, and gives what is wrong with them: nothing, or a test fails.
pub(super) fn shipped() -> (Dictionary, Diagnostics) {
    let mut dictionary = Dictionary::default();
    let mut diagnostics = Diagnostics::default();
    for (language, text) in WORDS {
        let file = SourceFile::from_text(&PathBuf::from(format!("shipped:words/{language}.toml")), text.to_owned());
        if let Some(table) = file.parse() {
            add(&mut dictionary, &Table::root(&file, &table, KEYS));
        }
        diagnostics.extend(file.into_problems());
    }
    (dictionary, diagnostics)
}

fn add(dictionary: &mut Dictionary, table: &Table<'_>) {
    let words = |key| {
        let read = table.read(key, |value| value.list_of(|item| item.text().map(str::to_owned)));
        read.flatten().unwrap_or_default()
    };
    for role in Role::ALL {
        dictionary.add(role, words(role.as_str()));
    }
    dictionary.add_agreements(words("agreements"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_file_is_sound() {
        let (_, diagnostics) = shipped();
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    }
}

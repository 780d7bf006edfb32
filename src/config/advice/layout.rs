//! Files in another language, or with a site at another level: told once, in place of a problem a line.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::diagnostic::Severity;
use crate::config::find::VARIABLE;
use crate::config::include::found;
use crate::config::reader::KnownKeys;
use crate::config::recurring::folder_of;
use crate::config::source::SourceFile;
use crate::config::suggest::nearest;

const YAML_FILES: [&str; 2] = ["*.yaml", "*.yml"];

/// Names that a table around a site may have been given.
const AROUND_A_SITE: [&str; 2] = ["site", "sites"];

/// Reports a text that is YAML or JSON; tells whether it is.
pub(in crate::config) fn is_other_language(file: &SourceFile, text: &str) -> bool {
    let Some((language, span)) = other_language(text) else { return false };
    let message = format!("this file is {language}; formgate reads TOML");
    let hint = "write id = \"acme\" instead of id: acme, and [forms.contact] instead of an indented block";
    file.report(Severity::Error, span, &message, Some(hint));
    true
}

/// Reports a site that stands in a table of its file; tells whether it does.
pub(in crate::config) fn is_nested_site(file: &SourceFile, entries: &DeTable<'_>) -> bool {
    let around = entries.iter().find(|(key, _)| AROUND_A_SITE.contains(&key.get_ref().as_ref()));
    let Some((key, _)) = around.filter(|_| !entries.contains_key("id")) else { return false };
    let message = "a site's file has its keys at the top, not in a table: `[[site]]` is for config.toml";
    let hint = "remove that line, and write [forms.contact] instead of [site.forms.contact]; each file has one site";
    file.report(Severity::Error, key.span(), message, Some(hint));
    true
}

/// Reports a `config.toml` of another program, with none of our tables; tells whether it is one.
pub(in crate::config) fn is_foreign(file: &SourceFile, known: KnownKeys) -> bool {
    let entries = file.parse_leniently();
    let is_ours = |name: &str| known.get(name).is_some() || nearest(name, known.names()).is_some();
    if entries.is_empty() || entries.keys().any(|key| is_ours(key.get_ref())) {
        return false;
    }
    let message = "this isn't a formgate configuration: it has none of formgate's tables";
    let hint = format!(
        "if it is another program's, name formgate's own by --config or ${VARIABLE}; if not, write its keys in tables such as \
         [server]"
    );
    file.report_file(Severity::Error, message, Some(&hint));
    true
}

/// Finds the YAML files in the folders where sites and mappings are looked for: nobody would notice that they aren't read.
pub(in crate::config) fn unread_beside(config: &SourceFile) -> Vec<SourceFile> {
    let config_folder = folder_of(config.path());
    let folders: BTreeSet<PathBuf> =
        config.listed_folders().into_iter().filter(|folder| *folder != config_folder).collect();
    let patterns = folders.iter().flat_map(|folder| YAML_FILES.iter().map(|pattern| folder.join(pattern)));
    let found: Vec<PathBuf> = patterns.flat_map(|pattern| found(&pattern)).collect();
    found.into_iter().filter(|path| !config.lists(path)).map(|path| report_unread(config, &path)).collect()
}

fn report_unread(config: &SourceFile, path: &Path) -> SourceFile {
    // Else nobody would see that it is gone.
    config.note_file(path);
    let file = SourceFile::from_text(path, String::new());
    let hint = format!("write it as {}, or move it elsewhere", path.with_extension("toml").display());
    file.report_file(Severity::Error, "this file is YAML; formgate reads TOML and ignores it", Some(&hint));
    file
}

/// Tells which other language a text is, by its first line that says something, and where that line is.
fn other_language(text: &str) -> Option<(&'static str, Range<usize>)> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let written = line.trim();
        let span = start..start + line.trim_end().len().max(1);
        start += line.len();
        match written {
            "" => {}
            _ if written.starts_with('#') => {}
            _ if written.starts_with('{') => return Some(("JSON", span)),
            "---" => return Some(("YAML", span)),
            _ => return is_yaml_line(written).then_some(("YAML", span)),
        }
    }
    None
}

/// `key: value`, `key:` or `- item`; in TOML a key is followed by `=`, and a table begins with `[`.
fn is_yaml_line(line: &str) -> bool {
    let is_key = |key: &str| {
        let key = key.trim().trim_matches(['"', '\'']);
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    let is_pair =
        line.split_once(':').is_some_and(|(key, rest)| is_key(key) && (rest.is_empty() || rest.starts_with(' ')));
    is_pair || line.starts_with("- ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_are_known_by_their_first_line() {
        for (text, language) in [
            ("id: acme\nname: Acme\n", Some("YAML")),
            ("# a site\n---\nid: acme\n", Some("YAML")),
            ("forms:\n  contact:\n", Some("YAML")),
            ("- id: acme\n", Some("YAML")),
            ("\"id\": acme\n", Some("YAML")),
            ("{\"id\": \"acme\"}", Some("JSON")),
            ("id = \"acme\"\n", None),
            ("[server]\nlisten: 1\n", None),
            ("url = \"https://x: y\"\n", None),
            ("id \"acme: b\"", None),
            ("", None),
        ] {
            assert_eq!(other_language(text).map(|(language, _)| language), language, "{text}");
        }
        assert_eq!(other_language("# x\n\nid: acme\n").map(|(_, span)| span), Some(5..13));
    }
}

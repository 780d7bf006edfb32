//! `include = ["sites/*.toml"]`: which further files are read.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::reader::{Key, KeyShape, KnownKeys, Table, Value};
use super::source::SourceFile;

pub(super) const SITES: KnownKeys = KnownKeys {
    table: "[sites]",
    about: "Where the files of the sites are.",
    keys: &[
        Key::new(
            "include",
            KeyShape::Texts("paths or patterns"),
            "The files of the sites; the last part of a path may have `*`.",
        )
        .texts(&["sites/*.toml"]),
        Key::new("secrets", KeyShape::Text("path"), "The folder that key pairs which formgate creates are written to.")
            .text("secrets"),
    ],
};
pub(super) const MAPPINGS: KnownKeys = KnownKeys {
    table: "[mappings]",
    about: "Where mappings of your own are.",
    keys: &[Key::new(
        "include",
        KeyShape::Texts("paths or patterns"),
        "The files of your mappings; the last part of a path may have `*`. One with the name of a shipped \
             mapping replaces it.",
    )
    .texts(&["mappings/*.toml"])],
};

/// What an `include` names.
#[derive(Default)]
pub(super) struct Included {
    pub(super) files: Vec<PathBuf>,
    /// Folders that were listed.
    pub(super) folders: Vec<PathBuf>,
    /// What finds files by their names: one that is added there is read.
    pub(super) patterns: Vec<PathBuf>,
    /// What can't be read: nobody knows what would be there.
    pub(super) unknown: Vec<PathBuf>,
}

/// Opens `[sites]` or `[mappings]`.
pub(super) fn section<'a>(root: &Table<'a>, name: &'static str, keys: KnownKeys) -> Option<Table<'a>> {
    root.get(name)?.table(keys)
}

/// Reads `[sites].secrets`: the folder in which the secrets of new key pairs are written.
pub(super) fn secrets_folder(config: &SourceFile, sites: Option<&Table<'_>>) -> PathBuf {
    let written = sites.and_then(|sites| sites.get("secrets")).and_then(|folder| folder.filled());
    config.resolve(written.unwrap_or("secrets"))
}

/// Finds the files of `[sites]` or `[mappings]`; what the default pattern doesn't find is not missed.
pub(super) fn files(config: &SourceFile, section: Option<&Table<'_>>, default: &str) -> Included {
    let mut included = Included::default();
    let Some(include) = section.and_then(|section| section.get("include")) else {
        let pattern = config.resolve(default);
        included.files = list(config, &pattern, &mut included).unwrap_or_default();
        return included;
    };
    // One entry that can't be read harms no other.
    let mut listed = Vec::new();
    include.list_of(|item| matching(item, default, &mut included).map(|found| listed.extend(found)));
    let mut seen = BTreeSet::new();
    listed.retain(|path| seen.insert(path.clone()));
    included.files = listed;
    included
}

/// Returns the files of one pattern: a path that must exist, or a glob in its last part that should match something.
fn matching(value: &Value<'_>, default: &str, included: &mut Included) -> Option<Vec<PathBuf>> {
    let written = value.filled()?;
    let pattern = value.file().resolve(written);
    if !written.contains('*') {
        value.file().note_file(&pattern);
        if pattern.is_file() {
            return Some(vec![pattern]);
        }
        value
            .error(&format!("there is no file {}", pattern.display()), Some("for every file, write \"folder/*.toml\""));
        included.unknown.push(pattern);
        return None;
    }
    if pattern.parent().is_some_and(|directory| directory.to_string_lossy().contains('*')) {
        value.error(
            "only the last part of a pattern may contain `*`",
            Some("list each folder: [\"a/*.toml\", \"b/*.toml\"]"),
        );
        return None;
    }
    match list(value.file(), &pattern, included) {
        Ok(found) => {
            if found.is_empty() && written != default {
                value.warn("no file matches this pattern", Some(&why_nothing_matches(&pattern)));
            }
            Some(found)
        }
        Err(error) => {
            value.error(&format!("the folder can't be read: {error}"), None);
            None
        }
    }
}

fn why_nothing_matches(pattern: &Path) -> String {
    let directory = pattern.parent().unwrap_or(Path::new("")).display();
    match pattern.parent().is_some_and(Path::is_dir) {
        true => format!("no file in {directory} matches; patterns are case-sensitive"),
        false => format!("there is no folder {directory}"),
    }
}

/// Expands a pattern of a file, which is read anew when other files match.
fn list(file: &SourceFile, pattern: &Path, included: &mut Included) -> std::io::Result<Vec<PathBuf>> {
    let found = expand(pattern);
    included.patterns.push(pattern.to_owned());
    file.note_listing(pattern, found.as_deref().unwrap_or_default());
    match &found {
        Ok(_) => included.folders.extend(pattern.parent().filter(|folder| folder.is_dir()).map(Path::to_owned)),
        Err(_) => included.unknown.push(pattern.to_owned()),
    }
    found
}

/// Names a file so that a pattern finds it.
pub(super) fn fitting(pattern: &Path, name: &str) -> PathBuf {
    let of_pattern = pattern.file_name().unwrap_or_default().to_string_lossy();
    pattern.with_file_name(of_pattern.replacen('*', name, 1).replace('*', ""))
}

/// Returns the files that match a pattern now; none where its directory can't be read.
pub(super) fn found(pattern: &Path) -> Vec<PathBuf> {
    expand(pattern).unwrap_or_default()
}

/// Returns the files that match, by name; hidden ones (an editor's, mostly) are left out.
fn expand(pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
    let directory = pattern.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let wanted = pattern.file_name().unwrap_or_default().to_string_lossy();
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with('.') && matches(&wanted, &text) {
            found.push(pattern.with_file_name(&name));
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// Tells whether a file name matches; unlike in form keys, case counts.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .any(|at| rest.get(at..).is_some_and(|end| matches(tail, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*.toml", "acme.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "acme.toml~", false),
            ("a*e.toml", "acme.toml", true),
            ("a*c*l", "acme.toml", true),
            ("a*x*l", "acme.toml", false),
            ("*.TOML", "acme.toml", false),
            ("*é*", "café", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_new_file_is_named_so_that_its_pattern_finds_it() {
        for (pattern, expected) in
            [("sites/*.toml", "sites/acme.toml"), ("x/site-*.toml", "x/site-acme.toml"), ("*-*.toml", "acme-.toml")]
        {
            let file = fitting(Path::new(pattern), "acme");
            assert_eq!(file, Path::new(expected));
            assert!(matches(
                pattern.rsplit('/').next().expect("a name"),
                &file.file_name().expect("a name").to_string_lossy()
            ));
        }
    }
}

//! What the documents name: paths that exist, links that lead somewhere, targets that `make` knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{root, walk};

/// What lies about in a work tree and is no part of the repository.
const NOT_OURS: &[&str] = &["target", ".git", "data", "sites"];

/// First parts of paths that are the operator's or a build's, or no paths at all (media types).
const OPERATORS: &[&str] = &["data", "sites", "config.toml", "target", "application", "text", "multipart"];

/// Extensions by which a name without a slash is a file's.
const EXTENSIONS: &[&str] = &["rs", "md", "toml", "sh", "http", "json", "snap", "yml", "service"];

#[test]
fn documents_name_only_paths_that_exist() {
    let known = Known::of(&root());
    let mut found = Vec::new();
    let mut seen = 0;
    for file in known.paths.iter().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root().join(file)).expect("a document");
        seen += 1;
        for (line, name) in paths_in(&text) {
            if !known.has(&name) {
                found.push(format!("{file}:{line}: there is no `{name}`"));
            }
        }
        let folder = Path::new(file).parent().expect("a folder");
        for (line, link) in links_in(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !root().join(folder).join(target).exists() {
                found.push(format!("{file}:{line}: the link to {link} leads nowhere"));
            }
        }
    }
    assert!(seen >= 5, "found only {seen} documents");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn documents_name_only_metrics_that_exist() {
    let read = |file| fs::read_to_string(root().join(file)).expect("the names of the metrics");
    let names = read("src/telemetry/names.rs") + &read("src/telemetry/sites.rs");
    let mut seen = 0;
    for file in Known::of(&root()).paths.iter().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root().join(file)).expect("a document");
        for after in text.split("formgate_").skip(1) {
            let rest: String = after.chars().take_while(|char| char.is_ascii_lowercase() || *char == '_').collect();
            // A file's name, such as of a package.
            if rest.is_empty() {
                continue;
            }
            // The series of a histogram.
            let whole = ["_bucket", "_sum", "_count"].iter().find_map(|end| rest.strip_suffix(end));
            let is_known = |name: &str| names.contains(&format!("\"formgate_{name}\""));
            assert!(is_known(&rest) || whole.is_some_and(is_known), "{file}: there is no metric formgate_{rest}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "found only {seen} metrics");
}

#[test]
fn every_decision_is_in_the_index() {
    let folder = root().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).expect("docs/decisions/README.md, the index");
    for entry in fs::read_dir(&folder).expect("decisions").filter_map(Result::ok) {
        let name = entry.file_name().into_string().expect("text");
        let listed = name == "README.md" || index.contains(&format!("]({name})"));
        assert!(listed, "docs/decisions/README.md: add a line that links {name}");
    }
}

#[test]
fn make_has_few_targets_and_lists_them_first() {
    let text = fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    let targets: Vec<&str> = text.lines().filter_map(target).collect();
    assert_eq!(targets.first(), Some(&"help"));
    assert!(targets.len() <= 20, "{} targets: {}", targets.len(), targets.join(" "));
    for target in targets {
        assert!(text.lines().any(|line| line.starts_with(&format!("{target}: ## "))), "say what {target} does");
    }
}

/// Reads the target that a line of a Makefile begins.
fn target(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|char| char.is_ascii_lowercase() || char == '-');
    (is_name && !rest.starts_with('=')).then_some(name)
}

/// The files and folders of the repository, by their paths from its root.
struct Known {
    paths: BTreeSet<String>,
}

impl Known {
    fn of(root: &Path) -> Self {
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(root).expect("the repository").filter_map(Result::ok) {
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            paths.insert(entry.path());
            walk(&entry.path(), &mut |path| paths.extend(path.ancestors().map(PathBuf::from)));
        }
        let relative = paths.iter().filter_map(|path| path.strip_prefix(root).ok());
        Self { paths: relative.map(|path| path.to_string_lossy().into_owned()).collect() }
    }

    /// Tells whether a path leads to something, from the root or from any folder (`mask.rs` is one of `src/config/`).
    fn has(&self, name: &str) -> bool {
        let name = name.trim_end_matches('/');
        // Of a glob, what stands before it.
        let name = name.split_once('*').map_or(name, |(before, _)| before.rsplit_once('/').map_or("", |(to, _)| to));
        let tail = format!("/{name}");
        name.is_empty() || self.paths.iter().any(|path| path == name || path.ends_with(&tail))
    }
}

/// Returns the names in backticks, outside of blocks, that are paths of this repository, each with its line.
fn paths_in(text: &str) -> Vec<(usize, String)> {
    let names = prose(text).flat_map(|(line, prose)| prose.split('`').skip(1).step_by(2).map(move |name| (line, name)));
    names.filter(|(_, name)| is_path(name)).map(|(line, name)| (line, name.to_owned())).collect()
}

fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|char| char.is_ascii_alphanumeric() || "._-/*".contains(char));
    let first = name.split('/').next().unwrap_or_default();
    let file = name.rsplit_once('.').filter(|(stem, extension)| !stem.is_empty() && EXTENSIONS.contains(extension));
    let named = name.contains('/') || file.is_some();
    plain && named && !first.is_empty() && !OPERATORS.contains(&first)
}

/// Returns where links to files lead, each with its line.
fn links_in(text: &str) -> Vec<(usize, String)> {
    let links = prose(text).flat_map(|(line, prose)| prose.split("](").skip(1).map(move |rest| (line, rest)));
    let links = links.filter_map(|(line, rest)| Some((line, rest.split_once(')')?.0.to_owned())));
    links.filter(|(_, link)| !link.contains("://")).collect()
}

/// The lines outside of blocks of code, counted from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        (!in_block && !fence).then_some((at + 1, line))
    })
}

#[test]
fn a_path_is_told_from_other_words() {
    let text = "`src/lib.rs` and `mask.rs`, `docs/`\n```sh\ncat `no/where`\n```\nsee `mappings/*.toml`\n";
    let expected = [(1, "src/lib.rs"), (1, "mask.rs"), (1, "docs/"), (5, "mappings/*.toml")];
    assert_eq!(paths_in(text), expected.map(|(line, name)| (line, name.to_owned())));
    for other in
        ["/hooks/acme", "config.toml", "sites/acme.toml", "a/b c", "application/json", "serve", "{site}/x", ".http"]
    {
        assert!(!is_path(other), "{other}");
    }
    let links = links_in("[a](x.md#y), [b](https://example.com)\n[c](y.md)");
    assert_eq!(links, [(1, "x.md#y".to_owned()), (2, "y.md".to_owned())]);
}

#[test]
fn a_path_is_looked_up_from_any_folder() {
    let known = Known { paths: ["src/config", "src/config/mask.rs"].map(str::to_owned).into() };
    for there in ["src/config/", "config/mask.rs", "mask.rs", "src/config/*.rs", "*.rs"] {
        assert!(known.has(there), "{there}");
    }
    for gone in ["ask.rs", "src/config.rs", "lib/*.rs", "config/mask"] {
        assert!(!known.has(gone), "{gone}");
    }
}

#[test]
fn a_target_is_told_from_a_variable() {
    assert_eq!(target("help: ## List"), Some("help"));
    assert_eq!(["export PATH := x", "VAR := x", ".PHONY: x", "\techo a: b", "a:=b"].map(target), [None; 5]);
}

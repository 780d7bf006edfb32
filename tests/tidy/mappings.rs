//! Each shipped mapping: compiled in, with examples, and with requests that it is held to.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::root;

#[test]
fn each_mapping_is_compiled_into_the_program() {
    let (shipped, _) = formgate::config::shipped_mappings();
    for name in stems(&root().join("mappings"), "toml") {
        assert!(shipped.get(&name).is_some(), "build.rs: it lists no mappings/{name}.toml");
    }
}

#[test]
fn each_mapping_has_its_fixtures_and_each_folder_of_fixtures_its_mapping() {
    let fixtures = root().join("fixtures");
    let mappings = stems(&root().join("mappings"), "toml");
    assert!(mappings.len() >= 6, "{mappings:?}");
    for name in &mappings {
        let cases = stems(&fixtures.join(name), "http");
        assert!(!cases.is_empty(), "fixtures/{name}/: put a request there that mappings/{name}.toml is held to");
        assert_eq!(cases, stems(&fixtures.join(name), "json"), "fixtures/{name}/: a case is CASE.http and CASE.json");
    }
    let folders = fs::read_dir(&fixtures).expect("fixtures").filter_map(Result::ok);
    let mut folders = folders.filter_map(|entry| entry.file_name().into_string().ok());
    // What the reader of configurations is held to, and what no one mapping is.
    let others = ["auto", "config", "hostile", "store", "variants"];
    let stray = folders.find(|name| !others.contains(&name.as_str()) && !mappings.contains(name));
    assert!(stray.is_none(), "fixtures/{}/: no mapping is called so", stray.unwrap_or_default());
}

#[test]
fn each_mapping_holds_two_examples() {
    for name in stems(&root().join("mappings"), "toml") {
        let text = fs::read_to_string(root().join(format!("mappings/{name}.toml"))).expect("a mapping");
        let examples = text.lines().filter(|line| line.trim() == "[[example]]").count();
        assert!(examples >= 2, "mappings/{name}.toml: it has {examples} of at least two [[example]]s");
    }
}

/// The names, without the extension, of the files of a folder that have it.
fn stems(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let named = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    named.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

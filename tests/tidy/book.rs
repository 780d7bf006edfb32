//! The site of the documents: docs/SUMMARY.md lists its pages, docs/llms.txt says what is in each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{root, walk};

#[test]
fn every_page_is_in_the_summary() {
    let missing = missing_from("SUMMARY.md");
    assert!(missing.is_empty(), "docs/SUMMARY.md: add a line for each of these, so that the site has it: {missing:?}");
}

#[test]
fn every_page_is_in_llms_txt() {
    let missing = missing_from("llms.txt");
    assert!(missing.is_empty(), "docs/llms.txt: add a line for each of these: {missing:?}");
}

#[test]
fn llms_txt_says_what_each_page_is_about() {
    let text = fs::read_to_string(root().join("docs/llms.txt")).expect("docs/llms.txt");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("# formgate"), "docs/llms.txt: a title first");
    assert!(lines.nth(1).is_some_and(|line| line.starts_with("> ")), "docs/llms.txt: then a summary, quoted");
    for line in text.lines().filter(|line| line.starts_with("- ")) {
        let about = line.split_once("): ").map_or("", |(_, about)| about);
        assert!(
            line.starts_with("- [") && !about.is_empty(),
            "docs/llms.txt: `- [title](page): what it says`, not {line}"
        );
    }
}

/// Returns the pages below docs/ that a file there doesn't link, after a look at each of its links.
fn missing_from(list: &str) -> BTreeSet<PathBuf> {
    let text = fs::read_to_string(root().join("docs").join(list)).expect(list);
    let linked = links(&text);
    let mut pages = BTreeSet::new();
    walk(&root().join("docs"), &mut |path| {
        if path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("SUMMARY.md") {
            pages.insert(path.strip_prefix(root()).expect("below the repository").to_owned());
        }
    });
    assert!(pages.len() > 40, "found only {} pages", pages.len());
    let listed: BTreeSet<PathBuf> = linked.iter().map(|link| from_docs(link)).collect();
    assert_eq!(listed.len(), linked.len(), "docs/{list} lists a page twice");
    for page in &listed {
        assert!(root().join(page).is_file(), "docs/{list}: there is no {}", page.display());
    }
    pages.difference(&listed).cloned().collect()
}

fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// Where a link in docs/ leads, from the repository's root.
fn from_docs(link: &str) -> PathBuf {
    let mut path = PathBuf::from("docs");
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

#[test]
fn links_are_read_from_docs() {
    assert_eq!(links("- [a](x.md): b\n- [c](../y/z.md)\n"), ["x.md", "../y/z.md"]);
    assert_eq!(from_docs("x/y.md"), Path::new("docs/x/y.md"));
    assert_eq!(from_docs("../y.md"), Path::new("y.md"));
}

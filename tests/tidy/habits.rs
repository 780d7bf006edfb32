//! Habits of every source file and page: its length, what may stop the process, what is left undone.

use std::fs;
use std::path::Path;

use super::source::{Source, is_word_at};
use super::{assert_tidy, complaints, has_word, root, walk};

/// A file is one idea; what is longer has two.
const LINES_MAX: usize = 400;

/// What is looked things up in: pages that are written from the program, and one schema.
const LOOKED_UP: &[&str] = &["docs/reference/", "docs/events.schema.json"];

/// Foreign bytes must never stop the process.
const STOPS: &[(&str, &str)] = &[
    (".unwrap()", "handle it, or say by `expect` why it cannot fail"),
    ("panic!", "return an error"),
    ("unreachable!()", "say why it cannot be reached"),
    ("todo!", "a stub is not done"),
    ("unimplemented!", "a stub is not done"),
    ("dbg!", "left over from debugging"),
];

#[test]
fn no_file_is_longer_than_one_idea() {
    assert_tidy(check_length);
}

#[test]
fn no_page_or_packaged_file_is_longer_either() {
    let mut found = Vec::new();
    let mut seen = 0;
    let mut look = |path: &Path| {
        let name = path.strip_prefix(root()).expect("below the repository");
        let Ok(text) = fs::read_to_string(path) else { return };
        seen += 1;
        found.extend(check_page(&name.to_string_lossy(), &text));
    };
    for folder in ["docs", "packaging", "mappings", "scripts", "examples"] {
        walk(&root().join(folder), &mut look);
    }
    assert!(seen > 150, "found only {seen} files");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_stops_the_process() {
    assert_tidy(check_stops);
}

#[test]
fn nothing_is_left_undone() {
    let mut found = Vec::new();
    let mut look = |path: &Path| {
        let Ok(text) = fs::read_to_string(path) else { return };
        let name = path.strip_prefix(root()).expect("below the repository").display();
        found
            .extend(open_ends(&text).into_iter().map(|(line, word)| format!("{name}:{line}: {word}; do it, or don't")));
    };
    for folder in ["src", "tests", "examples", "docs", "mappings", "scripts", ".ci"] {
        walk(&root().join(folder), &mut look);
    }
    for entry in fs::read_dir(root()).expect("the repository").filter_map(Result::ok) {
        if entry.path().is_file() && entry.file_name() != "Cargo.lock" && entry.file_name() != ".git" {
            look(&entry.path());
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn check_length(source: &Source) -> Vec<String> {
    let complaint = || format!("src/{}: {} lines without its tests; split it by idea", source.name, source.length);
    (source.length > LINES_MAX).then(complaint).into_iter().collect()
}

fn check_page(name: &str, text: &str) -> Option<String> {
    let length = text.lines().count();
    let is_read = !LOOKED_UP.iter().any(|reference| name.starts_with(reference));
    (is_read && length > LINES_MAX).then(|| format!("{name}: {length} lines; split it by idea"))
}

fn check_stops(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in source.shipped_code.lines().enumerate() {
        let stops = |word: &str| match word.strip_suffix('!') {
            Some(name) => line.match_indices(word).any(|(at, _)| is_word_at(line, at, name.len())),
            None => line.contains(word),
        };
        let here = STOPS.iter().filter(|(word, _)| stops(word));
        found.extend(here.map(|(word, cure)| format!("src/{}:{}: `{word}`; {cure}", source.name, at + 1)));
    }
    found
}

fn open_ends(text: &str) -> Vec<(usize, &'static str)> {
    // In pieces, so that this file is tidy too.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(at, line)| words.iter().filter(|word| has_word(line, word)).map(move |word| (at + 1, *word)))
        .collect()
}

#[test]
fn a_file_that_is_too_long_is_told_and_its_tests_do_not_count() {
    let lines = "fn f() {}\n".repeat(LINES_MAX);
    assert!(complaints(check_length, "map/x.rs", &lines).is_empty());
    let tests = "#[cfg(test)]\nmod tests {\n    #[cfg(test)]\n    fn f() {}\n}\n";
    assert!(complaints(check_length, "map/x.rs", &format!("{lines}{tests}")).is_empty());
    assert_eq!(
        complaints(check_length, "map/x.rs", &format!("{tests}{lines}// one more\n")),
        ["src/map/x.rs: 401 lines without its tests; split it by idea"]
    );
    assert!(complaints(check_length, "map/x/tests.rs", &lines.repeat(2)).is_empty());
}

#[test]
fn a_page_that_is_too_long_is_told_unless_it_is_a_reference() {
    let lines = "a line\n".repeat(LINES_MAX);
    assert_eq!(check_page("docs/operating.md", &lines), None);
    let lines = lines + "one more\n";
    let told = "docs/operating.md: 401 lines; split it by idea";
    assert_eq!(check_page("docs/operating.md", &lines).as_deref(), Some(told));
    assert_eq!(check_page("docs/reference/events.md", &lines), None);
}

#[test]
fn what_stops_the_process_is_told_outside_tests() {
    for bad in ["x.unwrap();", "core::panic!(\"x\")", "_ => unreachable!(),", "todo!()", "dbg!(x)"] {
        assert_eq!(complaints(check_stops, "map/x.rs", bad).len(), 1, "{bad}");
        assert!(complaints(check_stops, "map/x.rs", &format!("#[cfg(test)]\nfn f() {{ {bad} }}")).is_empty(), "{bad}");
        assert!(complaints(check_stops, "map/tests.rs", bad).is_empty(), "{bad}");
        assert!(complaints(check_stops, "map/x.rs", &format!("// {bad}")).is_empty(), "{bad}");
    }
    for good in [
        "x.unwrap_or(1);",
        "x.expect(\"checked above\");",
        "\"panic!\"",
        "my_panic!()",
        "unreachable!(\"checked above\")",
    ] {
        assert!(complaints(check_stops, "map/x.rs", good).is_empty(), "{good}");
    }
}

#[test]
fn an_open_end_is_told_with_its_line() {
    let text = format!("a\n# {}: b\n{}s\n", concat!("TO", "DO"), concat!("TO", "DO"));
    assert_eq!(open_ends(&text), [(2, concat!("TO", "DO"))]);
}

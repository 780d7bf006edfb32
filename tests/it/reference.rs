//! What is documented from the program: the pages of docs/reference, and the man pages.

use std::fs;

// The very code that writes them, which the shipped program doesn't need.
#[path = "../../examples/reference/man.rs"]
mod man;
#[path = "../../examples/reference/pages/mod.rs"]
mod pages;

const CURE: &str = "run cargo run --example reference, look at what has changed, and commit it";

#[test]
fn the_reference_says_what_the_program_says() {
    let pages = pages::all().expect("the pages");
    for (name, text) in &pages {
        let written = fs::read_to_string(pages::folder().join(name)).unwrap_or_default();
        let differs = text.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(now, then)| now != then);
        assert_eq!(differs, None, "docs/reference/{name} says something else than the program: {CURE}");
        assert!(*text == written, "docs/reference/{name} goes on after the program's last line: {CURE}");
    }
    let files = fs::read_dir(pages::folder()).expect("docs/reference").count();
    assert_eq!(files, pages.len(), "docs/reference has a page that nothing writes");
}

#[test]
fn every_command_has_a_man_page_and_each_shell_its_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man");
    let completions = folder.path().join("completions");
    man::write(&pages, &completions).expect("written");
    let mut commands = vec![("formgate".to_owned(), formgate::cli::command())];
    let mut seen = 0;
    while let Some((name, command)) = commands.pop() {
        let page = fs::read_to_string(pages.join(format!("{name}.1"))).expect(&name);
        let page = page.replace("\\-", "-").replace("\\*(Aq", "'");
        let about = command.get_about().expect("it says what it does").to_string();
        let begun = about.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        assert!(page.contains(&begun) && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        commands.extend(command.get_subcommands().map(|sub| (format!("{name}-{}", sub.get_name()), sub.clone())));
        seen += 1;
    }
    assert_eq!(fs::read_dir(&pages).expect("man pages").count(), seen);
    for script in ["formgate", "_formgate", "formgate.fish"] {
        let text = fs::read_to_string(completions.join(script)).expect(script);
        assert!(text.contains("salvage") && text.contains("doctor"), "{script}");
    }
}

//! What is documented from the program: the pages of docs/reference, and the man pages.

use std::fs;

// The very code that writes them, which the shipped program doesn't need.
#[path = "../../examples/reference/environment.rs"]
mod environment;
#[path = "../../examples/reference/man/mod.rs"]
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
    for name in ["formgate", "formgate-serve"] {
        check_surroundings(&fs::read_to_string(pages.join(format!("{name}.1"))).expect(name));
    }
    for script in ["formgate", "_formgate", "formgate.fish"] {
        let text = fs::read_to_string(completions.join(script)).expect(script);
        assert!(text.contains("salvage") && text.contains("doctor"), "{script}");
    }
}

/// Looks whether a page names the exit codes, the variables, and what the Debian package makes.
fn check_surroundings(page: &str) {
    let page = page.replace("\\-", "-").replace("\\*(Aq", "'");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [r#""EXIT STATUS""#, "ENVIRONMENT", "FILES", r#""SEE ALSO""#];
    assert!(sections.ends_with(&expected), "{sections:?}");
    for term in ["0", "1", "74", "75", "78", "FORMGATE_CONFIG", "NO_COLOR", "/etc/formgate/config.toml"] {
        assert!(page.contains(&format!(".TP\n\\fB{term}\\fR\n")), "{term}: {page}");
    }
    let read = |file: &str| fs::read_to_string(pages::folder().join("../../packaging/debian").join(file)).expect(file);
    let postinst = read("postinst");
    let folders = postinst.lines().filter_map(|line| line.trim().strip_prefix("add ")?.split(' ').next());
    let folders: Vec<String> = folders.map(|folder| format!("/etc/formgate/{folder}/")).collect();
    assert_eq!(folders.len(), 4, "{folders:?}");
    let config: toml::Table = read("config.toml").parse().expect("TOML");
    let data = format!("{}/", config["server"]["data"].as_str().expect("a folder"));
    for path in folders.iter().chain([&data]) {
        assert!(page.contains(path.as_str()), "{path}: {page}");
    }
}

//! The examples on the plugins' pages: each request that is shown becomes the lead that is shown after it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Block, blocks, root};

const SITE: &str = r#"
[[site]]
id = "acme"
url = "https://www.acme.example"
region = "US"
public_key = "wp_pk_a"
secret_key = "wp_sk_a"
"#;

#[test]
fn each_example_becomes_the_lead_that_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), SITE).expect("written");
    let mut seen = Vec::new();
    for page in fs::read_dir(root().join("docs/plugins")).expect("pages").filter_map(Result::ok) {
        let blocks = blocks(&page.path());
        for (at, request) in blocks.iter().enumerate().filter(|(_, block)| block.language == "http") {
            let shown = blocks.get(at + 1).filter(|next| next.language == "json");
            let shown = shown.unwrap_or_else(|| panic!("{}: no lead is shown", request.place));
            let shown: Value = serde_json::from_str(&shown.text).expect(&shown.place);
            assert_eq!(lead_of(folder.path(), request), shown, "{}", request.place);
            seen.push(page.file_name());
        }
    }
    seen.sort();
    let pages = ["contact-form-7.md", "elementor.md", "gravity-forms.md", "kaicalls.md", "other.md", "wpforms.md"];
    assert_eq!(seen, pages, "each plugin's page has an example");
}

/// Asks the program what becomes of a request.
fn lead_of(folder: &Path, request: &Block) -> Value {
    let (head, body) = request.text.split_once("\n\n").expect("a head and a body");
    // An urlencoded body is one line, broken for the page.
    let body = if head.contains("urlencoded") { body.replace('\n', "") } else { body.trim_end().to_owned() };
    fs::write(folder.join("request.http"), format!("{head}\n\n{body}")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_formgate"));
    command.args(["explain", "request.http", "--site", "acme", "--output", "json"]).current_dir(folder).env_clear();
    let explained = command.output().expect("it runs");
    let told: Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    told["lead"].clone()
}

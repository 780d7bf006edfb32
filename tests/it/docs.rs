//! The documents as a newcomer meets them: every command in them is run, in their order, in an empty folder.
//!
//! In README.md a block of `sh` is run against a sandbox and a gateway that the blocks before it have started; the block
//! of `json` after one is the lead that KaiCalls must have got by it. docs/start.md is followed in the same way. docs/sandbox.md is followed
//! against the sandbox alone, and so are the pages on keys and sites. What the tasks' pages show is compared with what happens.

mod plugins;
mod tasks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

/// How long anything may take; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the documents write for addresses, which on the machine that tests may be taken.
const SANDBOX: &str = "127.0.0.1:9090";
const GATEWAY: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:8081";
const ANY_PORT: &str = "127.0.0.1:0";
/// The page whose commands are run against sandboxes alone.
const SANDBOX_PAGE: &str = "docs/sandbox.md";
/// The page that leads to a first lead.
const START_PAGE: &str = "docs/start.md";
/// Pages whose commands are run, each from an empty folder.
const FOLLOWED_PAGES: [&str; 2] = ["docs/keys.md", "docs/sites.md"];
/// What the documents write for a token.
const TOKEN: &str = "fg_…";

/// Whose sections must end in a lead.
const PLUGINS: [&str; 6] =
    ["Run it beside the sandbox", "Contact Form 7", "WPForms", "Gravity Forms", "Elementor Pro", "KaiCalls AI Intake"];

/// A block of code in a document.
pub(crate) struct Block {
    place: String,
    heading: String,
    pub(crate) language: String,
    pub(crate) text: String,
}

/// Someone who does as README.md says.
struct Newcomer {
    _folder: tempfile::TempDir,
    /// The folder that was gone into.
    at: PathBuf,
    /// What the documents write, and what it is here.
    words: BTreeMap<&'static str, String>,
    sandbox: Option<Child>,
    gateway: Option<(Child, Lines<BufReader<ChildStderr>>)>,
    /// The ids that were answered and not yet looked up.
    answered: Vec<String>,
    /// The sections whose lead KaiCalls got as shown.
    led: Vec<String>,
}

#[tokio::test]
async fn the_readme_leads_from_nothing_to_a_lead_of_each_plugin() {
    let mut newcomer = Newcomer::new();
    for block in blocks(&root().join("README.md")) {
        match block.language.as_str() {
            "sh" if is_checkout_command(&block) => check_checkout_commands(&block),
            "sh" => newcomer.follow(&block).await,
            "json" => newcomer.compare(&block).await,
            "toml" => check_configuration(&block),
            other => panic!("{}: nobody runs `{other}` here", block.place),
        }
    }
    for plugin in PLUGINS {
        let led = newcomer.led.iter().any(|heading| heading.starts_with(plugin));
        assert!(led, "README.md leads to no lead of {plugin}: {:?}", newcomer.led);
    }
}

#[tokio::test]
async fn the_start_page_leads_from_the_program_to_a_lead() {
    let mut newcomer = Newcomer::new();
    for block in blocks(&root().join(START_PAGE)) {
        match block.language.as_str() {
            "sh" if block.heading.starts_with("5. ") => {
                // What step 4 says of its commands' output.
                assert!(newcomer.run("formgate leads list").await.contains("delivered"));
                assert!(newcomer.run("formgate keys verify").await.contains(" ok "));
                assert!(newcomer.run("formgate status").await.trim_end().ends_with("nothing needs attention"));
                let said = newcomer.run(&block.text).await;
                for missing in ["secrets/acme_public_key", "secrets/acme_secret_key"] {
                    assert!(said.contains(missing), "{}: {said}", block.place);
                }
            }
            "sh" => newcomer.follow(&block).await,
            "json" => newcomer.compare(&block).await,
            other => panic!("{}: nobody runs `{other}` here", block.place),
        }
    }
    assert_eq!(newcomer.led, ["3. Post a submission"]);
}

#[tokio::test]
async fn the_page_of_the_sandbox_can_be_followed() {
    let mut newcomer = Newcomer::new();
    let mut commands = 0;
    for block in blocks(&root().join(SANDBOX_PAGE)) {
        match block.language.as_str() {
            "sh" if stays(&block.text) => {
                // One sandbox after another, each on a port of its own.
                newcomer.words.insert(SANDBOX, ANY_PORT.to_owned());
                newcomer.start_sandbox(block.text.trim()).await;
            }
            "sh" => {
                let said = newcomer.run(&block.text).await;
                assert!(!said.contains("\"error\""), "{}: {said}", block.place);
                commands += 1;
            }
            _ => check_configuration(&block),
        }
    }
    assert!(commands >= 3, "{commands} blocks were run");
}

#[tokio::test]
async fn the_pages_on_keys_and_sites_can_be_followed() {
    for page in FOLLOWED_PAGES {
        let mut newcomer = Newcomer::new();
        let mut commands = 0;
        for block in blocks(&root().join(page)) {
            match block.language.as_str() {
                "sh" => {
                    newcomer.follow(&block).await;
                    commands += 1;
                }
                _ => check_configuration(&block),
            }
        }
        assert!(commands >= 2, "{page}: {commands} blocks were run");
    }
}

#[test]
fn commands_in_the_other_documents_are_of_the_checkout() {
    for path in documents() {
        for block in blocks(&path).iter().filter(|block| block.language == "sh") {
            let mut followed = FOLLOWED_PAGES.iter().chain(&["README.md", SANDBOX_PAGE, START_PAGE]);
            if !followed.any(|page| path == root().join(page)) {
                assert!(is_checkout_command(block), "{}: the commands of this page are not run", block.place);
                check_checkout_commands(block);
            }
        }
    }
}

#[test]
fn every_piece_of_the_mapping_language_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("mappings")).expect("a folder");
    fs::write(folder.path().join("config.toml"), "[server]\n").expect("written");
    let pieces: Vec<Block> =
        blocks(&root().join("docs/mappings.md")).into_iter().filter(|block| block.language == "toml").collect();
    assert!(pieces.len() >= 7, "only {} pieces", pieces.len());
    for (number, piece) in pieces.iter().enumerate() {
        // What recognises nothing is a mapping that only a form can name.
        fs::write(folder.path().join(format!("mappings/piece-{number}.toml")), &piece.text).expect("written");
    }
    check(folder.path(), "docs/mappings.md");
}

impl Newcomer {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let words = BTreeMap::from([(SANDBOX, ANY_PORT.to_owned())]);
        let at = folder.path().to_owned();
        Self { _folder: folder, at, words, sandbox: None, gateway: None, answered: Vec::new(), led: Vec::new() }
    }

    /// Does what a block says: what stays is started, all else is run by a shell.
    async fn follow(&mut self, block: &Block) {
        let (staying, passing): (Vec<&str>, Vec<&str>) = block.text.lines().partition(|line| stays(line));
        let passing = passing.join("\n");
        if !passing.trim().is_empty() {
            let said = self.run(&passing).await;
            for folder in passing.lines().filter_map(|line| line.strip_prefix("cd ")) {
                self.at.push(folder);
            }
            self.note(&passing, &said);
        }
        for line in staying {
            if line.contains(" sandbox ") {
                self.start_sandbox(line).await;
            } else {
                self.start_gateway(line).await;
            }
        }
        if !self.answered.is_empty() {
            self.wait_for_deliveries().await;
        }
    }

    /// Remembers what later blocks build on.
    fn note(&mut self, commands: &str, said: &str) {
        if commands.contains("formgate init") {
            for address in [GATEWAY, ADMIN] {
                self.edit_config(address, ANY_PORT);
            }
        }
        if let Some((_, token)) = said.split_once("?token=") {
            let token = token.split_whitespace().next().expect("a token is shown");
            self.words.insert(TOKEN, token.to_owned());
        }
        for line in said.lines().filter(|line| line.starts_with(r#"{"success""#)) {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!((&answer["success"], &answer["status"]), (&true.into(), &"queued".into()), "{commands}");
            self.answered.push(answer["id"].as_str().expect("an id").to_owned());
        }
        let posts = commands.contains("/hooks/") || commands.contains("/intake");
        assert_eq!(posts, !self.answered.is_empty(), "{commands}\n{said}");
    }

    async fn start_sandbox(&mut self, line: &str) {
        let (child, mut lines) = self.start(line);
        let address = loop {
            if let Some((_, address)) = next(&mut lines).await.split_once("the sandbox listens on http://") {
                break address.to_owned();
            }
        };
        // The pipe is read on, or the process would stop at a full one.
        drop(tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} }));
        if self.at.join("config.toml").exists() {
            self.edit_config(SANDBOX, &address);
        }
        self.words.insert(SANDBOX, address);
        self.sandbox = Some(child);
    }

    async fn start_gateway(&mut self, line: &str) {
        let (child, mut lines) = self.start(line);
        while !self.words.contains_key(ADMIN) {
            let event = event(&mut lines).await;
            let address = || event["address"].as_str().expect("an address").to_owned();
            match event["message"].as_str() {
                Some("gateway.listening") => drop(self.words.insert(GATEWAY, address())),
                Some("admin.listening") => drop(self.words.insert(ADMIN, address())),
                _ => {}
            }
        }
        self.gateway = Some((child, lines));
    }

    /// Waits until the gateway's log tells that what was answered is delivered.
    async fn wait_for_deliveries(&mut self) {
        let (_, lines) = self.gateway.as_mut().expect("the gateway was started");
        let mut waiting = self.answered.clone();
        while !waiting.is_empty() {
            let event = event(lines).await;
            if event["message"] == "send.attempt" {
                assert_eq!(event["result"], "delivered", "{event}");
                waiting.retain(|id| event["id"] != id.as_str());
            }
        }
    }

    /// Compares the lead that the last block made with the one that the document shows.
    async fn compare(&mut self, block: &Block) {
        let id = self.answered.pop().unwrap_or_else(|| panic!("{}: no submission went before", block.place));
        assert!(self.answered.is_empty(), "{}: one submission has one lead", block.place);
        let shown: Value = serde_json::from_str(&block.text).expect(&block.place);
        let got: Value = serde_json::from_str(&self.run(&format!("curl http://{SANDBOX}/_sandbox/leads")).await)
            .expect("the sandbox tells in JSON");
        let mut leads = got["leads"].as_array().expect("leads").iter();
        let lead = leads.find(|lead| lead["idempotency_key"] == id.as_str()).expect("it was delivered");
        for field in ["name", "email", "phone", "message"] {
            assert_eq!(lead.get(field), shown.get(field), "{}: {field}", block.place);
        }
        self.led.push(block.heading.clone());
    }

    /// Runs commands by a shell and gives what they write to stdout.
    async fn run(&self, commands: &str) -> String {
        let mut shell = self.command("sh");
        shell.args(["-eu", "-c", &self.translate(commands)]).stderr(Stdio::piped());
        shell.env("TOKEN", self.words.get(TOKEN).map_or("", String::as_str));
        let ran = tokio::time::timeout(PATIENCE, shell.output()).await.expect("it ends in time").expect("there is sh");
        let (said, talk) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{commands}\n{said}{talk}");
        // curl ends no line.
        said.replace("}{", "}\n{")
    }

    fn start(&self, line: &str) -> (Child, Lines<BufReader<ChildStderr>>) {
        // No quoted word of these lines holds a space.
        let line = self.translate(line).replace('\'', "");
        let mut words = line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter();
        assert_eq!(words.next().as_deref(), Some("formgate"), "{line}");
        let mut command = self.command(env!("CARGO_BIN_EXE_formgate"));
        let mut child = command.args(words).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        (child, lines)
    }

    fn command(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_formgate")).parent().expect("a folder");
        let path = std::env::var("PATH").expect("a PATH");
        let mut command = Command::new(program);
        command.current_dir(&self.at).env_clear().env("PATH", format!("{}:{path}", binary.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn translate(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, here)| text.replace(word, here))
    }

    fn edit_config(&self, from: &str, to: &str) {
        let path = self.at.join("config.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(from), "config.toml names {from}");
        fs::write(path, text.replace(from, to)).expect("written");
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
    line.expect("it can be read").expect("it has not ended")
}

async fn event(lines: &mut Lines<BufReader<ChildStderr>>) -> Value {
    serde_json::from_str(&next(lines).await).unwrap_or_default()
}

/// Tells whether a command stays until it is stopped.
fn stays(line: &str) -> bool {
    line.starts_with("formgate sandbox ") || line.split(' ').take(2).eq(["formgate", "serve"])
}

/// Tells whether a block is of commands for a checkout of the sources.
fn is_checkout_command(block: &Block) -> bool {
    block.text.lines().all(|line| line.starts_with("make ") || line.starts_with("cargo install "))
}

/// Checks that a piece of configuration is sound.
fn check_configuration(block: &Block) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, from) in [("chain.pem", "good.pem"), ("key.pem", "server.key")] {
        fs::copy(root().join("tests/it/tls").join(from), folder.path().join(name)).expect("copied");
    }
    fs::write(folder.path().join("config.toml"), &block.text).expect("written");
    check(folder.path(), &block.place);
}

/// Runs `formgate check` in a folder and expects nothing to be wrong.
fn check(folder: &Path, place: &str) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_formgate"));
    let checked = command.arg("check").current_dir(folder).env_clear().output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("ok  config.toml"), "{place}: {said}");
}

/// Checks that `make` knows its targets, and that this is what cargo installs.
fn check_checkout_commands(block: &Block) {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    for line in block.text.lines() {
        match line.split_once(' ') {
            Some(("make", target)) => {
                let target = target.split_whitespace().next().unwrap_or_default();
                let known = makefile.lines().any(|line| line.starts_with(&format!("{target}: ## ")));
                assert!(known, "{}: there is no `make {target}`", block.place);
            }
            _ => assert!(
                ["cargo install --locked --path .", "cargo install --locked cargo-deny"].contains(&line),
                "{}: {line}",
                block.place
            ),
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    let here = fs::read_dir(root()).expect("the repository").filter_map(Result::ok).map(|entry| entry.path());
    found.extend(here.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("documents").filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() >= 6, "{found:?}");
    found
}

/// The blocks of a document that say their language.
pub(crate) fn blocks(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).expect("a document");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut inside, mut heading) = (false, "");
    for (at, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(language) if !inside => {
                inside = true;
                let place = format!("{name}:{}", at + 1);
                let (heading, language) = (heading.to_owned(), language.to_owned());
                blocks.push(Block { place, heading, language, text: String::new() });
            }
            Some(_) => inside = false,
            None if inside => {
                let block = blocks.last_mut().expect("one was begun");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None if line.starts_with('#') => heading = line.trim_start_matches('#').trim(),
            None => {}
        }
    }
    assert!(!inside, "{name}: a block has no end");
    blocks.retain(|block| !block.language.is_empty());
    blocks
}

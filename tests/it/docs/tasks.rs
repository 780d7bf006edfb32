//! The tasks' pages: what a page shows after each `$ command` is what the command says to someone in that trouble.
//!
//! Ids, times, durations and keys differ, and `…` stands for anything: alone, for any number of lines.

use std::collections::BTreeMap;
use std::fs;

use tokio::time::Instant;

use crate::postgres::fresh_database;

use super::{ADMIN, Block, GATEWAY, Newcomer, PATIENCE, SANDBOX, blocks, root};

/// What the pages write for the folder of backups.
const BACKUPS: &str = "/var/backups/formgate/";
/// What they write for the data folder, and for the file with the database's URL.
const DATA: &str = "/var/lib/formgate/";
const DATABASE: &str = "/etc/formgate/database";
/// By these words a command only looks, so it may be run again until what came before has taken effect.
const LOOKS: &[&str] = &[" list", " show ", " status", " verify", " trace ", " check", " explain ", " --dry-run"];
const UNITS: &[&str] = &["ms", "s", "min", "h", "d", "KiB"];

#[tokio::test]
async fn the_page_on_a_missing_lead_tells_what_happens() {
    let mut reader = Reader::new().await;
    reader.start().await;
    reader
        .post("contact", r#"{"your-name":"Nora Falk","your-email":"nora@acme","your-message":"The boiler leaks"}"#)
        .await;
    let token = reader.newcomer.words.insert(super::TOKEN, "fg_cut".to_owned()).expect("a token");
    reader.post("contact", r#"{"your-name":"Sam Roe","your-email":"sam@example.com"}"#).await;
    reader.newcomer.words.insert(super::TOKEN, token);
    reader.read("a-lead-is-missing.md", 10).await;
}

#[tokio::test]
async fn the_page_on_revoked_keys_tells_what_happens() {
    let mut reader = Reader::new().await;
    reader.newcomer.run("echo kc_live_agency > secrets/kaicalls_api_key; chmod 600 secrets/kaicalls_api_key").await;
    reader.newcomer.edit_config("[kaicalls]", "[kaicalls]\napi_key = { file = \"secrets/kaicalls_api_key\" }");
    reader.start().await;
    let revoke = "curl -fsS -X DELETE http://127.0.0.1:9090/_sandbox/connections/$(cat data/sandbox/public_key)";
    reader.newcomer.run(revoke).await;
    reader.post("contact", r#"{"your-name":"Leo Marsh","your-email":"leo@example.net"}"#).await;
    reader.read("keys-were-revoked.md", 7).await;
}

#[tokio::test]
async fn the_page_on_a_changed_form_tells_what_happens() {
    let mut reader = Reader::new().await;
    reader.write_rule("[forms.quote.lead]\nname = { join = [\"text-101\", \"text-102\"] }\nemail = \"email-103\"\n");
    reader.start().await;
    let rebuilt = r#"{"text-201":"Nora","text-202":"Falk","email-203":"nora@example.com","email-204":"boss@example.com",
        "textarea-205":"It leaks again."}"#;
    reader.post("quote", rebuilt).await;
    reader.read("a-form-changed.md", 12).await;
}

#[tokio::test]
async fn the_page_on_restoring_tells_what_happens() {
    let mut reader = Reader::new().await;
    reader.start().await;
    let faults = "curl -fsS http://127.0.0.1:9090/_sandbox/faults";
    for name in ["Jane Doe", "Ida Berg"] {
        reader.post("contact", &format!(r#"{{"your-name":"{name}","your-email":"jane@example.com"}}"#)).await;
    }
    reader.expect("formgate status", &["…", "leads   0 queued, 0 held, 0 dead, 2 delivered", "…"], "the world").await;
    reader.newcomer.run(&format!(r#"{faults} -H 'Content-Type: application/json' -d '{{"status":503}}'"#)).await;
    reader.post("contact", r#"{"your-name":"Leo Marsh","your-email":"leo@example.net"}"#).await;
    reader.newcomer.run(&format!("formgate store backup {BACKUPS}formgate-20270111T030000Z.db")).await;
    reader.before_start = Some(format!("{faults} -X DELETE"));
    reader.read("restoring.md", 8).await;
}

#[tokio::test]
async fn the_page_on_moving_tells_what_happens() {
    let mut reader = Reader::new().await;
    let database = fresh_database().await;
    fs::write(reader.newcomer.at.join("secrets/database"), database.url).expect("written");
    reader.newcomer.words.insert(DATABASE, "secrets/database".to_owned());
    reader.newcomer.words.insert(DATA, "data/".to_owned());
    reader.start().await;
    reader.post("contact", r#"{"your-name":"Leo Marsh","your-email":"leo@example.net"}"#).await;
    reader.post("contact", r#"{"your-name":"Nora Falk","your-email":"nora@acme"}"#).await;
    reader.expect("formgate status", &["…", "leads   0 queued, 1 held, 0 dead, 1 delivered", "…"], "the world").await;
    reader.read("moving.md", 5).await;
}

/// Someone who does what a page says, and compares what happens.
struct Reader {
    newcomer: Newcomer,
    /// The ids on the page, and what they are here.
    ids: BTreeMap<String, String>,
    /// What happens while the gateway is stopped.
    before_start: Option<String>,
    _backups: tempfile::TempDir,
}

impl Reader {
    /// Makes a configuration of one site, and starts a sandbox.
    async fn new() -> Self {
        let mut newcomer = Newcomer::new();
        let said = newcomer
            .run("formgate init . --site acme --url https://www.acme.example --region US --sandbox; mkdir -p secrets")
            .await;
        newcomer.note("formgate init", &said);
        newcomer.start_sandbox(&format!("formgate sandbox --listen {SANDBOX} --keys data/sandbox")).await;
        let backups = tempfile::tempdir().expect("a folder");
        newcomer.words.insert(BACKUPS, format!("{}/", backups.path().display()));
        Self { newcomer, ids: BTreeMap::new(), before_start: None, _backups: backups }
    }

    async fn start(&mut self) {
        for address in [GATEWAY, ADMIN] {
            self.newcomer.words.remove(address);
        }
        self.newcomer.start_gateway("formgate serve").await;
    }

    async fn stop(&mut self) {
        let (mut gateway, _) = self.newcomer.gateway.take().expect("a gateway");
        self.newcomer.run(&format!("kill {}", gateway.id().expect("it runs"))).await;
        gateway.wait().await.expect("it ends");
    }

    /// Posts as Contact Form 7 does.
    async fn post(&mut self, form: &str, body: &str) {
        let headers = "-A 'WordPress/7.1; https://www.acme.example' -H 'Content-Type: application/json; charset=UTF-8'";
        let url = format!("http://{GATEWAY}/hooks/acme/{form}?token=$TOKEN");
        self.newcomer.run(&format!("curl -sS \"{url}\" {headers} --data '{body}'")).await;
    }

    /// Puts a rule at the end of the site's file, in the place of one that is there.
    fn write_rule(&self, rule: &str) {
        let path = self.newcomer.at.join("sites/acme.toml");
        let text = fs::read_to_string(&path).expect("the site's file");
        let kept = text.split("\n[forms.").next().expect("a beginning");
        fs::write(path, format!("{kept}\n{rule}")).expect("written");
    }

    /// Writes into the configuration where the store is.
    fn change_store(&self, table: &str) {
        let url = table.lines().find(|line| line.starts_with("url = ")).expect("a URL");
        self.newcomer.edit_config("url = \"sqlite:data/formgate.db\"", &self.newcomer.translate(url));
    }

    /// Follows a page, which must show so many commands.
    async fn read(&mut self, page: &str, commands: usize) {
        let mut seen = 0;
        for block in blocks(&root().join("docs/tasks").join(page)) {
            match block.language.as_str() {
                "console" => {
                    for (command, shown) in commands_of(&block) {
                        self.expect(command, &shown, &block.place).await;
                        seen += 1;
                    }
                }
                "toml" if block.text.starts_with("[queue]") => self.change_store(&block.text),
                "toml" => self.write_rule(&block.text),
                other => panic!("{}: nobody follows `{other}` here", block.place),
            }
        }
        assert_eq!(seen, commands, "{page}: commands that were run");
    }

    /// Runs a command and compares what it says.
    async fn expect(&mut self, command: &str, shown: &[&str], place: &str) {
        match command {
            "systemctl stop formgate" => return self.stop().await,
            "systemctl start formgate" => {
                if let Some(first) = self.before_start.take() {
                    self.newcomer.run(&first).await;
                }
                return self.start().await;
            }
            _ => {}
        }
        let begun = Instant::now();
        loop {
            let said = self.newcomer.run(&format!("{{ {}; }} 2>&1 || true", self.with_ids(command))).await;
            if self.agrees(shown, &said) {
                return;
            }
            let looks = LOOKS.iter().any(|word| command.contains(word));
            assert!(
                looks && begun.elapsed() < PATIENCE,
                "{place}: {command}\nshown:\n{}\nsaid:\n{said}",
                shown.join("\n")
            );
        }
    }

    /// Tells whether a command said what is shown, and remembers its ids if so.
    fn agrees(&mut self, shown: &[&str], said: &str) -> bool {
        let mut ids = self.ids.clone();
        let said: Vec<&str> = said.lines().collect();
        let shown: Vec<String> =
            shown.iter().map(|line| self.with_ids(line).replace(BACKUPS, &self.newcomer.words[BACKUPS])).collect();
        let agree = lines_agree(&shown, &said, &mut ids);
        if agree {
            self.ids = ids;
        }
        agree
    }

    /// A page's text with the ids that are its own here.
    fn with_ids(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (page, here)| {
            // Whole, as in the names of files, and as the page shortens them.
            [36, 18, 13].into_iter().fold(text, |text, length| text.replace(&page[..length], &here[..length]))
        })
    }
}

/// The commands of a block, each with what is shown after it.
fn commands_of(block: &Block) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("{}: `{line}` is said by no command", block.place),
        }
    }
    found
}

fn lines_agree(shown: &[String], said: &[&str], ids: &mut BTreeMap<String, String>) -> bool {
    match (shown.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((line, rest)), _) if line == "…" => (0..=said.len()).any(|skipped| {
            let mut tried = ids.clone();
            let agree = lines_agree(rest, &said[skipped..], &mut tried);
            if agree {
                *ids = tried;
            }
            agree
        }),
        (Some((line, shown)), Some((here, said))) => words_agree(line, here, ids) && lines_agree(shown, said, ids),
        _ => false,
    }
}

fn words_agree(shown: &str, said: &str, ids: &mut BTreeMap<String, String>) -> bool {
    let (shown, said): (Vec<&str>, Vec<&str>) = (shown.split_whitespace().collect(), said.split_whitespace().collect());
    let measures =
        |words: &[&str], at: usize| is_number(words[at]) && words.get(at + 1).is_some_and(|unit| is_unit(unit));
    shown.len() == said.len()
        && (0..shown.len())
            .all(|at| measures(&shown, at) && measures(&said, at) || word_agrees(shown[at], said[at], ids))
}

fn word_agrees(shown: &str, said: &str, ids: &mut BTreeMap<String, String>) -> bool {
    if let (Some(page), Some(here)) = (id_in(shown), id_in(said)) {
        // An id that is known was translated before.
        let known = ids.values().any(|known| *known == page);
        let same = shown.replace(&page, "") == said.replace(&here, "");
        return same && if known { page == here } else { ids.insert(page, here).is_none() };
    }
    let both = |is: fn(&str) -> bool| is(shown) && is(said);
    let is_key = |word: &str| word.starts_with("wp_pk_");
    let begins = shown.split_once('…').is_some_and(|(start, _)| said.starts_with(start));
    shown == said || begins || both(is_time) || both(is_unit) || both(is_key)
}

/// Finds an id in a word, also between quotes or before a comma.
fn id_in(word: &str) -> Option<String> {
    let parts = word.split(|char: char| !char.is_ascii_hexdigit() && char != '-');
    parts.filter(|part| part.len() == 36).map(str::to_owned).next()
}

/// A date, or a time of day.
fn is_time(word: &str) -> bool {
    let word = word.trim_end_matches(',');
    word.contains(['-', ':']) && word.chars().all(|char| char.is_ascii_digit() || "-:".contains(char))
}

fn is_number(word: &str) -> bool {
    word.trim_start_matches(['+', '(']).parse::<u32>().is_ok()
}

fn is_unit(word: &str) -> bool {
    UNITS.contains(&word.trim_end_matches([')', ':', ';', ',']))
}

#[test]
fn what_must_agree_is_told_from_what_may_differ() {
    let mut ids = BTreeMap::new();
    let page = "01a23017-4b7d-7ad1-bf78-90d8fce39d0f  2026-12-01 05:32  held  +9 ms";
    let here = "019ad4f1-aaaa-7bbb-8ccc-0123456789ab 2027-01-02 11:59 held +1 s";
    assert!(words_agree(page, here, &mut ids));
    assert_eq!(ids.values().collect::<Vec<_>>(), ["019ad4f1-aaaa-7bbb-8ccc-0123456789ab"]);
    assert!(!words_agree("1 lead held", "2 leads held", &mut ids));
    assert!(!words_agree("1 lead held", "1 lead dead", &mut ids));
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(lines_agree(&shown(&["a", "…", "d"]), &["a", "b", "c", "d"], &mut ids));
    assert!(!lines_agree(&shown(&["a", "…", "d"]), &["a", "b", "c"], &mut ids));
    assert!(!lines_agree(&shown(&["a"]), &["a", "b"], &mut ids));
}

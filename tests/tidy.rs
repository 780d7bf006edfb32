//! House rules that no compiler knows. Each failure says what to do about it.
//!
//! Sources are read as text: comments are left out, and what stands in literals where a rule is about code.

#![cfg(test)]
#![expect(clippy::string_slice, reason = "offsets come from searches in the same text")]

#[path = "tidy/alerts.rs"]
mod alerts;
#[path = "tidy/book.rs"]
mod book;
#[path = "tidy/habits.rs"]
mod habits;
#[path = "tidy/mappings.rs"]
mod mappings;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, is_word_at};

/// Each room, and which others it may use. A room uses only rooms further down; a room that isn't here doesn't exist.
///
/// To change it is a decision: it has a commit of its own and a page in `docs/decisions/`.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli", "telemetry"]),
    (
        "cli",
        &[
            "app",
            "accept",
            "send",
            "admin",
            "operate",
            "sandbox",
            "queue",
            "config",
            "kaicalls",
            "telemetry",
            "pipeline",
            "map",
            "decode",
            "lead",
            "received",
            "destination",
            "notify",
            "event",
            "postgres_url",
        ],
    ),
    (
        "app",
        &[
            "accept",
            "send",
            "admin",
            "operate",
            "queue",
            "config",
            "kaicalls",
            "telemetry",
            "lead",
            "received",
            "destination",
            "notify",
            "clock",
            "postgres_url",
        ],
    ),
    ("notify", &["operate", "queue", "config", "telemetry", "lead", "destination", "event", "clock"]),
    ("accept", &["queue", "config", "kaicalls", "telemetry", "pipeline", "lead", "received", "destination", "http"]),
    ("send", &["queue", "config", "kaicalls", "telemetry", "lead", "received", "destination", "clock"]),
    ("admin", &["operate", "queue", "config", "kaicalls", "telemetry", "lead", "received", "destination", "http"]),
    ("operate", &["queue", "config", "kaicalls", "telemetry", "pipeline", "lead", "received", "destination"]),
    ("sandbox", &[]),
    ("queue", &["telemetry", "lead", "received", "event", "postgres_url"]),
    ("config", &["telemetry", "pipeline", "map", "decode", "lead", "received", "destination", "event", "postgres_url"]),
    ("kaicalls", &["telemetry", "lead", "destination"]),
    ("telemetry", &[]),
    ("pipeline", &["map", "decode", "lead", "received"]),
    ("map", &["decode", "lead"]),
    ("decode", &["received"]),
    ("lead", &[]),
    ("received", &[]),
    ("destination", &[]),
    ("postgres_url", &[]),
    ("event", &[]),
    ("clock", &[]),
    ("http", &[]),
];

/// The order of `lib.rs`: the stages as a submission travels, then what supports them, then what puts all together.
const ORDER: &[&str] = &[
    "accept",
    "http",
    "received",
    "pipeline",
    "decode",
    "map",
    "lead",
    "queue",
    "send",
    "kaicalls",
    "operate",
    "notify",
    "admin",
    "config",
    "sandbox",
    "cli",
    "destination",
    "postgres_url",
    "event",
    "clock",
    "app",
    "telemetry",
];

/// Crates and calls that stay in some rooms (or files of a room), so that the others never depend on them.
const CONFINED: &[(&str, &[&str])] = &[
    ("pingora", &["accept", "http", "admin", "sandbox", "app", "send"]),
    ("toml", &["config", "operate/sites_file", "cli/learn"]),
    ("clap", &["cli"]),
    ("rusqlite", &["queue/sqlite"]),
    ("tokio_postgres", &["queue/postgres", "postgres_url"]),
    ("deadpool_postgres", &["queue/postgres"]),
    ("reqwest", &["kaicalls", "notify", "cli/replay", "cli/doctor"]),
    ("lettre", &["notify/sink/mail"]),
    ("anyhow", &["cli", "main"]),
    ("prometheus", &["telemetry"]),
    ("tracing_subscriber", &["telemetry"]),
    ("tracing_appender", &["telemetry"]),
    ("spawn_blocking", &["telemetry", "accept/submission/offload"]),
    ("Timestamp::now", &["clock", "accept", "send", "admin", "sandbox", "app", "cli"]),
];

/// The core: values in, values out.
const PURE: &[&str] = &["received", "lead", "decode", "map", "pipeline"];
const IMPURE_WORDS: &[&str] =
    &["async", "await", "tokio", "tracing", "rand", "std::fs", "std::env", "SystemTime", "Instant", "Timestamp::now"];

/// Plugins are described in `mappings/*.toml`, in the language that users write.
const PLUGINS: &[&str] =
    &["elementor", "gravity", "wpforms", "contact-form-7", "contact form 7", "contactform7", "cf7"];
/// Where a plugin is named all the same: the one signature that is checked.
const PLUGIN_FILES: &[&str] = &["accept/guard/signature.rs"];
const PLUGIN_WORDS: &[&str] =
    &["wpforms_secrets", "wpforms_secret", "x-wpforms-webhook-id", "x-wpforms-webhook-signature"];

#[test]
fn rooms_import_only_what_the_table_allows() {
    assert_tidy(check_imports);
}

#[test]
fn crates_and_clocks_stay_in_their_rooms() {
    assert_tidy(check_confined);
}

#[test]
fn the_core_is_pure() {
    assert_tidy(check_pure);
}

#[test]
fn no_plugin_is_named_in_the_program() {
    assert_tidy(check_plugins);
}

#[test]
fn each_room_uses_only_rooms_further_down_the_table() {
    for (place, (name, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            assert!(ROOMS[place + 1..].iter().any(|(below, _)| below == used), "{name} may not use {used}");
        }
    }
}

#[test]
fn the_crate_root_lists_its_rooms_in_the_order_of_travel() {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let in_order: Vec<&str> = ORDER.iter().copied().filter(|name| declared.contains(name)).collect();
    assert_eq!(declared, in_order, "src/lib.rs: declare rooms in the order of ORDER in tests/tidy.rs");
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let mut complaints = Vec::new();
    for path in ["src", "tests", "examples", "docs", "mappings", "fixtures", "scripts", ".ci"] {
        walk(&root().join(path), &mut |file| complaints.extend(check_folders(file)));
    }
    for entry in fs::read_dir(root()).expect("the repository").filter_map(Result::ok) {
        // In a second work tree `.git` is a file, and holds a path.
        if entry.path().is_file() && entry.file_name() != ".git" {
            complaints.extend(check_folders(&entry.path()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Runs a check over the program's sources and fails with every complaint at once.
fn assert_tidy(check: fn(&Source) -> Vec<String>) {
    let mut complaints = Vec::new();
    let mut files = 0;
    let src = root().join("src");
    walk(&src, &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            files += 1;
            let name = path.strip_prefix(&src).expect("walked from src").to_string_lossy().replace('\\', "/");
            complaints.extend(check(&Source::new(name, &fs::read_to_string(path).expect("a source file"))));
        }
    });
    assert!(files > 10, "found only {files} sources in {}", src.display());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn check_imports(source: &Source) -> Vec<String> {
    let room = source.room();
    if room == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "src/{}: `{room}` is no room of the table; put the file into a room, or add a row to ROOMS in tests/tidy.rs \
             and a page to docs/decisions/",
            source.name
        )];
    };
    let foreign = source.rooms_used().into_iter().filter(|(_, used)| used != room);
    foreign
        .filter(|(_, used)| !allowed.contains(&used.as_str()))
        .map(|(line, used)| {
            format!(
                "src/{}:{line}: {room} may not use {used}; let the caller hand over what is needed, take it from a room \
                 that {room} may use, or move it down to one",
                source.name
            )
        })
        .collect()
}

fn check_confined(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, rooms) in CONFINED {
        if rooms.iter().any(|room| source.is_in(room)) {
            continue;
        }
        for line in source.lines_using(name) {
            complaints.push(format!("src/{}:{line}: {name} is only for {}", source.name, rooms.join(", ")));
        }
    }
    complaints
}

fn check_pure(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.room()) {
        return Vec::new();
    }
    // A test may read its fixtures.
    let shipped = |(_, (_, shipped)): &(usize, (&str, &str))| !shipped.trim().is_empty();
    let lines = source.code.lines().zip(source.shipped.lines()).enumerate().filter(shipped);
    let lines = lines.map(|(at, (code, _))| (at, code));
    let found =
        lines.flat_map(|(at, line)| IMPURE_WORDS.iter().filter(move |word| has_word(line, word)).map(move |w| (at, w)));
    found
        .map(|(at, word)| {
            format!(
                "src/{}:{}: `{word}` in {}, which is pure; take the value as an argument, or do it in a room above",
                source.name,
                at + 1,
                source.room()
            )
        })
        .collect()
}

fn check_plugins(source: &Source) -> Vec<String> {
    if PLUGIN_FILES.contains(&source.name.as_str()) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (at, line) in source.shipped.to_lowercase().lines().enumerate() {
        let line = PLUGIN_WORDS.iter().fold(line.to_owned(), |line, word| line.replace(word, ""));
        if let Some(plugin) = PLUGINS.iter().find(|plugin| line.contains(**plugin)) {
            complaints.push(format!(
                "src/{}:{}: names {plugin}; what is known of a plugin belongs into mappings/*.toml",
                source.name,
                at + 1
            ));
        }
    }
    complaints
}

fn check_folders(path: &Path) -> Vec<String> {
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    // A captured request's first line holds a URL's path.
    let skipped = usize::from(path.extension().is_some_and(|extension| extension == "http"));
    let lines = text.lines().enumerate().skip(skipped);
    lines
        .filter_map(|(at, line)| {
            let folder = folder_of_one_machine(line)?;
            Some(format!("{}:{}: names {folder}…, which is on one machine only", path.display(), at + 1))
        })
        .collect()
}

/// Finds the beginning of an absolute path into somebody's home or work folder.
fn folder_of_one_machine(line: &str) -> Option<&'static str> {
    // In two pieces, so that this file is tidy too.
    let folders = [
        concat!("/", "home/"),
        concat!("/", "root/"),
        concat!("/", "Users/"),
        concat!("/", "work/"),
        concat!("/", "tmp/wt"),
    ];
    folders.into_iter().find(|folder| {
        line.match_indices(folder).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            before.is_none_or(|before| before.is_whitespace() || "\"'`=(:<>[,".contains(before))
        })
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| is_word_at(line, at, word.len()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.path().is_dir() {
            walk(&entry.path(), visit);
        } else {
            visit(&entry.path());
        }
    }
}

fn complaints(check: fn(&Source) -> Vec<String>, name: &str, text: &str) -> Vec<String> {
    check(&Source::new(name.to_owned(), text))
}

#[test]
fn an_import_that_the_table_lacks_is_told_with_its_line() {
    let found = complaints(check_imports, "queue/mod.rs", "use crate::lead::EntryId;\nuse crate::config::Config;\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/queue/mod.rs:2: queue may not use config;"), "{found:?}");
    assert!(complaints(check_imports, "queue/mod.rs", "use crate::queue::entry;").is_empty());
    assert!(
        complaints(check_imports, "main.rs", "fn main() { formgate::accept::x() }")[0]
            .contains("main may not use accept")
    );
    assert!(complaints(check_imports, "lib.rs", "pub use crate::accept;").is_empty());
    assert_eq!(complaints(check_imports, "sandbox/app.rs", "use crate::telemetry::Metrics;").len(), 1);
}

#[test]
fn a_file_in_no_room_is_told_what_to_do() {
    assert!(complaints(check_imports, "utils.rs", "")[0].contains("`utils` is no room of the table; put the file"));
    assert!(complaints(check_imports, "lead/mod.rs", "use crate::utils::x;")[0].contains("lead may not use utils"));
}

#[test]
fn a_crate_outside_its_rooms_is_told() {
    assert_eq!(complaints(check_confined, "accept/x.rs", "use reqwest::Client;").len(), 1);
    assert_eq!(complaints(check_confined, "cli/replay.rs", "use reqwest::Client;").len(), 0);
    assert_eq!(complaints(check_confined, "cli/replays.rs", "use reqwest::Client;").len(), 1);
    assert_eq!(complaints(check_confined, "queue/sqlite/claim.rs", "fn f(c: &rusqlite::Connection) {}").len(), 0);
    assert_eq!(complaints(check_confined, "queue/memory.rs", "fn f(c: &rusqlite::Connection) {}").len(), 1);
    assert_eq!(complaints(check_confined, "queue/memory.rs", "let at = jiff::Timestamp::now();").len(), 1);
    assert_eq!(complaints(check_confined, "cli/check.rs", "let toml = 1; // toml::from_str").len(), 0);
    assert_eq!(complaints(check_confined, "queue/x.rs", "use anyhow;\n#[derive(clap::Parser)]").len(), 2);
}

#[test]
fn what_is_not_pure_is_told() {
    assert_eq!(complaints(check_pure, "map/mod.rs", "pub async fn f() {}\nlet now = Timestamp::now();").len(), 2);
    assert_eq!(complaints(check_pure, "decode/x.rs", "tracing::info!(\"x\");").len(), 1);
    assert_eq!(complaints(check_pure, "decode/x.rs", "// async\nlet asynchronous = \"tokio\";").len(), 0);
    assert_eq!(complaints(check_pure, "queue/x.rs", "async fn f() {}").len(), 0);
}

#[test]
fn a_plugin_named_outside_comments_and_tests_is_told() {
    assert_eq!(complaints(check_plugins, "map/x.rs", "if agent == \"WPForms\" {}").len(), 1);
    assert_eq!(complaints(check_plugins, "map/x.rs", "fn elementor_pro() {}").len(), 1);
    assert_eq!(
        complaints(check_plugins, "map/x.rs", "// as Elementor does\nlet a = \"x-wpforms-webhook-id\";").len(),
        0
    );
    assert_eq!(complaints(check_plugins, "accept/guard/signature.rs", "\"elementor\"").len(), 0);
    let tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn f() { \"_wpcf7\"; }\n}\nfn cf7() {}\n";
    let found = complaints(check_plugins, "map/x.rs", tests);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("src/map/x.rs:6:"), "{found:?}");
}

#[test]
fn a_folder_of_one_machine_is_found_and_a_url_is_not() {
    for bad in ["see /home@jane/x", "\"/root@x\"", "path=/work@x", "`/Users@jane/x`"] {
        assert!(folder_of_one_machine(&bad.replace('@', "/")).is_some(), "{bad}");
    }
    for good in ["https://x.example/home@x", "./work@x", "~/root@x", "/var/lib/formgate", "home@x"] {
        assert!(folder_of_one_machine(&good.replace('@', "/")).is_none(), "{good}");
    }
}

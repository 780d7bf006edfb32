//! Runs public conformance suites against decode and lead, and prints how far they agree.
//!
//! `FORMGATE_SUITES=/path cargo run --release --example conformance`. The suites are not part of this repository: each
//! row of theirs has a licence of its own. What is printed stands, with the reasons, in `docs/conformance.md`.
//! Exit codes: 0 every difference is on purpose, 1 some are not, 2 the suites can't be read.

mod emails;

mod json_parsing;

mod multipart;

mod naughty;

mod phones;

mod php_arrays;

mod suite;

mod urlencoded;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use suite::Tally;

/// Most unexplained cases shown of one suite.
const SHOWN_MAX: usize = 20;

const NOT_SET: &str = "\
FORMGATE_SUITES is not set. Set it to the folder that holds the suites:
  emails.jsonl, phones.jsonl, urlencoded.jsonl, php_arrays.jsonl, json_parsing.jsonl, naughty.jsonl, multipart/
docs/conformance.md says what is in each, and which public suites they come from.";

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let Some(folder) = std::env::var_os("FORMGATE_SUITES").map(PathBuf::from) else {
        return say(&mut std::io::stderr(), NOT_SET, 2);
    };
    match run(&folder) {
        Ok(tallies) => {
            let unexplained = tallies.iter().any(|tally| !tally.wrong.is_empty());
            say(&mut out, &table(&tallies), u8::from(unexplained))
        }
        Err(error) => say(&mut std::io::stderr(), &format!("{error:#}"), 2),
    }
}

/// A reader that went away, as `head` does, is no failure of the suites.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    match writeln!(to, "{text}") {
        Ok(()) => ExitCode::from(code),
        Err(_gone) => ExitCode::from(2),
    }
}

fn run(folder: &Path) -> anyhow::Result<Vec<Tally>> {
    Ok(vec![
        emails::run(folder)?,
        phones::run(folder)?,
        urlencoded::run(folder)?,
        php_arrays::run(folder)?,
        multipart::run(folder)?,
        json_parsing::run(folder)?,
        naughty::run(folder)?,
    ])
}

fn table(tallies: &[Tally]) -> String {
    let mut lines = vec![
        "| suite | cases | agree | differ on purpose | unexplained |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    for tally in tallies {
        let (on_purpose, wrong) = (tally.on_purpose.values().sum::<usize>(), tally.wrong.len());
        let cases = tally.agree + on_purpose + wrong;
        lines.push(format!("| {} | {cases} | {} | {on_purpose} | {wrong} |", tally.suite, tally.agree));
    }
    lines.push(String::new());
    for tally in tallies {
        let reasons = tally.on_purpose.iter();
        lines.extend(reasons.map(|(reason, count)| format!("{}: {count} differ: {reason}", tally.suite)));
    }
    for tally in tallies {
        lines.extend(tally.wrong.iter().take(SHOWN_MAX).map(|case| format!("{}: UNEXPLAINED {case}", tally.suite)));
    }
    lines.join("\n")
}

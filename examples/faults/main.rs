//! Runs the gateway's promises against faults, and prints what came of each as a row of a table.
//!
//! `scripts/faults [ROUNDS] [PROOF…]` builds what is needed and runs it. `FORMGATE` names another program to be tested
//! than the one built beside this. Exit codes: 0 every proof holds, 1 one does not, 2 it could not be run.

mod proofs;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use proofs::row::{Row, table};
use proofs::{PROOFS, Plan, Proof, SOAK};

/// Rounds of the proofs that kill, unless told otherwise.
const ROUNDS: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("faults: {error:#}"));
            ExitCode::from(2)
        }
    }
}

async fn run() -> anyhow::Result<bool> {
    let mut arguments = std::env::args().skip(1).peekable();
    let rounds = arguments.next_if(|argument| argument.chars().all(|letter| letter.is_ascii_digit()));
    let rounds = rounds.map_or(Ok(ROUNDS), |rounds| rounds.parse()).context("the number of rounds")?;
    let asked: Vec<String> = arguments.collect();
    let plan = Plan { program: program()?, rounds };
    let mut rows = Vec::new();
    for proof in chosen(&asked)? {
        say(&format!("{} …", proof.name));
        let found = (proof.run)(&plan).await.unwrap_or_else(|error| vec![broken(proof.name, &error)]);
        rows.extend(found.into_iter().map(|row| Row { name: proof.name, ..row }));
    }
    writeln!(std::io::stdout(), "{}", table(&rows))?;
    Ok(rows.iter().all(|row| row.failed.is_empty()))
}

/// Returns the proofs of those names, or all but the soak.
fn chosen(asked: &[String]) -> anyhow::Result<Vec<&'static Proof>> {
    if asked.is_empty() {
        return Ok(PROOFS.iter().collect());
    }
    let find = |name: &String| {
        let known = || PROOFS.iter().chain([&SOAK]);
        let found = known().find(|proof| proof.name == *name);
        let names = || known().map(|proof| proof.name).collect::<Vec<_>>().join(", ");
        found.with_context(|| format!("no such proof: {name}; use {}", names()))
    };
    asked.iter().map(find).collect()
}

/// A proof that could not be brought to its end has failed.
fn broken(name: &'static str, error: &anyhow::Error) -> Row {
    let mut row = Row::new(name, 0);
    row.failed.push(format!("{error:#}"));
    row
}

fn program() -> anyhow::Result<PathBuf> {
    if let Some(program) = std::env::var_os("FORMGATE") {
        return Ok(program.into());
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(std::path::Path::parent).context("where programs are built")?;
    Ok(folder.join("formgate"))
}

/// Talk goes to stderr; a reader that went away is no fault of the gateway.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

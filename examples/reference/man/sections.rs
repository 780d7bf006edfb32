//! The sections of a man page after its options, in the order of man-pages(7).

use anyhow::Context as _;
use clap::Command;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::super::environment::{FILES, FILES_ELSEWHERE, OTHER_VARIABLES, VARIABLES};
use super::super::pages;
use super::name_of;

/// The page that has the exit codes of `formgate serve`.
const OPERATING: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md"));
const PROGRAM: &str = "formgate";
const SERVE: &str = "formgate-serve";

/// Pages that are worth a look after one. Every other leads to those above it.
const SEE_ALSO: &[(&str, &[&str])] = &[
    (PROGRAM, &["formgate-init", "formgate-serve", "formgate-check", "formgate-doctor"]),
    (SERVE, &["formgate", "formgate-check", "formgate-status", "formgate-tail", "journalctl", "systemctl"]),
];

/// A block of the text that follows a command's help.
enum Block {
    ExitCodes,
    /// Prose on the exit code.
    Exits(String),
    Examples(Vec<String>),
    Note(String, Vec<String>),
}

/// Writes all that follows what clap_mangen writes.
pub(super) fn after_options(command: &Command) -> anyhow::Result<String> {
    let name = name_of(command);
    let blocks = blocks_of(command);
    let mut roff = Roff::new();
    exit_status(&mut roff, command, &blocks)?;
    if name == PROGRAM || name == SERVE {
        environment(&mut roff, &name);
        files(&mut roff);
    }
    notes(&mut roff, &blocks);
    examples(&mut roff, &blocks);
    see_also(&mut roff, &name);
    let text = roff.render();
    // The page begins with these definitions already.
    let from = text.find(".SH ").context("a section")?;
    Ok(text.get(from..).unwrap_or_default().to_owned())
}

fn blocks_of(command: &Command) -> Vec<Block> {
    let help = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let blocks = help.split("\n\n").filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            let mut lines = block.lines().map(str::to_owned);
            let first = lines.next().unwrap_or_default();
            match first.as_str() {
                "Exit codes:" => Block::ExitCodes,
                "Examples:" => Block::Examples(lines.collect()),
                line if line.starts_with("Exits with ") => Block::Exits(block.replace('\n', " ")),
                _ => Block::Note(first, lines.collect()),
            }
        })
        .collect()
}

fn exit_status(roff: &mut Roff, command: &Command, blocks: &[Block]) -> anyhow::Result<()> {
    roff.control("SH", ["EXIT STATUS"]);
    let is_program = blocks.iter().any(|block| matches!(block, Block::ExitCodes));
    if is_program || name_of(command) == SERVE {
        let codes = if is_program { pages::exit_codes(command) } else { exits_of_serve()? };
        for [code, meaning] in codes {
            item(roff, &code, &meaning);
        }
        return Ok(());
    }
    for block in blocks {
        if let Block::Exits(text) = block {
            roff.text(inlines(text));
        }
    }
    roff.text(inlines("`formgate`(1) lists what each exit status means."));
    Ok(())
}

/// Reads the table on the page about operating.
fn exits_of_serve() -> anyhow::Result<Vec<[String; 2]>> {
    let (_, table) = OPERATING.split_once("| exit code of `serve` |").context("a table of exit codes")?;
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| "));
    rows.map(|row| {
        let (code, meaning) = row.split_once(" | ").context("two columns")?;
        Ok([code.to_owned(), meaning.trim_end_matches(" |").to_owned()])
    })
    .collect()
}

fn environment(roff: &mut Roff, page: &str) {
    roff.control("SH", ["ENVIRONMENT"]);
    for variable in VARIABLES.iter().filter(|variable| page == PROGRAM || variable.is_for_serve) {
        item(roff, variable.name, variable.about);
    }
    roff.control("PP", []);
    roff.text(inlines(OTHER_VARIABLES));
}

fn files(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    for (path, about) in FILES {
        item(roff, path, about);
    }
    roff.control("PP", []);
    roff.text(inlines(FILES_ELSEWHERE));
}

fn notes(roff: &mut Roff, blocks: &[Block]) {
    for block in blocks {
        if let Block::Note(about, lines) = block {
            roff.control("SH", ["NOTES"]);
            roff.text(inlines(about));
            as_written(roff, lines);
        }
    }
}

fn examples(roff: &mut Roff, blocks: &[Block]) {
    for block in blocks {
        if let Block::Examples(lines) = block {
            roff.control("SH", ["EXAMPLES"]);
            as_written(roff, lines);
        }
    }
}

fn see_also(roff: &mut Roff, name: &str) {
    let above = || name.match_indices('-').filter_map(|(at, _)| name.get(..at)).collect();
    let listed = SEE_ALSO.iter().find(|(page, _)| *page == name);
    let pages: Vec<&str> = listed.map_or_else(above, |(_, pages)| pages.to_vec());
    let references: Vec<String> = pages.iter().map(|page| format!("`{page}`(1)")).collect();
    roff.control("SH", ["SEE ALSO"]);
    roff.text(inlines(&references.join(", ")));
}

/// A term, and below it what it means.
fn item(roff: &mut Roff, term: &str, about: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text(inlines(about));
}

fn as_written(roff: &mut Roff, lines: &[String]) {
    roff.control("PP", []);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

/// Sets in bold what is in backticks.
fn inlines(text: &str) -> Vec<Inline> {
    let pieces = text.split('`').enumerate();
    pieces.map(|(at, piece)| if at % 2 == 0 { roman(piece) } else { bold(piece) }).collect()
}

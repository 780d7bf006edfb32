//! `formgate check`.

use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::console::{Console, Format};
use super::error::Error;
use super::exit::Exit;
use super::rules::ConfigArg;
use crate::accept::check_certificates;
use crate::config::{Config, Diagnostics, Severity};

/// Shows every problem of the configuration, with its place and its cure.
///
/// Sites, mappings and certificates are checked with it. Examples in the mappings are run. Files that a secret names and
/// that are not on this machine are told, but fail nothing: a checkout can be checked without its secrets. Exits with 78
/// where something is wrong; with --strict also where something is missing or warned of.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Fail on warnings too, and on secrets that are not on this machine
    #[arg(long)]
    strict: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What a sound configuration holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Content {
    sites: usize,
    forms: usize,
    mappings: usize,
    examples: usize,
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    errors: usize,
    unresolved: usize,
    warnings: usize,
    /// None where `config.toml` itself can't be used.
    #[serde(flatten)]
    content: Option<Content>,
    diagnostics: &'a Diagnostics,
}

pub(super) fn run(args: &CheckArgs, console: &mut Console) -> Result<Exit, Error> {
    let (path, mut loaded) = args.config.load()?;
    let certificates = loaded.config.as_ref().map_or(Ok(()), |config| check_certificates(&config.server.listen));
    if let Err(error) = certificates {
        loaded.diagnostics.add_error(&path, &format!("{:#}", anyhow!(error)));
    }
    let diagnostics = &loaded.diagnostics;
    let report = Report {
        file: &path,
        errors: diagnostics.count(Severity::Error),
        unresolved: diagnostics.count(Severity::Unresolved),
        warnings: diagnostics.count(Severity::Warning),
        content: loaded.config.as_ref().map(Content::of),
        diagnostics,
    };
    match args.output {
        Format::Json => console.json(&report)?,
        Format::Text => show(&report, console)?,
    }
    let refused_by_strict = args.strict && !diagnostics.is_empty();
    if refused_by_strict && !diagnostics.has_errors() {
        console.say("--strict: what is shown above fails the check");
    }
    Ok(if refused_by_strict || diagnostics.has_errors() { Exit::Config } else { Exit::Ok })
}

fn show(report: &Report<'_>, console: &mut Console) -> Result<(), Error> {
    if !report.diagnostics.is_empty() {
        let rendered = report.diagnostics.render(console.paint().colour);
        console.data(rendered)?;
    }
    let file = report.file.display();
    if report.errors > 0 {
        console.say(format!("{file}: {}", report.counts()));
        return Ok(());
    }
    let content = report.content.map_or_else(String::new, |content| format!(": {}", content.words()));
    let counts = if report.diagnostics.is_empty() { String::new() } else { format!(" ({})", report.counts()) };
    let ok = console.paint().green("ok");
    console.data(format!("{ok}  {file}{content}{counts}"))
}

impl Report<'_> {
    fn counts(&self) -> String {
        let mut counts = vec![counted(self.errors, "error"), counted(self.warnings, "warning")];
        if self.unresolved > 0 {
            counts.push(format!("{} not on this machine", counted(self.unresolved, "value")));
        }
        counts.join(", ")
    }
}

impl Content {
    fn of(config: &Config) -> Self {
        Self {
            sites: config.sites.len(),
            forms: config.sites.values().map(|site| site.rules.forms.len()).sum(),
            mappings: config.mappings.iter().count(),
            examples: config.mappings.iter().map(|mapping| mapping.examples.len()).sum(),
        }
    }

    fn words(self) -> String {
        let Self { sites, forms, mappings, examples } = self;
        let parts = [(sites, "site"), (forms, "form"), (mappings, "mapping"), (examples, "example")];
        parts.map(|(count, noun)| counted(count, noun)).join(", ")
    }
}

/// Writes a count with its noun.
pub(super) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

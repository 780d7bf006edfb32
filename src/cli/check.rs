//! `formgate check`.

use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::console::{Console, Format};
use super::error::Error;
use super::exit::Exit;
use super::gateway_user::as_gateway_user;
use super::rules::{ConfigArg, today};
use crate::accept::check_certificates;
use crate::config::{self, Config, Diagnostics, Severity, Sources, StandIn, Starting};

/// Shows every problem in the configuration, with its line and its fix.
///
/// Checks sites, mappings and certificates too, and runs the examples in the mappings. A secret's file that isn't on
/// this machine is reported but doesn't fail the check, so that a checkout can be checked without its secrets. Exits
/// with 78 if anything is wrong; with --strict also if anything is missing or there is a warning.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Fail on warnings too, and on secrets that aren't on this machine
    #[arg(long)]
    strict: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Most parts that are listed with what stands in for them.
const STAND_INS_SHOWN: usize = 20;

/// How many sites, forms and mappings a sound configuration has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct ContentCounts {
    sites: usize,
    forms: usize,
    mappings: usize,
    examples: usize,
}

/// The result of `check`.
#[derive(Serialize)]
struct CheckReport<'a> {
    file: &'a Path,
    errors: usize,
    unresolved: usize,
    warnings: usize,
    /// None where `config.toml` itself can't be used.
    #[serde(flatten)]
    content: Option<ContentCounts>,
    diagnostics: &'a Diagnostics,
    /// Whether `serve` would start, without `--strict`.
    can_serve: bool,
    /// What `serve` would start with instead of what is broken or gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stand_ins: Vec<ShownStandIn<'a>>,
}

#[derive(Serialize)]
struct ShownStandIn<'a> {
    part: String,
    file: &'a Path,
    fault: &'static str,
    /// The same for people.
    #[serde(skip)]
    words: &'static str,
    in_force: &'static str,
}

impl<'a> ShownStandIn<'a> {
    fn of(StandIn { part, file, fault, by }: &'a StandIn) -> Self {
        Self { part: part.to_string(), file, fault: fault.as_str(), words: fault.words(), in_force: by.words() }
    }
}

pub(super) fn run(args: &CheckArgs, console: &mut Console) -> Result<Exit, Error> {
    let path = args.config.find()?;
    let (Starting { mut loaded, stand_ins, in_force }, certificates) = as_gateway_user(&path, console, || {
        let starting = config::start(&path, &Sources::command_line(), today());
        let config = starting.loaded.config.as_ref();
        let certificates = config.map_or(Ok(()), |config| check_certificates(&config.server.listen));
        (starting, certificates)
    });
    if let Err(error) = certificates {
        loaded.diagnostics.add_error(&path, &format!("{:#}", anyhow!(error)));
    }
    let diagnostics = &loaded.diagnostics;
    let report = CheckReport {
        file: &path,
        errors: diagnostics.count(Severity::Error),
        unresolved: diagnostics.count_places(Severity::Unresolved),
        warnings: diagnostics.count(Severity::Warning),
        content: loaded.config.as_ref().map(|config| ContentCounts::of(config, loaded.broken_sites.len())),
        diagnostics,
        can_serve: in_force.is_some(),
        stand_ins: stand_ins.iter().map(ShownStandIn::of).collect(),
    };
    match args.output {
        Format::Json => console.json(&report)?,
        Format::Text => show(&report, console)?,
    }
    let refused_by_strict = args.strict && !diagnostics.is_empty();
    if refused_by_strict && !diagnostics.has_errors() {
        console.say("--strict: the problems above fail the check");
    }
    Ok(if refused_by_strict || diagnostics.has_errors() { Exit::Config } else { Exit::Ok })
}

fn show(report: &CheckReport<'_>, console: &mut Console) -> Result<(), Error> {
    if !report.diagnostics.is_empty() {
        let rendered = report.diagnostics.render(console.paint().colour);
        console.data(rendered)?;
    }
    let file = report.file.display();
    if report.errors > 0 {
        console.say(format!("{file}: {}", report.counts()));
        if report.can_serve {
            show_stand_ins(&report.stand_ins, console);
        } else {
            console.say("`formgate serve` can't start: [server], [queue] and [limits] must be usable");
        }
        return Ok(());
    }
    let content = report.content.map_or_else(String::new, |content| format!(": {}", content.words()));
    let counts = if report.diagnostics.is_empty() { String::new() } else { format!(" ({})", report.counts()) };
    let ok = console.paint().green("ok");
    console.data(format!("{ok}  {file}{content}{counts}"))
}

fn show_stand_ins(stand_ins: &[ShownStandIn<'_>], console: &mut Console) {
    if stand_ins.is_empty() {
        return;
    }
    console.say("\n`formgate serve` would start anyway:");
    for ShownStandIn { part, words, in_force, file, .. } in stand_ins.iter().take(STAND_INS_SHOWN) {
        console.say(format!("  {part} ({}) {words}: {in_force}", file.display()));
    }
    let more = stand_ins.len().saturating_sub(STAND_INS_SHOWN);
    if more > 0 {
        console.say(format!("  and {more} more"));
    }
}

impl CheckReport<'_> {
    fn counts(&self) -> String {
        let mut counts = vec![counted(self.errors, "error"), counted(self.warnings, "warning")];
        if self.unresolved > 0 {
            counts.push(format!("{} missing on this machine", counted(self.unresolved, "value")));
        }
        counts.join(", ")
    }
}

impl ContentCounts {
    /// Counts what is written, sites whose keys are not on this machine too.
    fn of(config: &Config, lacking: usize) -> Self {
        Self {
            sites: config.sites.len() + lacking,
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

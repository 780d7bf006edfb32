//! What became of each lead of a bulk act: shown as it comes, counted for the end.

use std::collections::BTreeMap;

use super::args::ResultFormat;
use super::view::{field, plural};
use crate::cli::console::{Console, Paint};
use crate::cli::diff::{self, Sides};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::expectation::Difference;
use crate::lead::LeadField;
use crate::operate::{Done, EntryOutcome, LeadView};
use crate::queue::State;

/// Gathers and shows results.
pub(super) struct Results {
    output: ResultFormat,
    dry_run: bool,
    /// Leads were named one by one: each has to be done.
    named: bool,
    kept: Vec<Done>,
    counts: BTreeMap<&'static str, u64>,
    undone: bool,
}

impl Results {
    pub(super) fn new(output: ResultFormat, dry_run: bool, named: bool) -> Self {
        Self { output, dry_run, named, kept: Vec::new(), counts: BTreeMap::new(), undone: false }
    }

    /// Takes a page.
    pub(super) fn add(&mut self, page: Vec<Done>, console: &mut Console) -> Result<(), Error> {
        for done in page {
            let word = if self.dry_run { foretold(&done) } else { word(done.outcome) };
            *self.counts.entry(word).or_default() += 1;
            self.undone |= matches!(
                done.outcome,
                EntryOutcome::Missing | EntryOutcome::Busy | EntryOutcome::Skipped | EntryOutcome::Unreadable
            );
            match self.output {
                ResultFormat::Json => self.kept.push(done),
                ResultFormat::Ndjson => console.json_line(&done)?,
                ResultFormat::Table => self.show(&done, console)?,
            }
        }
        console.progress(&self.words());
        Ok(())
    }

    /// Says how it went.
    pub(super) fn end(self, console: &mut Console) -> Result<Exit, Error> {
        console.progress("");
        if self.output == ResultFormat::Json {
            console.json(&self.kept)?;
        }
        let would = if self.dry_run { "dry run: " } else { "" };
        console.say(format!("{would}{}", self.words()));
        Ok(if self.named && self.undone { Exit::Findings } else { Exit::Ok })
    }

    fn words(&self) -> String {
        let counted = |(index, (word, count)): (usize, (&&str, &u64))| match self.dry_run && index == 0 {
            true => format!("{} {word}", plural(*count, "lead")),
            false => format!("{count} {word}"),
        };
        let words: Vec<_> = self.counts.iter().enumerate().map(counted).collect();
        if words.is_empty() { plural(0, "lead") } else { words.join(", ") }
    }

    fn show(&self, done: &Done, console: &mut Console) -> Result<(), Error> {
        // Of thousands, those that stay as they are would hide the others.
        if !self.named && !self.dry_run && matches!(done.outcome, EntryOutcome::Unchanged | EntryOutcome::Skipped) {
            return Ok(());
        }
        console.progress("");
        let paint = console.paint();
        let place = match (&done.site, &done.form) {
            (Some(site), Some(form)) => format!("  {site}/{form}"),
            _ => String::new(),
        };
        let why = if done.why.is_empty() { String::new() } else { format!("  {}", crate::cli::shown::line(&done.why)) };
        let id = crate::cli::shown::short(&done.id, 40);
        console.data(format!("{:<9} {id}{place}{why}", painted(done.outcome, paint)))?;
        let changes = differences(done.before.as_ref(), done.after.as_ref());
        diff::render(&changes, Sides::Change, paint).into_iter().try_for_each(|line| console.data(line))
    }
}

fn word(outcome: EntryOutcome) -> &'static str {
    match outcome {
        EntryOutcome::Queued => "queued",
        EntryOutcome::Held => "held",
        EntryOutcome::Dropped => "dropped",
        EntryOutcome::Unchanged => "unchanged",
        EntryOutcome::Skipped => "skipped",
        EntryOutcome::Busy => "busy",
        EntryOutcome::Missing => "missing",
        EntryOutcome::Unreadable => "unreadable",
    }
}

/// Words an outcome for a dry run, to follow "2 leads".
fn foretold(done: &Done) -> &'static str {
    match done.outcome {
        EntryOutcome::Held | EntryOutcome::Unchanged if done.state == Some(State::Held) => "would stay held",
        EntryOutcome::Queued => "would be queued",
        EntryOutcome::Held => "would be held",
        EntryOutcome::Dropped => "would be dropped",
        EntryOutcome::Unchanged => "would stay as they are",
        EntryOutcome::Skipped => "would be skipped",
        EntryOutcome::Busy => "can't be changed now",
        EntryOutcome::Missing => "not found",
        EntryOutcome::Unreadable => "unreadable",
    }
}

fn painted(outcome: EntryOutcome, paint: Paint) -> String {
    let word = format!("{:<9}", word(outcome));
    match outcome {
        EntryOutcome::Queued => paint.green(&word),
        EntryOutcome::Held | EntryOutcome::Busy => paint.yellow(&word),
        EntryOutcome::Missing | EntryOutcome::Unreadable => paint.red(&word),
        EntryOutcome::Dropped | EntryOutcome::Unchanged | EntryOutcome::Skipped => paint.dim(&word),
    }
}

/// Returns the fields of a lead that change.
fn differences(before: Option<&LeadView>, after: Option<&LeadView>) -> Vec<Difference> {
    let fields = LeadField::ALL.into_iter().filter_map(|of| {
        let text = |lead: Option<&LeadView>| lead.and_then(|lead| field(lead, of)).map(str::to_owned);
        let (expected, found) = (text(before), text(after));
        (expected != found).then_some(Difference { what: of.as_str(), expected, found })
    });
    fields.collect()
}

//! `formgate leads drop`.

use anyhow::anyhow;
use clap::Args;

use super::args::{Chosen, ResultFormat, Where};
use super::desk::{Desk, now, operate_error};
use super::results::Results;
use super::view::plural;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::operate::{DropAsked, EntryOutcome};

/// Ids of one call.
const TOGETHER: usize = 100;

/// Gives up held or queued leads.
///
/// Dropped leads are dead, and are removed when their retention period ends. A filter covers held leads only, unless
/// you add --state queued. `formgate leads retry ID` brings one back.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct DropArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Show what would be dropped, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Where,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: ResultFormat,
}

const HELP: &str = "\
Examples:
  formgate leads drop 0198c0de-1234-7abc
  formgate leads drop --site acme --reason hold_rule --dry-run
  formgate leads drop --site acme --reason hold_rule --yes";

pub(super) async fn run(args: &DropArgs, console: &mut Console) -> Result<Exit, Error> {
    let filter = args.chosen.filter()?;
    if let Some(filter) = &filter {
        filter.read(now()).map_err(operate_error)?;
    }
    let desk = Desk::open(&args.place, console).await?;
    let asked = DropAsked { ids: Vec::new(), filter, dry_run: args.dry_run, cursor: None, limit: None };
    if asked.filter.is_some() && !args.dry_run && !args.yes && !confirm(&desk, &asked, console).await? {
        console.say("nothing was dropped");
        return Ok(Exit::Ok);
    }
    let mut audit_waits = false;
    let mut results = Results::new(args.output, args.dry_run, asked.filter.is_none());
    for ids in args.chosen.ids.chunks(TOGETHER) {
        let dropped = desk.drop(&DropAsked { ids: ids.to_vec(), ..asked.clone() }).await?;
        audit_waits |= dropped.audit_waits;
        results.add(dropped.results, console)?;
    }
    let mut next = asked.filter.is_some().then_some(None);
    while let Some(cursor) = next {
        let dropped = desk.drop(&DropAsked { cursor, ..asked.clone() }).await?;
        audit_waits |= dropped.audit_waits;
        results.add(dropped.results, console)?;
        next = dropped.next.map(Some);
    }
    desk.say_audit_waits(audit_waits, console).await;
    results.end(console)
}

/// Counts what a filter finds, and asks.
async fn confirm(desk: &Desk, asked: &DropAsked, console: &mut Console) -> Result<bool, Error> {
    let (mut count, mut next) = (0, Some(None));
    while let Some(cursor) = next {
        let would = desk.drop(&DropAsked { dry_run: true, cursor, ..asked.clone() }).await?;
        count += would.results.iter().filter(|done| done.outcome == EntryOutcome::Dropped).count();
        console.progress(&format!("{count} found"));
        next = would.next.map(Some);
    }
    console.progress("");
    if count == 0 {
        return Ok(false);
    }
    let leads = plural(count as u64, "lead");
    console.ask(&format!("drop {leads}?")).ok_or_else(|| {
        let error = Error::usage(anyhow!("dropping {leads} needs a confirmation, and there is no terminal to ask on"));
        error.hint("--dry-run shows them; --yes drops them")
    })
}

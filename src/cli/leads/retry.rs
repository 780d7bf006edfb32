//! `formgate leads retry`.

use clap::Args;

use super::args::{Chosen, Lines, Where};
use super::desk::{Desk, now, operate_error};
use super::results::Results;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::operate::{RATE_DEFAULT, RATE_MAX, RetryAsked};

/// Ids, or leads with all their fields, of one call.
const TOGETHER: usize = 50;

/// Maps leads again by what is in force now, and sends them.
///
/// They are decoded and mapped by the program and the configuration of now. What is still no lead is held again, with what is wrong with it now. A filter goes through what is held or dead (not through
/// what an operator dropped, unless --reason dropped says so). Done twice, it does nothing the second time.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Show what each lead was and would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also what is queued (at once, mapped anew) or was delivered (a second time); only with ids
    #[arg(long)]
    again: bool,
    /// Also what a [[hold]] rule, an unknown form or another host holds
    #[arg(long)]
    release: bool,
    /// The site that ambiguous leads belong to (several sites share the key pair they came with): files them under it
    #[arg(long, value_name = "SITE")]
    assign: Option<String>,
    /// Leads a second
    #[arg(long, value_name = "N", default_value_t = RATE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: u32,
    #[command(flatten)]
    place: Where,
    /// How to write what became of each
    #[arg(long, value_enum, default_value_t)]
    output: Lines,
}

const HELP: &str = "\
Examples:
  formgate leads retry 0198c0de-1234-7abc
  formgate leads retry --site acme --reason invalid --dry-run
  formgate leads retry --state dead --since 3d --rate 5
  formgate leads retry 0198c0de-1234-7abc --release
  formgate leads retry 0198c0de-1234-7abc --assign acme";

pub(super) async fn run(args: &RetryArgs, console: &mut Console) -> Result<Exit, Error> {
    let filter = args.chosen.filter()?;
    if let Some(filter) = &filter {
        filter.read(now()).map_err(operate_error)?;
    }
    let desk = Desk::open(&args.place, console).await?;
    let mut results = Results::new(args.output, args.dry_run, filter.is_none());
    let asked = RetryAsked {
        ids: Vec::new(),
        filter,
        dry_run: args.dry_run,
        again: args.again,
        release: args.release,
        assign: args.assign.clone(),
        rate: Some(args.rate),
        cursor: None,
        limit: Some(TOGETHER),
    };
    let together = TOGETHER.min(args.rate as usize * 30);
    for ids in args.chosen.ids.chunks(together) {
        let tried = desk.retry(&RetryAsked { ids: ids.to_vec(), ..asked.clone() }).await?;
        results.add(tried.results, console)?;
    }
    let mut next = asked.filter.is_some().then_some(None);
    while let Some(cursor) = next {
        let tried = desk.retry(&RetryAsked { cursor, ..asked.clone() }).await?;
        results.add(tried.results, console)?;
        next = tried.next.map(Some);
    }
    if desk.is_offline() && !args.dry_run {
        console.say("what is queued goes out when a gateway runs");
    }
    results.end(console)
}

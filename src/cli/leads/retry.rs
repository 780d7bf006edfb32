//! `formgate leads retry`.

use clap::Args;

use super::args::{Chosen, ResultFormat, Where};
use super::desk::{Desk, now, operate_error};
use super::results::Results;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::operate::{RATE_DEFAULT, RATE_MAX, RetryAsked};

/// Ids, or leads with all their fields, of one call.
const TOGETHER: usize = 50;

/// Maps leads again with the current configuration, and sends them.
///
/// Submissions are decoded again too. Those that still aren't a valid lead stay held, with the current reasons. A
/// filter covers held and dead leads, but not those that an operator dropped or that may have been delivered (restored,
/// salvaged), unless --reason names them. Running it twice does no harm.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Show each lead before and after, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also send queued leads at once, and delivered leads a second time; only with ids
    #[arg(long)]
    again: bool,
    /// Also send leads that are held by a rule, or as uncertain, unknown_form, other_host, test or spam
    #[arg(long)]
    release: bool,
    /// Move ambiguous leads (several sites share their key pair) to this site
    #[arg(long, value_name = "SITE")]
    assign: Option<String>,
    /// Leads per second
    #[arg(long, value_name = "N", default_value_t = RATE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: u32,
    #[command(flatten)]
    place: Where,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: ResultFormat,
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
        reveal: false,
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
        console.say("queued leads are sent when a gateway runs");
    }
    results.end(console)
}

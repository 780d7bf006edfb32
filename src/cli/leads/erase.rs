//! `formgate leads erase`.

use anyhow::anyhow;
use clap::Args;

use super::args::{ResultFormat, Where};
use super::desk::Desk;
use super::list::name_unreadable;
use super::view::{minute, plural};
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::{shown, table};
use crate::operate::{EraseAsked, Erased, ErasedEntry};
use crate::queue::StoreError;

/// Ids of one call.
const TOGETHER: usize = 100;

/// Removes leads and overwrites their bytes in the store.
///
/// The state of a lead doesn't matter. --email erases every lead with the address as its e-mail, in any field, or
/// anywhere in what was posted. It asks first; without a terminal, --email needs --yes. It can't be undone. KaiCalls
/// and backups keep what they have: erase it there too.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct EraseArgs {
    /// Ids, or unique prefixes
    #[arg(value_name = "ID", required_unless_present = "email", conflicts_with = "email")]
    ids: Vec<String>,
    /// All leads that contain this address
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Show what would be erased, and change nothing
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
  formgate leads erase --email jane@example.com --dry-run
  formgate leads erase --email jane@example.com --yes
  formgate leads erase 0198c0de-1234-7abc";

pub(super) async fn run(args: &EraseArgs, console: &mut Console) -> Result<Exit, Error> {
    let desk = Desk::open(&args.place, console).await?;
    if !args.dry_run && !args.yes && !confirm(args, &desk, console).await? {
        console.say("nothing was erased");
        return Ok(Exit::Ok);
    }
    let erased = each(args, &desk, args.dry_run, console).await?;
    desk.say_audit_waits(erased.audit_waits, console).await;
    show(&erased.entries, args.output, console)?;
    for id in &erased.missing {
        console.say(format!("there is no lead {}", shown::short(id, 64)));
    }
    // By its id such a one goes like any other; with an address nobody knows whose it is.
    let by_id = if args.email.is_some() { 0 } else { erased.unreadable.len() };
    if args.email.is_some() {
        name_unreadable(&erased.unreadable, console);
    }
    let count = plural((erased.entries.len() + by_id) as u64, "lead");
    let looked_at = plural(erased.looked_at as u64, "lead");
    let what = if args.dry_run { "would be erased; nothing was changed" } else { "erased" };
    console.say(format!("{count} {what}, {looked_at} searched"));
    if let Some(places) = erased.remains {
        return Err(Error::store(StoreError::Remains { erased: 0, places: vec![places] }));
    }
    let is_whole = erased.missing.is_empty() && erased.unreadable.len() == by_id;
    Ok(if is_whole { Exit::Ok } else { Exit::Findings })
}

/// Goes through all pages.
async fn each(args: &EraseArgs, desk: &Desk, dry_run: bool, console: &mut Console) -> Result<Erased, Error> {
    let mut all = Erased::default();
    let asked = EraseAsked { ids: Vec::new(), email: args.email.clone(), dry_run, cursor: None };
    for ids in args.ids.chunks(TOGETHER) {
        add(&mut all, desk.erase(&EraseAsked { ids: ids.to_vec(), ..asked.clone() }).await?);
    }
    let mut next = args.email.is_some().then_some(None);
    while let Some(cursor) = next {
        let page = desk.erase(&EraseAsked { cursor, ..asked.clone() }).await?;
        next = page.next.map(Some);
        add(&mut all, page);
        console.progress(&format!("{} found, {} searched", all.entries.len(), all.looked_at));
    }
    console.progress("");
    Ok(all)
}

fn add(all: &mut Erased, page: Erased) {
    all.entries.extend(page.entries);
    all.missing.extend(page.missing);
    all.unreadable.extend(page.unreadable);
    all.remains = page.remains.or(all.remains.take());
    all.audit_waits |= page.audit_waits;
    all.looked_at += page.looked_at;
}

/// Shows what is found, and asks. Ids that a script names are meant as they are; what an address finds, nobody has seen.
async fn confirm(args: &EraseArgs, desk: &Desk, console: &mut Console) -> Result<bool, Error> {
    if args.email.is_none() && !console.has_a_person() {
        return Ok(true);
    }
    let would = each(args, desk, true, console).await?;
    if console.has_a_person() {
        show(&would.entries, ResultFormat::Table, console)?;
    }
    let by_id = if args.email.is_some() { 0 } else { would.unreadable.len() };
    if would.entries.is_empty() && by_id == 0 {
        return Ok(true);
    }
    let count = plural((would.entries.len() + by_id) as u64, "lead");
    console.ask(&format!("erase {count}? This can't be undone.")).ok_or_else(|| {
        let error = Error::usage(anyhow!("erasing {count} needs a confirmation, and there is no terminal to ask on"));
        error.hint("--dry-run shows them; --yes erases them")
    })
}

fn show(found: &[ErasedEntry], output: ResultFormat, console: &mut Console) -> Result<(), Error> {
    match output {
        ResultFormat::Json => console.json(&found),
        ResultFormat::Ndjson => found.iter().try_for_each(|found| console.json_line(found)),
        ResultFormat::Table => {
            let row = |found: &ErasedEntry| {
                let place = format!("{}/{}", found.site, found.form);
                vec![found.id.to_string(), minute(found.accepted_at), place, found.state.as_str().to_owned()]
            };
            let rows: Vec<_> = found.iter().map(row).collect();
            table::fitted(&rows, console.width(), &[2]).into_iter().try_for_each(|line| console.data(line))
        }
    }
}

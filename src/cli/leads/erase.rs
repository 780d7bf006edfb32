//! `formgate leads erase`.

use anyhow::anyhow;
use clap::Args;

use super::args::{Lines, Where};
use super::desk::Desk;
use super::list::name_unreadable;
use super::view::{minute, plural};
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::{shown, table};
use crate::operate::{EraseAsked, Erased, Found};
use crate::queue::StoreError;

/// Ids of one call.
const TOGETHER: usize = 100;

/// Erases leads so that none of their bytes is left.
///
/// They are gone from the store's files, whatever their state. With --email, every lead in which the address stands: as the lead's own, in any field, or anywhere in what was posted. It asks first; where
/// nobody can be asked, --email wants --yes. It can't be undone, and KaiCalls keeps what it got. Backups keep what they hold: erase there too.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct EraseArgs {
    /// Ids, or beginnings of them that no other lead shares
    #[arg(value_name = "ID", required_unless_present = "email", conflicts_with = "email")]
    ids: Vec<String>,
    /// All leads in which this address stands
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Show which it would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask before leads are erased for good
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Where,
    /// How to write what is erased
    #[arg(long, value_enum, default_value_t)]
    output: Lines,
}

const HELP: &str = "\
Examples:
  formgate leads erase --email jane@example.com --dry-run
  formgate leads erase --email jane@example.com --yes
  formgate leads erase 0198c0de-1234-7abc";

pub(super) async fn run(args: &EraseArgs, console: &mut Console) -> Result<Exit, Error> {
    let desk = Desk::open(&args.place, console).await?;
    if !args.dry_run && !args.yes && !confirm(args, &desk, console).await? {
        console.say("nothing is erased");
        return Ok(Exit::Ok);
    }
    let erased = each(args, &desk, args.dry_run, console).await?;
    desk.say_audit_waits(erased.audit_waits, console).await;
    show(&erased.entries, args.output, console)?;
    for id in &erased.missing {
        console.say(format!("there is no entry {}", shown::short(id, 64)));
    }
    // By its id such a one goes like any other; with an address nobody knows whose it is.
    let by_id = if args.email.is_some() { 0 } else { erased.unreadable.len() };
    if args.email.is_some() {
        name_unreadable(&erased.unreadable, console);
    }
    let count = plural((erased.entries.len() + by_id) as u64, "lead");
    let looked_at = plural(erased.looked_at as u64, "lead");
    let what = if args.dry_run { "would be erased; nothing is changed" } else { "erased" };
    console.say(format!("{count} {what}, {looked_at} looked at"));
    if let Some(places) = erased.remains {
        return Err(Error::store(StoreError::Remains { places: vec![places] }));
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
        console.progress(&format!("{} found, {} looked at", all.entries.len(), all.looked_at));
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
        show(&would.entries, Lines::Table, console)?;
    }
    let by_id = if args.email.is_some() { 0 } else { would.unreadable.len() };
    if would.entries.is_empty() && by_id == 0 {
        return Ok(true);
    }
    let count = plural((would.entries.len() + by_id) as u64, "lead");
    console.ask(&format!("erase {count} for good?")).ok_or_else(|| {
        let error = Error::usage(anyhow!("{count} would be erased for good, and nobody is there to be asked"));
        error.hint("--dry-run shows which; --yes erases them")
    })
}

fn show(found: &[Found], output: Lines, console: &mut Console) -> Result<(), Error> {
    match output {
        Lines::Json => console.json(&found),
        Lines::Ndjson => found.iter().try_for_each(|found| console.json_line(found)),
        Lines::Table => {
            let row = |found: &Found| {
                let place = format!("{}/{}", found.site, found.form);
                vec![found.id.to_string(), minute(found.accepted_at), place, found.state.as_str().to_owned()]
            };
            let rows: Vec<_> = found.iter().map(row).collect();
            table::fitted(&rows, console.width(), &[2]).into_iter().try_for_each(|line| console.data(line))
        }
    }
}

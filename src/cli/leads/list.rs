//! `formgate leads list`.

use clap::{Args, ValueEnum};

use super::args::{FilterArgs, ListFormat, Where};
use super::desk::{Desk, now, operate_error};
use super::view::{ID_SHORT, lead_cells, minute, plural};
use crate::cli::console::{Console, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::{shown, table};
use crate::lead::EntryId;
use crate::operate::{FilterAsked, Group, Groups, Summary, csv_head, csv_row};
use crate::queue::{Order, State};

/// Leads that are asked for at a time.
const PAGE: usize = 200;
/// Terminals narrower than this show the beginnings of ids.
const WIDE: usize = 132;
/// Narrower than this there is no room for all columns: no year, no name, and of the id the moment.
const NARROW: usize = 100;
/// So much of an id is its moment to the millisecond.
const ID_MOMENT: usize = 13;

/// Lists leads, newest first, or groups those that need a person by cause.
///
/// Groups held and dead leads, and queued leads that wait for a refused key or a failing site, by cause; with --state,
/// the leads in that state.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct LeadListArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    filter: FilterArgs,
    /// Group by cause
    #[arg(long, value_enum, value_name = "BY")]
    group: Option<GroupBy>,
    /// List the oldest first
    #[arg(long, conflicts_with = "group")]
    oldest: bool,
    /// Maximum number of leads; 0: all
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "group")]
    limit: usize,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    output: ListFormat,
}

const HELP: &str = "\
Examples:
  formgate leads list --group reason
  formgate leads list --site acme --state held
  formgate leads list --text jane@example.com
  formgate leads list --text '(503) 555-0142'     in any notation
  formgate leads list --state dead --since 2026-11-01 --output ndjson | jq .id";

#[derive(Clone, Copy, ValueEnum)]
enum GroupBy {
    Reason,
}

pub(super) async fn run(args: &LeadListArgs, console: &mut Console) -> Result<Exit, Error> {
    let filter = args.filter.asked();
    filter.read(now()).map_err(operate_error)?;
    let desk = Desk::open(&args.place, console).await?;
    match args.group {
        Some(GroupBy::Reason) => show_groups(&desk.groups(&filter).await?, args.output, console)?,
        None => list(args, &desk, &filter, console).await?,
    }
    Ok(Exit::Ok)
}

async fn list(args: &LeadListArgs, desk: &Desk, filter: &FilterAsked, console: &mut Console) -> Result<(), Error> {
    let order = if args.oldest { Order::Oldest } else { Order::Newest };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut listing = Listing { output: args.output, rows: Vec::new(), given: 0 };
    let mut cursor = None;
    listing.begin(console)?;
    loop {
        let page = desk.list(filter, order, cursor, PAGE.min(limit - listing.given)).await?;
        name_unreadable(&page.unreadable, console);
        listing.add(page.leads, console)?;
        cursor = page.next;
        console.progress(&format!("{} leads", listing.given));
        if cursor.is_none() || listing.given >= limit {
            break;
        }
    }
    console.progress("");
    listing.end(console)?;
    if cursor.is_some() {
        let given = listing.given;
        console.say(format!("showing {given}; use --limit {} for more", given.saturating_mul(10)));
    }
    Ok(())
}

/// A list as it is written: each page when it comes, so that a long list takes no memory.
struct Listing {
    output: ListFormat,
    /// Rows of a table that are still to be written: columns are as wide as a page's cells.
    rows: Vec<Summary>,
    given: usize,
}

impl Listing {
    fn begin(&self, console: &mut Console) -> Result<(), Error> {
        match self.output {
            ListFormat::Csv => console.bytes(csv_head().as_bytes()),
            ListFormat::Table | ListFormat::Json | ListFormat::Ndjson => Ok(()),
        }
    }

    fn add(&mut self, leads: Vec<Summary>, console: &mut Console) -> Result<(), Error> {
        for lead in leads {
            match self.output {
                ListFormat::Table => self.rows.push(lead),
                ListFormat::Json => console.json_element(&lead, self.given == 0)?,
                ListFormat::Ndjson => console.json_line(&lead)?,
                ListFormat::Csv => console.foreign(csv_row(&lead).as_bytes())?,
            }
            self.given += 1;
        }
        if self.rows.len() >= PAGE { self.show_rows(console) } else { Ok(()) }
    }

    fn end(&mut self, console: &mut Console) -> Result<(), Error> {
        match self.output {
            ListFormat::Json => console.json_end(self.given == 0),
            ListFormat::Table if self.given == 0 => {
                console.say("no leads found");
                Ok(())
            }
            ListFormat::Table => self.show_rows(console),
            ListFormat::Ndjson | ListFormat::Csv => Ok(()),
        }
    }

    fn show_rows(&mut self, console: &mut Console) -> Result<(), Error> {
        console.progress("");
        let rows = std::mem::take(&mut self.rows);
        let is_first = self.given == rows.len();
        let paint = console.paint();
        let width = console.width();
        let states = std::iter::once(None).chain(rows.iter().map(|lead| Some(lead.state)));
        let lines = table_lines(&rows, width).into_iter().zip(states);
        // One head above all.
        for (line, state) in lines.skip(usize::from(!is_first)) {
            console.data(painted(&line, state, paint))?;
        }
        Ok(())
    }
}

fn table_lines(leads: &[Summary], width: Option<usize>) -> Vec<String> {
    let is_narrow = width.is_some_and(|width| width < NARROW);
    let (head, flexible): (&[&str], &[usize]) = match is_narrow {
        true => (&["ID", "ACCEPTED", "SITE/FORM", "STATE", "E-MAIL", "CAUSE"], &[2, 4, 5]),
        false => (&["ID", "ACCEPTED (UTC)", "SITE/FORM", "STATE", "NAME", "E-MAIL", "CAUSE"], &[2, 4, 5, 6]),
    };
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let cells = |lead| if is_narrow { narrow_cells(lead) } else { cells(lead, width) };
    let rows: Vec<_> = std::iter::once(head).chain(leads.iter().map(cells)).collect();
    table::fitted(&rows, width, flexible)
}

fn narrow_cells(lead: &Summary) -> Vec<String> {
    let (_name, email) = lead_cells(lead.lead.as_ref());
    vec![
        lead.id.to_string().chars().take(ID_MOMENT).collect(),
        // Without the year.
        minute(lead.accepted_at).chars().skip("2026-".len()).collect(),
        format!("{}/{}", lead.site, lead.form),
        lead.state.as_str().to_owned(),
        email,
        shown::short(&lead.cause, 120),
    ]
}

fn cells(lead: &Summary, width: Option<usize>) -> Vec<String> {
    let id = lead.id.to_string();
    let id = match width {
        Some(width) if width < WIDE => id.chars().take(ID_SHORT).collect(),
        _ => id,
    };
    let (name, email) = lead_cells(lead.lead.as_ref());
    vec![
        id,
        minute(lead.accepted_at),
        format!("{}/{}", lead.site, lead.form),
        lead.state.as_str().to_owned(),
        name,
        email,
        shown::short(&lead.cause, 120),
    ]
}

fn painted(line: &str, state: Option<State>, paint: Paint) -> String {
    match state {
        None => paint.bold(line),
        Some(State::Dead) => paint.red(line),
        Some(State::Held) => paint.yellow(line),
        Some(State::Queued | State::Delivered) => line.to_owned(),
    }
}

fn show_groups(groups: &Groups, output: ListFormat, console: &mut Console) -> Result<(), Error> {
    match output {
        ListFormat::Json => return console.json(groups),
        ListFormat::Ndjson => {
            for group in &groups.groups {
                console.json_line(group)?;
            }
            return Ok(());
        }
        ListFormat::Csv => {
            return Err(Error::usage(anyhow::anyhow!("--group can be written as table, json or ndjson")));
        }
        ListFormat::Table => {}
    }
    name_unreadable(&groups.unreadable, console);
    if groups.groups.is_empty() && groups.unreadable.is_empty() {
        console.say("nothing needs a person");
    }
    let (paint, width) = (console.paint(), console.width());
    for group in &groups.groups {
        console.data(fit(&group_line(group), width))?;
        console.data(paint.dim(&fit(&about(group), width)))?;
    }
    if groups.has_more {
        console.say("not all leads were searched; narrow it with --site or --since");
    }
    Ok(())
}

fn group_line(group: &Group) -> String {
    let (leads, sites) = (plural(group.leads, "lead"), plural(group.sites as u64, "site"));
    format!("{leads}, {sites}: {}", shown::short(&group.cause, 300))
}

fn about(group: &Group) -> String {
    let named: Vec<_> = group.site_names.iter().map(|site| site.as_str()).collect();
    let more = if group.sites > named.len() { ", …" } else { "" };
    let (state, since) = (group.state.as_str(), minute(group.oldest));
    format!("  {state} since {since}, such as {}; {}{more}", group.example, named.join(", "))
}

/// Says what of the store can't be read, and what can be done about it.
pub(super) fn name_unreadable(ids: &[EntryId], console: &mut Console) {
    for id in ids {
        console.say(format!("{id} can't be read: the store is damaged there; `formgate leads erase {id}` removes it"));
    }
}

fn fit(line: &str, width: Option<usize>) -> String {
    width.map_or_else(|| line.to_owned(), |width| table::cut(line, width))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::lead::{FormId, SiteId};
    use crate::queue::Reason;

    #[test]
    fn a_list_says_the_cause_on_any_terminal() {
        let lead = Summary {
            id: EntryId::new(1_790_000_000_000, &[7; 10]),
            site: SiteId::parse("acme-dental-north").expect("a slug"),
            form: FormId::parse("contact").expect("a slug"),
            state: State::Held,
            reason: Reason::Invalid,
            cause: "no valid lead: email invalid".to_owned(),
            waits_for: None,
            accepted_at: Timestamp::UNIX_EPOCH,
            due_at: None,
            expires_at: None,
            attempts: 0,
            seen: 0,
            lead_id: None,
            mapping: None,
            lead: None,
            masked: false,
        };
        for width in [80, 99, 100, 131, 132] {
            let lines = table_lines(std::slice::from_ref(&lead), Some(width));
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
            assert!(lines[1].contains("no valid"), "{lines:?}");
        }
    }
}

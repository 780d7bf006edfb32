//! `formgate leads amend`.

use clap::{Args, ValueEnum};

use super::args::{ResultFormat, Where};
use super::desk::Desk;
use super::results::Results;
use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::lead::LeadField;
use crate::operate::AmendAsked;

/// Corrects a held or dead lead, and sends it.
///
/// Corrections are kept with the lead and override the mapping, also in later retries. What was received doesn't
/// change. An empty value removes the field. Another amendment changes only the fields it names.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct AmendArgs {
    /// The lead's id, or a unique prefix
    #[arg(value_name = "ID")]
    id: String,
    /// The visitor's name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The visitor's e-mail address
    #[arg(long, value_name = "TEXT")]
    email: Option<String>,
    /// The visitor's phone number
    #[arg(long, value_name = "TEXT")]
    phone: Option<String>,
    /// The whole message; no other fields are added to it
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Remove the correction of a field
    #[arg(long, value_enum, value_name = "FIELD")]
    clear: Vec<AmendField>,
    /// Show the lead before and after, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Where,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: ResultFormat,
}

const HELP: &str = "\
Examples:
  formgate leads amend 0198c0de-1234-7abc --email jane@example.com --dry-run
  formgate leads amend 0198c0de-1234-7abc --email jane@example.com
  formgate leads amend 0198c0de-1234-7abc --phone '' --clear name";

#[derive(Clone, Copy, ValueEnum)]
enum AmendField {
    Name,
    Email,
    Phone,
    Message,
}

pub(super) async fn run(args: &AmendArgs, console: &mut Console) -> Result<Exit, Error> {
    let clear = args.clear.iter().map(|field| match field {
        AmendField::Name => LeadField::Name,
        AmendField::Email => LeadField::Email,
        AmendField::Phone => LeadField::Phone,
        AmendField::Message => LeadField::Message,
    });
    let asked = AmendAsked {
        id: args.id.clone(),
        name: args.name.clone(),
        email: args.email.clone(),
        phone: args.phone.clone(),
        message: args.message.clone(),
        clear: clear.collect(),
        dry_run: args.dry_run,
        reveal: false,
    };
    let desk = Desk::open(&args.place, console).await?;
    let mut results = Results::new(args.output, args.dry_run, true);
    results.add(vec![desk.amend(&asked).await?], console)?;
    if desk.is_offline() && !args.dry_run {
        console.say("queued leads are sent when a gateway runs");
    }
    results.end(console)
}

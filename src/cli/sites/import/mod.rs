//! `formgate sites import`.
//!
//! [`plan`] says what is to be done for each row, [`progress`] how far it is, [`writer`] writes, [`report`] tells what came
//! of it. Pairs are asked for several at once; files are written one after the other.

mod plan;

mod progress;

mod provision;

mod report;

mod writer;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::find::WrittenSites;
use super::new_site::{HeldPlace, place};
use super::token::LOCAL;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::keys::{provisioner, say_in_vain};
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::config::Loaded;
use crate::operate::keys::Provisioner;
use crate::operate::onboard::{FILE_MAX, PasteFile, Roster, read_roster};
use plan::{PairNeed, Plan};
use report::Report;
use writer::Writer;

/// Adds the sites of a spreadsheet: writes their files and makes a token for each.
///
/// The first line names the columns: id,name,url,region,business_id,public_key,secret_key. Only id and url are needed.
/// Separators are commas, semicolons or tabs. Sites that are there already are left as they are; run twice, it changes
/// nothing the second time. If it is interrupted, or KaiCalls can't be reached, run it again: it goes on where it stopped.
///
/// What to paste into the form plugins is written to a CSV file, readable only by you, because it has the tokens, which
/// are stored nowhere else.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct ImportArgs {
    /// The spreadsheet, as CSV in UTF-8
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// Mint a key pair, with [kaicalls].api_key, for each site that has none
    #[arg(long)]
    mint: bool,
    /// The file of what to paste [default: FILE.paste.csv, beside the spreadsheet]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show what would be done; write nothing and ask nobody
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

const HELP: &str = "\
Exits with 1 if rows are bad or failed, 75 if KaiCalls couldn't be asked for some, 77 if it refused keys.

Examples:
  formgate sites import clients.csv --mint --dry-run
  formgate sites import clients.csv --mint --out paste.csv";

pub(super) fn run(args: &ImportArgs, console: &mut Console) -> Result<Exit, Error> {
    let roster = read(&args.file)?;
    let written = WrittenSites::load(&args.config, console)?;
    let out = args.out();
    if std::path::absolute(&out).ok() == std::path::absolute(&args.file).ok() {
        return Err(Error::usage(anyhow!("--out is the spreadsheet itself")).hint("choose another file"));
    }
    let mut report = Report::new(&roster, args.dry_run);
    let mut plans = Plan::of_all(&roster.rows, &written, args.mint);
    if args.dry_run {
        report.take_settled(&mut plans);
        report.foretell(&plans, args.output, console)?;
        return Ok(report.exit());
    }
    let provisioner = provisioner_for(&plans, &written.loaded, args.mint)?;
    let mut paste = if needs_paste(&plans, &out) { Some(writer::open_paste(&out)?) } else { None };
    // Another command may have written sites before the secrets folder and the paste file were ours.
    let written = WrittenSites::load(&args.config, console)?;
    let loaded = &written.loaded;
    let mut plans = Plan::of_all(&roster.rows, &written, args.mint);
    report.take_settled(&mut plans);
    let done = match prepare(&plans, loaded, provisioner.as_ref(), paste.as_mut(), &roster, &mut report) {
        Ok(()) => {
            let mut writer = Writer::new(loaded, provisioner.as_ref(), paste);
            import(plans, provisioner.as_ref(), &mut writer, &mut report, console)
        }
        Err(error) => {
            report.add_undone(plans.iter(), provision::STOPPED);
            Err(error)
        }
    };
    report.show(args.output, console)?;
    if let Some(provisioner) = provisioner.filter(|_| args.output == Format::Text) {
        say_in_vain(provisioner.folder(), console);
    }
    if report.has_urls() && loaded.server().is_none_or(|server| server.public_url.is_none()) {
        console.say(LOCAL.replace("this URL works", "these URLs work"));
    }
    done.map(|()| report.exit())
}

impl ImportArgs {
    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| self.file.with_extension("paste.csv"))
    }
}

fn read(file: &Path) -> Result<Roster, Error> {
    let cant = || format!("can't read {}", file.display());
    let mut bytes = Vec::new();
    let opened = File::open(file).with_context(cant).map_err(Error::usage)?;
    opened.take(FILE_MAX + 1).read_to_end(&mut bytes).with_context(cant).map_err(Error::usage)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(Error::usage(anyhow!("{} is larger than {FILE_MAX} bytes", file.display())));
    }
    read_roster(&bytes).map_err(|error| {
        let cure = error.cure();
        Error::usage(error).context(cant()).hint(cure)
    })
}

/// Locks the secrets folder where pairs are wanted; the operator's own key is needed only where one is to be minted.
fn provisioner_for(plans: &[Plan<'_>], loaded: &Loaded, is_asked: bool) -> Result<Option<Provisioner>, Error> {
    let needs = |need: PairNeed| plans.iter().any(|plan| plan.refusal.is_none() && plan.pair == need);
    let mints = needs(PairNeed::Mint);
    if is_asked || mints || needs(PairNeed::Adopt) { provisioner(loaded, mints).map(Some) } else { Ok(None) }
}

fn needs_paste(plans: &[Plan<'_>], out: &Path) -> bool {
    out.exists() || plans.iter().any(|plan| plan.refusal.is_none() && plan.site.is_none())
}

/// Brings what earlier runs left up to date, and makes sure that sites can be written before anybody is asked for keys.
fn prepare(
    plans: &[Plan<'_>],
    loaded: &Loaded,
    provisioner: Option<&Provisioner>,
    paste: Option<&mut PasteFile>,
    roster: &Roster,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(paste) = paste {
        report.out = Some(paste.path().to_owned());
        report.refreshed = writer::refresh(paste, loaded)?;
    }
    if let Some(provisioner) = provisioner {
        report.finish_notes(loaded, roster, provisioner)?;
    }
    // All new sites have the same folder.
    if let Some(new) = plans.iter().find(|plan| plan.site.is_none()) {
        HeldPlace::hold(&place(loaded, &new.row.id)?)?.probe(&new.row.id)?;
    }
    Ok(())
}

/// Does what is planned; what fails is in the report. An error ends it all: a file can't be written.
fn import(
    plans: Vec<Plan<'_>>,
    provisioner: Option<&Provisioner>,
    writer: &mut Writer<'_>,
    report: &mut Report,
    console: &mut Console,
) -> Result<(), Error> {
    let done = block_on(async { provision::all(plans, provisioner, writer, report, console).await });
    console.progress("");
    report.in_vain = provisioner.map(|provisioner| provisioner.folder().in_vain()).unwrap_or_default();
    done
}

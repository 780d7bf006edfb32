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

use super::token::LOCAL;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::keys::{provisioner, say_in_vain};
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::config::Loaded;
use crate::operate::keys::Provisioner;
use crate::operate::onboard::{FILE_MAX, Roster, read_roster};
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
    let (path, loaded) = args.config.load()?;
    if loaded.config.is_none() {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
        return Err(Error::config(anyhow!("{} has errors; fix them first", path.display())));
    }
    let out = args.out();
    if std::path::absolute(&out).ok() == std::path::absolute(&args.file).ok() {
        return Err(Error::usage(anyhow!("--out is the spreadsheet itself")).hint("choose another file"));
    }
    let mut report = Report::new(&roster, args.dry_run);
    let mut plans = Plan::of_all(&roster.rows, &loaded, args.mint);
    report.take_settled(&mut plans);
    if args.dry_run {
        report.foretell(&plans, args.output, console)?;
    } else {
        let needs_provisioner = args.mint || plans.iter().any(|plan| plan.pair != PairNeed::None);
        let provisioner = if needs_provisioner { Some(provisioner(&loaded, args.mint)?) } else { None };
        if let Some(provisioner) = &provisioner {
            report.finish_notes(&loaded, &roster, provisioner)?;
        }
        import(plans, &loaded, provisioner.as_ref(), &out, &mut report, console)?;
        report.show(args.output, console)?;
        if let Some(provisioner) = provisioner.filter(|_| args.output == Format::Text) {
            say_in_vain(provisioner.folder(), console);
        }
        if report.has_urls() && loaded.server().is_none_or(|server| server.public_url.is_none()) {
            console.say(LOCAL.replace("this URL works", "these URLs work"));
        }
    }
    Ok(report.exit())
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

/// Does what is planned; what fails is in the report. An error ends it all: a file can't be written.
fn import(
    plans: Vec<Plan<'_>>,
    loaded: &Loaded,
    provisioner: Option<&Provisioner>,
    out: &Path,
    report: &mut Report,
    console: &mut Console,
) -> Result<(), Error> {
    let needs_paste = out.exists() || plans.iter().any(|plan| plan.needs_token);
    let mut paste = if needs_paste { Some(writer::open_paste(out)?) } else { None };
    if let Some(paste) = &mut paste {
        report.refreshed = writer::refresh(paste, loaded)?;
    }
    let mut writer = Writer::new(loaded, provisioner, paste);
    let done = block_on(async { provision::all(plans, provisioner, &mut writer, report, console).await });
    console.progress("");
    report.in_vain = provisioner.map(|provisioner| provisioner.folder().in_vain()).unwrap_or_default();
    report.out = writer.paste_path();
    done
}

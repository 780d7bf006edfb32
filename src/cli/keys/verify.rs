//! `formgate keys verify`.

use clap::Args;
use tokio::task::JoinSet;

use super::tools;
use super::written;
use crate::cli::console::{Console, Format, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::gateway_user::as_gateway_user;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::table;
use crate::config::{self, BrokenSite, Site, Sources, Starting};
use crate::lead::{FormId, SiteId};
use crate::operate::keys::{self, PairAnswers, PairAsked, PairState, PairVerified};

/// Asks KaiCalls whether the key pairs of sites are valid.
///
/// Exits with 77 if any is refused, else with 75 if KaiCalls can't be asked about one, else with 78 if a site has
/// none that can be read.
#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The sites [default: all]
    #[arg(value_parser = SiteId::parse)]
    sites: Vec<SiteId>,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &VerifyArgs, console: &mut Console) -> Result<Exit, Error> {
    let path = args.config.find()?;
    let (starting, rows) = as_gateway_user(&path, console, || {
        let starting = config::start(&path, &Sources::command_line(), today());
        let rows = rows(args, &starting);
        (starting, rows)
    });
    let client = tools::client(tools::upstream(&starting.loaded)?)?;
    let rows = rows?;
    let pace = tools::pace();
    // A pair that several sites share is asked about once.
    let pairs = keys::distinct_pairs(&rows);
    let count = pairs.len();
    let mut asked = JoinSet::new();
    for pair in pairs {
        let client = client.clone();
        let pace = pace.clone();
        asked.spawn(async move {
            let answer = keys::verify(&client, &pace, &pair).await;
            (pair, answer)
        });
    }
    let mut answers = PairAnswers::default();
    while let Some(verified) = asked.join_next().await {
        let (pair, answer) = verified.map_err(Error::failed)?;
        answers.add(&pair, answer);
        console.progress(&format!("verified {} of {count}", answers.count()));
    }
    console.progress("");
    let rows: Vec<PairVerified> = rows.into_iter().map(|row| row.answered(&answers)).collect();
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, console)?,
    }
    Ok(exit(&rows))
}

/// Gathers the pairs of the sites that are meant, as far as they can be read.
fn rows(args: &VerifyArgs, starting: &Starting) -> Result<Vec<PairAsked>, Error> {
    if !args.sites.is_empty() {
        let sites: Vec<&Site> = args.sites.iter().map(|id| written::find(id, starting)).collect::<Result<_, _>>()?;
        return Ok(sites.into_iter().flat_map(PairAsked::of_site).collect());
    }
    let mut rows: Vec<PairAsked> = starting.loaded.usable_sites().flat_map(PairAsked::of_site).collect();
    let has_row = |site: &BrokenSite| site.id.is_some() && rows.iter().any(|row| row.site() == site.id.as_ref());
    let broken = starting.loaded.broken_sites.iter().filter(|site| !has_row(site));
    rows.extend(broken.map(of_broken).collect::<Vec<_>>());
    Ok(rows)
}

fn show(rows: &[PairVerified], console: &mut Console) -> Result<(), Error> {
    let paint = console.paint();
    let head = ["SITE", "FORM", "KEYS", "BUSINESS", "WHY"].map(str::to_owned).to_vec();
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    for (index, line) in table::fitted(&cells, console.width(), &[4]).into_iter().enumerate() {
        let row = index.checked_sub(1).and_then(|at| rows.get(at));
        console.data(row.map_or_else(|| paint.bold(&line), |row| painted(row, &line, paint)))?;
    }
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    console.say(format!(
        "{} ok, {} refused, {} unreachable, {} without keys, {} unreadable",
        count(PairState::Ok),
        count(PairState::Refused),
        count(PairState::Unreachable),
        count(PairState::Missing),
        count(PairState::Unreadable)
    ));
    if count(PairState::Refused) > 0 {
        console.say("`formgate keys rotate SITE` puts a new pair in the place of a refused one");
    }
    if count(PairState::Missing) > 0 {
        console.say("`formgate keys mint SITE` gives a site its pair");
    }
    Ok(())
}

fn exit(rows: &[PairVerified]) -> Exit {
    let any = |state| rows.iter().any(|row| row.state == state);
    match () {
        () if any(PairState::Refused) => Exit::KeysRefused,
        () if any(PairState::Unreachable) => Exit::UpstreamAway,
        () if any(PairState::Missing) || any(PairState::Unreadable) => Exit::Config,
        () => Exit::Ok,
    }
}

fn of_broken(site: &BrokenSite) -> PairAsked {
    let why = format!("{} has errors; `formgate check` shows them", site.file.display());
    PairAsked::unreadable(site.id.clone(), why)
}

fn cells(row: &PairVerified) -> Vec<String> {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    vec![
        or_dash(row.site.as_ref().map(SiteId::as_str)),
        or_dash(row.form.as_ref().map(FormId::as_str)),
        row.state.as_str().to_owned(),
        or_dash(row.business_id.as_deref()),
        row.why.clone().unwrap_or_default(),
    ]
}

fn painted(row: &PairVerified, line: &str, paint: Paint) -> String {
    match row.state {
        PairState::Ok => line.to_owned(),
        PairState::Refused => paint.red(line),
        PairState::Unreachable | PairState::Missing | PairState::Unreadable => paint.yellow(line),
    }
}

//! `formgate keys verify`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use super::tools;
use super::written::{self, WrittenPair};
use crate::cli::console::{Console, Format, Paint};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::{ConfigArg, today};
use crate::cli::table;
use crate::config::{self, BrokenSite, Site, Sources, Starting};
use crate::destination::KeyPair;
use crate::lead::{FormId, SiteId};
use crate::operate::keys::{self, Verification};

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

/// One pair, the site's or a form's own.
#[derive(Serialize)]
struct PairRow<'a> {
    /// None: not even its id can be read.
    site: Option<&'a SiteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<&'a FormId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'a str>,
    state: PairState,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<String>,
    /// Why it is refused, in KaiCalls' words, or can't be verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip)]
    pair: Option<&'a KeyPair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PairState {
    Ok,
    Refused,
    Unreachable,
    /// Nobody has made it yet.
    Missing,
    /// It is written, and can't be read here; or its site's file is broken.
    Unreadable,
}

pub(super) async fn run(args: &VerifyArgs, console: &mut Console) -> Result<Exit, Error> {
    let path = args.config.find()?;
    let starting = config::start(&path, &Sources::process(), today());
    let loaded = &starting.loaded;
    let upstream = tools::upstream(loaded)?;
    let sites = sites(args, &starting)?;
    let mut rows: Vec<PairRow<'_>> = sites.into_iter().flat_map(PairRow::of_site).collect();
    if args.sites.is_empty() {
        let nameless = loaded.broken_sites.iter().filter(|site| !rows.iter().any(|row| row.is_of(site.id.as_ref())));
        rows.extend(nameless.map(PairRow::of_broken).collect::<Vec<_>>());
    }
    let client = tools::client(upstream)?;
    let pace = tools::pace();
    // A pair that several sites share is asked about once.
    let pairs: BTreeMap<String, &KeyPair> = rows.iter().filter_map(|row| row.pair).map(|it| (whole(it), it)).collect();
    let mut asked = JoinSet::new();
    for pair in pairs.values() {
        let client = client.clone();
        let pace = pace.clone();
        let pair = KeyPair::clone(pair);
        asked.spawn(async move { (whole(&pair), keys::verify(&client, &pace, &pair).await) });
    }
    let mut found: BTreeMap<String, Verification> = BTreeMap::new();
    while let Some(verified) = asked.join_next().await {
        found.extend([verified.map_err(Error::failed)?]);
        console.progress(&format!("verified {} of {}", found.len(), pairs.len()));
    }
    console.progress("");
    rows.iter_mut().for_each(|row| row.learn(&found));
    match args.output {
        Format::Json => console.json(&rows)?,
        Format::Text => show(&rows, console)?,
    }
    Ok(exit(&rows))
}

fn sites<'a>(args: &VerifyArgs, starting: &'a Starting) -> Result<Vec<&'a Site>, Error> {
    match args.sites.is_empty() {
        true => Ok(starting.loaded.usable_sites().collect()),
        false => args.sites.iter().map(|id| written::find(id, starting)).collect(),
    }
}

fn show(rows: &[PairRow<'_>], console: &mut Console) -> Result<(), Error> {
    let paint = console.paint();
    let head = ["SITE", "FORM", "KEYS", "BUSINESS", "WHY"].map(str::to_owned).to_vec();
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(PairRow::cells)).collect();
    for (index, line) in table::fitted(&cells, console.width(), &[4]).into_iter().enumerate() {
        let row = index.checked_sub(1).and_then(|at| rows.get(at));
        console.data(row.map_or_else(|| paint.bold(&line), |row| row.painted(&line, paint)))?;
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

fn exit(rows: &[PairRow<'_>]) -> Exit {
    let any = |state| rows.iter().any(|row| row.state == state);
    match () {
        () if any(PairState::Refused) => Exit::KeysRefused,
        () if any(PairState::Unreachable) => Exit::UpstreamAway,
        () if any(PairState::Missing) || any(PairState::Unreadable) => Exit::Config,
        () => Exit::Ok,
    }
}

impl<'a> PairRow<'a> {
    fn of_site(site: &'a Site) -> Vec<Self> {
        let own = std::iter::once((None, site.keys.as_ref()));
        let forms = site.form_keys.iter().map(|(form, keys)| (Some(form), keys.as_ref()));
        let mut rows: Vec<Self> = own.chain(forms).map(|(form, pair)| Self::of(site, form, pair)).collect();
        if let (Some(first), WrittenPair::Unreadable(why)) = (rows.first_mut(), written::pair_of(site)) {
            first.state = PairState::Unreadable;
            first.why = Some(why);
        }
        rows
    }

    fn of_broken(site: &'a BrokenSite) -> Self {
        Self {
            site: site.id.as_ref(),
            form: None,
            public_key: None,
            state: PairState::Unreadable,
            business_id: None,
            why: Some(format!("{} has errors; `formgate check` shows them", site.file.display())),
            pair: None,
        }
    }

    fn is_of(&self, site: Option<&SiteId>) -> bool {
        site.is_some() && self.site == site
    }

    fn of(site: &'a Site, form: Option<&'a FormId>, pair: Option<&'a KeyPair>) -> Self {
        let public_key = pair.map(KeyPair::public);
        Self { site: Some(&site.id), form, public_key, state: PairState::Missing, business_id: None, why: None, pair }
    }

    fn learn(&mut self, found: &BTreeMap<String, Verification>) {
        match self.pair.and_then(|pair| found.get(&whole(pair))) {
            None => {}
            Some(Verification::Valid { business_id }) => {
                self.state = PairState::Ok;
                self.business_id.clone_from(business_id);
            }
            Some(Verification::Refused(refused)) => {
                self.state = PairState::Refused;
                self.why = Some(match which_key(refused.words.as_deref()) {
                    Some(which) => format!("{refused}: {which}"),
                    None => refused.to_string(),
                });
            }
            Some(Verification::Unreachable(why)) => {
                self.state = PairState::Unreachable;
                self.why = Some(why.clone());
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        vec![
            or_dash(self.site.map(SiteId::as_str)),
            or_dash(self.form.map(FormId::as_str)),
            self.state.as_str().to_owned(),
            or_dash(self.business_id.as_deref()),
            self.why.clone().unwrap_or_default(),
        ]
    }

    fn painted(&self, line: &str, paint: Paint) -> String {
        match self.state {
            PairState::Ok => line.to_owned(),
            PairState::Refused => paint.red(line),
            PairState::Unreachable | PairState::Missing | PairState::Unreadable => paint.yellow(line),
        }
    }
}

impl PairState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A pair is known by both of its keys: one of two with the same public key may be wrong.
fn whole(pair: &KeyPair) -> String {
    pair.bearer().expose().to_owned()
}

/// Tells which key KaiCalls means: it calls the secret one “API Key”.
fn which_key(words: Option<&str>) -> Option<&'static str> {
    let words = words?.to_ascii_lowercase();
    match () {
        () if words.contains("public key") => Some("the public key"),
        () if words.contains("api key") => Some("the secret key"),
        () => None,
    }
}

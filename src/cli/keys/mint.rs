//! `formgate keys mint`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::tools;
use super::written;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::ConfigArg;
use crate::config::Site;
use crate::lead::SiteId;
use crate::operate::keys::{MintRequest, Provisioner, ReadyPair, Verification, WrittenPair, pair_of};

/// Mints a key pair for each site that has none, verifies it, and writes it into the site's file.
///
/// A site whose pair KaiCalls takes is left as it is. If it is interrupted, run it again: it goes on with what was minted
/// and names what may have been minted in vain.
#[derive(Args, Debug)]
pub(super) struct MintArgs {
    /// The sites
    #[arg(value_parser = SiteId::parse, required = true)]
    sites: Vec<SiteId>,
    #[command(flatten)]
    config: ConfigArg,
    /// The business, if the API key spans several
    #[arg(long, value_name = "ID")]
    business: Option<String>,
    /// How to write the results
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What became of a site.
#[derive(Serialize)]
struct MintRow<'a> {
    site: &'a SiteId,
    /// False: it had a pair that is valid, or there is an error.
    minted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(args: &MintArgs, console: &mut Console) -> Result<Exit, Error> {
    let opened = tools::open(&args.config, true)?;
    let ids: BTreeSet<_> = args.sites.iter().collect();
    let sites = ids.into_iter().map(|id| written::find(id, &opened.starting)).collect::<Result<Vec<_>, _>>()?;
    let done = mint_all(args, &sites, &opened.provisioner, console).await;
    tools::say_in_vain(opened.provisioner.folder(), console);
    done
}

async fn mint_all(
    args: &MintArgs,
    sites: &[&Site],
    provisioner: &Provisioner,
    console: &mut Console,
) -> Result<Exit, Error> {
    let mut rows = Vec::new();
    let mut failed = None;
    for site in sites {
        let minted = tools::telling(mint(site, provisioner, args.business.as_deref()), provisioner, console).await;
        match minted {
            Ok(row) => {
                if args.output == Format::Text {
                    console.data(row.words())?;
                }
                rows.push(row);
            }
            Err(error) => {
                failed.get_or_insert(error.exit());
                rows.push(MintRow::of_failed(site, &error));
                console.say(error.context(format!("site `{}` has no new pair", site.id)).render());
            }
        }
    }
    if args.output == Format::Json {
        console.json(&rows)?;
    }
    Ok(failed.unwrap_or(Exit::Ok))
}

async fn mint<'a>(site: &'a Site, provisioner: &Provisioner, business: Option<&str>) -> Result<MintRow<'a>, Error> {
    match pair_of(site) {
        WrittenPair::Unreadable(why) => return Err(written::unreadable(&site.id, &why)),
        WrittenPair::None => {}
        WrittenPair::Read(keys) => match provisioner.verify(keys).await {
            Verification::Valid { business_id } => {
                provisioner.finish(&site.id, keys.public()).map_err(tools::failure)?;
                return Ok(MintRow::of_valid(site, keys.public(), business_id));
            }
            Verification::Unreachable(why) => {
                return Err(Error::upstream(anyhow!("KaiCalls can't be asked about its pair: {why}")));
            }
            Verification::Refused(_) => {}
        },
    }
    let request = MintRequest { url: site.url.as_deref(), business_id: business, replaces: None };
    let pair = provisioner.mint(&site.id, &request).await.map_err(tools::failure)?;
    written::write_pair(site, &pair)?;
    provisioner.in_use(&site.id, &pair.public_key).map_err(tools::failure)?;
    Ok(MintRow::of_minted(site, pair))
}

impl<'a> MintRow<'a> {
    fn of_valid(site: &'a Site, public_key: &str, business_id: Option<String>) -> Self {
        Self { public_key: Some(public_key.to_owned()), business_id, ..Self::empty(site) }
    }

    fn of_failed(site: &'a Site, error: &Error) -> Self {
        Self { error: Some(error.words()), ..Self::empty(site) }
    }

    fn empty(site: &'a Site) -> Self {
        Self {
            site: &site.id,
            minted: false,
            public_key: None,
            business_id: None,
            connection_id: None,
            secret_file: None,
            error: None,
        }
    }

    fn of_minted(site: &'a Site, pair: ReadyPair) -> Self {
        let ReadyPair { public_key, secret_file, business_id, connection_id, .. } = pair;
        let public_key = Some(public_key);
        let secret_file = Some(secret_file);
        Self { minted: true, public_key, business_id, connection_id, secret_file, ..Self::empty(site) }
    }

    fn words(&self) -> String {
        let business = self.business_id.as_deref().map(|id| format!(", business {id}")).unwrap_or_default();
        let key = self.public_key.as_deref().unwrap_or_default();
        match &self.secret_file {
            None => format!("{}: its pair {key} is valid{business}; nothing was minted", self.site),
            Some(file) => {
                format!("{}: {key}{business}; its secret is in {}", self.site, file.display())
            }
        }
    }
}

//! `formgate keys mint`.

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use super::{tools, written};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::rules::ConfigArg;
use crate::config::Site;
use crate::lead::SiteId;
use crate::operate::keys::{MintRequest, Provisioner, ReadyPair, Verification};

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
    /// False: it had a pair that is valid.
    minted: bool,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<std::path::PathBuf>,
}

pub(super) async fn run(args: &MintArgs, console: &mut Console) -> Result<Exit, Error> {
    let (_, loaded) = args.config.load()?;
    let sites = args.sites.iter().map(|id| written::find(id, &loaded)).collect::<Result<Vec<_>, _>>()?;
    let provisioner = tools::provisioner(&loaded, true)?;
    let mut rows = Vec::new();
    let mut failed: Option<Error> = None;
    for site in sites {
        match mint(site, &provisioner, args.business.as_deref()).await {
            Ok(row) => {
                if args.output == Format::Text {
                    console.data(row.words())?;
                }
                rows.push(row);
            }
            Err(error) => {
                let error = error.context(format!("site `{}` has no new pair", site.id));
                console.say(error.render());
                failed.get_or_insert(error);
            }
        }
    }
    if args.output == Format::Json {
        console.json(&rows)?;
    }
    tools::say_in_vain(provisioner.folder(), console);
    Ok(failed.map_or(Exit::Ok, |error| error.exit()))
}

async fn mint<'a>(site: &'a Site, provisioner: &Provisioner, business: Option<&str>) -> Result<MintRow<'a>, Error> {
    if let Some(keys) = &site.keys {
        match provisioner.verify(keys).await {
            Verification::Valid { business_id } => {
                provisioner.finish(&site.id, keys.public()).map_err(tools::failure)?;
                return Ok(MintRow::of_valid(site, keys.public(), business_id));
            }
            Verification::Unreachable(why) => {
                return Err(Error::upstream(anyhow!("KaiCalls can't be asked about its pair: {why}")));
            }
            Verification::Refused(_) => {}
        }
    }
    let request = MintRequest { url: site.url.as_deref(), business_id: business, replaces: None };
    let pair = provisioner.mint(&site.id, &request).await.map_err(tools::failure)?;
    written::write_pair(site, &pair)?;
    provisioner.in_use(&site.id).map_err(tools::failure)?;
    Ok(MintRow::of_minted(site, pair))
}

impl<'a> MintRow<'a> {
    fn of_valid(site: &'a Site, public_key: &str, business_id: Option<String>) -> Self {
        let public_key = public_key.to_owned();
        Self { site: &site.id, minted: false, public_key, business_id, connection_id: None, secret_file: None }
    }

    fn of_minted(site: &'a Site, pair: ReadyPair) -> Self {
        let ReadyPair { public_key, secret_file, business_id, connection_id, .. } = pair;
        Self { site: &site.id, minted: true, public_key, business_id, connection_id, secret_file: Some(secret_file) }
    }

    fn words(&self) -> String {
        let business = self.business_id.as_deref().map(|id| format!(", business {id}")).unwrap_or_default();
        match &self.secret_file {
            None => format!("{}: its pair {} is valid{business}; nothing was minted", self.site, self.public_key),
            Some(file) => {
                format!("{}: {}{business}; its secret is in {}", self.site, self.public_key, file.display())
            }
        }
    }
}

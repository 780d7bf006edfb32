//! `formgate sites add`.

mod keys;

mod shown;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::find::WrittenSites;
use super::new_site::{AssumedRegion, HeldPlace, NewSite, file_of, place};
use super::plugins::Plugins;
use super::token::{LOCAL, say_unseen};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::keys::{OpenedKeys, failure, open, relative_to, say_in_vain, unreadable};
use crate::cli::rules::{ConfigArg, today};
use crate::cli::runtime::block_on;
use crate::config::{Loaded, Site};
use crate::destination::KeyPair;
use crate::lead::{Region, SiteId};
use crate::map::SetupValues;
use crate::operate::keys::{MintRequest, Provisioner, ReadyPair, WrittenPair, pair_of};
use crate::operate::onboard::{PluginSteps, is_name, is_web_address};
use crate::operate::sites_file::{EditLock, with_keys};
use crate::operate::{MadeToken, token_hash};
use keys::KeysOfSite;

/// Adds a site: writes its file, makes a token, and says what to paste where in the form plugin.
///
/// The file is written next to the other sites'; if all sites are [[site]] tables in config.toml, it is another table.
/// The running gateway picks it up within seconds. Without keys the site's leads wait in the queue until it has some.
/// Run twice, it changes nothing the second time.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct AddArgs {
    /// The site's id, part of its URLs: a-z, 0-9, - and _
    #[arg(value_parser = SiteId::parse)]
    id: SiteId,
    /// The site's address, such as https://acme.example
    #[arg(long, value_name = "URL")]
    url: String,
    /// The site's name, as shown to people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The country of phone numbers that visitors write without +, such as US [default: the URL's, as .de says DE]
    #[arg(long, value_name = "CC", value_parser = read_region)]
    region: Option<Region>,
    /// The form plugin, by the name of its mapping: prints its own steps
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Show what would be done; write nothing and ask nobody
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write what was made
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    // Last: what follows would stand under its heading.
    #[command(flatten)]
    keys: KeysOfSite,
}

const HELP: &str = "\
Examples:
  formgate sites add acme --url https://acme.example --plugin generic
  formgate sites add acme --url https://acme.example --mint
  formgate sites add acme --url https://acme.example --public-key wp_pk_… --secret-key-file acme.key";

pub(super) fn run(args: &AddArgs, console: &mut Console) -> Result<Exit, Error> {
    args.check()?;
    let mut written = WrittenSites::load(&args.config, console)?;
    let plugins = Plugins::of(&written.loaded);
    let plugin = args.plugin.as_deref().map(|name| plugins.find(name)).transpose()?;
    refuse(&written, &args.id)?;
    let given = if args.dry_run { None } else { args.keys.given()? };
    let mut provisioner = None;
    if !args.dry_run && args.keys.are_wanted() {
        let mints = args.keys.mint && written.usable(&args.id).is_none_or(|site| site.keys.is_none());
        // Another command may have written the site before the secrets folder was ours.
        let OpenedKeys { path, starting, provisioner: opened } = open(&args.config, mints)?;
        (written, provisioner) = (WrittenSites::of(&path, starting, console)?, Some(opened));
        refuse(&written, &args.id)?;
    }
    let loaded = &written.loaded;
    let region = AssumedRegion::of(args.region, &args.url);
    let adding = Adding { args, loaded, region, given, provisioner };
    let added = match written.usable(&args.id) {
        Some(site) if args.dry_run => return adding.foretell_of(site, console),
        None if args.dry_run => return adding.foretell(console),
        Some(site) => adding.complete(site, console)?,
        None => adding.add(console)?,
    };
    let gateway = loaded.server().map(crate::config::Server::base_url).unwrap_or_default();
    let token = added.token.as_deref().unwrap_or("fg_…");
    let url_with_token = format!("{}?token={token}", added.url);
    let values = SetupValues { url: &url_with_token, plain_url: &added.url, token, gateway: &gateway };
    let setup = plugin.map(|plugin| PluginSteps::of(plugin, &values));
    let shown = added.show(&adding, &url_with_token, setup, console);
    if let (Err(_), Some(token)) = (&shown, &added.token) {
        say_unseen(&args.id, &token_hash(token), console);
    }
    shown?;
    if args.output == Format::Text && plugin.is_none() {
        console.say(format!("\n--plugin NAME prints the steps in that plugin: {}", plugins.list()));
    }
    if loaded.server().is_none_or(|server| server.public_url.is_none()) {
        console.say(LOCAL);
    }
    Ok(Exit::Ok)
}

fn refuse(written: &WrittenSites, site: &SiteId) -> Result<(), Error> {
    written.refusal(site).map_or(Ok(()), Err)
}

impl AddArgs {
    fn check(&self) -> Result<(), Error> {
        if !is_web_address(&self.url) {
            let error = Error::usage(anyhow!("--url isn't a web address"));
            return Err(error.hint("write it as in --url https://acme.example"));
        }
        match self.name.as_deref() {
            Some(name) if !is_name(name) => Err(Error::usage(anyhow!("--name isn't a name on one line"))),
            _ => Ok(()),
        }
    }
}

/// What is to be added, and to what.
struct Adding<'a> {
    args: &'a AddArgs,
    loaded: &'a Loaded,
    region: Option<AssumedRegion>,
    /// The pair that the operator has.
    given: Option<KeyPair>,
    /// None: no pair is asked for.
    provisioner: Option<Provisioner>,
}

/// What was added, or found. No `Debug`: it holds the token.
struct Added {
    file: PathBuf,
    url: String,
    /// None: the site was there.
    token: Option<String>,
    pair: Option<ReadyPair>,
}

impl Adding<'_> {
    fn hook_url(&self) -> String {
        let id = &self.args.id;
        self.loaded.server().map_or_else(|| format!("https://YOUR-GATEWAY/hooks/{id}"), |server| server.hook_url(id))
    }

    fn new_site<'a>(&'a self, pair: Option<&'a ReadyPair>, sha256: &'a str) -> NewSite<'a> {
        let AddArgs { id, name, url, .. } = self.args;
        NewSite { id, name: name.as_deref(), url, region: self.region, pair, sha256, by: "sites add" }
    }

    fn foretell(&self, console: &mut Console) -> Result<Exit, Error> {
        let place = place(self.loaded, &self.args.id)?;
        let keys = match (self.args.keys.mint, &self.args.keys.public_key) {
            (true, _) => ", mint its key pair",
            (false, Some(_)) => ", verify its key pair",
            (false, None) => "",
        };
        if self.args.output == Format::Json {
            let foretold = serde_json::json!({ "site": self.args.id, "would_add": true, "file": file_of(&place) });
            console.json(&foretold)?;
            return Ok(Exit::Ok);
        }
        console.data(format!("would add {} to {}{keys}, and make a token", self.args.id, file_of(&place).display()))?;
        Ok(Exit::Ok)
    }

    /// Says what would be done to a site that is there.
    fn foretell_of(&self, site: &Site, console: &mut Console) -> Result<Exit, Error> {
        let lacks_pair = self.lacks_pair(site)?;
        let AddArgs { id, keys, output, .. } = self.args;
        if *output == Format::Json {
            let foretold = serde_json::json!({ "site": id, "would_add": false, "would_add_keys": lacks_pair });
            console.json(&foretold)?;
            return Ok(Exit::Ok);
        }
        let file = site.file.display();
        console.data(match (lacks_pair, keys.mint) {
            (false, _) => format!("{id} is there already, and nothing would be changed: {file}"),
            (true, true) => format!("would mint the key pair of {id}, and write it to {file}"),
            (true, false) => format!("would verify the key pair of {id}, and write it to {file}"),
        })?;
        Ok(Exit::Ok)
    }

    fn add(&self, console: &mut Console) -> Result<Added, Error> {
        let place = place(self.loaded, &self.args.id)?;
        if self.provisioner.is_some() {
            HeldPlace::hold(&place)?.probe(&self.args.id)?;
        }
        // The pair first: a file that is there has what it needs.
        let pair = self.pair(console)?;
        let held = HeldPlace::hold(&place)?;
        if let Some(site) = held.found(&self.args.id)? {
            drop(held);
            return self.complete_with(&site, pair);
        }
        let MadeToken { token, sha256 } = MadeToken::random();
        let file = held.write(&self.new_site(pair.as_ref(), &sha256), &self.loaded.secrets_folder)?;
        let token = Some(token.expose().to_owned());
        self.note_in_use(pair.as_ref())?;
        Ok(Added { file, url: self.hook_url(), token, pair })
    }

    /// Leaves a site as it is that is there already; only a pair that it lacks is added.
    fn complete(&self, site: &Site, console: &mut Console) -> Result<Added, Error> {
        let pair = if self.lacks_pair(site)? { self.pair(console)? } else { None };
        self.complete_with(site, pair)
    }

    fn complete_with(&self, site: &Site, pair: Option<ReadyPair>) -> Result<Added, Error> {
        self.refuse_another(site)?;
        let file = site.file.clone();
        let url = self.hook_url();
        match (&pair, &site.keys, &self.provisioner) {
            (Some(pair), None, _) => {
                let secret = relative_to(&site.file, &pair.secret_file);
                let secret = secret.to_string_lossy();
                let write = |text: &str| with_keys(text, site.id.as_str(), &pair.public_key, &secret);
                EditLock::of(&site.file, today())?.edit(&site.id, write)?;
                self.note_in_use(Some(pair))?;
            }
            // An earlier run may have been cut off after it wrote the file.
            (None, Some(keys), Some(provisioner)) => provisioner.finish(&site.id, keys.public()).map_err(failure)?,
            _ => {}
        }
        Ok(Added { file, url, token: None, pair: pair.filter(|_| site.keys.is_none()) })
    }

    /// Tells whether a site lacks the pair that is asked for. One whose keys can't be read here has them: they may be in use.
    fn lacks_pair(&self, site: &Site) -> Result<bool, Error> {
        self.refuse_another(site)?;
        if site.keys.is_some() || !self.args.keys.are_wanted() {
            return Ok(false);
        }
        match pair_of(site) {
            WrittenPair::Unreadable(why) => Err(unreadable(&site.id, &why)),
            WrittenPair::Read(_) | WrittenPair::None => Ok(true),
        }
    }

    fn refuse_another(&self, site: &Site) -> Result<(), Error> {
        let differences = self.differences(site);
        if differences.is_empty() {
            return Ok(());
        }
        let told = differences.join(", ");
        let error = Error::usage(anyhow!("site `{}` is there already, with another {told}", site.id));
        Err(error.hint(format!("change it in {}, or choose another id", site.file.display())))
    }

    /// Names what of the site is otherwise than it is asked for.
    fn differences(&self, site: &Site) -> Vec<&'static str> {
        let args = self.args;
        let is_other = |asked: Option<&str>, written: Option<&str>| asked.is_some() && asked != written;
        let given = args.keys.public_key.as_deref();
        let public_key = site.keys.as_ref().map(KeyPair::public);
        [
            ("url", !is_same_url(&args.url, site.url.as_deref())),
            ("name", is_other(args.name.as_deref(), site.name.as_deref())),
            ("region", args.region.is_some() && args.region != site.rules.region),
            ("public_key", public_key.is_some() && is_other(given, public_key)),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect()
    }

    /// Gets the pair that was asked for; none where none was.
    fn pair(&self, console: &mut Console) -> Result<Option<ReadyPair>, Error> {
        let AddArgs { id, url, keys, .. } = self.args;
        let Some(provisioner) = &self.provisioner else { return Ok(None) };
        let request = MintRequest { url: Some(url), business_id: keys.business.as_deref(), replaces: None };
        let ready = block_on(async {
            let ready = match &self.given {
                Some(keys) => provisioner.adopt(id, keys).await,
                None => provisioner.mint(id, &request).await,
            };
            ready.map_err(failure)
        });
        say_in_vain(provisioner.folder(), console);
        ready.map(Some).map_err(|error| error.hint("the site was not added"))
    }

    /// Notes that the file names the pair.
    fn note_in_use(&self, pair: Option<&ReadyPair>) -> Result<(), Error> {
        match (&self.provisioner, pair) {
            (Some(provisioner), Some(pair)) => provisioner.in_use(&self.args.id, &pair.public_key).map_err(failure),
            _ => Ok(()),
        }
    }
}

/// Tells whether two addresses are the same, with a slash at the end or without.
pub(super) fn is_same_url(asked: &str, written: Option<&str>) -> bool {
    written.is_some_and(|written| written.trim_end_matches('/') == asked.trim_end_matches('/'))
}

fn read_region(text: &str) -> Result<Region, String> {
    Region::parse(&text.to_uppercase()).map_err(|invalid| format!("it {invalid}"))
}

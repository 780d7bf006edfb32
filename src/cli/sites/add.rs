//! `formgate sites add`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::Serialize;

use super::edit::{EditLock, with_keys};
use super::new_site::{AssumedRegion, NewSite, file_of, key_files, place};
use super::setup::{Plugins, Setup};
use super::token::{LOCAL, fresh, hash};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::keys::{failure, provisioner, relative_to, say_in_vain};
use crate::cli::rules::ConfigArg;
use crate::cli::runtime::block_on;
use crate::config::{Loaded, Site};
use crate::destination::{KeyPair, Secret};
use crate::lead::{Region, SiteId};
use crate::map::SetupValues;
use crate::operate::keys::{MintRequest, Provisioner, ReadyPair};
use crate::operate::onboard::{is_name, is_web_address};

/// Largest secret that is read, in bytes.
const SECRET_MAX: u64 = 4096;

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
    /// The form plugin, such as gravity-forms: prints its own steps
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    #[command(flatten)]
    keys: KeysOfSite,
    /// Show what would be done; write nothing and ask nobody
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArg,
    /// How to write what was made
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Args)]
#[command(next_help_heading = "Keys")]
struct KeysOfSite {
    /// Mint a key pair with [kaicalls].api_key, and verify it
    #[arg(long, conflicts_with = "public_key")]
    mint: bool,
    /// The business, if the API key spans several
    #[arg(long, value_name = "ID", requires = "mint")]
    business: Option<String>,
    /// The site's Public Key (wp_pk_…), if you have a pair; it is verified
    #[arg(long, value_name = "KEY", requires = "secret")]
    public_key: Option<String>,
    /// The file with its Secret Key (wp_sk_…); - reads it from stdin
    #[arg(long, value_name = "FILE", requires = "public_key", group = "secret")]
    secret_key_file: Option<PathBuf>,
    /// The environment variable with its Secret Key
    #[arg(long, value_name = "VARIABLE", requires = "public_key", group = "secret")]
    secret_key_env: Option<String>,
}

const HELP: &str = "\
Examples:
  formgate sites add acme --url https://acme.example --plugin gravity-forms
  formgate sites add acme --url https://acme.example --mint
  formgate sites add acme --url https://acme.example --public-key wp_pk_… --secret-key-file acme.key";

/// What is shown once. No `Debug`: it holds the token.
#[derive(Serialize)]
struct AddOutput<'a> {
    site: &'a SiteId,
    /// False: it was there already.
    added: bool,
    file: &'a Path,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_with_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// Only the URL's domain says the region.
    region_assumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<String>,
}

pub(super) fn run(args: &AddArgs, console: &mut Console) -> Result<Exit, Error> {
    args.check()?;
    let (path, loaded) = args.config.load()?;
    if loaded.config.is_none() {
        console.say(loaded.diagnostics.render(console.talk_paint().colour));
        return Err(Error::config(anyhow!("{} has errors; fix them first", path.display())));
    }
    let plugins = Plugins::of(&loaded);
    let plugin = args.plugin.as_deref().map(|name| plugins.find(name)).transpose()?;
    let adding = Adding { args, loaded: &loaded, region: AssumedRegion::of(args.region, &args.url) };
    let there = loaded.usable_sites().find(|site| site.id == args.id);
    let is_broken = |file: &&crate::config::BrokenSite| file.id.as_ref() == Some(&args.id);
    if let (None, Some(broken)) = (there, loaded.broken_sites.iter().find(is_broken)) {
        let error = Error::config(anyhow!("site `{}` is there already, with errors", args.id));
        return Err(error.hint(format!("`formgate check` shows what is wrong with {}", broken.file.display())));
    }
    let added = match there {
        Some(site) => adding.complete(site, console)?,
        None if args.dry_run => return adding.foretell(console),
        None => adding.add(console)?,
    };
    let gateway = loaded.server().map(crate::config::Server::base_url).unwrap_or_default();
    let token = added.token.as_deref().unwrap_or("fg_…");
    let url_with_token = format!("{}?token={token}", added.url);
    let values = SetupValues { url: &url_with_token, plain_url: &added.url, token, gateway: &gateway };
    let setup = plugin.map(|plugin| Setup::of(plugin, &values));
    added.show(&adding, &url_with_token, setup, console)?;
    if args.output == Format::Text && plugin.is_none() {
        console.say(format!("\n--plugin NAME prints the steps in that plugin: {}", plugins.list()));
    }
    if loaded.server().is_none_or(|server| server.public_url.is_none()) {
        console.say(LOCAL);
    }
    Ok(Exit::Ok)
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

    fn add(&self, console: &mut Console) -> Result<Added, Error> {
        let place = place(self.loaded, &self.args.id)?;
        // The pair first: a file that is there has what it needs.
        let ready = self.pair(console)?;
        let pair = ready.as_ref().map(|(_, pair)| pair);
        let token = fresh();
        let file = self.new_site(pair, &hash(&token)).write(&place, &self.loaded.secrets_folder)?;
        let pair = self.in_use(ready)?;
        Ok(Added { file, url: self.hook_url(), token: Some(token), pair })
    }

    /// Leaves a site as it is that is there already; only a pair that it lacks is added.
    fn complete(&self, site: &Site, console: &mut Console) -> Result<Added, Error> {
        let differences = self.differences(site);
        if !differences.is_empty() {
            let told = differences.join(", ");
            let error = Error::usage(anyhow!("site `{}` is there already, with another {told}", site.id));
            return Err(error.hint(format!("change it in {}, or choose another id", site.file.display())));
        }
        let file = site.file.clone();
        let mut added = Added { file, url: self.hook_url(), token: None, pair: None };
        if self.args.dry_run || (site.keys.is_some() && !self.args.keys.mint) {
            return Ok(added);
        }
        if let Some(keys) = &site.keys {
            // An earlier run may have been cut off after it wrote the file.
            let provisioner = provisioner(self.loaded, true)?;
            let unfinished = provisioner.unfinished(&site.id).map_err(failure)?;
            if unfinished.is_some_and(|it| it.public_key.as_deref() == Some(keys.public()) && it.replaces.is_none()) {
                provisioner.in_use(&site.id).map_err(failure)?;
            }
            return Ok(added);
        }
        if let Some((provisioner, pair)) = self.pair(console)? {
            let secret = relative_to(&site.file, &pair.secret_file);
            let secret = secret.to_string_lossy();
            let write = |text: &str| with_keys(text, site.id.as_str(), &pair.public_key, &secret);
            EditLock::of(&site.file)?.edit(&site.id, write)?;
            added.pair = self.in_use(Some((provisioner, pair)))?;
        }
        Ok(added)
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
    fn pair(&self, console: &mut Console) -> Result<Option<(Provisioner, ReadyPair)>, Error> {
        let AddArgs { id, url, keys, .. } = self.args;
        let given = keys.given()?;
        if given.is_none() && !keys.mint {
            return Ok(None);
        }
        let provisioner = provisioner(self.loaded, keys.mint)?;
        let request = MintRequest { url: Some(url), business_id: keys.business.as_deref(), replaces: None };
        let ready = block_on(async {
            let ready = match &given {
                Some(keys) => provisioner.adopt(id, keys).await,
                None => provisioner.mint(id, &request).await,
            };
            ready.map_err(failure)
        });
        say_in_vain(provisioner.folder(), console);
        let ready = ready.map_err(|error| error.hint("the site was not added"))?;
        Ok(Some((provisioner, ready)))
    }

    /// Notes that the file names the pair.
    fn in_use(&self, ready: Option<(Provisioner, ReadyPair)>) -> Result<Option<ReadyPair>, Error> {
        let Some((provisioner, pair)) = ready else { return Ok(None) };
        provisioner.in_use(&self.args.id).map_err(failure)?;
        Ok(Some(pair))
    }
}

impl Added {
    fn show(
        &self,
        adding: &Adding<'_>,
        url_with_token: &str,
        setup: Option<Setup>,
        console: &mut Console,
    ) -> Result<(), Error> {
        let (id, is_new) = (&adding.args.id, self.token.is_some());
        if adding.args.output == Format::Json {
            return console.json(&AddOutput {
                site: id,
                added: is_new,
                file: &self.file,
                url: &self.url,
                token: self.token.as_deref(),
                url_with_token: self.token.as_ref().map(|_| url_with_token),
                region: adding.region.map(|assumed| assumed.region.to_string()),
                region_assumed: adding.region.is_some_and(|assumed| assumed.is_assumed),
                public_key: self.pair.as_ref().map(|pair| pair.public_key.as_str()),
                business_id: self.pair.as_ref().and_then(|pair| pair.business_id.as_deref()),
                steps: setup.map(|setup| setup.steps).unwrap_or_default(),
            });
        }
        let file = self.file.display();
        match (is_new, &self.pair) {
            (true, _) => console.data(format!("{id} is added: {file}"))?,
            (false, Some(_)) => console.data(format!("{id} has keys now: {file}"))?,
            (false, None) => console.data(format!("{id} is there already, and nothing was changed: {file}"))?,
        }
        if is_new {
            console.data(format!("  region  {}", region_words(adding.region)))?;
            console.data(format!("  keys    {}", self.keys_words(adding)))?;
        }
        match setup {
            Some(setup) => setup.lines().enumerate().try_for_each(|(at, line)| {
                let gap = if at == 0 { "\n" } else { "" };
                console.data(format!("{gap}{line}"))
            })?,
            None if is_new => {
                let url = console.paint().bold(url_with_token);
                console
                    .data(format!("\nPaste into the plugin:\n\n  {url}\n\nor, if the plugin can send headers:\n"))?;
                let token = self.token.as_deref().unwrap_or_default();
                console.data(format!("  {}\n  Authorization: Bearer {token}", self.url))?;
            }
            None => {}
        }
        if is_new {
            console.say(format!(
                "\nThe token is shown only now. Then submit the form once, and run `formgate leads list --site {id}`"
            ));
        } else {
            console.say(format!("its tokens are shown nowhere; `formgate sites token {id}` makes another"));
        }
        Ok(())
    }

    fn keys_words(&self, adding: &Adding<'_>) -> String {
        let Some(pair) = &self.pair else {
            let [public, secret] = key_files(&adding.loaded.secrets_folder, &adding.args.id);
            return format!(
                "none yet, so its leads wait in the queue: run `formgate keys mint {}`, or write the pair into {} and {}",
                adding.args.id,
                public.display(),
                secret.display()
            );
        };
        let business = pair.business_id.as_deref().map(|id| format!(", business {id}")).unwrap_or_default();
        format!("{}{business}, verified; its secret is in {}", pair.public_key, pair.secret_file.display())
    }
}

impl KeysOfSite {
    /// Reads the pair that is given.
    fn given(&self) -> Result<Option<KeyPair>, Error> {
        let Some(public) = &self.public_key else { return Ok(None) };
        let secret = match (&self.secret_key_file, &self.secret_key_env) {
            (Some(file), _) => read_secret(file)?,
            (None, variable) => {
                let variable = variable.as_deref().unwrap_or_default();
                std::env::var(variable)
                    .map_err(|error| Error::usage(error).context(format!("the variable {variable} can't be read")))?
            }
        };
        let secret = Secret::new(secret.trim_end_matches(['\r', '\n']).to_owned());
        let pair = KeyPair::new(public, &secret).map_err(|invalid| {
            let error = Error::usage(anyhow!("a key {invalid}")).context("this is no key pair");
            error.hint("KaiCalls' Public Key begins with wp_pk_, its Secret Key with wp_sk_")
        });
        pair.map(Some)
    }
}

fn read_secret(file: &Path) -> Result<String, Error> {
    let mut text = String::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().take(SECRET_MAX).read_to_string(&mut text),
        false => std::fs::File::open(file).and_then(|file| file.take(SECRET_MAX).read_to_string(&mut text)),
    };
    read.with_context(|| format!("can't read {}", file.display())).map_err(Error::usage)?;
    Ok(text)
}

/// Tells whether two addresses are the same, with a slash at the end or without.
pub(super) fn is_same_url(asked: &str, written: Option<&str>) -> bool {
    written.is_some_and(|written| written.trim_end_matches('/') == asked.trim_end_matches('/'))
}

pub(super) fn region_words(region: Option<AssumedRegion>) -> String {
    match region {
        Some(AssumedRegion { region, is_assumed: true }) => {
            format!("{region}, because of the URL; --region CC says another")
        }
        Some(AssumedRegion { region, .. }) => region.to_string(),
        None => "none: phone numbers without + are sent as typed; --region CC reads them as that country's".to_owned(),
    }
}

fn read_region(text: &str) -> Result<Region, String> {
    Region::parse(&text.to_uppercase()).map_err(|invalid| format!("it {invalid}"))
}

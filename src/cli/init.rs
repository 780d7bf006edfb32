//! `formgate init`.

use std::fmt::Display;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::Serialize;

use super::console::{Console, Format};
use super::error::Error;
use super::exit::Exit;
use super::rules::today;
use super::sites::token;
use crate::config::{self, Config, Sources};
use crate::lead::SiteId;
use crate::operate::MadeToken;

const CONFIG: &str = include_str!("init/config.toml");
const SITE: &str = include_str!("init/site.toml");
/// What git must not keep beside visitors' data: keys.
const IGNORED: [&str; 2] = ["/secrets/", "*.paste.csv"];
/// Where the sandbox of the printed commands listens.
const SANDBOX: &str = "127.0.0.1:9090";

/// Writes a commented configuration and a first site with a token.
///
/// Creates config.toml, a file for the site, and folders for data, secrets and mappings. It shows the token only once,
/// with the URL to paste into the form plugin; the site's file has only its SHA-256. It overwrites nothing and asks
/// nothing.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The folder to write to; created if it doesn't exist
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The site's id, part of its URLs [default: from --url, else "example"]
    #[arg(long, value_name = "ID", value_parser = SiteId::parse)]
    site: Option<SiteId>,
    /// The site's name, as shown to people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The site's address, such as https://www.example.com
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The country of phone numbers that visitors write without +, such as US
    #[arg(long, value_name = "CC")]
    region: Option<String>,
    /// The gateway's public address, such as https://gate.agency.example
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Where forms post to; in a container 0.0.0.0:8080
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// The folder for the store and what else the gateway writes
    #[arg(long, value_name = "DIR", default_value = "data", conflicts_with = "sandbox")]
    data: String,
    /// Deliver to a sandbox of KaiCalls on this machine, for a trial without keys
    #[arg(long)]
    sandbox: bool,
    /// How to write the token and its URL
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What is shown once. No `Debug`: it holds the token.
#[derive(Serialize)]
struct InitOutput<'a> {
    site: &'a SiteId,
    token: &'a str,
    url: String,
    url_with_token: String,
    config: PathBuf,
    site_file: PathBuf,
    /// Where the site's keys are expected.
    keys: [PathBuf; 2],
}

/// The files to write, by their path in the folder.
struct InitFiles {
    /// The data folder, where it lies in the folder too.
    data: Option<String>,
    config: String,
    site_name: String,
    site: String,
}

pub(super) fn run(args: &InitArgs, console: &mut Console) -> Result<Exit, Error> {
    let site = args.site.clone().or_else(|| site_of(args.url.as_deref()?)).unwrap_or_else(example);
    let MadeToken { token, sha256 } = MadeToken::random();
    let token = token.expose();
    let files = InitFiles::of(args, &site, &sha256);
    let config = files.check(console)?;
    files.write(&args.folder)?;
    let url = config.server.hook_url(&site);
    let url_with_token = format!("{url}?token={token}");
    let keys = keys(args, &site).map(|key| args.folder.join(key));
    let config_file = args.folder.join("config.toml");
    let site_file = args.folder.join(&files.site_name);
    let made = InitOutput { site: &site, token, url, url_with_token, config: config_file, site_file, keys };
    match args.output {
        Format::Json => console.json(&made)?,
        Format::Text => show(&made, console)?,
    }
    for line in made.next_steps(args, &config) {
        console.say(line);
    }
    Ok(Exit::Ok)
}

fn show(made: &InitOutput<'_>, console: &mut Console) -> Result<(), Error> {
    console.data(format!("created {} and {}\n", made.config.display(), made.site_file.display()))?;
    console.data(format!("The webhook URL for the forms of `{}`, shown only once:\n", made.site))?;
    let url = console.paint().bold(&made.url_with_token);
    console.data(format!("  {url}"))
}

impl InitFiles {
    fn of(args: &InitArgs, site: &SiteId, sha256: &str) -> Self {
        let public_url = line("public_url", args.public_url.as_deref(), "https://gate.agency.example");
        let base_url = match args.sandbox {
            true => format!("base_url = \"http://{SANDBOX}\"   # the sandbox; without this line: KaiCalls"),
            false => "# base_url = \"https://www.kaicalls.com\"".to_owned(),
        };
        let [public_key, secret_key] = keys(args, site).map(|key| quoted(&format!("../{key}")));
        let site_text = SITE
            .replacen("ID", &quoted(site.as_str()), 1)
            .replacen("NAME", &line("name", args.name.as_deref(), "Example site"), 1)
            .replacen("\nURL", &format!("\n{}", line("url", args.url.as_deref(), "https://www.example.com")), 1)
            .replacen("REGION", &region(args.region.as_deref()), 1)
            .replacen("PUBLIC_KEY", &public_key, 1)
            .replacen("SECRET_KEY", &secret_key, 1)
            .replacen("sha256 = SHA256", &format!("sha256 = {}", quoted(sha256)), 1);
        let store = format!("sqlite:{}", Path::new(&args.data).join("formgate.db").display());
        // From the end of the file, so that no value that is written is taken for a later place.
        let config = CONFIG
            .replacen("STORE", &format!("{:<30}", quoted(&store)), 1)
            .replacen("BASE_URL", &base_url, 1)
            .replacen("PUBLIC_URL", &public_url, 1)
            .replacen("DATA", &format!("{:<29}", quoted(&args.data)), 1)
            .replacen("LISTEN", &format!("{:<27}", quoted(&args.listen)), 1);
        Self {
            data: Some(args.data.clone()).filter(|data| Path::new(data).is_relative()),
            config,
            site_name: format!("sites/{site}.toml"),
            site: site_text,
        }
    }

    /// Loads the files from a folder that is gone when it returns: what `check` would refuse is not written.
    fn check(&self, console: &mut Console) -> Result<Config, Error> {
        let folder = tempfile::tempdir().context("can't make a temporary folder").map_err(Error::store)?;
        self.write(folder.path())?;
        // The keys are not there yet.
        let sources = Sources::process().with_stand_ins();
        config::load(&folder.path().join("config.toml"), &sources, today())
            .complete()
            .map(|(config, _)| config)
            .map_err(|problems| {
                console.say(problems.render(console.talk_paint().colour));
                Error::usage(anyhow!("these values don't make a valid configuration; nothing was written"))
            })
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        for name in ["config.toml", &self.site_name] {
            if folder.join(name).symlink_metadata().is_ok() {
                let error =
                    Error::usage(anyhow!("{} already exists; nothing was written", folder.join(name).display()));
                return Err(error.hint("choose another folder. To add a site, run `formgate sites add ID --url URL`"));
            }
        }
        let folders = [("", 0o755), ("sites", 0o755), ("mappings", 0o755), ("secrets", 0o700)];
        for (name, mode) in folders.into_iter().chain(self.data.as_deref().map(|data| (data, 0o700))) {
            let made = DirBuilder::new().recursive(true).mode(mode).create(folder.join(name));
            made.with_context(|| cant_write(folder.join(name).display())).map_err(Error::store)?;
        }
        for (name, text) in [("config.toml", &self.config), (self.site_name.as_str(), &self.site)] {
            let path = folder.join(name);
            let written = OpenOptions::new().write(true).create_new(true).open(&path);
            let written = written.and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| cant_write(path.display())).map_err(Error::store)?;
        }
        let ignore = folder.join(".gitignore");
        let data = self.data.as_ref().map(|data| format!("/{data}/"));
        ignore_in_git(&ignore, data.as_deref()).with_context(|| cant_write(ignore.display())).map_err(Error::store)
    }
}

/// Adds what is missing to a file that may be there: the folder may be a checkout.
fn ignore_in_git(file: &Path, data: Option<&str>) -> io::Result<()> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let is_ignored = |wanted: &str| text.lines().any(|line| line.trim().trim_matches('/') == wanted.trim_matches('/'));
    let missing: Vec<_> = data.into_iter().chain(IGNORED).filter(|wanted| !is_ignored(wanted)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(format!("{gap}{}\n", missing.join("\n")).as_bytes())
}

impl InitOutput<'_> {
    fn next_steps(&self, args: &InitArgs, config: &Config) -> Vec<String> {
        let file = self.config.display();
        let [public_key, secret_key] = &self.keys;
        let mut steps = vec!["\nNext:".to_owned()];
        if args.sandbox {
            let keys = public_key.parent().unwrap_or(Path::new("."));
            steps.push(format!(
                "  formgate sandbox --listen {SANDBOX} --keys {}   # KaiCalls' API; keep it running",
                keys.display()
            ));
            steps.push(format!("  formgate serve --config {file}   # in a second terminal"));
            steps.push(format!(
                "  curl '{}' -d name=Jane -d email=jane@example.com -d message=Hello",
                self.url_with_token
            ));
            steps.push(format!("  curl http://{SANDBOX}/_sandbox/leads   # what KaiCalls received"));
        } else {
            steps.push(format!(
                "  1. write the site's KaiCalls key pair into {} and {}",
                public_key.display(),
                secret_key.display()
            ));
            steps.push(format!("  2. formgate check --config {file}"));
            steps.push(format!("  3. formgate serve --config {file}"));
            steps.push("  4. paste the URL into the form plugin's webhook, and send the form once".to_owned());
        }
        if config.server.public_url.is_none() && !args.sandbox {
            steps.push(format!("Before you paste it: {}", token::LOCAL));
        }
        steps
    }
}

/// Returns where the site's keys are, relative to the folder.
fn keys(args: &InitArgs, site: &SiteId) -> [String; 2] {
    let folder = if args.sandbox { "data/sandbox/".to_owned() } else { format!("secrets/{site}_") };
    ["public_key", "secret_key"].map(|key| format!("{folder}{key}"))
}

/// Names a site after its host: `https://www.acme-dental.example/` is `acme-dental`.
fn site_of(url: &str) -> Option<SiteId> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.to_ascii_lowercase();
    let name = host.strip_prefix("www.").unwrap_or(&host).split('.').next()?.to_owned();
    SiteId::parse(&name).ok()
}

fn example() -> SiteId {
    SiteId::parse("example").expect("a valid id")
}

/// Writes a key with its value, or a comment that shows one.
fn line(key: &str, value: Option<&str>, example: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quoted(value)),
        None => format!("# {key} = {}", quoted(example)),
    }
}

fn region(value: Option<&str>) -> String {
    let what = "# country of phone numbers without +; unset: sent as typed";
    format!("{}                      {what}", line("region", value, "US"))
}

/// TOML's basic strings take every escape that JSON writes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn cant_write(path: impl Display) -> String {
    format!("can't write {path}")
}

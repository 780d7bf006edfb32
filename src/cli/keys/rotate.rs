//! `formgate keys rotate`.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::tools::{self, OpenedKeys};
use super::written;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::leads::gateway;
use crate::cli::rules::ConfigArg;
use crate::config::Site;
use crate::destination::KeyPair;
use crate::lead::SiteId;
use crate::operate::keys::{
    KeysInForce, MintRequest, Provisioner, Replaced, Unfinished, Verification, WrittenPair, pair_of,
};

/// How often the gateway is asked what the old pair is still needed for.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Two answers so far apart: a lead that was on its way to the first is counted by the second.
const SURE_AFTER: Duration = Duration::from_secs(2);

/// Puts a new key pair in the place of the one that a site has, without a lost lead.
///
/// Mints a pair, verifies it, and writes it into the site's file, which the running gateway picks up. The old pair's
/// secret is removed when no lead is under way with it any more. KaiCalls documents no way to revoke a connection, so the
/// old one is named for you to revoke in its dashboard. If this is interrupted, run it again: it goes on where it stopped.
#[derive(Args, Debug)]
pub(super) struct RotateArgs {
    /// The site
    #[arg(value_parser = SiteId::parse)]
    site: SiteId,
    #[command(flatten)]
    config: ConfigArg,
    /// The business, if the API key spans several
    #[arg(long, value_name = "ID")]
    business: Option<String>,
    /// Longest time to wait until the running gateway doesn't need the old pair
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
    /// The admin API [default: the socket in the data folder, else [admin].listen]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What was done.
#[derive(Serialize)]
struct Rotation<'a> {
    site: &'a SiteId,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_id: Option<String>,
    /// The old pair, whose connection can be revoked where no other site has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    /// Other sites that have the old pair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_used_by: Vec<SiteId>,
}

pub(super) async fn run(args: &RotateArgs, console: &mut Console) -> Result<Exit, Error> {
    let opened = tools::open(&args.config, true)?;
    let done = rotate(args, &opened, console).await;
    tools::say_in_vain(opened.provisioner.folder(), console);
    done.map(|()| Exit::Ok)
}

async fn rotate(args: &RotateArgs, opened: &OpenedKeys, console: &mut Console) -> Result<(), Error> {
    let OpenedKeys { path, starting, provisioner } = opened;
    let site = written::find(&args.site, starting)?;
    let Swapped { mut rotation, replaced } =
        tools::telling(swap(args, site, provisioner), provisioner, console).await?;
    console.say(format!("{} now names the pair {}", site.file.display(), rotation.public_key));
    if let Some(replaced) = &replaced {
        settle(args, &rotation.public_key, replaced, console).await?;
        rotation.also_used_by = written::others_with(starting, &site.id, &replaced.public_key);
        // Shown before anything is forgotten: killed in between, the next run shows it again.
        show(args, &rotation, console)?;
        forget_secret(opened, path, replaced)?;
    } else {
        show(args, &rotation, console)?;
    }
    provisioner.in_use(&site.id, &rotation.public_key).map_err(tools::failure)
}

/// The site's file names the new pair.
struct Swapped<'a> {
    rotation: Rotation<'a>,
    replaced: Option<Replaced>,
}

/// Gets a new pair into the site's file: a fresh one, or what an earlier run left unfinished.
async fn swap<'a>(args: &RotateArgs, site: &'a Site, provisioner: &Provisioner) -> Result<Swapped<'a>, Error> {
    let keys = pair_to_rotate(site)?;
    provisioner.finish(&site.id, keys.public()).map_err(tools::failure)?;
    let unfinished = provisioner.unfinished(&site.id).map_err(tools::failure)?;
    if let Some(Unfinished { replaces, .. }) = unfinished.filter(|it| it.public_key.as_deref() == Some(keys.public())) {
        let rotation = Rotation::of(site, keys.public().to_owned(), replaces.as_ref());
        return Ok(Swapped { rotation, replaced: replaces });
    }
    let business = business_of(args, keys, provisioner).await?;
    let replaces = Some(written::in_use(site, keys, provisioner.folder().path()));
    let request = MintRequest { url: site.url.as_deref(), business_id: business.as_deref(), replaces };
    let pair = provisioner.mint(&site.id, &request).await.map_err(tools::failure)?;
    written::write_pair(site, &pair)?;
    let rotation = Rotation {
        business_id: pair.business_id,
        connection_id: pair.connection_id,
        ..Rotation::of(site, pair.public_key, pair.replaces.as_ref())
    };
    Ok(Swapped { rotation, replaced: pair.replaces })
}

fn pair_to_rotate(site: &Site) -> Result<&KeyPair, Error> {
    let keys = match pair_of(site) {
        WrittenPair::Read(keys) => keys,
        WrittenPair::Unreadable(why) => return Err(written::unreadable(&site.id, &why)),
        WrittenPair::None => {
            let error = Error::usage(anyhow!("site `{}` has no pair that could be rotated", site.id));
            return Err(error.hint(format!("`formgate keys mint {}` gives it one", site.id)));
        }
    };
    let forms = written::forms_with(site, keys);
    if forms.is_empty() {
        return Ok(keys);
    }
    let error =
        Error::config(anyhow!("these forms of site `{}` name the site's own pair: {}", site.id, forms.join(", ")));
    Err(error
        .hint(format!("take public_key and secret_key out of them in {}: they use the site's", site.file.display())))
}

/// Returns the business that the new pair must be of: that of the old one, wherever KaiCalls tells it. Leads must not go to
/// another one because a key was changed.
async fn business_of(args: &RotateArgs, old: &KeyPair, provisioner: &Provisioner) -> Result<Option<String>, Error> {
    let known = match provisioner.verify(old).await {
        Verification::Valid { business_id } => business_id,
        // It may be why it is rotated.
        Verification::Refused(_) => None,
        Verification::Unreachable(why) => {
            return Err(Error::upstream(anyhow!("KaiCalls can't be asked about the pair in use: {why}")));
        }
    };
    match (&args.business, known) {
        (Some(asked), Some(known)) if *asked != known => {
            let error = Error::usage(anyhow!("the pair in use is of business {known}, not of {asked}"));
            Err(error.hint("leave --business out; to move a site to another business, remove its keys and mint a pair"))
        }
        (Some(asked), _) => Ok(Some(asked.clone())),
        (None, known) => Ok(known),
    }
}

/// Waits until nothing is sent with the old pair any more. Without a running gateway nothing is.
async fn settle(args: &RotateArgs, new: &str, old: &Replaced, console: &mut Console) -> Result<(), Error> {
    let Some(remote) = gateway(&args.config, args.admin.as_deref(), console).await? else {
        console.say("no gateway answers; the next one that starts uses the new pair");
        return Ok(());
    };
    let begun = Instant::now();
    let mut free_since: Option<Instant> = None;
    loop {
        let keys: KeysInForce = remote.get(&format!("/sites/{}/keys", args.site), &()).await?;
        let now = Instant::now();
        free_since = if keys.have_replaced(&old.public_key, new) { free_since.or(Some(now)) } else { None };
        if free_since.is_some_and(|since| now - since >= SURE_AFTER) {
            console.progress("");
            return Ok(());
        }
        if begun.elapsed() >= Duration::from_secs(args.wait) {
            console.progress("");
            return Err(still_in_use(&keys, new, &old.public_key));
        }
        console.progress(&progress(&keys, new));
        sleep(ASK_EVERY).await;
    }
}

fn progress(keys: &KeysInForce, new: &str) -> String {
    match keys.public_keys.iter().any(|key| key == new) {
        true if keys.is_new => "waiting for the gateway that ran before the upgrade".to_owned(),
        false => "waiting for the gateway to pick up the new pair".to_owned(),
        true => "waiting for the last lead with the old pair".to_owned(),
    }
}

fn still_in_use(keys: &KeysInForce, new: &str, old: &str) -> Error {
    let is_in_force = |pair: &str| keys.public_keys.iter().any(|key| key == pair);
    let (why, hint) = match is_in_force(new) {
        true if is_in_force(old) => (
            "a form of the site names it too",
            "write the new pair into that form's table as well, or take its keys out; then run this again",
        ),
        false => (
            "the gateway doesn't use the new pair yet",
            "is it running with this configuration, and does `formgate check` find no error? Then run this again: it goes \
             on where it stopped",
        ),
        true => ("leads are still under way with the old pair", "run this again: it goes on where it stopped"),
    };
    Error::upstream(anyhow!(why)).context("the old pair must be kept").hint(hint)
}

/// Removes the old pair's secret, unless something else names it.
fn forget_secret(opened: &OpenedKeys, config: &Path, replaced: &Replaced) -> Result<(), Error> {
    let folder = opened.provisioner.folder();
    match &replaced.secret_file {
        Some(file) if !written::is_named(&opened.starting, config, &folder.path_of(file)) => {
            let removed = folder.remove_secret(file);
            removed.map_err(|error| Error::store(error).context("the old pair's secret can't be removed"))
        }
        _ => Ok(()),
    }
}

fn show(args: &RotateArgs, rotation: &Rotation<'_>, console: &mut Console) -> Result<(), Error> {
    if args.output == Format::Json {
        return console.json(rotation);
    }
    console.data(format!("{}: leads are sent with {}", rotation.site, rotation.public_key))?;
    let Some(old) = &rotation.replaced else { return Ok(()) };
    let others: Vec<_> = rotation.also_used_by.iter().map(SiteId::as_str).collect();
    console.data(match others.is_empty() {
        true => format!("The connection of {old} can be revoked in KaiCalls' dashboard, under WordPress"),
        false => format!("Don't revoke the connection of {old} yet. These have it too: {}", others.join(", ")),
    })
}

impl<'a> Rotation<'a> {
    fn of(site: &'a Site, public_key: String, replaced: Option<&Replaced>) -> Self {
        let replaced = replaced.map(|replaced| replaced.public_key.clone());
        let also_used_by = Vec::new();
        Self { site: &site.id, public_key, business_id: None, connection_id: None, replaced, also_used_by }
    }
}

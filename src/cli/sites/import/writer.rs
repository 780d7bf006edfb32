//! Writes what is ready: a site's row to paste, then its file, then that its pair is in use.
//!
//! In this order, so that after a kill at any moment nothing is lost: a token of the file of what to paste that is in no
//! site's file is used the next time, and so is a pair that no site's file names.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::cli::keys::{failure, relative_to};
use crate::cli::rules::today;
use crate::cli::sites::new_site::{AssumedRegion, HeldPlace, NewSite, place};
use crate::config::{Loaded, Site};
use crate::operate::keys::{Provisioner, ReadyPair};
use crate::operate::onboard::{PasteError, PasteFile, PasteRow, RosterRow};
use crate::operate::sites_file::{EditLock, with_keys};
use crate::operate::{MadeToken, token_hash};

use super::plan::{Plan, differences};

/// The command that makes what it writes.
const BY: &str = "sites import";

/// What was done for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Added,
    /// It was there and has a pair now.
    Completed,
    Unchanged,
}

/// The only one who writes.
pub(super) struct Writer<'a> {
    loaded: &'a Loaded,
    provisioner: Option<&'a Provisioner>,
    paste: Option<PasteFile>,
}

/// Opens the file of what to paste.
pub(super) fn open_paste(out: &Path) -> Result<PasteFile, Error> {
    PasteFile::open(out).map_err(|error| match &error {
        PasteError::Busy(_) => Error::store(error).hint("wait until it has ended, and run this again"),
        PasteError::Foreign(_) => Error::usage(error).hint("choose another with --out"),
        PasteError::Others(path) => {
            let hint =
                format!("if you trust what is in it: chmod 600 {}; else choose another with --out", path.display());
            Error::usage(error).hint(hint)
        }
        PasteError::OtherOwner(..) => Error::usage(error).hint("choose another with --out, in a folder of yours"),
        PasteError::Io(..) => Error::store(error),
    })
}

/// Writes the URLs anew that were written before the gateway's public address was set.
pub(super) fn refresh(paste: &mut PasteFile, loaded: &Loaded) -> Result<usize, Error> {
    let Some(server) = loaded.server() else { return Ok(0) };
    let refreshed = paste.refresh(|site, token| format!("{}?token={token}", server.hook_url(site)));
    refreshed.map_err(|error| Error::store(error).context(format!("can't write {}", paste.path().display())))
}

impl<'a> Writer<'a> {
    pub(super) fn new(loaded: &'a Loaded, provisioner: Option<&'a Provisioner>, paste: Option<PasteFile>) -> Self {
        Self { loaded, provisioner, paste }
    }

    /// Does what is planned for a row, with its pair where it was to have one.
    pub(super) fn write(&mut self, plan: &Plan<'_>, pair: Option<&ReadyPair>) -> Result<Done, Error> {
        let done = match plan.site {
            Some(site) => complete(site, pair)?,
            None => self.create(plan.row, pair)?,
        };
        match (self.provisioner, pair) {
            (Some(provisioner), Some(pair)) if done != Done::Unchanged => {
                provisioner.in_use(&plan.row.id, &pair.public_key).map_err(failure)?;
            }
            _ => {}
        }
        Ok(done)
    }

    /// Writes a new site's row to paste, then its file. What another command has written since is left as it is.
    fn create(&mut self, row: &RosterRow, pair: Option<&ReadyPair>) -> Result<Done, Error> {
        let place = place(self.loaded, &row.id)?;
        let held = HeldPlace::hold(&place)?;
        if let Some(site) = held.found(&row.id)? {
            drop(held);
            let differences = differences(row, &site);
            if differences.is_empty() {
                return complete(&site, pair);
            }
            let told = differences.join(", ");
            let error = anyhow!("another command has just added it with another {told}: {}", site.file.display());
            return Err(Error::config(error));
        }
        let sha256 = token_hash(&self.token(row)?);
        let region = AssumedRegion::of(row.region, &row.url);
        let name = row.name.as_deref();
        let site = NewSite { id: &row.id, name, url: &row.url, region, pair, sha256: &sha256, by: BY };
        held.write(&site, &self.loaded.secrets_folder)?;
        Ok(Done::Added)
    }

    /// Returns the token of a new site: the one that an earlier run wrote down, or a new one that is now on disk.
    fn token(&mut self, row: &RosterRow) -> Result<String, Error> {
        let Some(paste) = &mut self.paste else {
            let error = Error::failed(anyhow!("the site was there, and has just been removed"));
            return Err(error.hint("run this again"));
        };
        if let Some(token) = paste.token(&row.id) {
            return Ok(token.to_owned());
        }
        let token = MadeToken::random().token.expose().to_owned();
        let server = self.loaded.server();
        let url = server.map_or_else(|| format!("/hooks/{}", row.id), |server| server.hook_url(&row.id));
        let region = AssumedRegion::of(row.region, &row.url).map(|assumed| assumed.region.to_string());
        let added = paste.add(&PasteRow {
            id: &row.id,
            name: row.name.as_deref().unwrap_or_default(),
            url: &row.url,
            webhook_url: &format!("{url}?token={token}"),
            token: &token,
            region: region.as_deref().unwrap_or_default(),
        });
        added.map_err(|error| Error::store(error).context(format!("can't write {}", paste.path().display())))?;
        Ok(token)
    }
}

/// Adds to a site's file the pair that it lacks. Its tokens are its owner's: one that was revoked doesn't come back.
fn complete(site: &Site, pair: Option<&ReadyPair>) -> Result<Done, Error> {
    let Some(pair) = pair.filter(|_| site.keys.is_none()) else { return Ok(Done::Unchanged) };
    let secret = relative_to(&site.file, &pair.secret_file);
    let secret = secret.to_string_lossy();
    let change = |text: &str| with_keys(text, site.id.as_str(), &pair.public_key, &secret);
    EditLock::of(&site.file, today())?.edit(&site.id, change)?;
    Ok(Done::Completed)
}

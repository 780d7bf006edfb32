//! Writes what is ready: a site's row to paste, then its file, then that its pair is in use.
//!
//! In this order, so that after a kill at any moment nothing is lost: a token of the file of what to paste that is in no
//! site's file is used the next time, and so is a pair that no site's file names.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::error::Error;
use crate::cli::keys::{failure, relative_to};
use crate::cli::sites::edit::{EditError, EditLock, NewToken, with_keys, with_token};
use crate::cli::sites::new_site::{AssumedRegion, NewSite, place};
use crate::cli::sites::token::{fresh, hash};
use crate::config::{Loaded, Site};
use crate::operate::keys::{Provisioner, ReadyPair};
use crate::operate::onboard::{PasteError, PasteFile, PasteRow, RosterRow};

use super::plan::Plan;

/// The command that makes what it writes.
const BY: &str = "sites import";

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

    pub(super) fn paste_path(&self) -> Option<PathBuf> {
        self.paste.as_ref().map(|paste| paste.path().to_owned())
    }

    /// Does what is planned for a row, with its pair where it was to have one.
    pub(super) fn write(&mut self, plan: &Plan<'_>, pair: Option<&ReadyPair>) -> Result<(), Error> {
        let sha256 = if plan.needs_token { Some(hash(&self.token(plan)?)) } else { None };
        match (plan.site, sha256) {
            (Some(site), sha256) => edit(site, pair, sha256.as_deref())?,
            (None, Some(sha256)) => self.create(plan.row, pair, &sha256)?,
            (None, None) => return Err(Error::failed(anyhow!("a new site without a token"))),
        }
        match (self.provisioner, pair) {
            (Some(provisioner), Some(pair)) => provisioner.in_use(&plan.row.id, &pair.public_key).map_err(failure),
            _ => Ok(()),
        }
    }

    /// Returns the token of a site: the one that an earlier run wrote down, or a new one that is now on disk.
    fn token(&mut self, plan: &Plan<'_>) -> Result<String, Error> {
        let row = plan.row;
        let Some(paste) = &mut self.paste else { return Err(Error::failed(anyhow!("no file for a token"))) };
        if let Some(token) = paste.token(&row.id) {
            return Ok(token.to_owned());
        }
        let token = fresh();
        let server = self.loaded.server();
        let url = server.map_or_else(|| format!("/hooks/{}", row.id), |server| server.hook_url(&row.id));
        let region = match plan.site {
            Some(site) => site.rules.region.map(|region| region.to_string()),
            None => AssumedRegion::of(row.region, &row.url).map(|assumed| assumed.region.to_string()),
        };
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

    fn create(&self, row: &RosterRow, pair: Option<&ReadyPair>, sha256: &str) -> Result<(), Error> {
        let region = AssumedRegion::of(row.region, &row.url);
        let name = row.name.as_deref();
        let site = NewSite { id: &row.id, name, url: &row.url, region, pair, sha256, by: BY };
        site.write(&place(self.loaded, &row.id)?, &self.loaded.secrets_folder).map(drop)
    }
}

/// Adds to a site's file what it lacks.
fn edit(site: &Site, pair: Option<&ReadyPair>, sha256: Option<&str>) -> Result<(), Error> {
    let id = site.id.as_str();
    let change = |text: &str| -> Result<String, EditError> {
        let mut text = text.to_owned();
        if let Some(pair) = pair {
            let secret = relative_to(&site.file, &pair.secret_file);
            text = with_keys(&text, id, &pair.public_key, &secret.to_string_lossy())?;
        }
        match sha256.filter(|sha256| !text.contains(*sha256)) {
            Some(sha256) => {
                let note = format!("made by formgate {BY}");
                with_token(&text, id, &NewToken { sha256, note: Some(&note), expires: None })
            }
            None => Ok(text),
        }
    };
    EditLock::of(&site.file)?.edit(&site.id, change).map(drop)
}

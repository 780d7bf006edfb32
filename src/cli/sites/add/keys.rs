//! The key pair of a new site, as it is given.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use crate::cli::error::Error;
use crate::destination::{KeyPair, Secret};

/// Largest secret that is read, in bytes.
const SECRET_MAX: u64 = 4096;

#[derive(Args)]
#[command(next_help_heading = "Keys")]
pub(super) struct KeysOfSite {
    /// Mint a key pair with [kaicalls].api_key, and verify it
    #[arg(long, conflicts_with = "public_key")]
    pub(super) mint: bool,
    /// The business, if the API key spans several
    #[arg(long, value_name = "ID", requires = "mint")]
    pub(super) business: Option<String>,
    /// The site's Public Key (wp_pk_…), if you have a pair; it is verified
    #[arg(long, value_name = "KEY", requires = "secret")]
    pub(super) public_key: Option<String>,
    /// The file with its Secret Key (wp_sk_…); - reads it from stdin
    #[arg(long, value_name = "FILE", requires = "public_key", group = "secret")]
    secret_key_file: Option<PathBuf>,
    /// The environment variable with its Secret Key
    #[arg(long, value_name = "VARIABLE", requires = "public_key", group = "secret")]
    secret_key_env: Option<String>,
}

impl KeysOfSite {
    /// Tells whether the site is to have a pair.
    pub(super) fn are_wanted(&self) -> bool {
        self.mint || self.public_key.is_some()
    }

    /// Reads the pair that is given.
    pub(super) fn given(&self) -> Result<Option<KeyPair>, Error> {
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

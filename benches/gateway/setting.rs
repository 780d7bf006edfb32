//! Where a gateway is set up: its configuration, its store, its addresses.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::Outcome;

/// No limit that a bench meets.
const UNLIMITED: &str = "{ rate = \"1000000/s\", burst = 1000000 }";

/// A store of the gateway's own, in its folder.
pub(crate) const OWN_STORE: &str = "sqlite:data/formgate.db";

/// What differs from row to row.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) sites: u64,
    /// Whether leads are sent; else they are only kept.
    pub(crate) delivers: bool,
    pub(crate) store: &'a str,
}

/// A folder with all that a gateway needs.
pub(crate) struct Setting {
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
}

/// Returns a site's name. The peers know the first alone.
pub(crate) fn site(number: u64) -> String {
    if number == 0 { "acme".to_owned() } else { format!("site-{number}") }
}

/// Returns a site's token.
pub(crate) fn token(site: u64) -> String {
    format!("fg_{site:043}")
}

pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Makes a folder on the disk that is measured.
pub(crate) fn folder() -> Outcome<TempDir> {
    Ok(match std::env::var_os("FORMGATE_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
    })
}

impl Setting {
    pub(crate) fn new(wanted: Wanted<'_>) -> Outcome<Self> {
        let folder = folder()?;
        let address = free_address()?;
        let admin = free_address()?;
        let Wanted { upstream, store, .. } = wanted;
        std::fs::write(
            folder.path().join("config.toml"),
            format!(
                "[server]\nlisten = \"{address}\"\n[admin]\nlisten = \"{admin}\"\n[kaicalls]\nbase_url = \"{upstream}\"\n\
                 [queue]\nurl = \"{store}\"\nmax_size = \"100GiB\"\n\
                 [limits]\ngateway = {UNLIMITED}\nclient = {UNLIMITED}\nsite = {UNLIMITED}\n"
            ),
        )?;
        std::fs::create_dir(folder.path().join("sites"))?;
        for number in 0..wanted.sites {
            let id = site(number);
            std::fs::write(folder.path().join(format!("sites/{id}.toml")), site_file(number, wanted.delivers))?;
        }
        Ok(Self { folder, address })
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }
}

fn site_file(number: u64, delivers: bool) -> String {
    let sha256: String = Sha256::digest(token(number)).iter().map(|byte| format!("{byte:02x}")).collect();
    let id = site(number);
    format!(
        "id = \"{id}\"\nregion = \"US\"\npublic_key = \"wp_pk_{number:040}\"\nsecret_key = \"wp_sk_{number:040}\"\n\
         tokens = [{{ sha256 = \"{sha256}\" }}]\ndeliver = {delivers}\n"
    )
}

//! A primary whose commits wait for a standby.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::gateway::PATIENCE;
use super::folder::Folder;
use super::programs::Programs;
use super::server::{Auth, Server, url};

/// A primary and its synchronous standby. They end when it is dropped.
pub(crate) struct Pair {
    pub(crate) primary: Server,
    pub(crate) standby: Server,
    _folder: Folder,
}

impl Pair {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let programs = Programs::find().await?;
        let folder = Folder::new(&programs)?;
        let primary = Server::start_new(&programs, folder.path(), Auth::Password).await?;
        let standby = primary.start_standby("standby").await?;
        // The standby's copy of the configuration is older, so once promoted it waits for nobody.
        primary.set("synchronous_standby_names", "standby").await?;
        let started = Instant::now();
        while primary.sql("postgres", "SELECT sync_state FROM pg_stat_replication").await? != "sync" {
            anyhow::ensure!(started.elapsed() < PATIENCE, "the standby doesn't become synchronous");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { primary, standby, _folder: folder })
    }

    /// Returns the URL of a database of whichever of the two takes writes.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("{}?target_session_attrs=read-write", url(&[self.primary.port, self.standby.port], database))
    }
}

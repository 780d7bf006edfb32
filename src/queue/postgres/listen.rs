//! Hints between gateways: that something may have become due, or that there are events. They may be lost, and a pooler in
//! transaction mode passes none on, so whoever waits for one looks now and then as well.

use std::sync::Weak;
use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client};

use super::Core;
use super::database::Unasked;
use super::failure::{Failure, NoAnswer};

/// How long hints are gathered: each is a statement of its own.
const GATHERED: Duration = Duration::from_millis(20);
/// How long a listener waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the server may take to pass a hint on.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Passes hints on, both ways, until the store is dropped.
pub(super) async fn listen(core: Weak<Core>) {
    // So that a gateway doesn't wake itself.
    let own = format!("{:x}", rand::random::<u64>());
    let mut is_first = true;
    loop {
        let Some(alive) = core.upgrade() else { return };
        if !std::mem::take(&mut is_first) {
            // What was told meanwhile is not known.
            alive.wake();
        }
        let connected = alive.database.connect().await;
        drop(alive);
        if let Ok((client, unasked)) = connected {
            // That a connection is lost is told by whatever else is asked of the server.
            drop(pass_on(&core, &client, unasked, &own).await);
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn pass_on(core: &Weak<Core>, client: &Client, mut unasked: Unasked, own: &str) -> Result<(), Failure> {
    client.batch_execute("LISTEN formgate").await?;
    loop {
        let Some(alive) = core.upgrade() else { return Ok(()) };
        tokio::select! {
            message = unasked.recv() => match message {
                Some(AsyncMessage::Notification(hint)) if hint.payload() != own => alive.wake(),
                Some(_) => {}
                None => return Ok(()),
            },
            () = alive.hint.notified() => {
                tokio::time::sleep(GATHERED).await;
                let params = [(&own as _, Type::TEXT)];
                let told = client.execute_typed("SELECT pg_notify('formgate', $1)", &params);
                tokio::time::timeout(ANSWER_MAX, told).await.map_err(|_elapsed| Failure::lost(NoAnswer))??;
            }
            // Nothing keeps a store open that nobody uses any more.
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

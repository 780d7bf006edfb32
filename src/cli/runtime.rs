//! The asynchronous part of commands that need one, and the signals that end it.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;

use super::error::Error;

/// How long blocking work may go on after a command has ended.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Runs a future to its end on a runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("can't start the runtime").map_err(Error::store)?;
    let done = runtime.block_on(future);
    // Blocking work that nobody waits for any more, such as a copy of the store, must not keep the process alive.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

/// Ends when the process is asked to stop: ctrl-c or SIGTERM.
///
/// Where signals can't be listened to, it never ends: then the system's own way of stopping is in force.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A signal that asks for something and ends nothing.
pub(super) struct Signals(Option<tokio::signal::unix::Signal>);

impl Signals {
    /// SIGHUP: read the configuration again. From here on none is missed.
    pub(super) fn hangup() -> Self {
        Self::listen(tokio::signal::unix::SignalKind::hangup())
    }

    /// SIGQUIT: hand over to another process. From here on none is missed.
    pub(super) fn quit() -> Self {
        Self::listen(tokio::signal::unix::SignalKind::quit())
    }

    /// SIGUSR2: start the program anew and hand over to it. From here on none is missed.
    pub(super) fn replacement() -> Self {
        Self::listen(tokio::signal::unix::SignalKind::user_defined2())
    }

    fn listen(kind: tokio::signal::unix::SignalKind) -> Self {
        Self(tokio::signal::unix::signal(kind).ok())
    }

    /// Ends at the next one; where signals can't be listened to, never.
    pub(super) async fn next(&mut self) {
        let Some(signals) = &mut self.0 else { return std::future::pending().await };
        if signals.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

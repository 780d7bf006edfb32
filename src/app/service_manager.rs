//! What the service manager is told, in systemd's notify protocol (sd_notify(3)): that the gateway serves, reads its
//! configuration again, stops, is alive, and which process it is now.
//!
//! Where `NOTIFY_SOCKET` is not in the environment nobody listens, and all of this does nothing.

use sd_notify::NotifyState;
use tokio::sync::watch;

/// How many signs of life are given within the time after which a process without one is killed.
const SIGNS_OF_LIFE: u32 = 4;

/// Says that submissions are taken.
pub(super) fn serving(sites: usize) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(sites))]);
}

/// Says that this process has taken another's place. That one says so too, since a manager may listen to it alone.
pub(super) fn took_over(sites: usize) {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready, NotifyState::Status(&status(sites))]);
}

/// Says that another process, which this one has started, has taken its place.
pub(super) fn replaced_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// Says that the configuration is read again, until [`reloaded`] says that it was.
pub(super) fn reloading() {
    // The time tells this reading from one that was under way when it was asked for.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "service_manager.untold"),
    }
}

/// Says that what is sound of the configuration is in force.
pub(super) fn reloaded(sites: usize, is_sound: bool) {
    let status = match is_sound {
        true => status(sites),
        false => format!("{}; the configuration has errors: run `formgate check`", status(sites)),
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Says that no more submissions are taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is in progress")]);
}

/// Gives signs of life until `stopping` says true, where the manager waits for some (`WatchdogSec=`).
///
/// They come from the runtime that also takes and sends, so a runtime that is stuck gives none. A store that hangs is no
/// reason to be killed: a restart would find it as it is.
pub(super) async fn keep_watchdog(mut stopping: watch::Receiver<bool>) {
    let stopped = stopping.wait_for(|stop| *stop);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        drop(stopped.await);
        return;
    };
    let signs = async {
        let mut turns = tokio::time::interval(limit / SIGNS_OF_LIFE);
        loop {
            turns.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    };
    tokio::select! {
        _ = stopped => {}
        () = signs => {}
    }
}

fn status(sites: usize) -> String {
    match sites {
        1 => "taking submissions for 1 site".to_owned(),
        sites => format!("taking submissions for {sites} sites"),
    }
}

fn tell(state: &[NotifyState<'_>]) {
    // Nothing here depends on being heard.
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "service_manager.untold: the service manager can't be told how the gateway is");
    }
}

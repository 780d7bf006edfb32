//! What the service manager is told, in systemd's notify protocol (sd_notify(3)): that the gateway serves, reads its
//! configuration again, stops, is alive, and which process it is now.
//!
//! Where `NOTIFY_SOCKET` is not in the environment nobody listens, and all of this does nothing.

use std::sync::Once;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// How many signs of life are given within the time after which a process without one is killed.
const SIGNS_OF_LIFE: u32 = 4;

/// Says that submissions are taken.
pub(super) fn serving(sites: usize, is_sound: bool) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(sites, is_sound))]);
}

/// Says that this process has taken another's place. That one says so too, since a manager may listen to it alone.
pub(super) fn took_over(sites: usize, is_sound: bool) {
    let main = NotifyState::MainPid(std::process::id());
    tell(&[main, NotifyState::Ready, NotifyState::Status(&status(sites, is_sound))]);
}

/// Says that another process, which this one has started, has taken its place.
pub(super) fn replaced_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
}

/// Says that this process goes on, whatever another has said of itself.
pub(super) fn not_replaced() {
    let status = "upgrade failed: the former version goes on, and its log says why";
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Status(status)]);
}

/// A reading of the configuration that was asked for. That it has ended is told however it ends: somebody waits.
pub(super) struct Reloading(());

impl Reloading {
    /// Says that the configuration is read again.
    pub(super) fn begin() -> Self {
        // The time tells this reading from one that was under way when it was asked for.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "service_manager.untold"),
        }
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// Says what is in force by now.
pub(super) fn in_force(sites: usize, is_sound: bool) {
    tell(&[NotifyState::Status(&status(sites, is_sound))]);
}

/// Says that no more submissions are taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is in progress")]);
}

/// Gives signs of life until `stopping` says true, where the manager waits for some (`WatchdogSec=`).
///
/// They come from the runtime that also takes submissions, as long as the one that sends them does what it is given: where
/// either is stuck there are none. A store or an upstream that hangs is no reason to be killed: a restart would find it as
/// it is.
pub(super) async fn keep_watchdog(sends_on: Handle, mut stopping: watch::Receiver<bool>) {
    let stopped = stopping.wait_for(|stop| *stop);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        drop(stopped.await);
        return;
    };
    let signs = async {
        let turn = limit / SIGNS_OF_LIFE;
        let mut turns = tokio::time::interval(turn);
        loop {
            turns.tick().await;
            // A turn at most, so that what is wrong is in the log before the manager acts, and who recovers is not ended.
            if is_alive(&sends_on, turn).await {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!(
                    "service_manager.stuck: the sender doesn't respond; the service manager may end this process"
                );
            }
        }
    };
    tokio::select! {
        _ = stopped => {}
        () = signs => {}
    }
}

/// Tells whether a runtime does what it is given, within a time.
async fn is_alive(runtime: &Handle, within: Duration) -> bool {
    // One that has ended stops with the rest: that is no reason to be killed.
    timeout(within, runtime.spawn(async {})).await.is_ok()
}

fn status(sites: usize, is_sound: bool) -> String {
    let plural = if sites == 1 { "" } else { "s" };
    let errors = if is_sound { "" } else { "; the configuration has errors: run `formgate check`" };
    format!("taking submissions for {sites} site{plural}{errors}")
}

/// Nothing depends on being heard; that nobody hears is told once.
fn tell(state: &[NotifyState<'_>]) {
    static UNTOLD: Once = Once::new();
    if let Err(error) = sd_notify::notify(state) {
        UNTOLD.call_once(|| {
            tracing::warn!(%error, "service_manager.untold: the service manager can't be told how the gateway is");
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_runtime_that_is_stuck_gives_no_sign_of_life() {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (own, other) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
        let is_alive = |within| own.block_on(is_alive(other.handle(), within));
        assert!(is_alive(Duration::from_secs(30)));
        let (ends, blocked) = mpsc::channel::<()>();
        other.spawn(async move { blocked.recv() });
        assert!(!is_alive(Duration::from_millis(50)));
        drop(ends);
        assert!(is_alive(Duration::from_secs(30)));
        other.shutdown_background();
    }
}

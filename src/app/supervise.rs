//! Background tasks: none ends unseen.
//!
//! A task that ends by itself, by a panic or by returning, is started again in place: after a second at first, after a
//! minute at most. `degraded` names `task_failing` from then on until the task has run for five minutes. What can't be
//! started again, a gateway listener and the store's writer, ends the process: `/readyz` is red at once, what is under
//! way is finished, and the exit code tells a service manager to start the gateway anew.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::telemetry::{Degraded, Metrics, NotTaking, Panicked, catch_async};

/// How long is waited before a task is started again; doubled each time, up to the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A task that has run for so long is well again.
const WELL_AFTER: Duration = Duration::from_secs(5 * 60);

/// What the process can't go on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// A listener of the gateway ended.
    Listener,
    /// What writes the store has died.
    Store,
}

/// Sees every end of the tasks it is given. Clones share what they saw.
#[derive(Clone)]
pub(super) struct Supervisor {
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
    failing: Arc<Mutex<BTreeSet<&'static str>>>,
    has_panicked: Arc<AtomicBool>,
    fatal: watch::Sender<Option<Fatal>>,
    /// The task that is to panic.
    sabotaged: watch::Sender<Option<&'static str>>,
}

impl Supervisor {
    pub(super) fn new(metrics: Arc<Metrics>, stopping: watch::Receiver<bool>) -> Self {
        Self {
            metrics,
            stopping,
            failing: Arc::default(),
            has_panicked: Arc::default(),
            fatal: watch::Sender::new(None),
            sabotaged: watch::Sender::new(None),
        }
    }

    /// Runs a task, and starts it again whenever it ends, until the gateway stops; gives what it returned then.
    pub(super) async fn keep<F: Future>(&self, task: &'static str, mut start: impl FnMut() -> F) -> Option<F::Output> {
        self.metrics.task_begun(task);
        let mut wait = WAIT_FIRST;
        loop {
            let mut run = pin!(catch_async(async {
                tokio::select! {
                    ended = start() => ended,
                    never = self.sabotaged(task) => match never {},
                }
            }));
            let ended = match timeout(WELL_AFTER, run.as_mut()).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    self.set_failing(task, false);
                    wait = WAIT_FIRST;
                    run.await
                }
            };
            match ended {
                Ok(value) if *self.stopping.borrow() => return Some(value),
                ended => self.tell(task, ended.err().as_ref(), wait),
            }
            if timeout(wait, self.stopping.clone().wait_for(|stop| *stop)).await.is_ok() {
                return None;
            }
            self.metrics.task_restarted(task);
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Makes a task panic where it stands, once: for those who test what comes of it.
    pub(super) fn sabotage(&self, task: &'static str) {
        self.sabotaged.send_replace(Some(task));
    }

    #[expect(clippy::panic, reason = "it is what is asked for")]
    async fn sabotaged(&self, task: &'static str) -> Infallible {
        let mut sabotaged = self.sabotaged.subscribe();
        // The sender is our own: it is never gone.
        if sabotaged.wait_for(|due| *due == Some(task)).await.is_ok() {
            self.sabotaged.send_replace(None);
            std::panic::panic_any("sabotaged");
        }
        std::future::pending().await
    }

    /// Runs work that isn't begun again; a panic of it is told.
    pub(super) async fn once(&self, task: &'static str, work: impl Future<Output = ()>) {
        if let Err(panicked) = catch_async(work).await {
            let location = self.note(panicked).location;
            tracing::error!(task, location, "task.panicked: the task isn't restarted; please report the location");
        }
    }

    /// Runs what the process can't go on without until the gateway stops, and says so if it ends before.
    pub(super) async fn need(&self, what: Fatal, run: impl Future<Output = ()>) {
        let ended = catch_async(run).await;
        if ended.is_ok() && *self.stopping.borrow() {
            return;
        }
        let location = ended.err().map(|panicked| self.note(panicked).location);
        let reason = match what {
            Fatal::Listener => NotTaking::ListenerEnded,
            Fatal::Store => {
                self.has_panicked.store(true, Ordering::Relaxed);
                NotTaking::StoreEnded
            }
        };
        self.metrics.stop_taking(reason);
        if self.fatal.send_replace(Some(what)).is_none() {
            let reason = reason.as_str();
            tracing::error!(reason, location, "gateway.failed: the process stops; restart it");
        }
    }

    /// Waits until the process can't go on.
    pub(super) async fn failed(&self) -> Fatal {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await.ok().and_then(|fatal| *fatal) {
            Some(fatal) => fatal,
            None => std::future::pending().await,
        }
    }

    /// Tells what the process could not go on without, if it has come to that.
    pub(super) fn fatal(&self) -> Option<Fatal> {
        *self.fatal.borrow()
    }

    /// Remembers a panic of a task that others wait for.
    pub(super) fn note(&self, panicked: Panicked) -> Panicked {
        self.has_panicked.store(true, Ordering::Relaxed);
        panicked
    }

    /// Tells whether a task panicked since the start.
    pub(super) fn has_panicked(&self) -> bool {
        self.has_panicked.load(Ordering::Relaxed)
    }

    fn tell(&self, task: &'static str, panicked: Option<&Panicked>, wait: Duration) {
        self.set_failing(task, true);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        match panicked {
            Some(panicked) => {
                let location = self.note(panicked.clone()).location;
                tracing::error!(
                    task,
                    location,
                    wait_ms,
                    "task.panicked: the task was restarted; please report the location"
                );
            }
            None => tracing::error!(task, wait_ms, "task.ended: the task ended by itself and was restarted"),
        }
    }

    fn set_failing(&self, task: &'static str, is_failing: bool) {
        let mut failing = self.failing.lock();
        if is_failing {
            failing.insert(task);
        } else {
            failing.remove(task);
        }
        self.metrics.set_degraded(Degraded::TaskFailing, !failing.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn supervisor() -> (Supervisor, Arc<Metrics>, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        (Supervisor::new(Arc::clone(&metrics), stopping), metrics, stop)
    }

    fn restarts(metrics: &Metrics) -> usize {
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        let line = page.lines().find_map(|line| line.strip_prefix(r#"formgate_task_restarts_total{task="frail"} "#));
        line.expect("it is there before the first restart").parse().expect("a number")
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_is_started_again_and_is_well_after_a_while() {
        let (supervisor, metrics, stop) = supervisor();
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let stopping = supervisor.stopping.clone();
        let kept = supervisor.clone();
        let task = tokio::spawn(async move {
            let start = || {
                let start = counted.fetch_add(1, Ordering::Relaxed);
                let mut stopping = stopping.clone();
                async move {
                    match start {
                        0 => panic!("jane@example.com"),
                        1 => {}
                        _ => drop(stopping.wait_for(|stop| *stop).await),
                    }
                    start
                }
            };
            kept.keep("frail", start).await
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((metrics.degraded(), restarts(&metrics)), (vec![Degraded::TaskFailing], 0));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((starts.load(Ordering::Relaxed), restarts(&metrics)), (2, 1));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((starts.load(Ordering::Relaxed), restarts(&metrics)), (3, 2));
        assert_eq!(metrics.degraded(), [Degraded::TaskFailing]);
        tokio::time::sleep(WELL_AFTER).await;
        assert!(metrics.degraded().is_empty());
        stop.send_replace(true);
        assert_eq!(task.await.expect("it stops"), Some(2));
        assert!(supervisor.has_panicked());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_always_fails_waits_a_minute_at_most_and_stops_when_asked() {
        let (supervisor, metrics, stop) = supervisor();
        let kept = supervisor.clone();
        let task = tokio::spawn(async move { kept.keep("frail", || async {}).await });
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!((60..70).contains(&restarts(&metrics)), "{}", restarts(&metrics));
        stop.send_replace(true);
        assert_eq!(task.await.expect("it stops"), None);
        assert!(!supervisor.has_panicked());
    }

    #[tokio::test]
    async fn what_nothing_goes_on_without_is_fatal_when_it_ends() {
        let (supervisor, metrics, _stop) = supervisor();
        supervisor.need(Fatal::Listener, async { panic!("jane@example.com") }).await;
        assert_eq!(supervisor.failed().await, Fatal::Listener);
        assert_eq!(metrics.not_taking(), Some(NotTaking::ListenerEnded));
        assert!(supervisor.has_panicked());
    }

    #[tokio::test]
    async fn what_ends_because_all_stops_is_not_fatal() {
        let (supervisor, metrics, stop) = supervisor();
        stop.send_replace(true);
        supervisor.need(Fatal::Listener, async {}).await;
        assert_eq!((supervisor.fatal(), metrics.not_taking()), (None, None));
    }
}

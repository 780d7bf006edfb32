//! Work on large bodies, kept off the threads that serve requests: a small post must not wait behind a megabyte.
//!
//! The wait for a place is bounded in number and in time: whoever would wait longer is told to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::telemetry::{Panicked, catch};

/// Work on so many bytes is done where the request is: handing it over and back costs more than it takes.
const INLINE_MAX: usize = 32 * 1024;
/// How many may wait for a place at once. Each holds its body, which counts to `max_reading`, and its connection.
const WAITING_MAX: usize = 512;

/// Runs work on bodies; a panic in it is caught. Clones share the limits.
#[derive(Clone)]
pub(in crate::accept) struct Offload {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Longest wait for a place.
    wait: Duration,
}

/// Why work has no result.
#[derive(Debug)]
pub(super) enum Undone {
    Panicked(Panicked),
    /// It was not begun: no place came free in time, or too many wait for one.
    Busy,
}

/// Counts one waiter until it is dropped.
struct WaiterGuard<'a>(&'a AtomicUsize);

impl Offload {
    /// Leaves one processor to the small requests, where there are several.
    pub(in crate::accept) fn new(wait: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = Arc::new(Semaphore::new(processors.saturating_sub(1).max(1)));
        Self { permits, waiting: Arc::default(), wait }
    }

    /// Does work on so many bytes. Once begun it is finished, even where the caller goes away meanwhile.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        if bytes <= INLINE_MAX {
            return catch(work).map_err(Undone::Panicked);
        }
        let waiting = WaiterGuard::begin(&self.waiting).ok_or(Undone::Busy)?;
        let permit = timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_elapsed| Undone::Busy)?;
        drop(waiting);
        let done = spawn_blocking(move || {
            let done = catch(work);
            // Held until here, so that callers that went away count too.
            drop(permit);
            done
        });
        match done.await {
            Ok(done) => done.map_err(Undone::Panicked),
            // Nothing panics past `catch`: the runtime is shutting down, and drops the caller next.
            Err(_never_begun) => std::future::pending().await,
        }
    }
}

impl<'a> WaiterGuard<'a> {
    /// None where too many wait already.
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let fits = |now: usize| (now < WAITING_MAX).then_some(now + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_before| Self(count))
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = INLINE_MAX + 1;

    /// An offload whose places are all taken, until the permits are dropped.
    fn full() -> (Offload, tokio::sync::OwnedSemaphorePermit) {
        let offload = Offload { permits: Arc::new(Semaphore::new(1)), ..Offload::new(Duration::from_secs(10)) };
        let taken = Arc::clone(&offload.permits).try_acquire_owned().expect("a place");
        (offload, taken)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_limit() {
        let (offload, taken) = full();
        let started = tokio::time::Instant::now();
        assert!(matches!(offload.run(LARGE, || ()).await, Err(Undone::Busy)));
        assert_eq!((started.elapsed(), offload.waiting.load(Ordering::Relaxed)), (offload.wait, 0));
        assert!(offload.run(INLINE_MAX, || ()).await.is_ok(), "small ones wait for none");
        drop(taken);
        assert!(offload.run(LARGE, || ()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_the_limit() {
        let (offload, taken) = full();
        let run = || {
            let offload = offload.clone();
            tokio::spawn(async move { offload.run(LARGE, || ()).await })
        };
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| run()).collect();
        tokio::task::yield_now().await;
        let started = tokio::time::Instant::now();
        assert!(matches!(run().await.expect("it ends"), Err(Undone::Busy)));
        assert!(started.elapsed().is_zero(), "it is told at once");
        drop(taken);
        for waited in waiting {
            assert!(waited.await.expect("it ends").is_ok());
        }
    }
}

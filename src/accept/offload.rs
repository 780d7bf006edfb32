//! Work on large bodies, kept off the threads that serve requests: a small post must not wait behind a megabyte.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::telemetry::{Panicked, catch};

/// Work on so many bytes is done where the request is: handing it over and back costs more than it takes.
const INLINE_MAX: usize = 32 * 1024;

/// Runs work on bodies; a panic in it is caught. Clones share the limit.
#[derive(Clone)]
pub(super) struct Offload {
    permits: Arc<Semaphore>,
}

impl Default for Offload {
    /// Leaves one processor to the small requests, where there are several.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))) }
    }
}

impl Offload {
    /// Does work on so many bytes. It is finished even where the caller goes away meanwhile.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        if bytes <= INLINE_MAX {
            return catch(work);
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let done = spawn_blocking(move || {
            let done = catch(work);
            // Held until here, so that callers that went away count too.
            drop(permit);
            done
        });
        match done.await {
            Ok(done) => done,
            // Nothing panics past `catch`: the runtime is shutting down, and drops the caller next.
            Err(_never_begun) => std::future::pending().await,
        }
    }
}

//! What comes while a statement is under way goes into the next one together: one round trip and one sync for all of them.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::failure::{Closed, Failure};

/// Most jobs of a batch.
const BATCH_MAX: usize = 256;
/// Beyond so many bytes a batch takes no more.
const BYTES_MAX: usize = 8 << 20;
/// Jobs that wait: whoever brings one more waits himself.
const WAITING_MAX: usize = 4_096;

/// Something that can be done together with others.
pub(super) struct Job<T, R> {
    pub(super) what: T,
    done: oneshot::Sender<Result<R, Failure>>,
}

impl<T, R> Job<T, R> {
    /// Tells whether anybody still waits for it.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.done.is_closed()
    }

    /// Tells whoever waits for it, if anybody still does.
    pub(super) fn end(self, result: Result<R, Failure>) {
        self.done.send(result).ok();
    }
}

/// Gathers jobs, and has them done in batches.
pub(super) struct Batches<T, R>(mpsc::Sender<Job<T, R>>);

impl<T: Send + 'static, R: Send + 'static> Batches<T, R> {
    /// Begins to gather; `size` tells how large a job is, `run` ends each job of a batch. So many batches may be under way.
    pub(super) fn begin<F>(
        runtime: &Handle,
        at_once: usize,
        size: fn(&T) -> usize,
        run: impl Fn(Vec<Job<T, R>>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (jobs, mut waiting) = mpsc::channel(WAITING_MAX);
        runtime.spawn(async move {
            let places = Arc::new(Semaphore::new(at_once));
            // A job that begins is ended even if nobody waits for it: what is spawned outlives the gathering.
            while let Some(first) = waiting.recv().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let batch = gather(first, &mut waiting, size);
                let running = run(batch);
                tokio::spawn(async move {
                    running.await;
                    drop(place);
                });
            }
        });
        Self(jobs)
    }

    /// Has a job done.
    pub(super) async fn run(&self, what: T) -> Result<R, Failure> {
        let (done, result) = oneshot::channel();
        if self.0.send(Job { what, done }).await.is_err() {
            return Err(Failure::unavailable(Closed));
        }
        // Without an answer it panicked, or the runtime is being stopped: it may have been done.
        result.await.unwrap_or_else(|_gone| Err(Failure::lost(Closed)))
    }
}

fn gather<T, R>(first: Job<T, R>, waiting: &mut mpsc::Receiver<Job<T, R>>, size: fn(&T) -> usize) -> Vec<Job<T, R>> {
    let mut bytes = size(&first.what);
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX && bytes < BYTES_MAX {
        let Ok(job) = waiting.try_recv() else { break };
        bytes += size(&job.what);
        batch.push(job);
    }
    batch
}

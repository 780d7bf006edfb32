//! The one thread that writes: what waits is done in one transaction, so that one fsync serves many.

use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use super::batches::Batches;
use super::connection::log_pages;
use super::copying::Copying;
use super::failure::{Closed, Failure};
use super::files::Identity;
use super::job::{Answer, Job, Kind, Task};
use super::log::Log;
use super::patient::{PATIENCE, Patient};
pub(super) use super::workspace::{Tally, Workspace};
use crate::queue::StoreError;

/// Most jobs that wait; further callers wait until there is room.
const WAITING_MAX: usize = 1_024;

/// The caller's end of the thread. Dropping it waits until everything that was queued is done.
#[derive(Debug)]
pub(super) struct Writer {
    messages: Option<mpsc::Sender<Message>>,
    patient: Arc<Patient>,
    thread: Option<JoinHandle<()>>,
}

pub(super) enum Message {
    Do(Box<dyn Job>),
    /// Do what has waited long enough.
    Flush,
    /// Empty the log, so that nothing of what was deleted is left in it.
    Truncate(oneshot::Sender<Result<(), Failure>>),
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        mut workspace: Workspace,
        identity: Identity,
        changed: Arc<watch::Sender<u64>>,
        tally: Arc<Tally>,
    ) -> Result<Self, Failure> {
        let (messages, waiting) = mpsc::channel(WAITING_MAX);
        let log_pages = log_pages(&workspace.reserve);
        let log = Log::of(identity.log()?, &mut workspace.connection, log_pages)?;
        let copying = Copying::new(log_pages);
        let patient = Arc::<Patient>::default();
        let waits = Arc::clone(&patient);
        let batches = Batches {
            workspace,
            identity,
            changed,
            tally,
            patient: waits,
            rescued: false,
            log,
            copying,
            lists_from: 0,
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(|| batches.run(waiting))?;
        Ok(Self { messages: Some(messages), patient, thread: Some(thread) })
    }

    /// Does something in a transaction, and returns after it is on the disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_task(Kind::Ordinary, work).await
    }

    /// The same for what must be written on a full disk too.
    pub(super) async fn write_always<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_task(Kind::Always, work).await
    }

    /// The same, and nobody waits for it in a hurry: it may take a few milliseconds more, and cost no sync of its own.
    pub(super) async fn write_always_in_time<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let messages = self.messages()?;
        match self.patient.push(Box::new(Task::new(Kind::Always, work, reply))) {
            Ok(is_enough) => {
                let mut answer = pin!(wait(answer));
                if !is_enough && let Ok(answer) = tokio::time::timeout(PATIENCE, answer.as_mut()).await {
                    return answer;
                }
                // Where there is no room for this, the next transaction is about to begin, and takes the work along.
                messages.try_send(Message::Flush).ok();
                answer.await
            }
            Err(job) => {
                let permit = messages.reserve().await.map_err(|_closed| Failure::unavailable(Closed))?;
                permit.send(Message::Do(job));
                wait(answer).await
            }
        }
    }

    /// The same for a claim, which a power cut may take back.
    pub(super) async fn claim<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_task(Kind::Claim, work).await
    }

    /// The same for what has nothing to do with entries, and which a power cut may take back.
    pub(super) async fn write_aside<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_task(Kind::Aside, work).await
    }

    /// The same for an append, which leaves entries waiting to be entered in the books.
    pub(super) async fn append<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_task(Kind::Append, work).await
    }

    async fn write_task<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let permit = self.messages()?.reserve().await.map_err(|_closed| Failure::unavailable(Closed))?;
        permit.send(Message::Do(Box::new(Task::new(kind, work, reply))));
        wait(answer).await
    }

    /// Does something and empties the log afterwards, even if the caller goes away in between; on a full disk too.
    pub(super) async fn write_and_truncate<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Workspace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let (truncate, truncated) = oneshot::channel();
        let mut permits = self.messages()?.reserve_many(2).await.map_err(|_closed| Failure::unavailable(Closed))?;
        let messages = [Message::Do(Box::new(Task::new(Kind::Always, work, reply))), Message::Truncate(truncate)];
        for message in messages {
            permits.next().expect("two were reserved").send(message);
        }
        let done = wait(answer).await?;
        truncated.await.map_err(|_gone| Failure::unavailable(Closed))??;
        Ok(done)
    }

    /// Returns once the thread has ended; only a panic ends it before the store is dropped.
    pub(super) async fn ended(&self) {
        if let Some(messages) = &self.messages {
            messages.closed().await;
        }
    }

    fn messages(&self) -> Result<&mpsc::Sender<Message>, StoreError> {
        self.messages.as_ref().ok_or_else(|| Failure::unavailable(Closed).into())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.messages.take();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the store's writer had stopped before the store was closed");
        }
    }
}

async fn wait<W, T>(answer: oneshot::Receiver<Answer<W, T>>) -> Result<T, StoreError> {
    let answer = answer.await.map_err(|_gone| Failure::unavailable(Closed))?;
    Ok(answer.outcome?)
}

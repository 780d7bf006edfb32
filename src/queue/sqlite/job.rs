//! What the thread that writes is asked to do.

use tokio::sync::oneshot;

use super::entering;
use super::failure::{Closed, Failure};
use super::workspace::Workspace;

/// Something to do within a transaction. Runs again, on its own, when another job spoilt the transaction.
pub(super) trait Job: Send {
    /// Tells whether it worked.
    fn run(&mut self, workspace: &mut Workspace) -> bool;
    /// Tells whether it must be on the disk when it is answered.
    fn must_last(&self) -> bool;
    /// Tells whether it found no room, and is one that may take the reserve's.
    fn wants_reserve(&self, failure: Option<&Failure>) -> bool;
    /// Tells the caller what became of it; `failure` is the transaction's.
    fn answer(self: Box<Self>, failure: Option<Failure>);
}

/// What a job needs, and may take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Leaves entries waiting to be entered in the books.
    Append,
    /// Enters what waits by itself. A kill must keep it, a power cut need not: it is on the disk with the next batch.
    Claim,
    /// Has nothing to do with entries. It is kept as a claim is.
    Aside,
    /// Needs every entry in the books.
    Ordinary,
    /// The same, and where the disk is full it takes the reserve's room.
    Always,
}

pub(super) struct Task<W, T> {
    kind: Kind,
    work: W,
    outcome: Option<Result<T, Failure>>,
    reply: oneshot::Sender<Answer<W, T>>,
}

/// The answer to a caller. The work goes back with it, so that the caller's thread frees what it allocated.
pub(super) struct Answer<W, T> {
    pub(super) outcome: Result<T, Failure>,
    _work: W,
}

impl<W, T> Task<W, T> {
    pub(super) fn new(kind: Kind, work: W, reply: oneshot::Sender<Answer<W, T>>) -> Self {
        Self { kind, work, outcome: None, reply }
    }
}

impl<W, T> Job for Task<W, T>
where
    W: FnMut(&mut Workspace) -> Result<T, Failure> + Send,
    T: Send,
{
    fn run(&mut self, workspace: &mut Workspace) -> bool {
        let room = if self.kind == Kind::Always { Ok(()) } else { workspace.keep_reserve() };
        let needs_entries = matches!(self.kind, Kind::Ordinary | Kind::Always);
        let entered = if needs_entries { room.and_then(|()| entering::enter(workspace)) } else { room };
        let outcome = self.outcome.insert(entered.and_then(|()| (self.work)(workspace)));
        if let Err(failure) = outcome {
            workspace.damage.note(failure);
            workspace.spoilt |= failure.is_damage();
        }
        outcome.is_ok()
    }

    fn must_last(&self) -> bool {
        !matches!(self.kind, Kind::Claim | Kind::Aside)
    }

    fn wants_reserve(&self, failure: Option<&Failure>) -> bool {
        let own = self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
        self.kind == Kind::Always && matches!(own.or(failure), Some(Failure::DiskFull))
    }

    fn answer(self: Box<Self>, failure: Option<Failure>) {
        let Self { work, outcome, reply, .. } = *self;
        let outcome = match (outcome, failure) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(failure)) => Err(failure),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(Failure::unavailable(Closed)),
        };
        // A caller that has gone away needs no answer; what it asked for is done.
        drop(reply.send(Answer { outcome, _work: work }));
    }
}

//! A body on its way to its [`Keeper`]. Where that panics, what came is still here: it is stored as it is.

use bytes::{Bytes, BytesMut};

use super::body::BadBody;
use super::offload::{Offload, Undone};
use crate::pipeline::{Keeper, KeptBody, TooMuchToKeep};
use crate::telemetry::{Panicked, catch};

/// The functions that feed a body to a [`Keeper`] and finish it.
#[derive(Clone, Copy)]
pub struct BodyKeeping {
    pub push: fn(&mut Keeper, Bytes) -> Result<(), TooMuchToKeep>,
    pub finish: fn(Keeper) -> Result<KeptBody, TooMuchToKeep>,
}

/// A body while it is read.
pub(in crate::accept) struct BodyReader {
    keeping: BodyKeeping,
    keeper: Keeper,
    /// As it came; of a body that streams through its keeper a spare copy, while all of it may be stored and there is
    /// room.
    raw: Option<BytesMut>,
    /// Most bytes that may be stored.
    max: usize,
    panicked: Option<Panicked>,
}

/// The part of a body that is stored.
pub(in crate::accept) struct StoredBody {
    pub(in crate::accept) kept: KeptBody,
    /// Its keeper panicked: this is the body as it came, and it is better not read again by the same request.
    pub(super) panicked: Option<Panicked>,
}

/// Why there is nothing to store.
#[derive(Debug)]
pub(in crate::accept) enum NoBody {
    Bad(BadBody),
    /// A bug of this program, and it is too large to be stored as it came.
    Panicked(Panicked),
}

impl Default for BodyKeeping {
    fn default() -> Self {
        Self { push: Keeper::push, finish: Keeper::finish }
    }
}

impl BodyReader {
    /// Begins a body of which at most `max` bytes may be stored.
    pub(super) fn new(keeper: Keeper, max: usize, keeping: BodyKeeping) -> Self {
        Self { keeping, keeper, raw: Some(BytesMut::new()), max, panicked: None }
    }

    /// Tells whether it may hold less than it is given.
    pub(super) fn streams(&self) -> bool {
        self.keeper.streams()
    }

    /// Makes room for a body that is held whole, once: growing by and by takes twice as much.
    pub(super) fn expect(&mut self, length: u64) {
        if let Some(raw) = self.raw.as_mut().filter(|_| !self.keeper.streams()) {
            raw.reserve(usize::try_from(length).unwrap_or_default());
        }
    }

    /// Returns how many bytes are held: of a body that streams what its keeper needs, of any other its room.
    pub(super) fn held(&self) -> usize {
        match &self.raw {
            Some(raw) if !self.streams() => raw.capacity(),
            _ if self.panicked.is_some() => 0,
            _ => self.keeper.held(),
        }
    }

    /// Returns how many bytes the copy takes that is held only for the case that the keeper panics.
    pub(super) fn spare(&self) -> usize {
        self.raw.as_ref().filter(|_| self.streams()).map_or(0, BytesMut::len)
    }

    /// Does without that copy; fails where it is needed already.
    pub(super) fn forget_spare(&mut self) -> Result<(), NoBody> {
        if self.streams() {
            self.raw = None;
        }
        self.go_on()
    }

    /// Takes the next chunk.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), NoBody> {
        if let Some(raw) = &mut self.raw {
            if self.keeper.streams() && raw.len() + chunk.len() > self.max {
                self.raw = None;
            } else {
                raw.extend_from_slice(&chunk);
            }
        }
        if self.keeper.streams() && self.panicked.is_none() {
            let Self { keeping, keeper, .. } = self;
            match catch(|| (keeping.push)(keeper, chunk)) {
                Ok(pushed) => pushed?,
                Err(panicked) => self.panicked = Some(panicked),
            }
        }
        self.go_on()
    }

    /// Fails where nothing is left that could be stored.
    fn go_on(&mut self) -> Result<(), NoBody> {
        match self.panicked.take_if(|_| self.raw.is_none()) {
            Some(panicked) => Err(NoBody::Panicked(panicked)),
            None => Ok(()),
        }
    }

    /// Ends the body.
    pub(super) async fn finish(self, offload: &Offload) -> Result<StoredBody, NoBody> {
        let Self { keeping, keeper, raw, max, panicked } = self;
        let raw = raw.map(BytesMut::freeze);
        match (panicked, raw) {
            (Some(panicked), raw) => rescue(raw, max, panicked),
            (None, Some(whole)) if !keeper.streams() => keep_whole(whole, keeper, max, keeping, offload).await,
            (None, raw) => {
                let done = offload.run(keeper.held(), move || (keeping.finish)(keeper)).await;
                end(done, raw, max)
            }
        }
    }
}

/// Gives a keeper a body that is there already.
pub(super) async fn keep_whole(
    whole: Bytes,
    mut keeper: Keeper,
    max: usize,
    keeping: BodyKeeping,
    offload: &Offload,
) -> Result<StoredBody, NoBody> {
    let raw = whole.clone();
    let work = move || (keeping.push)(&mut keeper, whole).and_then(|()| (keeping.finish)(keeper));
    let done = offload.run(raw.len(), work).await;
    end(done, Some(raw), max)
}

fn end(
    done: Result<Result<KeptBody, TooMuchToKeep>, Undone>,
    raw: Option<Bytes>,
    max: usize,
) -> Result<StoredBody, NoBody> {
    match done {
        Ok(kept) => Ok(StoredBody { kept: kept?, panicked: None }),
        Err(Undone::Busy) => Err(BadBody::Busy.into()),
        Err(Undone::Panicked(panicked)) => rescue(raw, max, panicked),
    }
}

/// Takes the body as it came in the place of what a keeper would have made of it.
fn rescue(raw: Option<Bytes>, max: usize, panicked: Panicked) -> Result<StoredBody, NoBody> {
    match raw.filter(|raw| raw.len() <= max) {
        Some(body) => Ok(StoredBody { kept: KeptBody { body, ..KeptBody::default() }, panicked: Some(panicked) }),
        None => Err(NoBody::Panicked(panicked)),
    }
}

impl From<BadBody> for NoBody {
    fn from(bad: BadBody) -> Self {
        Self::Bad(bad)
    }
}

impl From<TooMuchToKeep> for NoBody {
    fn from(_: TooMuchToKeep) -> Self {
        Self::Bad(BadBody::TooMuchToKeep)
    }
}

//! A request's body: counted while it is read, within a time, and within what all bodies together may take.
//!
//! What all together may take is memory: a multipart body counts what is held of it, any other what it declares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use tokio::time::{Instant, timeout, timeout_at};

use super::keeping::{BodyReader, NoBody, StoredBody};
use super::offload::Offload;
use crate::accept::wire::Framing;
use crate::pipeline::KeptBody;

/// The most that is read at once.
const CHUNK: u64 = 64 * 1024;

/// How long and how large a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Most bytes of this body.
    pub(super) max: u64,
    /// Most bytes of all bodies being read that are held.
    pub(super) max_together: u64,
    /// Time for any body.
    pub(super) time: Duration,
    /// More time for each so many bytes: a large upload over a slow line is no attack.
    pub(super) bytes_per_second: u64,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::accept) enum BadBody {
    TooLarge,
    /// It could be read, but not kept.
    TooMuchToKeep,
    /// All bodies together are too large, or too many wait to be decoded; later there may be room.
    Busy,
    TooSlow,
    /// Its framing is broken, or the client went away in the middle.
    Broken,
}

/// The bytes of bodies in memory, over all connections.
#[derive(Clone, Debug, Default)]
pub(in crate::accept) struct BytesInMemory(Arc<AtomicU64>);

/// One body's share of [`BytesInMemory`]; freed when dropped.
#[derive(Debug)]
pub(super) struct MemoryShare {
    of: BytesInMemory,
    bytes: u64,
}

/// What is kept of a body. Its share is given back when it is dropped, so hold it until the body is.
pub(in crate::accept) struct Body {
    pub(in crate::accept) taken: StoredBody,
    pub(super) share: MemoryShare,
}

impl BytesInMemory {
    pub(in crate::accept) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn share(&self) -> MemoryShare {
        MemoryShare { of: self.clone(), bytes: 0 }
    }
}

impl MemoryShare {
    /// Makes the share so large, or smaller.
    fn hold(&mut self, bytes: u64, max: u64) -> Result<(), BadBody> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            let fits = |now: u64| now.checked_add(more).filter(|&sum| sum <= max);
            self.of.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_now| BadBody::Busy)?;
        } else {
            self.of.0.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body. What it declares is checked, and its share taken, before the client is told to send it.
pub(super) async fn read(
    session: &mut ServerSession,
    framing: Framing,
    expects_continue: bool,
    taking: BodyReader,
    limits: BodyLimits,
    reading: &BytesInMemory,
    offload: &Offload,
) -> Result<Body, NoBody> {
    let mut share = reading.share();
    let declared = match framing {
        Framing::None => {
            let taken = StoredBody { kept: KeptBody::default(), panicked: None };
            return Ok(Body { taken, share });
        }
        Framing::Length(length) if length > limits.max => return Err(BadBody::TooLarge.into()),
        Framing::Length(length) => Some(length),
        Framing::Undeclared => None,
    };
    if declared.is_none() {
        // pingora reads malformed chunks and trailers more kindly than others do: nothing after them is a request.
        session.set_keepalive(None);
    }
    share.hold(to_hold(&taking, declared, 0), limits.max_together)?;
    let started = Instant::now();
    if expects_continue {
        tell_to_continue(session, limits.time).await?;
    }
    let (taking, length) = read_chunks(session, taking, declared, limits, started, &mut share).await?;
    if declared.is_some_and(|declared| declared != length) {
        return Err(BadBody::Broken.into());
    }
    let taken = taking.finish(offload).await?;
    share.hold(taken.kept.held() as u64, limits.max_together)?;
    Ok(Body { taken, share })
}

/// Reads to the end; gives the length of what came, too.
async fn read_chunks(
    session: &mut ServerSession,
    mut taking: BodyReader,
    declared: Option<u64>,
    limits: BodyLimits,
    started: Instant,
    share: &mut MemoryShare,
) -> Result<(BodyReader, u64), NoBody> {
    let mut length = 0;
    // Its share is taken already.
    taking.expect(declared.unwrap_or_default());
    while let Some(chunk) = next_chunk(session, limits.deadline(started, length)).await? {
        length += chunk.len() as u64;
        if length > limits.max {
            return Err(BadBody::TooLarge.into());
        }
        taking.push(chunk)?;
        let needed = to_hold(&taking, declared, length);
        // A spare copy leaves half of the room to what is needed.
        if share.hold(needed + taking.spare() as u64, limits.max_together / 2).is_err() {
            taking.forget_spare()?;
            share.hold(needed, limits.max_together)?;
        }
    }
    Ok((taking, length))
}

/// Returns how much of a body is held at most until the next chunk is in.
fn to_hold(taking: &BodyReader, declared: Option<u64>, read: u64) -> u64 {
    if taking.streams() {
        declared.map_or(CHUNK, |declared| declared.min(CHUNK)) + taking.held() as u64
    } else {
        declared.unwrap_or(0).max(read).max(taking.held() as u64)
    }
}

/// pingora takes the interim response for an early answer and gives the connection up; that is undone.
async fn tell_to_continue(session: &mut ServerSession, time: Duration) -> Result<(), BadBody> {
    let keepalive = session.get_keepalive();
    let told = timeout(time, session.write_continue_response()).await;
    session.set_keepalive(keepalive);
    told.map_err(|_elapsed| BadBody::TooSlow)?.map_err(|_gone| BadBody::Broken)
}

async fn next_chunk(session: &mut ServerSession, deadline: Instant) -> Result<Option<Bytes>, BadBody> {
    match timeout_at(deadline, session.read_request_body()).await {
        Ok(read) => read.map_err(|_broken| BadBody::Broken),
        Err(_elapsed) => Err(BadBody::TooSlow),
    }
}

impl BodyLimits {
    fn deadline(&self, started: Instant, read: u64) -> Instant {
        let more = Duration::from_secs(read / self.bytes_per_second.max(1));
        started + self.time + more
    }
}

#[cfg(test)]
mod tests {
    use super::super::keeping::BodyKeeping;
    use super::*;
    use crate::pipeline::Keeper;

    #[test]
    fn a_share_is_given_back_and_never_exceeds_the_whole() {
        let reading = BytesInMemory::default();
        let mut first = reading.share();
        assert_eq!(first.hold(6, 10), Ok(()));
        let mut second = reading.share();
        assert_eq!(second.hold(5, 10), Err(BadBody::Busy));
        assert_eq!(second.hold(4, 10), Ok(()));
        assert_eq!(first.hold(7, 10), Err(BadBody::Busy));
        assert_eq!(first.hold(5, 10), Ok(()));
        assert_eq!(second.hold(5, 10), Ok(()));
        drop(first);
        assert_eq!(reading.bytes(), 5);
        assert_eq!(second.hold(u64::MAX, u64::MAX - 1), Err(BadBody::Busy));
        drop(second);
        assert_eq!(reading.bytes(), 0);
    }

    #[test]
    fn a_multipart_body_holds_a_chunk_and_any_other_what_it_declares() {
        let taking = |kind| BodyReader::new(Keeper::new(Some(kind), 1000, u64::MAX), 1000, BodyKeeping::default());
        let parts = taking("multipart/form-data; boundary=x");
        assert_eq!(to_hold(&parts, Some(100_000_000), 0), CHUNK);
        assert_eq!(to_hold(&parts, Some(100), 0), 100);
        assert_eq!(to_hold(&parts, None, 0), CHUNK);
        for kind in ["application/json", "application/x-www-form-urlencoded", ""] {
            assert_eq!(to_hold(&taking(kind), Some(100_000), 70_000), 100_000);
            assert_eq!(to_hold(&taking(kind), None, 70_000), 70_000);
        }
    }
}

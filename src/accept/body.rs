//! A request's body: counted while it is read, within a time, and within what all bodies together may take.
//!
//! What all together may take is memory: a multipart body counts what is held of it, any other what it declares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use tokio::time::{Instant, timeout, timeout_at};

use super::head::Framing;
use super::offload::Offload;
use crate::pipeline::{Keeper, Kept, TooMuchToKeep};

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
pub(super) enum BadBody {
    TooLarge,
    /// It could be read, but not kept.
    TooMuchToKeep,
    /// All bodies together are too large; later there may be room.
    Busy,
    TooSlow,
    /// Its framing is broken, or the client went away in the middle.
    Broken,
}

/// The bytes of bodies that are held over all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading(Arc<AtomicU64>);

/// A share in [`Reading`]; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Reading,
    bytes: u64,
}

/// What is kept of a body. Its share is given back when it is dropped, so hold it until the body is.
pub(super) struct Body {
    pub(super) kept: Kept,
    _share: Share,
}

impl Reading {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn share(&self) -> Share {
        Share { of: self.clone(), bytes: 0 }
    }
}

impl Share {
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

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body. What it declares is checked, and its share taken, before the client is told to send it.
pub(super) async fn read(
    session: &mut ServerSession,
    framing: Framing,
    expects_continue: bool,
    keeper: Keeper,
    limits: BodyLimits,
    reading: &Reading,
    offload: &Offload,
) -> Result<Body, BadBody> {
    let mut share = reading.share();
    let declared = match framing {
        Framing::None => return Ok(Body { kept: Kept::default(), _share: share }),
        Framing::Length(length) if length > limits.max => return Err(BadBody::TooLarge),
        Framing::Length(length) => Some(length),
        Framing::Undeclared => None,
    };
    if declared.is_none() {
        // pingora reads malformed chunks and trailers more kindly than others do: nothing after them is a request.
        session.set_keepalive(None);
    }
    share.hold(to_hold(&keeper, declared, 0), limits.max_together)?;
    let started = Instant::now();
    if expects_continue {
        tell_to_continue(session, limits.time).await?;
    }
    let (keeper, length) = read_chunks(session, keeper, declared, limits, started, &mut share).await?;
    if declared.is_some_and(|declared| declared != length) {
        return Err(BadBody::Broken);
    }
    let kept =
        offload.run(keeper.held(), move || keeper.finish()).await.unwrap_or_else(|panicked| panicked.resume())?;
    share.hold(kept.held() as u64, limits.max_together)?;
    Ok(Body { kept, _share: share })
}

/// Reads to the end; gives the length of what came, too.
async fn read_chunks(
    session: &mut ServerSession,
    mut keeper: Keeper,
    declared: Option<u64>,
    limits: BodyLimits,
    started: Instant,
    share: &mut Share,
) -> Result<(Keeper, u64), BadBody> {
    let mut length = 0;
    while let Some(chunk) = next_chunk(session, limits.deadline(started, length)).await? {
        length += chunk.len() as u64;
        if length > limits.max {
            return Err(BadBody::TooLarge);
        }
        keeper.push(chunk)?;
        share.hold(to_hold(&keeper, declared, length), limits.max_together)?;
    }
    Ok((keeper, length))
}

/// Returns how much of a body is held at most until the next chunk is in.
fn to_hold(keeper: &Keeper, declared: Option<u64>, read: u64) -> u64 {
    if keeper.streams() {
        declared.map_or(CHUNK, |declared| declared.min(CHUNK)) + keeper.held() as u64
    } else {
        declared.unwrap_or(0).max(read)
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

impl From<TooMuchToKeep> for BadBody {
    fn from(_: TooMuchToKeep) -> Self {
        Self::TooMuchToKeep
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
    use super::*;

    #[test]
    fn a_share_is_given_back_and_never_exceeds_the_whole() {
        let reading = Reading::default();
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
        let keeper = |kind| Keeper::new(Some(kind), 1000, u64::MAX);
        let parts = keeper("multipart/form-data; boundary=x");
        assert_eq!(to_hold(&parts, Some(100_000_000), 0), CHUNK);
        assert_eq!(to_hold(&parts, Some(100), 0), 100);
        assert_eq!(to_hold(&parts, None, 0), CHUNK);
        for kind in ["application/json", "application/x-www-form-urlencoded", ""] {
            assert_eq!(to_hold(&keeper(kind), Some(100_000), 70_000), 100_000);
            assert_eq!(to_hold(&keeper(kind), None, 70_000), 70_000);
        }
    }
}

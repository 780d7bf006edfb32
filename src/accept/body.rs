//! A request's body: counted while it is read, within a time, and within what all bodies together may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora::protocols::http::ServerSession;
use tokio::time::{Instant, timeout, timeout_at};

use super::head::Framing;

/// Room made at first for a body that declares more.
const FIRST_ROOM: u64 = 64 * 1024;

/// How long and how large a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Most bytes of this body.
    pub(super) max: u64,
    /// Most bytes of all bodies being read.
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
    /// All bodies together are too large; later there may be room.
    Busy,
    TooSlow,
    /// Its framing is broken, or the client went away in the middle.
    Broken,
}

/// The bytes that are being read over all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading(Arc<AtomicU64>);

/// A share in [`Reading`]; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Reading,
    bytes: u64,
}

/// A body read whole. Its share is given back when it is dropped, so hold it until the body is.
pub(super) struct Body {
    pub(super) bytes: Bytes,
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
    fn grow(&mut self, bytes: u64, max: u64) -> Result<(), BadBody> {
        let fits = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= max);
        self.of.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_now| BadBody::Busy)?;
        self.bytes += bytes;
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
    limits: BodyLimits,
    reading: &Reading,
) -> Result<Body, BadBody> {
    let mut share = reading.share();
    let declared = match framing {
        Framing::None => return Ok(Body { bytes: Bytes::new(), _share: share }),
        Framing::Length(length) if length > limits.max => return Err(BadBody::TooLarge),
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    if declared.is_none() {
        // pingora reads malformed chunks and trailers more kindly than others do: nothing after them is a request.
        session.set_keepalive(None);
    }
    share.grow(declared.unwrap_or_default(), limits.max_together)?;
    let started = Instant::now();
    if expects_continue {
        tell_to_continue(session, limits.time).await?;
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(declared.unwrap_or(0).min(FIRST_ROOM)).unwrap_or(0));
    while let Some(chunk) = next_chunk(session, limits.deadline(started, bytes.len())).await? {
        if (bytes.len() + chunk.len()) as u64 > limits.max {
            return Err(BadBody::TooLarge);
        }
        if declared.is_none() {
            share.grow(chunk.len() as u64, limits.max_together)?;
        }
        bytes.extend_from_slice(&chunk);
    }
    let whole = declared.is_none_or(|length| length == bytes.len() as u64);
    if whole { Ok(Body { bytes: bytes.freeze(), _share: share }) } else { Err(BadBody::Broken) }
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
    fn deadline(&self, started: Instant, read: usize) -> Instant {
        let more = Duration::from_secs(read as u64 / self.bytes_per_second.max(1));
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
        assert_eq!(first.grow(6, 10), Ok(()));
        let mut second = reading.share();
        assert_eq!(second.grow(5, 10), Err(BadBody::Busy));
        assert_eq!(second.grow(4, 10), Ok(()));
        assert_eq!(first.grow(1, 10), Err(BadBody::Busy));
        drop(first);
        assert_eq!(reading.bytes(), 4);
        assert_eq!(second.grow(u64::MAX, u64::MAX), Err(BadBody::Busy));
        drop(second);
        assert_eq!(reading.bytes(), 0);
    }
}

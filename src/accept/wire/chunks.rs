//! A chunked body's framing, checked as strictly as RFC 9112 (7.1) writes it.
//!
//! pingora reads chunks and trailers more kindly than others do: what two parsers would end at different places must
//! not be taken by either. So the bytes are looked at on their way to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of extensions and trailers: they carry nothing that is kept.
const BESIDES_MAX: usize = 64 * 1024;

/// A stream on which a chunked body comes, and what was read of it with the head.
pub(super) struct Chunks {
    stream: Stream,
    rest: BytesMut,
    framing: ChunkScanner,
}

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        value: u64,
        digits: u32,
    },
    Extension {
        value: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataEnd,
    DataEndLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    End,
    /// After the body, or after what is none: nothing is looked at any more.
    After,
}

/// The framing is not that of RFC 9112.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunks are malformed")]
struct BadChunks;

/// Follows the framing of a chunked body.
struct ChunkScanner {
    at: At,
    besides: usize,
}

impl Chunks {
    pub(super) fn new(stream: Stream, rest: BytesMut) -> Self {
        Self { stream, rest, framing: ChunkScanner::default() }
    }
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self { at: At::Size { value: 0, digits: 0 }, besides: 0 }
    }
}

impl ChunkScanner {
    /// Looks at the next bytes.
    fn check(&mut self, mut bytes: &[u8]) -> Result<(), BadChunks> {
        while let Some((&byte, after)) = bytes.split_first() {
            if self.at == At::After {
                return Ok(());
            }
            if let At::Data { left } = self.at {
                let here = left.min(bytes.len() as u64);
                self.at = if here == left { At::DataEnd } else { At::Data { left: left - here } };
                bytes = bytes.get(usize::try_from(here).unwrap_or(usize::MAX)..).unwrap_or_default();
                continue;
            }
            let next = self.at.next(byte).filter(|_| self.besides <= BESIDES_MAX);
            self.besides += usize::from(self.at.is_besides());
            self.at = next.unwrap_or(At::After);
            next.ok_or(BadChunks)?;
            bytes = after;
        }
        Ok(())
    }
}

impl At {
    /// Returns where the byte after this one stands; none where this one must not stand here.
    fn next(self, byte: u8) -> Option<Self> {
        let is_text = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        match (self, byte) {
            (Self::Size { value, digits: 1.. }, b';') => Some(Self::Extension { value }),
            (Self::Size { value, digits: 1.. }, b'\r') | (Self::Extension { value }, b'\r') => {
                Some(Self::SizeEnd { value })
            }
            (Self::Size { value, digits: digits @ 0..16 }, _) => {
                let digit = char::from(byte).to_digit(16)?;
                Some(Self::Size { value: value.checked_mul(16)? + u64::from(digit), digits: digits + 1 })
            }
            (Self::Extension { value }, _) => is_text.then_some(Self::Extension { value }),
            (Self::SizeEnd { value: 0 }, b'\n') | (Self::TrailerEnd, b'\n') => Some(Self::Trailer),
            (Self::SizeEnd { value }, b'\n') => Some(Self::Data { left: value }),
            (Self::DataEnd, b'\r') => Some(Self::DataEndLf),
            (Self::DataEndLf, b'\n') => Some(Self::Size { value: 0, digits: 0 }),
            (Self::Trailer, b'\r') => Some(Self::End),
            (Self::Trailer | Self::TrailerName, _) if is_token(byte) => Some(Self::TrailerName),
            (Self::TrailerName, b':') => Some(Self::TrailerValue),
            (Self::TrailerValue, b'\r') => Some(Self::TrailerEnd),
            (Self::TrailerValue, _) => is_text.then_some(Self::TrailerValue),
            (Self::End, b'\n') => Some(Self::After),
            _ => None,
        }
    }

    fn is_besides(self) -> bool {
        matches!(self, Self::Extension { .. } | Self::TrailerName | Self::TrailerValue | Self::TrailerEnd)
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl AsyncRead for Chunks {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.rest.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            let length = this.rest.len().min(buf.remaining());
            buf.put_slice(this.rest.get(..length).unwrap_or_default());
            this.rest.advance(length);
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(this.framing.check(new).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad)))
    }
}

impl AsyncWrite for Chunks {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Says nothing of the body.
impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Chunks {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut *self.stream).await;
    }
}

impl UniqueID for Chunks {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl GetTimingDigest for Chunks {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Chunks {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Chunks {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Ssl for Chunks {}

impl Peek for Chunks {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a body whole and cut in two at every place: it must not matter.
    fn check(body: &[u8]) -> Result<At, BadChunks> {
        let read = |parts: [&[u8]; 2]| {
            let mut framing = ChunkScanner::default();
            parts.iter().try_for_each(|part| framing.check(part)).map(|()| framing.at)
        };
        let whole = read([body, b""]);
        for at in 0..body.len() {
            assert_eq!(read([&body[..at], &body[at..]]), whole, "cut at {at}: {}", String::from_utf8_lossy(body));
        }
        whole
    }

    #[test]
    fn a_well_formed_body_is_followed_to_its_end() {
        for good in [
            "0\r\n\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
            "0002\r\n\r\n\r\n000\r\n\r\n",
            "A;name=\"value; x\"\r\n0123456789\r\n0;x\r\nName: value\r\nOther:\r\n\r\n",
            "1\r\nx\r\n0\r\n\r\nwhatever follows \0",
        ] {
            assert_eq!(check(good.as_bytes()), Ok(At::After), "{good:?}");
        }
        assert_eq!(check(b"2\r\n{}\r\n0\r\n"), Ok(At::Trailer), "not at its end");
        assert_eq!(check(b"ffffffffffffffff\r\nx"), Ok(At::Data { left: u64::MAX - 1 }));
    }

    #[test]
    fn what_could_end_elsewhere_for_another_reader_is_refused() {
        for bad in [
            "\r\n{}\r\n0\r\n\r\n",
            "2 \r\n{}\r\n0\r\n\r\n",
            " 2\r\n{}\r\n0\r\n\r\n",
            "2\n{}\r\n0\r\n\r\n",
            "2\r{}\r\n0\r\n\r\n",
            "0x2\r\n{}\r\n0\r\n\r\n",
            "+2\r\n{}\r\n0\r\n\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
            ";x\r\n\r\n",
            "00000000000000002\r\n{}\r\n0\r\n\r\n",
            "2;a\nb\r\n{}\r\n0\r\n\r\n",
            "2;a\0\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}0\r\n\r\n",
            "2\r\n{}\n0\r\n\r\n",
            "2\r\n{}\r0\r\n\r\n",
            "2\r\n{}x\r\n0\r\n\r\n",
            "0\r\nbad trailer\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\nName: a\nb\r\n\r\n",
            "0\r\nName: a\r\n folded\r\n\r\n",
            "0\r\nName\r\n\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(check(bad.as_bytes()), Err(BadChunks), "{bad:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let besides = |length: usize| {
            let mut framing = ChunkScanner::default();
            framing.check(format!("0;{}\r\n\r\n", "x".repeat(length)).as_bytes())
        };
        assert_eq!(besides(BESIDES_MAX - 1), Ok(()));
        assert_eq!(besides(BESIDES_MAX + 1), Err(BadChunks));
    }
}

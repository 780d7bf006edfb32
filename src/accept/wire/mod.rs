//! HTTP as it comes over the wire: from a socket that listens to a request's head, and from an answer to its bytes.
//!
//! ```text
//! listeners    the sockets: bound here, or taken over from the process before
//! serve        starts the gateway on them; knows when nothing is left to answer
//! tls          the certificate, and the handshake
//! connection   a connection's life in HTTP/1.1; http2 in HTTP/2
//! raw_head     a head as bytes: whole, in time, of one meaning
//! head         the same, parsed
//! chunks       a chunked body's framing
//! bounded      the admin's listener, held to the same
//! ```

mod bounded;
mod chunks;
mod connection;
mod head;
mod http2;
mod listeners;
mod raw_head;
mod serve;
mod tls;

pub use self::bounded::{Bounded, Bounds};
pub(super) use self::head::{Framing, RequestHead};
pub use self::listeners::{HandOverError, Listeners};
pub(super) use self::raw_head::BadHead;
pub use self::serve::{InFlight, TlsError, check_certificates, run, serve, service, services};
pub(super) use self::tls::Tls;

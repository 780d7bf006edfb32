//! Deadlines and caps of the gateway's listeners.

use std::time::Duration;

/// Deadlines and caps that are no matter of configuration; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a connection may be silent between requests.
    pub idle: Duration,
    /// For the client's part in opening an encrypted connection.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// For the body; a large one gets more, by `body_bytes_per_second`.
    pub body: Duration,
    /// A body that comes slower than this for longer than `body` is cut.
    pub body_bytes_per_second: u64,
    /// For a large body to begin to be decoded, while others are.
    pub offload: Duration,
    /// For the store to make an entry durable.
    pub append: Duration,
    /// For the client to take the answer.
    pub write: Duration,
    /// How long an open connection may still bring a request after the gateway was told to stop: it may be on its way.
    pub farewell: Duration,
    /// How long what a refused client still sends is read and thrown away, so that it can read why.
    pub linger: Duration,
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address (IPv6: /64) that is no trusted proxy.
    pub connections_per_address: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            body_bytes_per_second: 16 * 1024,
            offload: Duration::from_secs(15),
            append: Duration::from_secs(10),
            write: Duration::from_secs(10),
            farewell: Duration::from_millis(500),
            linger: Duration::from_secs(1),
            connections: 8192,
            connections_per_address: 128,
        }
    }
}

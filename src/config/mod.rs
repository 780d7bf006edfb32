//! Raw TOML in, a compiled snapshot out; every problem with its file, line, column and cure.
//!
//! Nothing but the snapshot leaves this room: who holds a [`Config`] holds a valid one.

mod snapshot;

pub use snapshot::{
    Admin, Config, IpNet, Keep, Limit, Limits, Listen, OverLimit, Queue, Rate, Retry, Server, Site, StoreUrl, Token,
    Upstream,
};

//! HTTP in: one request, one `Outcome`, one metric, one log line, one reply.
//!
//! # The path of a request
//!
//! 1. `wire` has the sockets. A connection gets a place, or none is left; where its listener has a certificate it is
//!    encrypted; then one request after the other is read: a head that is whole, in time, and of one meaning only. The
//!    body stays where it is.
//! 2. `gateway` loads the configuration, once for the whole request, and asks `route` what path and method want.
//! 3. `guard` says who may post, and how much: a site's token or signature, or KaiCalls' key pair at KaiCalls' own
//!    endpoints. Requests that show neither are counted by address. `browser` knows the pages that may post a form of
//!    their own without a credential, and what their visitors see.
//! 4. `submission` reads the body within its limits, cuts out what is not kept, runs the pipeline, and writes the
//!    entry. `wordpress` does what KaiCalls' other endpoints do.
//! 5. `outcome` is the end that every request has: it is counted and logged there, and the answer is made from it.
//!
//! A 2xx is never sent for what is not durable.

mod wire;

mod gateway;

mod options;
mod ping;

mod route;

mod guard;

mod browser;

mod submission;

mod wordpress;

mod outcome;

pub use self::gateway::{Gateway, Pipeline, RefusedKeys};
pub use self::options::Options;
pub use self::route::{GATEWAY_ROUTES, GatewayRoute};
pub use self::submission::BodyKeeping;
pub use self::wire::{
    Bounded, Bounds, HandOverError, InFlight, Listeners, TlsError, check_certificates, run, serve, service, services,
};

//! From a queued entry to a delivered one: claim, admit, attempt, settle.
//!
//! ```text
//! worker     claims what is due, and begins what may go         looking: when; flight: leads on their way; slots: posts
//! admission  entry and now → send, wait or hold                 history: what the entry itself says
//! deliver    asked for, posted, judged, settled: one lease      confirm: is it there already?  attempt: one POST
//! outcome    how an attempt ended → how its lease is settled    backoff: how long it waits
//! settle     written down, until the store has it               ownership: which sites, where gateways share the store
//! ```
//!
//! The claim is written before its POST leaves, so that a kill between the two is known afterwards. A lease outlives the
//! longest POST, so that no entry is ever in two hands.
//!
//! Who has to wait waits in the store, not in hand: a site whose keys are refused, one whose leads fail, one over its rate.
//! While the upstream's circuit is open, or its rate is used up, nothing is claimed; nor of a site that has as many leads
//! under way as its share allows.
//!
//! A lead of a site that has left the configuration waits a day for it to come back. With `[kaicalls].confirm` a lead that
//! may have arrived already is asked for before it is posted again.

mod admission;

mod attempt;

mod backoff;

mod chain;

mod claiming;

mod confirm;

mod deliver;

mod flight;

mod history;

mod looking;

mod outcome;

mod ownership;

mod publish;

mod returned;

mod settle;

mod slots;

mod worker;

pub use history::ATTEMPTS_MIN;
pub use outcome::PANICS_MAX;
pub use ownership::{GatewayIdentity, Ownership};
pub use worker::{Sender, Stopped};

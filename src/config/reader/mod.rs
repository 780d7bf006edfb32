//! Walks parsed TOML and gives typed values; whatever doesn't fit is noted at its place and the walk goes on.
//!
//! A reading function gives `None` where it has reported a problem, so that its caller can read its other keys before
//! it gives up in turn.

mod known;

mod table;

mod value;

pub use known::{Key, KeyDefault, KeyShape, KnownKeys};
pub(super) use table::Table;
pub(super) use value::{NamedValue, Value, all};

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod gateway;
mod store_contract;

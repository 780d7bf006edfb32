#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod config;
mod delivery;
mod fixtures;
mod gateway;
mod hostile;
mod kaicalls;
mod properties;
mod sandbox;
mod scripted_api;
mod store_contract;

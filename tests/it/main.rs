#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod config;
mod fixtures;
mod gateway;
mod kaicalls;
mod sandbox;
mod scripted_api;
mod store_contract;

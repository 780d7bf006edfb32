#![expect(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod bodies;
mod cli;
mod config;
mod delivery;
mod fixtures;
mod gateway;
mod kaicalls;
mod manners;
mod process;
mod reload;
mod sandbox;
mod scripted_api;
mod store_contract;

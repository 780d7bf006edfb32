#![expect(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod bodies;
mod cli;
mod config;
mod delivery;
mod encrypted;
mod fixtures;
mod gateway;
mod kaicalls;
mod process;
mod sandbox;
mod scripted_api;
mod secrets;
mod signed;
mod statuses;
mod store_contract;

#![expect(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "a test fails by panicking")]

mod accept;
mod admin;
mod bodies;
mod cli;
mod config;
mod delivery;
mod docs;
mod encrypted;
mod faults;
mod fixtures;
mod gateway;
mod hostile;
mod jsonpath;
mod kaicalls;
mod manners;
mod process;
mod properties;
mod reload;
mod sandbox;
mod scripted_api;
mod secrets;
mod signed;
mod statuses;
mod store_contract;

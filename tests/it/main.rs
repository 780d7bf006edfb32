mod kaicalls;
mod sandbox;
mod scripted_api;
mod store_contract;

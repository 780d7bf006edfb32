mod kaicalls;
mod scripted_api;
mod store_contract;

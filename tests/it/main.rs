mod config;
mod store_contract;

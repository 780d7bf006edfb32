mod accept;
mod admin;
mod gateway;
mod store_contract;

//! formgate takes what form plugins post, keeps it, and delivers it as leads.

pub mod telemetry;

pub mod accept;

pub mod admin;

pub mod received;

pub mod pipeline;

pub mod decode;

pub mod map;

pub mod lead;

pub mod queue;

pub mod destination;

pub mod send;

pub mod kaicalls;

pub mod config;

pub mod sandbox;

pub mod cli;

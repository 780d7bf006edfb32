//! Mail to a real server, read by another program: what arrives, over which connections, and what is told of failures.

mod connections;
mod events;
mod letters;
mod server;
mod words;

pub(crate) use server::{MailServer, Received};

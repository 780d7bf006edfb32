//! The pages of docs/reference, made of the program's own tables.

mod api;
mod command_line;
mod configuration;
mod events;
mod markdown;
mod metrics;

use std::path::{Path, PathBuf};

pub(crate) use self::command_line::exit_codes;

/// Where the pages are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference")
}

/// Returns each page: its file's name and its text.
pub(crate) fn all() -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("api.md", api::page()),
        ("command-line.md", command_line::page()),
        ("configuration.md", configuration::page()),
        ("events.md", events::page()?),
        ("metrics.md", metrics::page()?),
    ])
}

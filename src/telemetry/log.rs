//! How the program logs: lines on stderr, text for people, JSON for programs.

use std::io::IsTerminal as _;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    Text,
    /// One object a line.
    Json,
}

/// Logs were set up twice.
#[derive(Debug, thiserror::Error)]
#[error("logging is already set up")]
pub struct LogError(#[source] tracing_subscriber::util::TryInitError);

/// Sends log lines to stderr, with RFC 3339 times in UTC; `RUST_LOG` sets the level, else it is `info`.
pub fn log_to_stderr(format: LogFormat) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let terminal = std::io::stderr().is_terminal();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset_or_malformed| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    if json {
        lines.json().flatten_event(true).finish().try_init().map_err(LogError)
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(colour).finish().try_init().map_err(LogError)
    }
}

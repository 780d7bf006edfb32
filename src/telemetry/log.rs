//! How the program logs: lines on stderr, text for people, JSON for programs.
//!
//! Lines are written by a thread of their own. Where stderr is not read, they wait, up to a limit, and are dropped and
//! counted beyond it: nothing ever waits for a log line.

use std::io::{IsTerminal as _, Write};
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Most lines that wait to be written.
const LINES_MAX: usize = 4_096;

/// Counts the lines that were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Keeps logging going. Dropping it writes the lines that wait, for a second at most: keep it to the very end.
#[must_use]
pub struct Logging {
    _writer: WorkerGuard,
}

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
pub fn log_to_stderr(format: LogFormat) -> Result<Logging, LogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let terminal = std::io::stderr().is_terminal();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset_or_malformed| tracing_subscriber::EnvFilter::new("info"));
    let (writer, guard) = writer(std::io::stderr(), LINES_MAX);
    DROPPED.get_or_init(|| writer.error_counter());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let initialised = if json {
        lines.json().flatten_event(true).finish().try_init()
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(colour).finish().try_init()
    };
    initialised.map_err(LogError)?;
    Ok(Logging { _writer: guard })
}

/// Returns how many log lines were dropped, because nobody read stderr, since the start.
pub fn dropped_log_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

fn writer(to: impl Write + Send + 'static, lines_max: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines_max).thread_name("log-writer").finish(to)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes a line only when it is told to.
    struct Stuck {
        let_go: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.let_go.recv().ok();
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted_and_nobody_waits() {
        let (go_on, let_go) = mpsc::channel();
        let (mut writer, guard) = writer(Stuck { let_go }, 10);
        for _ in 0..100 {
            writer.write_all(b"a line\n").expect("it never fails");
        }
        // One may be with the writer, ten wait.
        assert!((89..=90).contains(&writer.error_counter().dropped_lines()));
        drop((go_on, guard));
    }
}

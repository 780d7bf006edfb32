//! How the program logs: lines on stderr, text for people, JSON for programs.
//!
//! Lines are written by a thread of their own. Where stderr is not read, they wait, up to a limit, and are dropped and
//! counted beyond it: nothing ever waits for a log line.

use std::io::{BufWriter, IsTerminal as _, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Most lines that wait to be written.
const LINES_MAX: usize = 4_096;

/// Most bytes of one write: what a pipe takes in one piece, so that lines of two processes never mix.
const WRITE_MAX: usize = 4_096;
/// How long lines may gather after those before them were written.
const GATHER_TIME: Duration = Duration::from_millis(5);

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
    let lines = BatchedWriter(BufWriter::with_capacity(WRITE_MAX, to));
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(lines_max).thread_name("log-writer").finish(lines)
}

/// Writes lines in batches when many come at once. A line after a silence is written at once.
struct BatchedWriter<W: Write>(BufWriter<W>);

impl<W: Write> Write for BatchedWriter<W> {
    /// Takes a whole line; the buffer writes what it holds before it would have to break one.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.write(line)
    }

    /// Called by the writing thread when no line waits.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own, on which no event is waited for")]
    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.0.flush();
        // The thread would sleep until the next line anyway, and whoever logs that one would have to wake it.
        std::thread::sleep(GATHER_TIME);
        flushed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Says that it is given lines, and takes them only when it is told to.
    struct Stuck {
        begun: mpsc::Sender<()>,
        let_go: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.begun.send(()).ok();
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
        let (begun, writing) = mpsc::channel();
        let (mut writer, guard) = writer(Stuck { begun, let_go }, 10);
        writer.write_all(b"a line\n").expect("it never fails");
        writing.recv().expect("the first line is being written");
        for _ in 0..100 {
            writer.write_all(b"a line\n").expect("it never fails");
        }
        assert_eq!(writer.error_counter().dropped_lines(), 90, "ten wait");
        drop((go_on, guard));
    }

    /// Keeps each write apart.
    #[derive(Clone, Default)]
    struct Writes(std::sync::Arc<parking_lot::Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_wait_are_written_together_and_none_is_broken() {
        let writes = Writes::default();
        let mut gathered = BatchedWriter(BufWriter::with_capacity(WRITE_MAX, writes.clone()));
        let line = [b"x".repeat(299), b"\n".to_vec()].concat();
        for _ in 0..100 {
            gathered.write_all(&line).expect("it never fails");
        }
        gathered.write_all(&[b"y".repeat(9_999), b"\n".to_vec()].concat()).expect("it never fails");
        gathered.flush().expect("it never fails");
        let lengths: Vec<usize> = writes.0.lock().iter().map(Vec::len).collect();
        let full = WRITE_MAX / 300 * 300;
        assert_eq!(lengths, [vec![full; 7], vec![30_000 - 7 * full, 10_000]].concat());
        assert!(writes.0.lock().iter().all(|write| write.ends_with(b"\n")));
    }
}

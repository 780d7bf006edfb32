//! What is logged on a test's own thread.

use std::sync::Arc;

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;

/// Log lines, one event each, as they come.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl LogLines {
    /// Begins to keep them, until the guard is dropped.
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let lines_to = move || writer.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(lines_to).finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }

    /// The events of a name: what stands before a colon in their message.
    pub(crate) fn events(&self, name: &str) -> Vec<serde_json::Value> {
        let events = self.text().lines().map(|line| serde_json::from_str(line).expect("json")).collect::<Vec<_>>();
        let is_named = |event: &serde_json::Value| {
            event["message"].as_str().is_some_and(|message| message.split(':').next() == Some(name))
        };
        events.into_iter().filter(is_named).collect()
    }
}

//! No more connections than the system lets the process have open files: without one, not even the store can be read.

use crate::accept::Options;
use crate::telemetry::OpenFiles;

/// Files that are not connections of the gateway: the store, KaiCalls, the admin listener, configuration being read.
pub const OTHER_FILES: usize = 160;
/// Connections there are however few files may be open.
pub const CONNECTIONS_MIN: usize = 64;

/// Lowers the number of connections to what the system's limit leaves for them.
pub(super) fn within_limit(options: Options) -> Options {
    let Some(limit) = OpenFiles::of_this_process().limit else { return options };
    let left = limit.saturating_sub(OTHER_FILES).max(CONNECTIONS_MIN);
    if left < options.connections {
        tracing::warn!(
            connections = left,
            "gateway.few_files: the limit of open files restricts the number of connections"
        );
    }
    Options { connections: options.connections.min(left), ..options }
}

//! No more connections than the system lets the process have open files: without one, not even the store can be read.

use crate::accept::Options;

/// Files that are not connections of the gateway: the store, KaiCalls, the admin listener, configuration being read.
const OTHERS: usize = 160;
/// Connections there are however few files may be open.
const CONNECTIONS_MIN: usize = 64;

/// Lowers the number of connections to what the system's limit leaves for them.
pub(super) fn within_limit(options: Options) -> Options {
    // Only Linux has this file; elsewhere the limit shows when it is met.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some(limit) = open_files(&limits) else { return options };
    let left = limit.saturating_sub(OTHERS).max(CONNECTIONS_MIN);
    if left < options.connections {
        tracing::warn!(
            connections = left,
            "gateway.few_files: the limit of open files restricts the number of connections"
        );
    }
    Options { connections: options.connections.min(left), ..options }
}

/// Finds the limit in force; none where there is no limit.
fn open_files(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_in_force_is_found() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             94000                94000                processes \n\
                      Max open files            1024                 20000                files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files(&limits.replace("1024", "unlimited")), None);
        assert_eq!(open_files(""), None);
    }
}

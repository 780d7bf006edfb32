//! How many files this process may have open, and has.

use serde::{Deserialize, Serialize};

/// Open files of a process. Only Linux tells; elsewhere both are unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenFiles {
    /// The limit in force; none where there is no limit, or it isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<usize>,
}

impl OpenFiles {
    /// Asks the system about this process.
    pub fn of_this_process() -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        Self { limit: limit(&limits), open }
    }
}

/// Finds the limit in force; none where there is no limit.
fn limit(limits: &str) -> Option<usize> {
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
        assert_eq!(limit(limits), Some(1024));
        assert_eq!(limit(&limits.replace("1024", "unlimited")), None);
        assert_eq!(limit(""), None);
    }
}

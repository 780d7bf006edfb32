//! Warnings of the configuration in the log: each once, however often the files are read.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::config::{Diagnostic, Diagnostics, Severity};

/// Most warnings that are logged at one reading.
const LOGGED_MAX: usize = 50;

/// The warnings that stood when the files were last read.
#[derive(Default)]
pub(super) struct Warnings {
    standing: Mutex<BTreeSet<(String, String)>>,
}

impl Warnings {
    /// Logs the warnings that did not stand before.
    pub(super) fn tell(&self, diagnostics: &Diagnostics) {
        for warning in self.new_ones(diagnostics).into_iter().take(LOGGED_MAX) {
            let place = warning.location();
            tracing::warn!(place, hint = warning.hint, "config.warning: {}", warning.message);
        }
    }

    fn new_ones<'a>(&self, diagnostics: &'a Diagnostics) -> Vec<&'a Diagnostic> {
        let warnings = || diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning);
        let mark = |warning: &Diagnostic| (warning.location(), warning.message.clone());
        let mut standing = self.standing.lock();
        let new = warnings().filter(|warning| !standing.contains(&mark(warning))).collect();
        *standing = warnings().map(mark).collect();
        new
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::config::{Sources, start};

    #[test]
    fn a_warning_is_told_when_it_comes_and_when_it_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            start(&path, &Sources::with_environment([]), date(2026, 11, 21)).loaded.diagnostics
        };
        let plain = "[server]\n";
        let open = "[admin]\nlisten = \"0.0.0.0:8081\"\n";
        let warnings = Warnings::default();
        let told: Vec<usize> =
            [plain, open, open, plain, open].iter().map(|text| warnings.new_ones(&read(text)).len()).collect();
        // That there is no site is told the first time.
        assert_eq!(told, [1, 1, 0, 0, 1]);
    }
}

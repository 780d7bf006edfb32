//! What a proof found, as a row of the table.

use std::collections::BTreeSet;

/// Most failures of one proof that are shown.
const SHOWN_MAX: usize = 8;

/// What a proof found.
#[derive(Default)]
pub(crate) struct Row {
    /// What it is asked for by.
    pub(crate) name: &'static str,
    pub(crate) proof: &'static str,
    pub(crate) rounds: usize,
    pub(crate) counts: Counts,
    /// What else it measured.
    pub(crate) told: Vec<String>,
    pub(crate) failed: Vec<String>,
    /// Why it could not be run.
    pub(crate) not_run: Option<String>,
}

/// What became of what was answered 2xx.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) answered: usize,
    pub(crate) delivered: usize,
    pub(crate) queued: usize,
    pub(crate) held: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
}

impl Row {
    pub(crate) fn new(proof: &'static str, rounds: usize) -> Self {
        Self { proof, rounds, ..Self::default() }
    }

    pub(crate) fn not_run(proof: &'static str, why: impl Into<String>) -> Self {
        Self { not_run: Some(why.into()), ..Self::new(proof, 0) }
    }

    /// Fails the proof unless this holds.
    pub(crate) fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.failed.push(otherwise());
        }
    }

    pub(crate) fn tell(&mut self, text: impl Into<String>) {
        self.told.push(text.into());
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match (&self.not_run, self.failed.is_empty()) {
            (Some(_), _) => "not run",
            (None, true) => "ok",
            (None, false) => "FAILED",
        }
    }
}

/// Renders the table, with what failed below it.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| proof | what | rounds | 2xx | delivered | queued | held | lost | doubled | measured | verdict |".to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let Counts { answered, delivered, queued, held, lost, doubled } = row.counts;
        lines.push(format!(
            "| {} | {} | {} | {answered} | {delivered} | {queued} | {held} | {lost} | {doubled} | {} | {} |",
            row.name,
            row.proof,
            row.rounds,
            row.told.join("; "),
            row.verdict()
        ));
    }
    for row in rows {
        lines.extend(row.not_run.iter().map(|why| format!("{}: not run: {why}", row.proof)));
        let failed: BTreeSet<_> = row.failed.iter().collect();
        let shown = failed.iter().take(SHOWN_MAX);
        lines.extend(shown.map(|failure| format!("{}: FAILED: {failure}", row.proof)));
        if failed.len() > SHOWN_MAX {
            lines.push(format!("{}: FAILED: and {} more like these", row.proof, failed.len() - SHOWN_MAX));
        }
    }
    lines.join("\n")
}

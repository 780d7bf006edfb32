//! What came of it all.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::plan::Plan;
use super::writer::Done;
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::keys::failure;
use crate::cli::leads::plural;
use crate::config::Loaded;
use crate::lead::SiteId;
use crate::operate::keys::{InVain, Provisioner};
use crate::operate::onboard::{BadRow, Roster};

/// What is told at the end.
#[derive(Serialize)]
pub(super) struct Report {
    dry_run: bool,
    rows: usize,
    added: usize,
    /// Sites that were there and lacked keys.
    completed: usize,
    unchanged: usize,
    failed: Vec<FailedRow>,
    different: Vec<DifferentRow>,
    bad_rows: Vec<BadRow>,
    /// Connections that may have been minted in vain, found by this run.
    pub(super) in_vain: Vec<InVain>,
    /// Rows of the file of what to paste that had the gateway's former address.
    pub(super) refreshed: usize,
    /// The file of what to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) out: Option<PathBuf>,
    #[serde(skip)]
    is_refused: bool,
    #[serde(skip)]
    is_unreachable: bool,
}

/// A row that couldn't be done.
#[derive(Serialize)]
struct FailedRow {
    line: u64,
    id: SiteId,
    problem: String,
}

/// A row whose site is there with other values.
#[derive(Serialize)]
struct DifferentRow {
    line: u64,
    id: SiteId,
    file: PathBuf,
    fields: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(roster: &Roster, dry_run: bool) -> Self {
        let mut bad_lines: Vec<u64> = roster.bad.iter().map(|bad| bad.line).collect();
        bad_lines.dedup();
        Self {
            dry_run,
            rows: roster.rows.len() + bad_lines.len(),
            added: 0,
            completed: 0,
            unchanged: 0,
            failed: Vec::new(),
            different: Vec::new(),
            bad_rows: roster.bad.clone(),
            in_vain: Vec::new(),
            refreshed: 0,
            out: None,
            is_refused: false,
            is_unreachable: false,
        }
    }

    /// Takes out the rows for which nothing is to be done.
    pub(super) fn take_settled(&mut self, plans: &mut Vec<Plan<'_>>) {
        for plan in plans.iter() {
            if let Some(site) = plan.site.filter(|_| !plan.differences.is_empty()) {
                let line = plan.row.line;
                let id = site.id.clone();
                let file = site.file.clone();
                self.different.push(DifferentRow { line, id, file, fields: plan.differences.clone() });
            }
            if let Some(refusal) = &plan.refusal {
                self.add_failed(plan, problem_of(refusal));
            } else if plan.is_settled() {
                self.unchanged += 1;
            }
        }
        plans.retain(|plan| !plan.is_settled());
    }

    /// Clears the notes of pairs that a site's file names already: an earlier run was cut off between the two.
    pub(super) fn finish_notes(
        &self,
        loaded: &Loaded,
        roster: &Roster,
        provisioner: &Provisioner,
    ) -> Result<(), Error> {
        let in_roster: BTreeSet<&SiteId> = roster.rows.iter().map(|row| &row.id).collect();
        for site in loaded.usable_sites().filter(|site| in_roster.contains(&site.id)) {
            // A rotation is finished by `keys rotate`, which still waits for the old pair.
            if let Some(keys) = &site.keys {
                provisioner.finish(&site.id, keys.public()).map_err(failure)?;
            }
        }
        Ok(())
    }

    /// Takes what came of a row. What can't be written ends it all.
    pub(super) fn add(&mut self, plan: &Plan<'_>, done: Result<Done, Error>) -> Result<(), Error> {
        match done {
            Ok(Done::Added) => self.added += 1,
            Ok(Done::Completed) => self.completed += 1,
            Ok(Done::Unchanged) => self.unchanged += 1,
            Err(error) => {
                self.is_refused |= error.exit() == Exit::KeysRefused;
                self.is_unreachable |= error.exit() == Exit::UpstreamAway;
                self.add_failed(plan, problem_of(&error));
                if error.exit() == Exit::Store {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes rows that were not done any more.
    pub(super) fn add_undone<'a, 'b: 'a>(&mut self, plans: impl Iterator<Item = &'a Plan<'b>>, why: &str) {
        plans.for_each(|plan| self.add_failed(plan, why.to_owned()));
    }

    fn add_failed(&mut self, plan: &Plan<'_>, problem: String) {
        self.failed.push(FailedRow { line: plan.row.line, id: plan.row.id.clone(), problem });
    }

    /// Shows what would be done.
    pub(super) fn foretell(&mut self, plans: &[Plan<'_>], output: Format, console: &mut Console) -> Result<(), Error> {
        self.added = plans.iter().filter(|plan| plan.site.is_none()).count();
        self.completed = plans.len() - self.added;
        if output == Format::Text {
            for plan in plans {
                console.data(format!("{}: would {}", plan.row.id, plan.words()))?;
            }
        }
        self.show(output, console)
    }

    pub(super) fn show(&self, output: Format, console: &mut Console) -> Result<(), Error> {
        if output == Format::Json {
            return console.json(self);
        }
        for DifferentRow { line, id, file, fields } in &self.different {
            let fields = fields.join(", ");
            console.data(format!(
                "line {line}: {id} is there already with another {fields}: {} is left as it is",
                file.display()
            ))?;
        }
        for FailedRow { line, id, problem } in &self.failed {
            console.data(format!("line {line}: {id} failed: {problem}"))?;
        }
        for BadRow { line, column, field, problem, cure } in &self.bad_rows {
            let place = column.map(|column| format!(", column {column}")).unwrap_or_default();
            let field = field.map(|field| format!(" {field}:")).unwrap_or_default();
            console.data(format!("line {line}{place}:{field} {problem}; {cure}"))?;
        }
        console.say(self.words());
        if self.refreshed > 0 {
            let rows = plural(self.refreshed as u64, "row");
            console.say(format!("the gateway's address has changed: {rows} of what to paste written anew"));
        }
        if let Some(out) = &self.out {
            console.say(format!(
                "what to paste into each site's plugin is in {}; it has the tokens, which are stored nowhere else",
                out.display()
            ));
        }
        Ok(())
    }

    fn words(&self) -> String {
        let (added, completed) = match self.dry_run {
            true => ("would be added", "would be completed"),
            false => ("added", "completed"),
        };
        let mut bad: Vec<u64> = self.bad_rows.iter().map(|bad| bad.line).collect();
        bad.dedup();
        let counts = [
            (self.completed, completed),
            (self.unchanged, "unchanged"),
            (self.failed.len(), "failed"),
            (bad.len(), "bad"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts: String = counts.map(|(count, what)| format!(", {count} {what}")).collect();
        format!("{}: {} {added}{counts}", plural(self.rows as u64, "row"), self.added)
    }

    /// Tells whether URLs were written down.
    pub(super) fn has_urls(&self) -> bool {
        self.out.is_some()
    }

    pub(super) fn exit(&self) -> Exit {
        match (self.is_refused, self.is_unreachable) {
            (true, _) => Exit::KeysRefused,
            (false, true) => Exit::UpstreamAway,
            _ if !self.failed.is_empty() || !self.bad_rows.is_empty() => Exit::Findings,
            _ => Exit::Ok,
        }
    }
}

fn problem_of(error: &Error) -> String {
    error.render().trim_start_matches("error: ").replace('\n', ";").replace(";  ", "; ")
}

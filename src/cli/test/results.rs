//! The results of `formgate test`, case by case.

use super::{CaseEnd, NO_EXPECTATION, TestSummary, Tested};
use crate::cli::console::Paint;
use crate::cli::diff::{self, Sides};
use crate::cli::junit::{JunitOutcome, TestCase};
use crate::cli::rules::LoadedRules;
use crate::config::{Diagnostic, Severity};
use crate::map::{Expect, Mapping};

/// Names the examples of a mapping that expect nothing.
pub(super) fn empty_examples(mapping: &Mapping) -> Vec<String> {
    let numbered = mapping.examples.iter().zip(1..);
    let empty = numbered.filter(|(example, _)| matches!(&example.expect, Expect::Lead(lead) if lead.is_empty()));
    empty.map(|(_, number)| format!("{}, example {number}", mapping.name)).collect()
}

/// Lists every example of the mappings and every captured request.
pub(super) fn test_cases(summary: &TestSummary, rules: &LoadedRules, strict: bool) -> Vec<TestCase> {
    let sound = rules.mappings.iter().flat_map(|mapping| examples(mapping, strict));
    let broken = rules.broken_mappings.iter().flat_map(|name| broken_mapping(name, rules));
    let captured = summary.cases.iter().map(|tested| captured(tested, strict));
    sound.chain(broken).chain(captured).collect()
}

/// The examples of a mapping without a fault: those that expect something have passed.
fn examples(mapping: &Mapping, strict: bool) -> Vec<TestCase> {
    let empty = empty_examples(mapping);
    let case = |number: usize| {
        let name = format!("example {number}");
        let is_empty = empty.contains(&format!("{}, {name}", mapping.name));
        let outcome = if is_empty { unexpected("it has no expectation", strict) } else { JunitOutcome::Passed };
        TestCase { class: format!("mappings.{}", mapping.name), name, outcome }
    };
    (1..=mapping.examples.len()).map(case).collect()
}

/// What is wrong with a mapping: an example that doesn't become what it says, or the file itself.
fn broken_mapping(name: &str, rules: &LoadedRules) -> Vec<TestCase> {
    let of_mapping = |found: &&Diagnostic| {
        found.severity > Severity::Warning && found.file.file_stem().is_some_and(|stem| stem == name)
    };
    let case = |found: &Diagnostic| {
        let message = found.message.lines().next().unwrap_or_default().to_owned();
        let line = found.place.as_ref().map_or_else(|| "file".to_owned(), |place| format!("line {}", place.line));
        let detail = format!("{}\n{}", found.location(), found.message);
        TestCase { class: format!("mappings.{name}"), name: line, outcome: JunitOutcome::Failed { message, detail } }
    };
    rules.diagnostics.iter().filter(of_mapping).map(case).collect()
}

fn captured(tested: &Tested, strict: bool) -> TestCase {
    let outcome = match &tested.end {
        CaseEnd::Passed => JunitOutcome::Passed,
        CaseEnd::Written => JunitOutcome::Skipped { message: "expectation written".to_owned() },
        CaseEnd::NoExpectation => unexpected(NO_EXPECTATION, strict),
        CaseEnd::Unreadable { error } => JunitOutcome::Broken { message: error.clone() },
        CaseEnd::Failed { differences } => {
            let what: Vec<&str> = differences.iter().map(|difference| difference.what).collect();
            let detail = diff::render(differences, Sides::Expectation, Paint::default()).join("\n");
            JunitOutcome::Failed { message: format!("differs in {}", what.join(", ")), detail }
        }
    };
    let folder = tested.case.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let name = tested.case.file_name().unwrap_or_default().to_string_lossy().into_owned();
    TestCase { class: if folder.is_empty() { ".".to_owned() } else { folder }, name, outcome }
}

fn unexpected(message: &str, strict: bool) -> JunitOutcome {
    let message = message.to_owned();
    if strict { JunitOutcome::Failed { detail: message.clone(), message } } else { JunitOutcome::Skipped { message } }
}

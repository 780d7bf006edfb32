//! `formgate test`.

mod results;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::cases::{self, Case};
use super::check::counted;
use super::console::{Console, Format, Paint};
use super::diff::{self, Sides};
use super::error::Error;
use super::exit::Exit;
use super::expectation::{Difference, Expectation};
use super::junit;
use super::rules::{ConfigArg, LoadedRules};
use crate::lead::SiteId;
use crate::lead::overlay::Overlay;
use crate::pipeline::{self, Mappings};
use crate::telemetry;

/// What is said of a case with nothing beside it.
const NO_EXPECTATION: &str = "no expectation: the .json beside it is missing or empty";
/// Where fixtures are looked for.
const FIXTURES: &str = "fixtures";

/// Runs captured requests and the mappings' examples, and shows what differs.
///
/// A case is a captured request, CASE.http, with CASE.json beside it: {"expect": {"name", "email", "phone", "message"}}
/// is exactly what is sent to KaiCalls, {"reject": [{"field", "code"}]} is why there is no lead. Exits with 1 if a case
/// fails; with --strict also if one has no expectation.
#[derive(Args, Debug)]
pub(super) struct TestArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The site whose rules apply [default: the one in each captured URL, else none]
    #[arg(long, value_name = "SITE", value_parser = SiteId::parse)]
    site: Option<SiteId>,
    /// Write CASE.json with the current result for cases that have none
    #[arg(long)]
    write: bool,
    /// Fail cases and examples without an expectation
    #[arg(long)]
    strict: bool,
    /// Also write the results as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Captured requests, or folders of them [default: fixtures, if it exists]
    paths: Vec<PathBuf>,
}

/// How one case ended.
#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum CaseEnd {
    Passed,
    Failed { differences: Vec<Difference> },
    Unreadable { error: String },
    NoExpectation,
    Written,
}

#[derive(Serialize)]
struct Tested {
    case: PathBuf,
    #[serde(flatten)]
    end: CaseEnd,
}

/// How many cases passed and failed.
#[derive(Serialize)]
struct TestSummary {
    examples: usize,
    /// Mappings' examples that expect nothing, by mapping and number.
    empty_examples: Vec<String>,
    /// Mappings that are wrong, or fail an example.
    broken_mappings: Vec<String>,
    passed: usize,
    failed: usize,
    written: usize,
    without_expectation: usize,
    cases: Vec<Tested>,
}

pub(super) fn run(args: &TestArgs, console: &mut Console) -> Result<Exit, Error> {
    let rules = LoadedRules::load(&args.config, console)?;
    let files = if args.paths.is_empty() { cases::below(Path::new(FIXTURES))? } else { cases::find(&args.paths)? };
    let mut tested = Vec::with_capacity(files.len());
    for file in files {
        let end = test(&file, args, &rules)?;
        tested.push(Tested { case: file, end });
    }
    let summary = TestSummary::of(tested, &rules.mappings, rules.broken_mappings.clone());
    if let Some(file) = &args.junit {
        let document = junit::document("formgate test", &results::test_cases(&summary, &rules, args.strict));
        let written = fs::write(file, document).with_context(|| format!("can't write {}", file.display()));
        written.map_err(Error::store)?;
    }
    match args.output {
        Format::Json => console.json(&summary)?,
        Format::Text => show(&summary, &rules, args.strict, console)?,
    }
    Ok(if summary.is_good(args.strict) { Exit::Ok } else { Exit::Findings })
}

fn test(file: &Path, args: &TestArgs, rules: &LoadedRules) -> Result<CaseEnd, Error> {
    let case = match cases::read(file) {
        Ok(case) => case,
        Err(error) => return Ok(CaseEnd::Unreadable { error: format!("{error:#}") }),
    };
    let found = expectation_of(&case, args.site.as_ref(), rules)?;
    Ok(match &case.expectation {
        Some(expected) => match expected.differences(&found) {
            differences if differences.is_empty() => CaseEnd::Passed,
            differences => CaseEnd::Failed { differences },
        },
        None if args.write => {
            write(&cases::expectation_path(&case.path), &found).map_err(Error::store)?;
            CaseEnd::Written
        }
        None => CaseEnd::NoExpectation,
    })
}

fn expectation_of(case: &Case, site: Option<&SiteId>, rules: &LoadedRules) -> Result<Expectation, Error> {
    let met = rules.meet(site, None, &case.capture)?;
    let received = case.capture.received();
    let processed = telemetry::catch(|| pipeline::process(&rules.mappings, &met.site, met.form.as_ref(), &received));
    let processed = processed
        .unwrap_or_else(|_panicked| pipeline::panicked(&met.site, met.form.as_ref(), &Overlay::default()).processed);
    Ok(Expectation::of(&processed))
}

/// Writes what isn't there yet; what somebody wrote is never overwritten.
fn write(path: &Path, expectation: &Expectation) -> Result<(), anyhow::Error> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(expectation.to_json().as_bytes()));
    written.with_context(|| format!("can't write {}", path.display()))
}

fn show(summary: &TestSummary, rules: &LoadedRules, strict: bool, console: &mut Console) -> Result<(), Error> {
    let paint = console.paint();
    if !summary.broken_mappings.is_empty() {
        console.data(rules.diagnostics.render(paint.colour))?;
    }
    for tested in &summary.cases {
        for line in tested.lines(strict, paint) {
            console.data(line)?;
        }
    }
    for example in &summary.empty_examples {
        let label = if strict { paint.red("FAIL") } else { paint.yellow("not tested") };
        console.data(format!("{label} {example}\n  it has no expectation: give its `lead` a field"))?;
    }
    if summary.without_expectation > 0 {
        let count = counted(summary.without_expectation, "case");
        console.say(format!("{count} without an expectation, so not compared; --write writes one"));
    }
    console.data(summary.words(strict, paint))
}

impl Tested {
    /// Says how it ended; a case that passed needs no word.
    fn lines(&self, strict: bool, paint: Paint) -> Vec<String> {
        let case = self.case.display();
        match &self.end {
            CaseEnd::NoExpectation if strict => {
                vec![format!("{} {case}", paint.red("FAIL")), format!("  {NO_EXPECTATION}"), String::new()]
            }
            CaseEnd::Passed | CaseEnd::NoExpectation => Vec::new(),
            CaseEnd::Written => vec![format!("{} {case}", paint.yellow("wrote"))],
            CaseEnd::Unreadable { error } => {
                vec![format!("{} {case}", paint.red("FAIL")), format!("  {error}"), String::new()]
            }
            CaseEnd::Failed { differences } => {
                let mut lines = vec![format!("{} {case}", paint.red("FAIL"))];
                lines.extend(diff::render(differences, Sides::Expectation, paint));
                lines.push(String::new());
                lines
            }
        }
    }
}

impl TestSummary {
    fn of(cases: Vec<Tested>, mappings: &Mappings, broken_mappings: Vec<String>) -> Self {
        let count = |wanted: fn(&CaseEnd) -> bool| cases.iter().filter(|tested| wanted(&tested.end)).count();
        Self {
            examples: mappings.iter().map(|mapping| mapping.examples.len()).sum(),
            empty_examples: mappings.iter().flat_map(|mapping| results::empty_examples(mapping)).collect(),
            broken_mappings,
            passed: count(|end| matches!(end, CaseEnd::Passed)),
            failed: count(|end| matches!(end, CaseEnd::Failed { .. } | CaseEnd::Unreadable { .. })),
            written: count(|end| matches!(end, CaseEnd::Written)),
            without_expectation: count(|end| matches!(end, CaseEnd::NoExpectation)),
            cases,
        }
    }

    fn is_good(&self, strict: bool) -> bool {
        let is_complete = self.without_expectation == 0 && self.empty_examples.is_empty();
        self.failed == 0 && self.broken_mappings.is_empty() && (is_complete || !strict)
    }

    fn words(&self, strict: bool, paint: Paint) -> String {
        let head = if self.is_good(strict) { paint.green("ok") } else { paint.red("failed") };
        let cases = self.cases.len();
        let mut words = format!("{head}  {} and {}: ", counted(self.examples, "example"), counted(cases, "case"));
        words.push_str(&format!("{} of the cases passed, {} failed", self.passed, self.failed));
        if self.without_expectation > 0 {
            words.push_str(&format!(", {} not tested: no expectation", self.without_expectation));
        }
        if self.written > 0 {
            words.push_str(&format!(", {} written", self.written));
        }
        if !self.broken_mappings.is_empty() {
            words.push_str(&format!("; broken mappings: {}", self.broken_mappings.join(", ")));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::tests::console;

    const CAPTURE: &str = "POST /x HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nname=Jane&email=jane%40example.com&message=Hi+";

    fn args(paths: Vec<PathBuf>, write: bool, output: Format) -> TestArgs {
        TestArgs { config: ConfigArg::default(), site: None, write, strict: false, junit: None, output, paths }
    }

    fn run_in(folder: &Path, write: bool) -> (Exit, String) {
        let rules = LoadedRules::shipped();
        let args = args(vec![folder.to_owned()], write, Format::Text);
        let (mut console, data, _) = console();
        let tested = cases::find(&args.paths).expect("cases").into_iter();
        let tested = tested.map(|case| Tested { end: test(&case, &args, &rules).expect("tested"), case }).collect();
        let summary = TestSummary::of(tested, &Mappings::default(), Vec::new());
        show(&summary, &rules, false, &mut console).expect("shown");
        let exit = if summary.is_good(false) { Exit::Ok } else { Exit::Findings };
        (exit, data.text().replace(&format!("{}/", folder.display()), ""))
    }

    #[test]
    fn a_missing_expectation_is_written_once_and_then_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.http"), CAPTURE).expect("written");
        assert_eq!(run_in(folder.path(), false).0, Exit::Ok);
        assert!(!folder.path().join("a.json").exists());
        let (exit, text) = run_in(folder.path(), true);
        assert_eq!((exit, text.lines().next()), (Exit::Ok, Some("wrote a.http")));
        let written = fs::read_to_string(folder.path().join("a.json")).expect("written");
        assert!(written.contains("\"email\": \"jane@example.com\"") && !written.contains("phone"), "{written}");
        assert_eq!(run_in(folder.path(), true).1, "ok  0 examples and 1 case: 1 of the cases passed, 0 failed\n");
    }

    #[test]
    fn a_difference_is_shown_field_by_field() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.http"), CAPTURE).expect("written");
        fs::write(folder.path().join("b.http"), "nonsense").expect("written");
        let expect = r#"{"expect": {"name": "Jane", "email": "jane@example.com", "phone": "1", "message": "Hi "}}"#;
        fs::write(folder.path().join("a.json"), expect).expect("written");
        let (exit, text) = run_in(folder.path(), true);
        assert_eq!(exit, Exit::Findings);
        let expected = "FAIL a.http\n  phone\n    - expected  1\n    + found     (nothing)\n  message\n    - Hi·\n    \
                        + Hi\n\nFAIL b.http\n  b.http is not a captured request: the empty line after its headers is \
                        missing\n\nfailed  0 examples and 2 cases: 0 of the cases passed, 2 failed\n";
        assert_eq!(text, expected);
    }
}

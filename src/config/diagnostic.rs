//! What is wrong with the configuration: where, what, and the cure.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::mask;
use super::recurring::{self, Recurring};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but is hardly meant.
    Warning,
    /// It is well written but names a file that is not on this machine yet: a checkout can be checked without the
    /// secrets, but not served.
    Unresolved,
    Error,
}

/// One problem. Holds no secret: what it shows is masked when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: PathBuf,
    /// None where the file as a whole is meant.
    #[serde(flatten)]
    pub place: Option<SourceLocation>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where else the same was found, as `file:line:column`: one diagnostic stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    #[serde(skip)]
    pub(super) recurring: Option<Recurring>,
}

/// A place in a file, with the line to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceLocation {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line as it may be shown: secrets masked, cut where it is very long.
    pub source_line: String,
    /// Where the caret stands under `source_line`, in characters from 0.
    #[serde(skip)]
    pub caret: usize,
    /// How many characters are underlined; at least one.
    #[serde(skip)]
    pub width: usize,
}

/// Every problem of one run, file by file, from the top of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostic {
    pub(super) fn new(
        severity: Severity,
        file: &Path,
        place: Option<SourceLocation>,
        message: &str,
        hint: Option<&str>,
    ) -> Self {
        let hint = hint.map(presentable);
        let message = presentable(message);
        let also = Vec::new();
        Self { severity, file: file.to_owned(), place, message, hint, also, recurring: None }
    }

    /// Returns its place as `file:line:column`, or the file alone.
    pub fn location(&self) -> String {
        let file = self.file.display();
        self.place
            .as_ref()
            .map_or_else(|| file.to_string(), |SourceLocation { line, column, .. }| format!("{file}:{line}:{column}"))
    }

    fn render_into(&self, text: &mut String, paint: DiagnosticPaint) {
        let (label, code) = self.severity.label();
        let message = self.message.replace('\n', "\n       ");
        writeln_to(text, format_args!("{}: {message}", paint.bold(label, code)));
        let gutter = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        let bar = paint.bold("|", BLUE);
        let (arrow, file) = (paint.bold("-->", BLUE), self.file.display());
        match &self.place {
            None => writeln_to(text, format_args!("{:gutter$}{arrow} {file}", "")),
            // The line of one of many says nothing of the others.
            Some(_) if !self.also.is_empty() => {
                let first = self.location();
                let others = self.also.len();
                writeln_to(text, format_args!("{:gutter$}{arrow} {first} and {others} more", ""));
            }
            Some(SourceLocation { line, column, source_line, caret, width }) => {
                writeln_to(text, format_args!("{:gutter$}{arrow} {file}:{line}:{column}", ""));
                writeln_to(text, format_args!("{:gutter$} {bar}", ""));
                let number = paint.bold(&line.to_string(), BLUE);
                writeln_to(text, format_args!("{}", format!("{number} {bar} {source_line}").trim_end()));
                let under = paint.bold(&"^".repeat((*width).max(1)), code);
                writeln_to(text, format_args!("{:gutter$} {bar} {:caret$}{under}", "", ""));
            }
        }
        if let Some(hint) = &self.hint {
            let hint = hint.replace('\n', "\n         ");
            writeln_to(text, format_args!("{:gutter$} {} help: {hint}", "", paint.bold("=", BLUE)));
        }
    }
}

impl Diagnostics {
    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        self.list.extend(more);
    }

    /// Tells once what many sites or files share.
    pub(super) fn gather(&mut self) {
        self.list = recurring::gather(std::mem::take(&mut self.list));
    }

    /// Adds what only shows where the configuration is used.
    pub fn add_error(&mut self, file: &Path, message: &str) {
        self.list.push(Diagnostic::new(Severity::Error, file, None, message, None));
    }

    pub(super) fn add_error_with_hint(&mut self, file: &Path, message: &str, hint: &str) {
        self.list.push(Diagnostic::new(Severity::Error, file, None, message, Some(hint)));
    }

    pub(super) fn add_warning(&mut self, file: &Path, message: &str, hint: &str) {
        self.list.push(Diagnostic::new(Severity::Warning, file, None, message, Some(hint)));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Gives the worst of them, so many at most, in the order of all.
    pub fn worst(&self, max: usize) -> Self {
        let mut worst: Vec<_> = self.list.iter().enumerate().collect();
        worst.sort_by_key(|(_, diagnostic)| Reverse(diagnostic.severity));
        worst.truncate(max);
        worst.sort_by_key(|(index, _)| *index);
        Self { list: worst.into_iter().map(|(_, diagnostic)| diagnostic.clone()).collect() }
    }

    /// Tells how many are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Counts where a severity was found: one diagnostic may stand for many places.
    pub fn count_places(&self, severity: Severity) -> usize {
        let of_severity = self.list.iter().filter(|diagnostic| diagnostic.severity == severity);
        of_severity.map(|diagnostic| 1 + diagnostic.also.len()).sum()
    }

    /// Tells whether something is wrong: `check` fails.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Tells whether something is wrong or missing on this machine: nothing can be served.
    pub fn prevent_serving(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity >= Severity::Unresolved)
    }

    /// Writes them for people: message, place, the line with a caret, the cure; an empty line between two.
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            diagnostic.render_into(&mut text, DiagnosticPaint { colour });
        }
        text
    }
}

const RED: &str = "31";
const YELLOW: &str = "33";
const MAGENTA: &str = "35";
const BLUE: &str = "34";

impl Severity {
    fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Warning => ("warning", YELLOW),
            Self::Unresolved => ("unresolved", MAGENTA),
            Self::Error => ("error", RED),
        }
    }
}

#[derive(Clone, Copy)]
struct DiagnosticPaint {
    colour: bool,
}

impl DiagnosticPaint {
    fn bold(self, text: &str, code: &str) -> String {
        if self.colour { format!("\u{1b}[1;{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn writeln_to(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

/// Takes out of a message what must not reach a terminal or a log: keys, tokens and control characters.
fn presentable(text: &str) -> String {
    let masked = mask::without_credentials(text);
    masked.chars().map(|c| if c.is_control() && c != '\n' { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostics {
        let place = SourceLocation { line: 12, column: 3, source_line: "  listne = 1".to_owned(), caret: 2, width: 6 };
        let file = Path::new("config.toml");
        let mut diagnostics = Diagnostics::default();
        diagnostics.extend([
            Diagnostic::new(Severity::Error, file, Some(place), "unknown key `listne`", Some("did you mean `listen`?")),
            Diagnostic::new(Severity::Warning, file, None, "is\u{1b} odd", None),
        ]);
        diagnostics
    }

    #[test]
    fn a_problem_is_shown_where_it_stands() {
        let expected = "error: unknown key `listne`
  --> config.toml:12:3
   |
12 |   listne = 1
   |   ^^^^^^
   = help: did you mean `listen`?

warning: is\u{FFFD} odd
 --> config.toml
";
        assert_eq!(sample().render(false), expected);
        assert!(sample().render(true).contains("\u{1b}[1;31merror\u{1b}[0m"));
    }

    #[test]
    fn the_worst_are_shown_in_the_order_of_all() {
        let severities = [Severity::Warning, Severity::Unresolved, Severity::Warning, Severity::Error];
        let mut all = Diagnostics::default();
        all.extend(severities.map(|severity| Diagnostic::new(severity, Path::new("config.toml"), None, "odd", None)));
        let worst = |max| all.worst(max).iter().map(|diagnostic| diagnostic.severity).collect::<Vec<_>>();
        assert_eq!(worst(2), [Severity::Unresolved, Severity::Error]);
        assert_eq!(worst(3), [Severity::Warning, Severity::Unresolved, Severity::Error]);
        assert_eq!(worst(9), severities);
    }

    #[test]
    fn a_machine_reads_the_same() {
        let json = serde_json::to_value(sample()).expect("json");
        let expected = serde_json::json!([
            {"severity": "error", "file": "config.toml", "line": 12, "column": 3, "source_line": "  listne = 1",
             "message": "unknown key `listne`", "hint": "did you mean `listen`?"},
            {"severity": "warning", "file": "config.toml", "message": "is\u{FFFD} odd"},
        ]);
        assert_eq!(json, expected);
    }
}

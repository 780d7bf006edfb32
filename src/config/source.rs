//! One configuration file: its text, and the problems found in it.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use super::advice::is_other_language;
use super::diagnostic::{Diagnostic, Severity, SourceLocation};
use super::mask::{MASK, secret_ranges};
use super::permission::unreadable;
use super::recurring::Recurring;
use super::watched::{Stamp, Watched};

/// Largest configuration file, in bytes.
const FILE_MAX: u64 = 1024 * 1024;
/// Longest part of a line that is shown, in characters.
const LINE_SHOWN_MAX: usize = 140;

/// One file, and what is wrong with it so far.
pub(super) struct SourceFile {
    path: PathBuf,
    text: String,
    unreadable: bool,
    problems: RefCell<Vec<(usize, Diagnostic)>>,
    faults: Cell<Faults>,
    /// What is reported now concerns only what the file refers to.
    is_aside: Cell<bool>,
    /// The text is of a file that may be gone, with its folder.
    is_kept: bool,
    secrets: OnceCell<Vec<Range<usize>>>,
    holds_secret: Cell<bool>,
    watched: RefCell<Watched>,
}

/// How many problems keep something from being used as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// In what is written.
    pub(super) own: usize,
    /// In what it refers to: a key that can't be read, a mapping that isn't there.
    pub(super) aside: usize,
    /// Of these, files that are not there.
    pub(super) absent: usize,
}

impl Faults {
    /// Tells what was found since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self { own: self.own - before.own, aside: self.aside - before.aside, absent: self.absent - before.absent }
    }
}

impl SourceFile {
    /// Reads a file; one that cannot be read is empty and says why in its problems.
    pub(super) fn read(path: &Path) -> Self {
        let stamp = Stamp::of(path);
        let (text, problem) = match read_text(path, FILE_MAX) {
            Ok(text) => (text, None),
            Err(problem) => (String::new(), Some(problem)),
        };
        let mut file = Self::from_text(path, text);
        file.watched.get_mut().add_file(path.to_owned(), stamp);
        if let Some((message, hint)) = problem {
            file.unreadable = true;
            file.report_file(Severity::Error, &message, hint.as_deref());
        }
        file
    }

    pub(super) fn from_text(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
            unreadable: false,
            problems: RefCell::default(),
            faults: Cell::default(),
            is_aside: Cell::new(false),
            is_kept: false,
            secrets: OnceCell::new(),
            holds_secret: Cell::new(false),
            watched: RefCell::default(),
        }
    }

    /// Takes the text that a file had when it was last good.
    pub(super) fn kept(path: &Path, text: String) -> Self {
        Self { is_kept: true, ..Self::from_text(path, text) }
    }

    /// Parses the file as TOML. Where that fails there is no table, only problems: what a half-read table lacks or
    /// has would only be guessed at.
    pub(super) fn parse(&self) -> Option<DeTable<'_>> {
        if self.unreadable {
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() && is_other_language(self, &self.text) {
            return None;
        }
        for error in &errors {
            self.error(error.span().unwrap_or(0..0), error.message());
        }
        errors.is_empty().then(|| Spanned::into_inner(table))
    }

    /// Tells whether the file is there and is TOML.
    pub(super) fn is_toml(&self) -> bool {
        !self.unreadable && DeTable::parse_recoverable(&self.text).1.is_empty()
    }

    /// Parses what can be parsed, without reporting anything.
    pub(super) fn parse_leniently(&self) -> DeTable<'_> {
        Spanned::into_inner(DeTable::parse_recoverable(&self.text).0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path that this file names: relative ones are relative to it.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = folder.join(path);
        if !path.components().any(|part| part == Component::ParentDir) {
            return path;
        }
        let short = without_parents(&path);
        // `gone/../secrets` leads nowhere while `gone` is away.
        let is_away = self.is_kept && !folder.is_dir();
        // `sites/../secrets` reads badly in a message; where `sites` is a link it is another folder than `secrets`.
        let parent = |path: &Path| path.parent().and_then(|parent| parent.canonicalize().ok());
        let is_same = || parent(&short).is_some_and(|short| Some(short) == parent(&path));
        if is_away || is_same() { short } else { path }
    }

    /// Returns the text of a span as it stands in the file.
    pub(super) fn raw(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// Returns a place as `file:line:column`.
    pub(super) fn location(&self, span: &Range<usize>) -> String {
        let place = self.place(span.clone());
        format!("{}:{}:{}", self.path.display(), place.line, place.column)
    }

    pub(super) fn error(&self, span: Range<usize>, message: &str) {
        self.report(Severity::Error, span, message, None);
    }

    pub(super) fn report(&self, severity: Severity, span: Range<usize>, message: &str, hint: Option<&str>) {
        let start = span.start;
        let diagnostic = Diagnostic::new(severity, &self.path, Some(self.place(span)), message, hint);
        self.add(start, diagnostic);
    }

    /// Reports what many sites or files may share, and which one it is here.
    pub(super) fn report_recurring(
        &self,
        severity: Severity,
        span: Option<Range<usize>>,
        recurring: Recurring,
        message: &str,
        hint: Option<&str>,
    ) {
        let start = span.as_ref().map_or(0, |span| span.start);
        let place = span.map(|span| self.place(span));
        let diagnostic = Diagnostic::new(severity, &self.path, place, message, hint);
        self.add(start, Diagnostic { recurring: Some(recurring), ..diagnostic });
    }

    /// Reports a problem of the file as a whole.
    pub(super) fn report_file(&self, severity: Severity, message: &str, hint: Option<&str>) {
        let diagnostic = Diagnostic::new(severity, &self.path, None, message, hint);
        self.add(0, diagnostic);
    }

    fn add(&self, start: usize, diagnostic: Diagnostic) {
        if diagnostic.severity >= Severity::Unresolved {
            let mut faults = self.faults.get();
            if self.is_aside.get() {
                faults.aside += 1;
                faults.absent += usize::from(diagnostic.severity == Severity::Unresolved);
            } else {
                faults.own += 1;
            }
            self.faults.set(faults);
        }
        self.problems.borrow_mut().push((start, diagnostic));
    }

    /// Reads what is only referred to: where that fails, what refers to it can still be used without it.
    pub(super) fn aside<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = self.is_aside.replace(true);
        let found = read();
        self.is_aside.set(before);
        found
    }

    /// Returns the problems found so far that keep something from being used.
    pub(super) fn faults(&self) -> Faults {
        self.faults.get()
    }

    /// Tells whether something was found that keeps the file from being used.
    pub(super) fn is_broken(&self) -> bool {
        self.faults.get().own > 0
    }

    /// Tells whether the file is there but can't be read, or isn't there.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Notes that the file itself holds a secret, so that others should not be able to read it.
    pub(super) fn note_secret(&self) {
        self.holds_secret.set(true);
    }

    /// Notes that what the file says depends on another file, which is about to be looked for.
    pub(super) fn note_file(&self, path: &Path) {
        self.watched.borrow_mut().add_file(path.to_owned(), Stamp::of(path));
    }

    /// Notes which files a pattern found.
    pub(super) fn note_listing(&self, pattern: &Path, found: &[PathBuf]) {
        self.watched.borrow_mut().add_listing(pattern.to_owned(), found.to_vec());
    }

    /// Returns the folders in which patterns look for files.
    pub(super) fn listed_folders(&self) -> Vec<PathBuf> {
        self.watched.borrow().folders()
    }

    /// Tells whether a pattern found a file.
    pub(super) fn lists(&self, path: &Path) -> bool {
        self.watched.borrow().lists(path)
    }

    /// Gives away which files were looked at.
    pub(super) fn take_watched(&mut self) -> Watched {
        self.watched.take()
    }

    pub(super) fn holds_secret(&self) -> bool {
        self.holds_secret.get()
    }

    /// Returns what was found, from top to bottom.
    pub(super) fn into_problems(self) -> impl Iterator<Item = Diagnostic> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(start, _)| *start);
        problems.into_iter().map(|(_, problem)| problem)
    }

    fn place(&self, span: Range<usize>) -> SourceLocation {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.split('\n').next()).unwrap_or_default();
        let shown = self.show(line_start, line.trim_end_matches('\r'), &span);
        SourceLocation {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            source_line: shown.text,
            caret: shown.caret,
            width: shown.width,
        }
    }

    /// Makes a line fit to be shown: secrets masked, control characters and tabs made one column, cut around the caret.
    fn show(&self, line_start: usize, line: &str, span: &Range<usize>) -> SourceExcerpt {
        let secrets = self.secrets.get_or_init(|| secret_ranges(&self.text));
        let mut shown: Vec<char> = Vec::new();
        let (mut caret, mut end) = (None, None);
        for (at, c) in line.char_indices().map(|(at, c)| (line_start + at, c)) {
            let secret = secrets.iter().find(|range| range.contains(&at));
            let first = secret.is_some_and(|range| at == range.start.max(line_start));
            caret = caret.or((at >= span.start)
                .then_some(shown.len().saturating_sub(usize::from(secret.is_some() && !first) * MASK.len())));
            end = end.or((at >= span.end).then_some(shown.len()));
            match secret {
                Some(_) if first => shown.extend(MASK.chars()),
                Some(_) => {}
                None => shown.push(if c.is_control() { ' ' } else { c }),
            }
        }
        let caret = caret.unwrap_or(shown.len());
        let width = end.unwrap_or(shown.len()).saturating_sub(caret).max(1);
        SourceExcerpt::cut(&shown, caret, width)
    }
}

/// Resolves `..` by the text alone.
fn without_parents(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir && resolved.file_name().is_some() {
            resolved.pop();
        } else {
            resolved.push(part);
        }
    }
    resolved
}

/// The part of a line that is shown.
struct SourceExcerpt {
    text: String,
    caret: usize,
    width: usize,
}

impl SourceExcerpt {
    fn cut(line: &[char], caret: usize, width: usize) -> Self {
        let from = if line.len() <= LINE_SHOWN_MAX { 0 } else { caret.saturating_sub(LINE_SHOWN_MAX / 2) };
        let mut text: String = line.iter().skip(from).take(LINE_SHOWN_MAX).collect();
        if from > 0 {
            text.replace_range(..text.chars().next().map_or(0, char::len_utf8), "…");
        }
        if line.len() > from + LINE_SHOWN_MAX {
            text.push('…');
        }
        let caret = caret - from;
        Self { text, caret, width: width.min(LINE_SHOWN_MAX.saturating_sub(caret)).max(1) }
    }
}

/// Reads a text file of at most `max` bytes; an error is words for a diagnostic, and what helps.
fn read_text(path: &Path, max: u64) -> Result<String, (String, Option<String>)> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > max {
        return Err((format!("is larger than {max} bytes"), None));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes)
        .map_err(|error| (format!("is not valid UTF-8 at byte {}", error.utf8_error().valid_up_to()), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, span: Range<usize>) -> SourceLocation {
        SourceFile::from_text(Path::new("f"), text.to_owned()).place(span)
    }

    #[test]
    fn columns_count_characters() {
        let place = place("a = 1\nñ = \"é\" # x\r\n", 11..15);
        assert_eq!((place.line, place.column), (2, 5));
        assert_eq!((place.source_line.as_str(), place.caret, place.width), ("ñ = \"é\" # x", 4, 3));
    }

    #[test]
    fn the_caret_stands_under_what_is_meant_behind_a_mask() {
        let text = "k = { secret_key = \"long long secret\", x = 1 }";
        let at = text.find("x = 1").expect("x");
        let place = place(text, at..at + 1);
        assert_eq!(place.column, at + 1);
        assert_eq!(place.source_line, "k = { secret_key = ***, x = 1 }");
        assert_eq!(place.source_line.chars().nth(place.caret), Some('x'));
    }

    #[test]
    fn a_caret_inside_a_secret_gives_nothing_away() {
        let text = "secret_key = \"long\" # x";
        let found = place(text, 16..18);
        assert_eq!((found.source_line.as_str(), found.caret), ("secret_key = *** # x", 13));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("a = \"{}\" b", "x".repeat(500));
        let found = place(&text, 507..508);
        assert!(found.source_line.chars().count() <= LINE_SHOWN_MAX + 1, "{}", found.source_line);
        assert_eq!(found.source_line.chars().nth(found.caret), Some('b'));
    }

    #[test]
    fn the_end_of_a_file_is_a_place() {
        let found = place("a = 1\n", 6..6);
        assert_eq!((found.line, found.column, found.caret, found.width), (2, 1, 0, 1));
    }
}

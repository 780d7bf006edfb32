//! Markdown, as the pages use it.

/// Longest line of prose, in characters.
const WIDTH: usize = 140;

/// A page that is being written.
pub(super) struct Page(String);

impl Page {
    /// Begins a page.
    pub(super) fn new(title: &str) -> Self {
        let note = "<!-- Written by `cargo run --example reference` from the program: change it there. -->";
        Self(format!("{note}\n\n# {title}\n"))
    }

    pub(super) fn heading(&mut self, level: usize, text: &str) {
        self.0.push_str(&format!("\n{} {text}\n", "#".repeat(level)));
    }

    /// Writes a paragraph, wrapped.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push('\n');
        self.wrapped(text, "");
    }

    /// Writes a list.
    pub(super) fn list(&mut self, items: &[String]) {
        self.0.push('\n');
        for item in items {
            self.0.push_str("- ");
            self.wrapped(item, "  ");
        }
    }

    /// Writes text as it is, as code; what all lines are indented by is taken away.
    pub(super) fn code(&mut self, text: &str) {
        self.0.push('\n');
        let indents =
            text.lines().filter(|line| !line.trim().is_empty()).map(|line| line.len() - line.trim_start().len());
        let indent = indents.min().unwrap_or_default();
        for line in text.trim_end().lines() {
            self.0.push_str(format!("    {}", line.get(indent..).unwrap_or_default()).trim_end());
            self.0.push('\n');
        }
    }

    /// Writes a block of code of a language.
    pub(super) fn block(&mut self, language: &str, text: &str) {
        self.0.push_str(&format!("\n```{language}\n{}\n```\n", text.trim_end()));
    }

    /// Writes a table; nothing without rows.
    pub(super) fn table<const N: usize>(&mut self, heads: [&str; N], rows: &[[String; N]]) {
        if rows.is_empty() {
            return;
        }
        self.0.push('\n');
        self.row(heads.map(str::to_owned));
        self.0.push_str(&format!("|{}\n", "---|".repeat(N)));
        for row in rows {
            self.row(row.each_ref().map(|cell| cell.replace('|', "\\|").replace('\n', " ")));
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push('|');
        for cell in cells {
            let filled = if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") };
            self.0.push_str(&filled);
        }
        self.0.push('\n');
    }

    fn wrapped(&mut self, text: &str, indent: &str) {
        let mut length = indent.len();
        for (at, word) in text.split_whitespace().enumerate() {
            let width = word.chars().count();
            if at > 0 && length + 1 + width > WIDTH {
                self.0.push_str(&format!("\n{indent}"));
                length = indent.len();
            } else if at > 0 {
                self.0.push(' ');
                length += 1;
            }
            self.0.push_str(word);
            length += width;
        }
        self.0.push('\n');
    }
}

/// Returns the anchor that a heading gets.
pub(super) fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Joins choices: `a`, `b` or `c`.
pub(super) fn choices(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}

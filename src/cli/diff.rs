//! Differences as a person reads them: line by line, white space visible.

use similar::{Change, ChangeTag, TextDiff};

use super::console::Paint;
use super::expectation::Difference;
use super::shown;

/// Lines alike that are shown around those that differ.
const AROUND: usize = 1;

/// What the two sides of a difference are.
#[derive(Clone, Copy)]
pub(super) enum Sides {
    /// What a test expects, and what it found.
    Expectation,
    /// What a lead has now, and what it would have after a change.
    Change,
}

impl Sides {
    /// Names both sides, padded to the same width.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Expectation => ["expected", "found   "],
            Self::Change => ["now  ", "after"],
        }
    }
}

/// Writes differences, each under the name of what differs.
pub(super) fn render(differences: &[Difference], sides: Sides, paint: Paint) -> Vec<String> {
    differences.iter().flat_map(|difference| one(difference, sides, paint)).collect()
}

fn one(difference: &Difference, sides: Sides, paint: Paint) -> Vec<String> {
    let label = format!("  {}", paint.bold(difference.what));
    let (Some(expected), Some(found)) = (&difference.expected, &difference.found) else {
        let [before, after] = sides.labels();
        let tell = |text: &Option<String>| text.as_deref().map_or_else(|| "(nothing)".to_owned(), visible);
        return vec![
            label,
            paint.green(&format!("    - {before}  {}", tell(&difference.expected))),
            paint.red(&format!("    + {after}  {}", tell(&difference.found))),
        ];
    };
    let mut lines = vec![label];
    lines.extend(by_line(expected, found, paint));
    lines
}

/// Writes a text on one line, its line breaks and hidden white space visible.
fn visible(text: &str) -> String {
    text.split('\n').map(shown::with_white_space).collect::<Vec<_>>().join("⏎")
}

/// Shows the lines that differ, and those beside them.
fn by_line(expected: &str, found: &str, paint: Paint) -> Vec<String> {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.split('\n').collect(), found.split('\n').collect());
    let diff = TextDiff::from_slices(&expected, &found);
    let one = |change: Change<&str>| match change.tag() {
        ChangeTag::Equal => paint.dim(format!("      {}", shown::line(change.value())).trim_end()),
        ChangeTag::Delete => paint.green(&format!("    - {}", shown::with_white_space(change.value()))),
        ChangeTag::Insert => paint.red(&format!("    + {}", shown::with_white_space(change.value()))),
    };
    let places = diff.grouped_ops(AROUND);
    let shown = places.iter().map(|ops| ops.iter().flat_map(|op| diff.iter_changes(op)).map(one).collect::<Vec<_>>());
    shown.collect::<Vec<_>>().join(&paint.dim("      …"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expected: Option<&str>, found: Option<&str>) -> Vec<String> {
        let difference =
            Difference { what: "message", expected: expected.map(str::to_owned), found: found.map(str::to_owned) };
        render(&[difference], Sides::Expectation, Paint::default())
    }

    #[test]
    fn only_the_lines_that_differ_are_shown_with_one_around() {
        let lines = shown(Some("a\nb\nc \nd\ne"), Some("a\nb\nc\n\nd\ne"));
        assert_eq!(lines, ["  message", "      b", "    - c·", "    + c", "    + ", "      d"]);
        assert_eq!(shown(Some("x"), Some("x\t")), ["  message", "    - x", "    + x→"]);
        assert_eq!(shown(Some("a\na"), Some("a")), ["  message", "      a", "    - a"]);
    }

    #[test]
    fn places_far_apart_are_shown_each_by_itself() {
        let lines = shown(Some("a\nb\nc\nd\ne\nf"), Some("A\nb\nc\nd\ne\nF"));
        let around = ["      …"].as_slice();
        let expected =
            [["    - a", "    + A", "      b"].as_slice(), around, &["      e", "    - f", "    + F"]].concat();
        assert_eq!(lines[1..], expected);
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(shown(None, Some("a\nb ")), ["  message", "    - expected  (nothing)", "    + found     a⏎b·"]);
    }
}

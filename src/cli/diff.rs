//! Differences as a person reads them: line by line, white space visible.

use super::console::Paint;
use super::expectation::Difference;
use super::shown;

/// Lines alike that are shown around those that differ.
const AROUND: usize = 1;

/// Writes differences, each under the name of what differs.
pub(super) fn render(differences: &[Difference], paint: Paint) -> Vec<String> {
    differences.iter().flat_map(|difference| one(difference, paint)).collect()
}

fn one(difference: &Difference, paint: Paint) -> Vec<String> {
    let label = format!("  {}", paint.bold(difference.what));
    let (Some(expected), Some(found)) = (&difference.expected, &difference.found) else {
        let tell = |text: &Option<String>| text.as_deref().map_or_else(|| "(nothing)".to_owned(), visible);
        return vec![
            label,
            paint.green(&format!("    - expected  {}", tell(&difference.expected))),
            paint.red(&format!("    + found     {}", tell(&difference.found))),
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

/// Shows what stands between the lines that are alike at both ends.
fn by_line(expected: &str, found: &str, paint: Paint) -> Vec<String> {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.split('\n').collect(), found.split('\n').collect());
    let alike = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[&str]| lines.len() - alike;
    let at_end = expected.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
    let at_end = at_end.min(rest(&expected)).min(rest(&found));
    let middle = |lines: &[&str]| {
        let middle = lines.iter().take(lines.len() - at_end).skip(alike);
        middle.map(|line| shown::with_white_space(line)).collect::<Vec<_>>()
    };
    let same = |line: &&str| paint.dim(format!("      {}", shown::line(line)).trim_end());
    let before = expected.iter().take(alike).skip(alike.saturating_sub(AROUND)).map(same);
    let behind = expected.iter().skip(expected.len() - at_end).take(AROUND).map(same);
    let missing = middle(&expected).into_iter().map(|line| paint.green(&format!("    - {line}")));
    let added = middle(&found).into_iter().map(|line| paint.red(&format!("    + {line}")));
    before.chain(missing).chain(added).chain(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expected: Option<&str>, found: Option<&str>) -> Vec<String> {
        let difference =
            Difference { what: "message", expected: expected.map(str::to_owned), found: found.map(str::to_owned) };
        render(&[difference], Paint::default())
    }

    #[test]
    fn only_the_lines_that_differ_are_shown_with_one_around() {
        let lines = shown(Some("a\nb\nc \nd\ne"), Some("a\nb\nc\n\nd\ne"));
        assert_eq!(lines, ["  message", "      b", "    - c·", "    + c", "    + ", "      d"]);
        assert_eq!(shown(Some("x"), Some("x\t")), ["  message", "    - x", "    + x→"]);
        assert_eq!(shown(Some("a\na"), Some("a")), ["  message", "      a", "    - a"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(shown(None, Some("a\nb ")), ["  message", "    - expected  (nothing)", "    + found     a⏎b·"]);
    }
}

//! Foreign text on a terminal: no control character acts, long text is cut, white space can be seen.

/// Returns text on one line that does nothing to a terminal: a line break is `⏎`, other control characters `�`.
pub(super) fn line(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(harmless).collect()
}

/// Returns [`line`] cut to a number of characters.
pub(super) fn short(text: &str, max: usize) -> String {
    let line = line(text);
    if line.chars().count() <= max {
        return line;
    }
    let kept: String = line.chars().take(max.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Returns the lines of a text, each harmless.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(line)
}

/// Returns text of several lines that does nothing to a terminal; its line breaks stay.
pub(super) fn text(text: &str) -> String {
    text.replace("\r\n", "\n").chars().map(|c| if c == '\n' { c } else { harmless(c) }).collect()
}

/// Returns JSON that says the same and does nothing to a terminal: what would act on it is escaped.
pub(super) fn json(text: &str) -> String {
    let acts = |c: char| c != '\n' && harmless(c) != c;
    if !text.contains(acts) {
        return text.to_owned();
    }
    // Outside of strings JSON has no such character, and all of them fit four digits.
    text.chars().map(|c| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// Returns a line with what hides made visible: spaces at its ends and in runs, tabs, carriage returns, odd blanks.
pub(super) fn with_white_space(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let is_space = |at: Option<usize>| at.is_none_or(|at| chars.get(at).is_none_or(|c| *c == ' '));
    let shown = chars.iter().enumerate().map(|(at, c)| match c {
        ' ' if is_space(at.checked_sub(1)) || is_space(Some(at + 1)) => '·',
        '\t' => '→',
        '\r' => '␍',
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}' => '⍽',
        c => harmless(*c),
    });
    shown.collect()
}

/// Direction overrides would turn what stands beside them; the others move the cursor or worse.
fn harmless(c: char) -> char {
    match c {
        '\n' => '⏎',
        '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{2028}'
        | '\u{2029}' => '�',
        c if c.is_control() => '�',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_does_nothing_to_a_terminal() {
        assert_eq!(line("a\u{1b}[31mb\r\nc\td\u{202e}\u{61c}"), "a�[31mb⏎c�d��");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("äöü", 3), "äöü");
        assert_eq!(lines("a\nb").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(text("a\r\nb\u{1b}\u{2066}"), "a\nb��");
    }

    #[test]
    fn json_that_is_shown_says_the_same() {
        let written = serde_json::to_string_pretty(&["a\u{202e}\u{9b}31m\u{7f}ä\n"]).expect("JSON");
        let shown = json(&written);
        assert!(shown.contains(r"a\u202e\u009b31m\u007fä\n"), "{shown}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(read(&shown), read(&written));
    }

    #[test]
    fn white_space_that_hides_is_shown() {
        assert_eq!(with_white_space(" a b  c\t\r"), "·a b··c→␍");
        assert_eq!(with_white_space("a\u{a0}b "), "a⍽b·");
        assert_eq!(with_white_space(" "), "·");
    }
}

//! Test results as JUnit XML, which continuous-integration servers show case by case.

use std::fmt::Write as _;

/// One case and how it ended.
pub(super) struct TestCase {
    /// What it belongs to: a folder, a mapping.
    pub(super) class: String,
    pub(super) name: String,
    pub(super) outcome: JunitOutcome,
}

/// How a test case ended.
pub(super) enum JunitOutcome {
    Passed,
    /// It was compared with nothing.
    Skipped {
        message: String,
    },
    /// A line that says what is wrong, and the whole of it.
    Failed {
        message: String,
        detail: String,
    },
    /// It could not be run.
    Broken {
        message: String,
    },
}

/// Writes a suite as a whole document.
pub(super) fn document(suite: &str, cases: &[TestCase]) -> String {
    let count = |wanted: fn(&JunitOutcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let failures = count(|outcome| matches!(outcome, JunitOutcome::Failed { .. }));
    let errors = count(|outcome| matches!(outcome, JunitOutcome::Broken { .. }));
    let skipped = count(|outcome| matches!(outcome, JunitOutcome::Skipped { .. }));
    let counts = format!("tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"", cases.len());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    add(&mut text, format_args!("<testsuites {counts}>"));
    add(&mut text, format_args!("  <testsuite name=\"{}\" {counts}>", escaped(suite)));
    cases.iter().for_each(|case| add_case(&mut text, case));
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn add_case(text: &mut String, case: &TestCase) {
    let begin = format!("    <testcase classname=\"{}\" name=\"{}\"", escaped(&case.class), escaped(&case.name));
    let inside = match &case.outcome {
        JunitOutcome::Passed => return add(text, format_args!("{begin}/>")),
        JunitOutcome::Skipped { message } => format!("<skipped message=\"{}\"/>", escaped(message)),
        JunitOutcome::Broken { message } => format!("<error message=\"{}\"/>", escaped(message)),
        JunitOutcome::Failed { message, detail } => {
            format!("<failure message=\"{}\">{}</failure>", escaped(message), escaped(detail))
        }
    };
    add(text, format_args!("{begin}>\n      {inside}\n    </testcase>"));
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

/// Escapes text for an element or a quoted attribute. What no XML document may hold becomes a replacement character;
/// line breaks are written as references, since a parser makes an attribute's spaces.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push_str(&format!("&#{};", u32::from(c))),
            '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}' => safe.push(c),
            _ => safe.push(char::REPLACEMENT_CHARACTER),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: JunitOutcome) -> TestCase {
        TestCase { class: "fixtures/a&b".to_owned(), name: name.to_owned(), outcome }
    }

    #[test]
    fn each_case_stands_with_its_end() {
        let detail = "- \"Jo\"\n+ <Jo>\u{1b}\u{0}\u{ffff}".to_owned();
        let cases = [
            case("good", JunitOutcome::Passed),
            case("bare", JunitOutcome::Skipped { message: "no expectation".to_owned() }),
            case("bad", JunitOutcome::Failed { message: "name differs".to_owned(), detail }),
            case("odd", JunitOutcome::Broken { message: "it's cut".to_owned() }),
        ];
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" errors="1" skipped="1">
  <testsuite name="formgate" tests="4" failures="1" errors="1" skipped="1">
    <testcase classname="fixtures/a&amp;b" name="good"/>
    <testcase classname="fixtures/a&amp;b" name="bare">
      <skipped message="no expectation"/>
    </testcase>
    <testcase classname="fixtures/a&amp;b" name="bad">
      <failure message="name differs">- &quot;Jo&quot;&#10;+ &lt;Jo&gt;�����</failure>
    </testcase>
    <testcase classname="fixtures/a&amp;b" name="odd">
      <error message="it's cut"/>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(document("formgate", &cases), expected.replace("�����", "\u{fffd}\u{fffd}\u{fffd}"));
    }
}

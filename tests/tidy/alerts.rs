//! What the documents say of the alert rules is what the rules are.

use std::collections::BTreeMap;
use std::fs;

use super::{root, walk};

const RULES: &str = "packaging/prometheus";

/// One alert, by its lines.
struct Rule {
    severity: String,
    expr: String,
    runbook: String,
}

#[test]
fn the_documents_list_each_alert_with_its_severity() {
    let text = read("docs/alerts.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `Formgate"));
    let documented: BTreeMap<String, String> = rows
        .map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_end_matches('`'));
            let name = format!("Formgate{}", cells.next().expect("a name"));
            (name, cells.next().expect("a severity").to_owned())
        })
        .collect();
    let rules = rules();
    assert!(rules.len() >= 30, "found only {} rules", rules.len());
    let ruled: BTreeMap<String, String> = rules.into_iter().map(|(name, rule)| (name, rule.severity)).collect();
    assert_eq!(documented, ruled, "docs/alerts.md and {RULES} differ");
}

#[test]
fn the_documents_name_no_other_alert() {
    let rules = rules();
    for file in ["docs/alerts.md", "docs/operating.md"] {
        for name in read(file).split('`').skip(1).step_by(2).filter(|name| name.starts_with("Formgate")) {
            assert!(rules.contains_key(name), "{file}: there is no alert {name}");
        }
    }
}

#[test]
fn the_queries_of_the_objective_are_those_of_the_alert() {
    let text = read("docs/operating.md");
    let (_, section) = text.split_once("### Speed to lead").expect("a section");
    let from = section.find("    (1 - sum").expect("the alert's query");
    let block = section[from..].split("\n\n").next().expect("a block");
    let expr = &rules()["FormgateLeadsSlowFast"].expr;
    assert_eq!(without_space(block), without_space(expr), "docs/operating.md, Speed to lead");
}

#[test]
fn each_runbook_leads_to_a_section() {
    for (name, rule) in rules() {
        let (file, section) = rule.runbook.split_once('#').unwrap_or((&rule.runbook, ""));
        let text = read(file);
        let mut headings = text.lines().filter_map(|line| line.strip_prefix('#')).map(anchor);
        assert!(section.is_empty() || headings.any(|heading| heading == section), "{name}: {file} has no #{section}");
    }
}

/// Returns what a heading is linked by.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = plain.chars().filter(|char| char.is_alphanumeric() || [' ', '-'].contains(char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// Reads the rules of all files.
fn rules() -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    walk(&root().join(RULES), &mut |path| {
        if path.to_string_lossy().ends_with(".rules.yml") {
            let text = fs::read_to_string(path).expect("rules");
            rules.extend(rules_in(&text));
        }
    });
    rules
}

fn rules_in(text: &str) -> BTreeMap<String, Rule> {
    let alerts = text.split("\n      - alert: ").skip(1);
    alerts
        .map(|alert| {
            let (name, rest) = alert.split_once('\n').expect("a name");
            let field = |word: &str| rest.split_once(word).map(|(_, after)| after).expect(word);
            let expr = field("        expr: ");
            let end = expr.find("\n        for: ").or_else(|| expr.find("\n        labels: ")).expect("its end");
            let severity = field("severity: ").split_whitespace().next().expect("a severity").to_owned();
            let runbook = field("runbook: ").lines().next().expect("a page").to_owned();
            let expr = expr[..end].trim_start_matches('|').to_owned();
            (name.to_owned(), Rule { severity, expr, runbook })
        })
        .collect()
}

fn without_space(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

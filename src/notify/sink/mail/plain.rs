//! A mail as plain text.

use super::page::{Page, Section};
use crate::notify::words::{Fact, Report, Table};

/// What stands before each line of a value with several: it can't be taken for a line of ours.
const INDENT: &str = "    ";

/// Writes a page, with `footer` at its end.
pub(super) fn text(page: &Page, footer: &str) -> String {
    let mut out = format!("{}\n", page.title);
    for section in &page.sections {
        push_section(section, &mut out);
    }
    out.push_str("\n-- \n");
    out.push_str(footer);
    out.push('\n');
    out
}

fn push_section(section: &Section, out: &mut String) {
    if let Some(heading) = &section.heading {
        out.push_str(&format!("\n{heading}\n{}\n", "=".repeat(heading.chars().count())));
    }
    push_paragraphs(&section.paragraphs, out);
    for report in &section.reports {
        push_report(report, out);
    }
}

fn push_report(report: &Report, out: &mut String) {
    if !report.title.is_empty() {
        out.push_str(&format!("\n{}\n", report.title));
    }
    push_paragraphs(&report.paragraphs, out);
    if !report.facts.is_empty() {
        out.push('\n');
    }
    let mut is_after_lines = false;
    for fact in &report.facts {
        if std::mem::replace(&mut is_after_lines, fact.value.contains('\n')) {
            out.push('\n');
        }
        push_fact(fact, out);
    }
    if let Some(table) = &report.table {
        push_table(table, out);
    }
    if !report.cures.is_empty() {
        out.push_str("\nWhat to do:\n");
    }
    for cure in &report.cures {
        out.push_str(&format!("- {cure}\n"));
    }
}

fn push_paragraphs(paragraphs: &[String], out: &mut String) {
    for paragraph in paragraphs {
        out.push_str(&format!("\n{paragraph}\n"));
    }
}

fn push_fact(fact: &Fact, out: &mut String) {
    if !fact.value.contains('\n') {
        out.push_str(&format!("{}: {}\n", fact.label, fact.value));
        return;
    }
    out.push_str(&format!("{}:\n", fact.label));
    for line in fact.value.split('\n') {
        let indent = if line.is_empty() { "" } else { INDENT };
        out.push_str(&format!("{indent}{line}\n"));
    }
}

fn push_table(table: &Table, out: &mut String) {
    let heads = table.columns.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column, &heads, &table.rows)).collect();
    out.push('\n');
    for row in std::iter::once(&heads).chain(&table.rows) {
        // The first column names, the others count.
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, wide))| match column {
            0 => format!("{cell:<wide$}"),
            _ => format!("{cell:>wide$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
}

fn width(column: usize, heads: &[String], rows: &[Vec<String>]) -> usize {
    let cells = rows.iter().map(Vec::as_slice).chain([heads]).filter_map(|row| row.get(column));
    cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
}

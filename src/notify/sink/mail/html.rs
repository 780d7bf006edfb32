//! A mail as HTML: text in headings, paragraphs and tables. There is no link, no image, no script, and nothing remote in it; a
//! text that a visitor wrote is escaped, in an element that keeps its direction of reading to itself.

use super::page::{Page, Section};
use crate::notify::words::{Fact, Report, Table};

const BODY: &str = "font-family:sans-serif;font-size:15px;line-height:1.45;max-width:46em";
const TABLE: &str = "border-collapse:collapse;margin:0 0 1em";
const LABEL: &str = "text-align:left;vertical-align:top;padding:2px 16px 2px 0;font-weight:bold";
const CELL: &str = "text-align:left;vertical-align:top;padding:2px 16px 2px 0";
const VALUE: &str = "vertical-align:top;padding:2px 0;white-space:pre-wrap;overflow-wrap:anywhere";
const CURE: &str = "margin:0 0 1em;padding:8px 12px;border-left:4px solid #888888";
const FOOTER: &str = "font-size:12px;margin-top:2em";

/// Writes a page, with `footer` at its end.
pub(super) fn text(page: &Page, footer: &str) -> String {
    let title = escaped(&page.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n</head>\n\
         <body style=\"{BODY}\">\n<h1 style=\"font-size:20px\">{title}</h1>\n"
    );
    for section in &page.sections {
        push_section(section, &mut out);
    }
    out.push_str(&format!("<p style=\"{FOOTER}\">{}</p>\n</body>\n</html>\n", escaped(footer)));
    out
}

fn push_section(section: &Section, out: &mut String) {
    if let Some(heading) = &section.heading {
        out.push_str(&format!("<h2 style=\"font-size:18px\">{}</h2>\n", escaped(heading)));
    }
    push_paragraphs(&section.paragraphs, out);
    for report in &section.reports {
        push_report(report, out);
    }
}

fn push_report(report: &Report, out: &mut String) {
    if !report.title.is_empty() {
        out.push_str(&format!("<h3 style=\"font-size:16px\">{}</h3>\n", escaped(&report.title)));
    }
    push_paragraphs(&report.paragraphs, out);
    if !report.facts.is_empty() {
        out.push_str(&format!("<table style=\"{TABLE}\">\n"));
        report.facts.iter().for_each(|fact| push_fact(fact, out));
        out.push_str("</table>\n");
    }
    if let Some(table) = &report.table {
        push_table(table, out);
    }
    if !report.cures.is_empty() {
        out.push_str(&format!("<div style=\"{CURE}\"><b>What to do</b>\n"));
        report.cures.iter().for_each(|cure| out.push_str(&format!("<br>{}\n", escaped(cure))));
        out.push_str("</div>\n");
    }
}

fn push_paragraphs(paragraphs: &[String], out: &mut String) {
    for paragraph in paragraphs {
        out.push_str(&format!("<p>{}</p>\n", escaped(paragraph)));
    }
}

fn push_fact(fact: &Fact, out: &mut String) {
    // Mail programs that don't know `pre-wrap` need the break; those that do would show a line end beside it as a second one.
    let value = escaped(&fact.value).replace('\n', "<br>");
    let label = escaped(&fact.label);
    out.push_str(&format!(
        "<tr><th style=\"{LABEL}\" dir=\"auto\">{label}</th><td style=\"{VALUE}\" dir=\"auto\">{value}</td></tr>\n"
    ));
}

fn push_table(table: &Table, out: &mut String) {
    out.push_str(&format!("<table style=\"{TABLE}\">\n<tr>"));
    table.columns.iter().for_each(|column| out.push_str(&format!("<th style=\"{LABEL}\">{}</th>", escaped(column))));
    out.push_str("</tr>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        row.iter().for_each(|cell| out.push_str(&format!("<td style=\"{CELL}\" dir=\"auto\">{}</td>", escaped(cell))));
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

//! Tables that read well on a terminal and in a document: Markdown, in columns.

/// Prints a table under its heading; the first column is words, the others are figures.
#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
pub(crate) fn print(heading: &str, head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().enumerate().map(|(at, &width)| match at {
        0 => format!("|{}", "-".repeat(width + 2)),
        _ => format!("|{}:", "-".repeat(width + 1)),
    });
    println!("### {heading}\n\n{}\n{}|", line(&head), rule.collect::<String>());
    rows.iter().for_each(|row| println!("{}", line(row)));
    println!();
}

//! Rows with aligned columns.

use unicode_width::UnicodeWidthStr as _;

/// Returns one line a row, columns padded to their widest cell, two spaces between; the last is as it is.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default())
        .collect();
    let pad = |(cell, width_max): (&String, &usize)| format!("{cell}{}", " ".repeat(width_max - width(cell)));
    let line = |row: &Vec<String>| row.iter().zip(&widths).map(pad).collect::<Vec<_>>().join("  ");
    rows.iter().map(|row| line(row).trim_end().to_owned()).collect()
}

fn width(cell: &str) -> usize {
    cell.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            aligned(&[row(["a", "bä", "c"]), row(["long", "", "d"]), row(["e", "王", "f"])]),
            ["a     bä  c", "long      d", "e     王  f"]
        );
        assert!(aligned(&[]).is_empty());
    }
}

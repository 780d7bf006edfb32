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

/// Returns what [`aligned`] does, in lines of at most `max` columns: the widest of `flexible` are cut first.
pub(super) fn fitted(rows: &[Vec<String>], max: Option<usize>, flexible: &[usize]) -> Vec<String> {
    let Some(max) = max else { return aligned(rows) };
    let mut rows = rows.to_vec();
    loop {
        let lines = aligned(&rows);
        let over = lines.iter().map(|line| width(line)).max().unwrap_or_default().saturating_sub(max);
        let widest = |column: &usize| rows.iter().filter_map(|row| row.get(*column)).map(|cell| width(cell)).max();
        let widest = flexible.iter().filter_map(|column| Some((widest(column)?, *column))).max();
        let Some((now, column)) = widest.filter(|(now, _)| over > 0 && *now > FLEXIBLE_MIN) else {
            return lines.iter().map(|line| cut(line, max)).collect();
        };
        // A step at a time, so that several columns give way alike.
        let to = now.saturating_sub(over.min(CUT_STEP)).max(FLEXIBLE_MIN);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            *cell = cut(cell, to);
        }
    }
}

/// No column is cut to less.
const FLEXIBLE_MIN: usize = 8;
const CUT_STEP: usize = 4;

/// Cuts text to a number of columns; what is cut ends with `…`.
pub(super) fn cut(text: &str, max: usize) -> String {
    use unicode_width::UnicodeWidthChar as _;
    if width(text) <= max {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut columns = 1;
    for c in text.chars() {
        columns += c.width().unwrap_or_default();
        if columns > max {
            break;
        }
        kept.push(c);
    }
    format!("{kept}…")
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

    #[test]
    fn a_table_gives_way_where_it_may() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows =
            [row(["id", "a name that is long", "a cause that is longer still"]), row(["1", "王王王王王王", "x"])];
        let lines = fitted(&rows, Some(32), &[1, 2]);
        assert!(lines.iter().all(|line| width(line) <= 32), "{lines:?}");
        assert!(lines[0].starts_with("id  a name") && lines[0].ends_with('…'), "{lines:?}");
        assert_eq!(fitted(&rows, None, &[1, 2]), aligned(&rows));
        assert!(fitted(&rows, Some(5), &[1, 2]).iter().all(|line| width(line) <= 5));
    }
}

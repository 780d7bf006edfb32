//! Rows for spreadsheets (RFC 4180) in which no cell is a formula.

/// Most digits of a phone number with its country's code (E.164).
const E164_DIGITS_MAX: usize = 15;

/// Writes a row.
pub(super) fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(&guarded(cell))).collect();
    format!("{}\r\n", cells.join(","))
}

/// Puts `'` before what a spreadsheet would calculate; a phone number is left as it is, since it calculates to itself.
fn guarded(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula && !is_e164(cell) { format!("'{cell}") } else { cell.to_owned() }
}

fn is_e164(cell: &str) -> bool {
    let digits = cell.strip_prefix('+').unwrap_or_default();
    (1..=E164_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn quoted(cell: &str) -> String {
    let needs_quotes = cell.contains([',', '"', '\r', '\n', ';', '\t']) || cell.trim() != cell;
    if needs_quotes { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_a_phone_number_stays_one() {
        for (cell, written) in [
            ("=1+1", "'=1+1"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("+1+2", "'+1+2"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("＝1", "'＝1"),
            ("+15035550142", "+15035550142"),
            ("+1234567890123456", "'+1234567890123456"),
            ("+", "'+"),
            ("+1 503", "'+1 503"),
            ("a=b", "a=b"),
            ("Jane", "Jane"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("a\nb", "\"a\nb\""),
            (" a", "\" a\""),
        ] {
            assert_eq!(row(&[cell]), format!("{written}\r\n"), "{cell:?}");
        }
        assert_eq!(row(&["a", "", "b\"c"]), "a,,\"b\"\"c\"\r\n");
    }
}

//! Texts whose lines are `word = text`: the parts of one answer, as some services write them
//! (<https://developers.formstack.com/docs/webhook-examples>).

/// Fewest and most lines, and the most bytes of a word.
const LINES: std::ops::RangeInclusive<usize> = 2..=20;
const WORD_MAX: usize = 40;

/// What the parts of names, addresses and dates are called.
const PARTS: [&str; 22] = [
    "first", "middle", "last", "prefix", "suffix", "initial", "address", "address2", "street", "street2", "city",
    "state", "zip", "postal", "country", "province", "region", "month", "day", "year", "hour", "minute",
];

/// Reads the lines; none where one of them is anything else.
pub(super) fn read(text: &str) -> Option<Vec<(&str, &str)>> {
    if !text.contains(" = ") || !text.contains('\n') {
        return None;
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let read: Vec<(&str, &str)> = lines.map(line).collect::<Option<_>>()?;
    // A visitor who writes such lines uses other words.
    let is_part = |(word, _): &(&str, &str)| PARTS.contains(word);
    (LINES.contains(&read.len()) && read.iter().filter(|line| is_part(line)).count() * 2 >= read.len()).then_some(read)
}

fn line(line: &str) -> Option<(&str, &str)> {
    let (word, text) = line.split_once(" =").map(|(word, text)| (word.trim(), text.trim()))?;
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    (!word.is_empty() && word.len() <= WORD_MAX && word.chars().all(is_word)).then_some((word, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parts_where_all_are() {
        assert_eq!(read("first = Ann\r\nlast = Lee"), Some(vec![("first", "Ann"), ("last", "Lee")]));
        assert_eq!(read("city = Salem\nzip ="), Some(vec![("city", "Salem"), ("zip", "")]));
        for text in ["a = b", "budget = 5000\nrooms = 3", "x = 1\nand so on", "My sum is = 3\ny = 2", "", "a=b\nc=d"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

//! "Did you mean …?": the known word nearest to one that is not known.

/// Returns the candidate nearest to a word, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    scored.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// Counts the letters to insert, delete, replace or swap with their neighbour to make one word of the other.
pub(super) fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.chars().enumerate() {
        let mut line = Vec::with_capacity(last.len());
        line.push(row + 1);
        for (column, target) in to.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, column) + usize::from(letter != *target);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = column > 0 && previous == Some(*target) && to.get(column - 1) == Some(&letter);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            line.push(best);
        }
        before_last = std::mem::replace(&mut last, line);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_counts_one() {
        for (from, to, expected) in
            [("listen", "listen", 0), ("listne", "listen", 1), ("lsten", "listen", 1), ("", "abc", 3), ("abc", "", 3)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let keys = ["listen", "max_body", "url"];
        assert_eq!(nearest("Listne", keys), Some("listen"));
        assert_eq!(nearest("maxbody", keys), Some("max_body"));
        assert_eq!(nearest("uri", keys), Some("url"));
        assert_eq!(nearest("colour", keys), None);
    }
}

//! "Did you mean …?": the known word nearest to one that is not known.

/// Returns the candidate nearest to a word, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    scored.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// How many names are suggested in the place of one that is not known.
const SUGGESTED: usize = 3;

/// Says which names there are: all of a few, else the nearest to the one that was meant, and how many there are.
pub fn known_names<'a>(meant: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut scored: Vec<(usize, &str)> = names.into_iter().map(|name| (distance(meant, name), name)).collect();
    scored.sort_unstable();
    let total = scored.len();
    let nearest: Vec<&str> = scored.into_iter().take(SUGGESTED).map(|(_, name)| name).collect();
    let names = nearest.join(", ");
    if total > SUGGESTED {
        format!("did you mean one of {names}? There are {total}")
    } else if total == 1 {
        format!("there is only {names}")
    } else {
        format!("there are {names}")
    }
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
    fn of_many_names_the_nearest_are_told() {
        assert_eq!(known_names("acm", ["acme", "beta"]), "there are acme, beta");
        assert_eq!(known_names("acm", ["acme"]), "there is only acme");
        let names: Vec<String> = (0..300).map(|number| format!("site-{number}")).collect();
        let names = names.iter().map(String::as_str).chain(["acme", "acme-2"]);
        assert_eq!(known_names("amce", names), "did you mean one of acme, acme-2, site-0? There are 302");
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

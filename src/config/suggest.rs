//! "Did you mean …?": the known word nearest to one that is not known. Two letters that changed places count as one slip.

use strsim::osa_distance;

/// Returns the candidate nearest to a word, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| (osa_distance(&word, &candidate.to_lowercase()), candidate));
    scored.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
}

/// How many names are suggested in the place of one that is not known.
const SUGGESTED: usize = 3;

/// Says which names there are: all of a few, else the nearest to the one that was meant, and how many there are.
pub fn known_names<'a>(meant: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let mut scored: Vec<(usize, &str)> = names.into_iter().map(|name| (osa_distance(meant, name), name)).collect();
    scored.sort_unstable();
    let total = scored.len();
    let nearest: Vec<&str> = scored.into_iter().take(SUGGESTED).map(|(_, name)| name).collect();
    let names = nearest.join(", ");
    if total > SUGGESTED {
        format!("did you mean one of {names}? ({total} in all)")
    } else if total == 1 {
        format!("the only one is {names}")
    } else {
        format!("known: {names}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_names_the_nearest_are_told() {
        assert_eq!(known_names("acm", ["acme", "beta"]), "known: acme, beta");
        assert_eq!(known_names("acm", ["acme"]), "the only one is acme");
        let names: Vec<String> = (0..300).map(|number| format!("site-{number}")).collect();
        let names = names.iter().map(String::as_str).chain(["acme", "acme-2"]);
        assert_eq!(known_names("amce", names), "did you mean one of acme, acme-2, site-0? (302 in all)");
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

//! What the e-mail tells of the name: most people's addresses hold a part of it, in whatever script they write it.

use deunicode::deunicode;

/// Fewest letters of a part of an address that says something, and fewest consonants.
const LETTERS_MIN: usize = 3;
const CONSONANTS_MIN: usize = 3;
/// Fewest letters of a short name: `wulan` of Wulandari.
const SHORT_MIN: usize = 4;

/// The letters of an address before its `@`, in parts.
pub(super) struct LocalPart {
    parts: Vec<String>,
    whole: String,
    /// Letters that stand alone: `m.lee`.
    initials: String,
}

impl LocalPart {
    pub(super) fn of(email: &str) -> Self {
        let local = email.rsplit_once('@').map_or("", |(local, _)| local).to_ascii_lowercase().replace("ts", "c");
        let parts: Vec<String> = local
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|part| part.len() >= LETTERS_MIN)
            .map(str::to_owned)
            .collect();
        let whole = local.chars().filter(char::is_ascii_alphabetic).collect();
        let initials = local.split(|c: char| !c.is_ascii_alphabetic()).filter(|part| part.len() == 1).collect();
        Self { parts, whole, initials }
    }

    /// Tells how many words of a name stand in the address.
    pub(super) fn words_of(&self, name: &str) -> usize {
        if self.whole.len() < LETTERS_MIN {
            return 0;
        }
        // `ц` is written `ts` by one and `c` by another.
        let latin = deunicode(name).to_ascii_lowercase().replace("ts", "c");
        let words = || latin.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= 2);
        let held = words().filter(|word| self.holds(word)).count();
        let is_initial = |word: &str| word.chars().next().is_some_and(|first| self.initials.contains(first));
        let has_initial = held > 0 && words().any(|word| !self.holds(word) && is_initial(word));
        held + usize::from(has_initial)
    }

    fn holds(&self, word: &str) -> bool {
        let is_in = word.len() >= LETTERS_MIN && self.whole.contains(word);
        let is_short = || self.parts.iter().any(|part| part.len() >= SHORT_MIN && word.starts_with(part.as_str()));
        // Hebrew and Arabic write no vowels, and every script is transliterated in more than one way.
        let skeleton = consonants(word);
        let is_alike =
            || skeleton.len() >= CONSONANTS_MIN && self.parts.iter().any(|part| consonants(part) == skeleton);
        is_in || is_short() || is_alike()
    }
}

/// Returns the consonants of a word that are written alike; of two that are the same one.
fn consonants(word: &str) -> String {
    let mut last = None;
    let mut bare: String = word.chars().filter(|c| !"aeiouyjwh".contains(*c)).collect();
    bare.retain(|c| last.replace(c) != Some(c));
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_words_of_its_owner_s_name() {
        for (email, name, words) in [
            ("k.rosinska@example.com", "Karolina Rosińska", 2),
            ("k.rosinska@example.com", "Adam Rosiński", 1),
            ("k@example.com", "Karolina Rosińska", 0),
            ("krisztina.tobias@example.com", "Tóbiás Krisztina", 2),
            ("wulan@example.com", "Wulandari Aditama", 1),
            ("danica@example.com", "Даница Пантић", 1),
            ("tamar.barkai@example.com", "תמר ברקאי", 1),
            ("bergthora@example.com", "Bergþóra Ketilsdóttir", 1),
            ("signe@example.com", "Storm Bjerrum", 0),
            ("info@example.com", "Ann Lee", 0),
            ("x@example.com", "Xu Li", 0),
        ] {
            assert_eq!(LocalPart::of(email).words_of(name), words, "{email} {name}");
        }
    }
}

//! What to do in a plugin so that its forms post here: steps for a person, with the site's own URL in them.

/// What a step may hold in braces.
pub const SETUP_WORDS: [&str; 4] = ["url", "plain_url", "token", "gateway"];

/// One step: text around words in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupStep(String);

/// A step with braces around what is no such word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` is nothing that a step can show")]
pub struct UnknownSetupWord(String);

/// What the words stand for. No `Debug`: it holds a token.
pub struct SetupValues<'a> {
    /// With the token in it: to paste where only a URL can be given.
    pub url: &'a str,
    /// Without it: for plugins that send the token in a header.
    pub plain_url: &'a str,
    pub token: &'a str,
    /// The gateway's address, without a path.
    pub gateway: &'a str,
}

impl SetupStep {
    /// Reads a step.
    pub fn parse(text: &str) -> Result<Self, UnknownSetupWord> {
        for after in text.split('{').skip(1) {
            match after.split_once('}') {
                Some((word, _)) if SETUP_WORDS.contains(&word) => {}
                Some((word, _)) => return Err(UnknownSetupWord(word.to_owned())),
                None => return Err(UnknownSetupWord(after.to_owned())),
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// Writes the step for a site. A value is text: what looks like a word in it stays.
    pub fn show(&self, values: &SetupValues<'_>) -> String {
        let SetupValues { url, plain_url, token, gateway } = values;
        let of_word = |word: &str| match word {
            "url" => *url,
            "plain_url" => *plain_url,
            "token" => *token,
            _ => *gateway,
        };
        let mut shown = String::new();
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (word, after) = after.split_once('}').unwrap_or((after, ""));
            shown.push_str(before);
            shown.push_str(of_word(word));
            rest = after;
        }
        shown.push_str(rest);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_shows_the_sites_own_values_and_expands_nothing_twice() {
        let values =
            SetupValues { url: "https://g/{token}", plain_url: "https://g", token: "fg_x", gateway: "https://g" };
        let step = SetupStep::parse("Paste {url}, or {plain_url} with Bearer {token}.").expect("a step");
        assert_eq!(step.show(&values), "Paste https://g/{token}, or https://g with Bearer fg_x.");
    }

    #[test]
    fn a_word_that_is_none_is_refused() {
        for bad in ["{site}", "{url", "{}", "a {url} b { url }"] {
            assert!(SetupStep::parse(bad).is_err(), "{bad}");
        }
        assert!(SetupStep::parse("no word, and a } alone").is_ok());
    }
}

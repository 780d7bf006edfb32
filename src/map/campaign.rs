//! Where a visitor came from, in one line: the tags of a campaign and what clicks are counted by.
//!
//! The tags are those of Google Analytics (<https://support.google.com/analytics/answer/10917952>); click ids are named as
//! their networks name them.

use super::form_field::FormField;
use super::senses::own_name;

/// The tags in the order in which they are read, and what is said of each.
const TAGS: [(&str, &str); 8] = [
    ("source", ""),
    ("medium", ""),
    ("campaign", "campaign "),
    ("term", "term "),
    ("content", "content "),
    ("id", "campaign id "),
    ("adgroup", "ad group "),
    ("ad", "ad "),
];
/// What clicks are counted by: Google, Meta, Microsoft, TikTok, LinkedIn, X, Yandex, DoubleClick, Snapchat, Pinterest.
const CLICKS: [&str; 14] = [
    "gclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "ttclid",
    "li_fat_id",
    "twclid",
    "yclid",
    "dclid",
    "sccid",
    "epik",
    "gad_campaignid",
    "gad_source",
];
/// Longest value of a tag that is shown, in bytes: a click's may be hundreds.
const VALUE_MAX: usize = 200;

/// The label of the line.
pub(super) const LABEL: &str = "Source";

/// What is known of a campaign.
#[derive(Default)]
pub(super) struct Campaign<'a> {
    tags: Vec<(Tag, &'a str)>,
    /// The query that was read last: most forms name their page twice.
    query: Option<&'a str>,
}

/// Which tag or click: its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tag {
    Known(usize),
    Click(usize),
}

impl Tag {
    /// Reads what a field or a parameter is called.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.trim();
        let has_utm = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("utm"));
        if name.eq_ignore_ascii_case("utm") {
            return Some(Self::Known(0));
        }
        if has_utm {
            let tag = name.get(3..)?.trim_start_matches(['_', '-', ' ', '.']);
            return TAGS.iter().position(|(known, _)| known.eq_ignore_ascii_case(tag)).map(Self::Known);
        }
        CLICKS.iter().position(|click| click.eq_ignore_ascii_case(name)).map(Self::Click)
    }

    /// Reads what a form field is called: by its own name, or its label.
    pub(super) fn of_field(form_field: &FormField<'_>, outer: Option<&str>) -> Option<Self> {
        let field = &form_field.field;
        let own = own_name(field.key);
        let in_utm = || {
            outer
                .filter(|outer| outer.eq_ignore_ascii_case("utm"))
                .and_then(|_| TAGS.iter().position(|(known, _)| *known == own))
                .map(Self::Known)
        };
        Self::of(own).or_else(|| field.label.and_then(Self::of)).or_else(in_utm)
    }
}

impl<'a> Campaign<'a> {
    pub(super) fn add(&mut self, tag: Tag, value: &'a str) {
        let value = value.trim();
        let is_known = self.tags.iter().any(|(known, _)| *known == tag);
        if !value.is_empty() && value.len() <= VALUE_MAX && !is_known {
            self.tags.push((tag, value));
        }
    }

    /// Adds what the address of a page tells, where no field does.
    pub(super) fn add_page(&mut self, page: &'a str, keep: impl Fn(&str) -> &'a str) {
        let query = page.split_once('?').and_then(|(_, query)| query.split('#').next());
        let Some(query) = query.filter(|query| self.query.replace(query) != Some(query)) else { return };
        let may_be_tag = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            name.contains(['%', '+']) || Tag::of(name).is_some()
        };
        for pair in query.split('&').filter(may_be_tag) {
            for (name, value) in serde_urlencoded::from_str::<Vec<(String, String)>>(pair).unwrap_or_default() {
                if let Some(tag) = Tag::of(&name).filter(|_| !value.is_empty()) {
                    self.add(tag, keep(&value));
                }
            }
        }
    }

    /// Writes the line; none where nothing is known.
    pub(super) fn line(mut self) -> Option<String> {
        self.tags.sort_by_key(|(tag, _)| *tag);
        let is_lead = |tag: &Tag| matches!(tag, Tag::Known(0 | 1));
        let lead: Vec<&str> = self.tags.iter().filter(|(tag, _)| is_lead(tag)).map(|(_, value)| *value).collect();
        let mut parts = Vec::new();
        if !lead.is_empty() {
            parts.push(lead.join(" / "));
        }
        let rest = self.tags.iter().filter(|(tag, _)| !is_lead(tag));
        parts.extend(rest.map(|(tag, value)| match tag {
            Tag::Known(at) => format!("{}{value}", TAGS.get(*at).map_or("", |(_, said)| said)),
            Tag::Click(at) => format!("{} {value}", CLICKS.get(*at).unwrap_or(&"")),
        }));
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_one_line_also_from_the_page() {
        let mut campaign = Campaign::default();
        for (name, value) in [("utm_medium", "cpc"), ("UTM Source", "google"), ("gclid", "EAIa"), ("utm_term", " ")] {
            campaign.add(Tag::of(name).expect(name), value);
        }
        campaign.add_page("https://a.example/?utm_source=other&utm_campaign=winter+sale&x=1#top", |text| {
            text.to_owned().leak()
        });
        assert_eq!(campaign.line().as_deref(), Some("google / cpc, campaign winter sale, gclid EAIa"));
        assert!(Tag::of("source").is_none() && Tag::of("utmost").is_none());
        assert_eq!(Campaign::default().line(), None);
    }
}

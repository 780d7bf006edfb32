//! The country of a site, as its address says it.

use crate::lead::Region;

/// Country codes under which most sites are of no country.
const OF_NO_COUNTRY: [&str; 26] = [
    "ac", "ad", "ai", "as", "bz", "cc", "cd", "co", "dj", "fm", "gg", "io", "la", "me", "ms", "nu", "sc", "sh", "sr",
    "su", "tk", "to", "tv", "vc", "ws", "im",
];

/// Returns the country whose top-level domain a URL has; none where it says none.
pub fn region_of_url(url: &str) -> Option<Region> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let (labels, domain) = host.rsplit_once('.')?;
    // co.uk, com.au: a country that is sold to the world sells no second level for companies.
    let is_second_level = ["co", "com"].iter().any(|second| labels.ends_with(&format!(".{second}")));
    let code = match domain {
        "uk" => "GB".to_owned(),
        domain if OF_NO_COUNTRY.contains(&domain) && !is_second_level => return None,
        domain => domain.to_ascii_uppercase(),
    };
    Region::parse(&code).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_told_by_its_domain_unless_that_is_sold_to_the_world() {
        for (url, region) in [
            ("https://acme.de", Some("DE")),
            ("https://www.acme.co.uk/contact", Some("GB")),
            ("https://acme.COM.AU", Some("AU")),
            ("http://acme.fr:8080", Some("FR")),
            ("https://acme.com.co", Some("CO")),
            ("https://acme.com", None),
            ("https://acme.io", None),
            ("https://acme.co", None),
            ("https://acme.eu", None),
            ("https://192.0.2.1", None),
            ("https://[2001:db8::1]", None),
            ("https://localhost", None),
            ("not a URL", None),
        ] {
            let expected = region.map(|code| Region::parse(code).expect("a region"));
            assert_eq!(region_of_url(url), expected, "{url}");
        }
    }
}

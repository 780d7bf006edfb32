//! The doctor's announced requests show their name where a credential or an origin stands, so that what is lost on the way
//! is known.

use http::{HeaderMap, header};

use crate::http::bearer;
use crate::received::SplitQuery;
use crate::telemetry::{Shown, ping_origin};

/// Returns where a ping's name came through.
pub(super) fn shown(name: &str, headers: &HeaderMap, query: &SplitQuery) -> Vec<Shown> {
    let holds = |header: &str, fits: &dyn Fn(&str) -> bool| {
        headers.get_all(header).iter().filter_map(|value| value.to_str().ok()).any(fits)
    };
    [
        (Shown::Query, query.tokens.iter().any(|token| token == name)),
        (Shown::Authorization, holds(header::AUTHORIZATION.as_str(), &|value| bearer(value) == Some(name))),
        (Shown::TokenHeader, holds("x-formgate-token", &|value| value.trim() == name)),
        (Shown::Origin, holds(header::ORIGIN.as_str(), &|value| value == ping_origin(name))),
    ]
    .into_iter()
    .filter_map(|(place, came)| came.then_some(place))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_doctor_sent_has_come_through() {
        let of = |lines: &[(&'static str, &str)], query| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().expect("a value"));
            }
            shown("doctor-a", &headers, &SplitQuery::of(Some(query)))
        };
        let all = [
            ("authorization", "Bearer doctor-a"),
            ("x-formgate-token", "doctor-a"),
            ("origin", "https://doctor-a.invalid"),
        ];
        let places = [Shown::Query, Shown::Authorization, Shown::TokenHeader, Shown::Origin];
        assert_eq!(of(&all, "token=doctor-a"), places);
        // A proxy's own password is none that a plugin sent.
        let replaced = [("authorization", "Basic eDp5"), ("origin", "https://gate.example")];
        assert_eq!(of(&replaced, "token=x"), []);
    }
}

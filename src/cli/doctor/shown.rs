//! Whether what a plugin or a page shows, to be let in, comes through what is in front.

use super::finding::{Check, Finding};
use crate::telemetry::{Arrival, Shown};

const PLACES: [Shown; 4] = [Shown::Query, Shown::Authorization, Shown::TokenHeader, Shown::Origin];

/// Judges which of them came with a request that had all.
pub(super) fn judge(arrival: &Arrival) -> Vec<Finding> {
    let Some(shown) = &arrival.shown else {
        return vec![Finding::skipped(
            Check::Credentials,
            "the gateway doesn't say whether tokens arrive",
            "upgrade the gateway",
        )];
    };
    let lost: Vec<Finding> = PLACES.into_iter().filter(|place| !shown.contains(place)).map(judge_lost).collect();
    if lost.is_empty() {
        return vec![Finding::ok(
            Check::Credentials,
            "tokens arrive in the URL and in headers, and so does a page's origin",
        )];
    }
    lost
}

fn judge_lost(place: Shown) -> Finding {
    let bad = |what, cure| Finding::bad(Check::Credentials, what, cure);
    match place {
        Shown::Query => bad(
            "?token= doesn't arrive: what is in front takes the query away, and posts to webhook URLs are answered 401",
            "have the proxy pass the query on (nginx: proxy_pass without a path, or with $request_uri; Apache and CDNs: \
             no rule that removes it)",
        ),
        Shown::Authorization => bad(
            "Authorization doesn't arrive as it was sent: plugins that send keys or a token there are answered 401",
            "have the proxy pass it on (nginx: no proxy_set_header Authorization), and ask for no password of its own below \
             /hooks/ and /api/v1/wordpress/",
        ),
        Shown::TokenHeader => bad(
            "X-Formgate-Token doesn't arrive: plugins that send the token there are answered 401",
            "have the proxy pass all headers on, or put the token into the webhook URL",
        ),
        Shown::Origin => bad(
            "Origin doesn't arrive as it was sent: forms that pages post (browser = …) are refused",
            "have the proxy pass Origin on (nginx: no proxy_set_header Origin)",
        ),
    }
}

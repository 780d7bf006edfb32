//! Every path of the admin API: requests are routed by it, and `docs/reference/api.md` is written from it.

use super::api::STREAM;

/// A path of the admin listener. Each takes one method.
#[derive(Clone, Copy, Debug)]
pub struct AdminRoute {
    pub method: &'static str,
    /// From the root; a part in braces is any text.
    pub path: &'static str,
    /// What it gives or does.
    pub about: &'static str,
    /// Parameters of the query, or members of the JSON body: groups of names, each with what it is.
    pub takes: &'static [&'static [(&'static str, &'static str)]],
    /// What a 200 holds.
    pub answer: &'static str,
}

/// What everybody may ask who reaches the listener.
pub const HEALTH_ROUTES: [AdminRoute; 3] = [
    get("/livez", "Says that the process runs.", &[], "The text `ok`."),
    get(
        "/readyz",
        "Tells whether a submission posted now would be stored: 200 if so, else 503.",
        &[],
        "`status` (`ready` or `unready`), `reasons` (why it isn't ready), `degraded` (what needs a person), `checks` and `sites`, \
         the number of sites.",
    ),
    get("/metrics", "All metrics.", &[], "Prometheus' text format."),
];

/// What is below `/api/v1`.
pub const API_ROUTES: [AdminRoute; 25] = [
    get("/api/v1", "The program's version.", &[], "`formgate`, the version, and `sites`, their number."),
    get(
        "/api/v1/status",
        "How the gateway is.",
        &[&[("brief", "`true` leaves out causes and errors.")]],
        "What `formgate status --output json` prints.",
    ),
    get(
        "/api/v1/sites",
        "Every site.",
        &[],
        "`sites`, a row for each as in `formgate sites list`, and `unknown_sites`: posts for which no site was found.",
    ),
    get(
        "/api/v1/sites/{id}",
        "One site.",
        &[&[("kaicalls", "`true` asks KaiCalls for its own figures as well.")]],
        "The site's row, with `forms`, `tokens` and `refused_posts`.",
    ),
    get(
        "/api/v1/sites/{id}/keys",
        "Which keys of a site are in use.",
        &[],
        "`public_keys`, those in force, `under_way`, those that leads are being sent with, and `is_new`: an upgrade is so recent that the \
         gateway before may still be sending.",
    ),
    post(
        "/api/v1/sites/{id}/keys/verify",
        "Asks KaiCalls whether the site's key pairs are valid. Answers are kept for ten seconds.",
        &[],
        "`pairs`, a row for each as in `formgate keys verify --output json`.",
    ),
    post(
        "/api/v1/sites/{id}/tokens",
        "Makes a token and adds its SHA-256 to the site's file. 409 if that file can't be changed.",
        &[&[("note", "What the token is for."), ("expires", "Its last day (UTC), such as `2027-06-30`.")]],
        "`site`, `token`, `sha256`, `url`, `url_with_token`, `note`, `expires`. The token is in no later answer.",
    ),
    get(
        "/api/v1/leads",
        "A page of leads.",
        &[FILTERS, &[("order", "`newest` (the default) or `oldest` first.")], PAGE, REVEAL],
        "`leads`, `unreadable` (ids of leads that can't be read) and `next`.",
    ),
    get(
        "/api/v1/leads/groups",
        "What needs a person, by cause: held and dead leads, and those that wait for more than their turn.",
        &[FILTERS],
        "`groups`, the largest first, `unreadable`, and `has_more`: there are more leads than were looked at.",
    ),
    get(
        "/api/v1/leads/export",
        "Leads as a file.",
        &[FILTERS, &[("format", "`csv` (the default), `ndjson` or `json`.")], REVEAL],
        "The file.",
    ),
    get(
        "/api/v1/leads/{id}",
        "One lead, by its id or a beginning of it that is unique.",
        &[REVEAL],
        "What `formgate leads show --output json` prints.",
    ),
    get(
        "/api/v1/leads/{id}/trace",
        "The history of one lead.",
        &[REVEAL],
        "`id`, `site`, `form`, `state`, `seen` (how often it was posted) and `steps`.",
    ),
    post(
        "/api/v1/leads/retry",
        "Decodes and maps leads again with the configuration now in use, and queues them.",
        &[
            CHOICE,
            &[
                (
                    "again",
                    "`true` also sends a queued lead at once and a delivered one a second time; only with `ids`.",
                ),
                (
                    "release",
                    "`true` also sends what is held by a rule, or as uncertain, unknown_form, other_host, test or spam.",
                ),
                ("assign", "The site that ambiguous leads belong to."),
                ("rate", "Leads a second: 20 by default, up to 1000."),
            ],
            DRY_RUN,
            REVEAL,
            CALL,
        ],
        RESULTS,
    ),
    post(
        "/api/v1/leads/amend",
        "Corrects fields of one held or dead lead, and queues it. 409 if it can't be amended now; 422 with `errors` if the \
         result is no valid lead.",
        &[
            &[
                ("id", "The lead: its id, or a beginning of it that is unique."),
                ("name", "The right name."),
                ("email", "The right e-mail address."),
                ("phone", "The right phone number; an empty string removes it."),
                ("message", "The whole message."),
                ("clear", "A list of fields whose correction is taken back."),
            ],
            DRY_RUN,
            REVEAL,
        ],
        "One result, as those of `retry`.",
    ),
    post("/api/v1/leads/drop", "Gives held or queued leads up.", &[CHOICE, DRY_RUN, CALL], RESULTS),
    post(
        "/api/v1/leads/erase",
        "Removes leads and overwrites their bytes in the store.",
        &[
            &[
                ("ids", "A list of up to 500 ids, or of beginnings that are unique."),
                ("email", "In place of `ids`: every lead that holds this address."),
            ],
            DRY_RUN,
            &[("cursor", "Where to go on: `next` of the answer before.")],
        ],
        "`entries`, `missing` (ids that no lead has), `unreadable`, `remains` (a file that still holds bytes), `looked_at`, `next`.",
    ),
    post(
        "/api/v1/leads/capture",
        "Gives a stored request as a test case.",
        &[&[("id", "The lead: its id, or a beginning of it that is unique.")]],
        "`id`, `folder` and `case` (where the case belongs), `request` (in base64), `lead` or `errors`, and `notes`.",
    ),
    post(
        "/api/v1/explain",
        "Tells what becomes of a submission. Stores and sends nothing.",
        &[
            &[
                ("site", "The site whose rules apply."),
                ("form", "The form, as named in the webhook URL."),
                ("content_type", "The body's media type."),
                ("body", "The body, as text."),
                ("entry", "In place of `body`: the id of a stored lead."),
                ("mapping", "The text of a mapping to use."),
            ],
            REVEAL,
        ],
        "What `formgate explain --output json` prints.",
    ),
    post(
        "/api/v1/pings",
        "Announces requests to `/hooks/NAME`, which are then remembered for five minutes. `formgate doctor` does so.",
        &[&[("name", "`doctor-` and 32 hexadecimal digits in lower case.")]],
        "`name`.",
    ),
    get("/api/v1/pings/{name}", "Tells how the announced requests arrived.", &[], "`arrivals`."),
    get(
        STREAM,
        "Server-sent events: each request and each delivery attempt as it ends, for up to an hour.",
        &[&[
            ("site", "Only this site."),
            ("form", "Only this form."),
            ("leads", "`1` adds each lead, which the audit log records."),
        ]],
        "Events `request`, `attempt`, `missed` (the client is too slow) and `end`.",
    ),
    get("/api/v1/process", "What only the process knows.", &[], "`open_files`, with `open` and `limit`."),
    get(
        "/api/v1/notify",
        "How each sink of `[[notify]]` is doing.",
        &[],
        "`sinks`, as in `formgate notify list --output json`.",
    ),
    post(
        "/api/v1/store/backup",
        "Copies the store into a new file while it is in use.",
        &[&[("file", "An absolute path on the gateway's machine.")]],
        "`file` and `entries`.",
    ),
    post(
        "/api/v1/store/salvage",
        "Merges what can be read of a store that was set aside back into the store.",
        &[],
        "`files` (what was read), `recovered` and `present` (how many leads were merged, and how many were there already), `unreadable`.",
    ),
];

const RESULTS: &str = "`results`, one for each lead: `id`, `site`, `form`, `state` (before), `outcome`, `why`, and after a dry run \
                       `before` and `after`; and `next`.";

/// Which leads are meant, in a query; in a body they are the members of `filter`.
const FILTERS: &[(&str, &str)] = &[
    ("site", "Only this site."),
    ("form", "Only this form."),
    ("state", "`queued`, `held`, `delivered` or `dead`."),
    ("reason", "Why it is held or dead, such as `invalid`."),
    ("cause", "Its cause, as a group names it."),
    ("since", "Accepted at or after: a time (RFC 3339), a day, or an age such as `2h` or `7d`."),
    ("until", "Accepted before."),
    ("text", "Contained in the lead or in what was posted."),
];
const CHOICE: &[(&str, &str)] = &[
    ("ids", "A list of up to 500 ids, or of beginnings that are unique."),
    ("filter", "In place of `ids`: an object with the filters of `GET /api/v1/leads`; an empty one means every lead."),
];
const DRY_RUN: &[(&str, &str)] = &[("dry_run", "`true` says what would happen, and changes nothing.")];
const PAGE: &[(&str, &str)] = &[
    ("cursor", "Where to go on: `next` of the answer before."),
    ("limit", "How many leads a page has at most: 50 by default, up to 500."),
];
const CALL: &[(&str, &str)] = &[
    ("cursor", "Where to go on: `next` of the answer before."),
    ("limit", "How many leads one call changes at most: 100 by default, up to 500."),
];
const REVEAL: &[(&str, &str)] =
    &[("reveal", "`true` shows leads whole where `[admin].mask` hides them; the audit log records it.")];

const fn get(
    path: &'static str,
    about: &'static str,
    takes: &'static [&'static [(&'static str, &'static str)]],
    answer: &'static str,
) -> AdminRoute {
    AdminRoute { method: "GET", path, about, takes, answer }
}

const fn post(
    path: &'static str,
    about: &'static str,
    takes: &'static [&'static [(&'static str, &'static str)]],
    answer: &'static str,
) -> AdminRoute {
    AdminRoute { method: "POST", path, about, takes, answer }
}

/// Returns the parts of a path below the API's root.
pub(super) fn parts(path: &str) -> Vec<&str> {
    let path = path.strip_prefix("/api/v1").unwrap_or_default();
    path.split('/').skip(1).filter(|part| !part.is_empty()).collect()
}

/// Finds what the parts of a path mean. A word goes before any text: `leads/retry` is no lead's id.
pub(super) fn find(asked: &[&str]) -> Option<&'static AdminRoute> {
    let fitting = API_ROUTES.iter().filter(|route| {
        let known = parts(route.path);
        known.len() == asked.len() && known.iter().zip(asked).all(|(known, part)| is_any(known) || known == part)
    });
    fitting.min_by_key(|route| parts(route.path).iter().filter(|known| is_any(known)).count())
}

fn is_any(known: &str) -> bool {
    known.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_by_its_parts_and_a_word_goes_before_any_text() {
        let path = |asked: &str| find(&parts(asked)).map(|route| (route.method, route.path));
        assert_eq!(path("/api/v1"), Some(("GET", "/api/v1")));
        assert_eq!(path("/api/v1/leads/"), Some(("GET", "/api/v1/leads")));
        assert_eq!(path("/api/v1/leads/groups"), Some(("GET", "/api/v1/leads/groups")));
        assert_eq!(path("/api/v1/leads/retry"), Some(("POST", "/api/v1/leads/retry")));
        assert_eq!(path("/api/v1/leads/0198"), Some(("GET", "/api/v1/leads/{id}")));
        assert_eq!(path("/api/v1/sites/acme/keys/verify"), Some(("POST", "/api/v1/sites/{id}/keys/verify")));
        for nowhere in ["/api/v1/x", "/api/v1/sites/acme/x", "/api/v1/leads/a/b/c", "/api/v1/store"] {
            assert_eq!(path(nowhere), None, "{nowhere}");
        }
    }
}

//! docs/reference/api.md: what the gateway and the admin listener answer, by the tables that route their requests.

use formgate::accept::GATEWAY_ROUTES;
use formgate::admin::{API_ROUTES, AdminRoute, HEALTH_ROUTES};

use super::markdown::{Page, code};

pub(super) fn page() -> String {
    let mut page = Page::new("HTTP reference");
    page.paragraph(
        "What formgate answers on its two listeners: the gateway, `[server].listen`, which forms post to, and the admin listener, \
         `[admin].listen`, for monitors, the console and programs of yours.",
    );
    gateway(&mut page);
    health(&mut page);
    admin(&mut page);
    page.finish()
}

fn gateway(page: &mut Page) {
    page.heading(2, "The gateway");
    let rows = GATEWAY_ROUTES.map(|route| {
        let methods: Vec<String> = route.methods.iter().map(|method| code(method)).collect();
        [methods.join(", "), code(route.path), route.about.to_owned()]
    });
    page.table(["method", "path", "what it is"], &rows);
    page.paragraph(
        "`{site}` and `{form}` are 1 to 64 of a–z, 0–9, `-` and `_`, and begin with a letter or a digit. Any other path is 404.",
    );
    page.heading(3, "Credentials");
    page.paragraph("One of these, for a path below `/hooks`:");
    let ways = [
        "the site's token: `Authorization: Bearer TOKEN`, `X-Formgate-Token: TOKEN`, Basic authentication with the token as \
         password, or `?token=TOKEN`;",
        "a signature made with a secret in the site's `wpforms_secret`;",
        "for [a page's own form](../browser-forms.md), the page's origin.",
    ];
    page.list(&ways.map(str::to_owned));
    page.paragraph("KaiCalls' own endpoints take the site's key pair, as KaiCalls does.");
    answers(page);
}

fn answers(page: &mut Page) {
    page.heading(3, "Answers");
    page.paragraph("A submission that is stored is answered 200, once it is on the disk:");
    page.block("json", "{\"success\": true, \"id\": \"0198c0de-1234-7abc-8def-0123456789ab\", \"status\": \"queued\"}");
    page.paragraph(
        "`status` is `queued`, `held` or `duplicate`; of a duplicate, `id` is that of the first. `intake` adds `leadId` and \
         `message`, as KaiCalls answers. Anything else is a [problem](#problems); the endpoints below `/api/v1/wordpress` answer \
         `{\"success\": false, \"error\": \"…\"}` instead. [What a status code means](../troubleshooting.md#what-a-status-code-means) \
         lists them. 429 and 503 have `Retry-After`; 429 also has `RateLimit` and `RateLimit-Policy`. Every answer has \
         `X-Request-Id`.",
    );
    problems(page);
}

fn problems(page: &mut Page) {
    page.heading(3, "Problems");
    page.paragraph("Errors are problem details (RFC 9457), `application/problem+json`:");
    let rows = [
        ["type", "string", "`urn:formgate:problem:` and a word of a closed set. Tell errors apart by it"],
        ["title", "string", "what is wrong, in general"],
        ["status", "integer", "the HTTP status"],
        ["detail", "string", "what is wrong here. Never a value of the submission"],
        ["request_id", "string", "what the log calls the request"],
        [
            "errors",
            "list",
            "why there is no valid lead, for 422: `field` (null for the whole submission), `code` and `detail`. \
                           `code` is `missing`, `invalid`, `too_long`, `no_fields` or `uncertain`",
        ],
    ];
    page.table(
        ["member", "type", "what it is"],
        &rows.map(|[name, kind, about]| [code(name), kind.to_owned(), about.to_owned()]),
    );
}

fn health(page: &mut Page) {
    page.heading(2, "Health and metrics");
    page.paragraph(
        "On the admin listener, without a token. As for every request there, `Host` must be the listener's address or one of \
         `[admin].hosts`; else the answer is 403.",
    );
    let rows = HEALTH_ROUTES
        .map(|route| [format!("`{} {}`", route.method, route.path), route.about.to_owned(), route.answer.to_owned()]);
    page.table(["request", "what it does", "answer"], &rows);
}

fn admin(page: &mut Page) {
    page.heading(2, "The admin API");
    page.paragraph(
        "On the admin listener, with `Authorization: Bearer TOKEN`, or with a session of [the console](../console.md); or through \
         the socket in the data folder, without a token. `formgate` uses the same API, and \
         [operating](../operating.md#the-admin-api) explains what the verbs do.",
    );
    let rules = [
        "Parameters of a `GET` are in its query. A `POST` takes a JSON object, `{}` at least, with `Content-Type: \
         application/json`: up to 64 KiB, for `amend` and `explain` 1 MiB. Unknown members are errors, and unknown parameters wherever any are listed.",
        "A page can be short or empty and still have a `next`: go on with it as `cursor`, until there is none. Changes work page by \
         page too, so that no call takes long.",
        "Errors are [problems](#problems): 400 for an invalid request, 401 without a valid token, 404, 405, 409 where several leads \
         fit or the state doesn't allow it, 413, 415, 500, and 503 with `Retry-After`.",
        "Eight calls are answered at one time, and 32 more that wait for KaiCalls; others get 503 `busy`. Streams have 16 places of \
         their own.",
    ];
    page.list(&rules.map(str::to_owned));
    let rows = API_ROUTES.map(|route| [format!("[`{0}`](#{1})", title(&route), link(&route)), route.about.to_owned()]);
    page.table(["request", "what it does"], &rows);
    for route in API_ROUTES {
        // In code: mdBook takes braces at the end of a heading for attributes.
        page.heading(3, &code(&title(&route)));
        page.paragraph(route.about);
        let rows: Vec<_> = route
            .takes
            .iter()
            .flat_map(|group| *group)
            .map(|(name, about)| [code(name), (*about).to_owned()])
            .collect();
        let head = if route.method == "GET" { "parameter" } else { "member" };
        page.table([head, "what it is"], &rows);
        page.paragraph(&format!("**Answer:** {}", route.answer));
    }
}

fn title(route: &AdminRoute) -> String {
    format!("{} {}", route.method, route.path)
}

fn link(route: &AdminRoute) -> String {
    super::markdown::anchor(&title(route))
}

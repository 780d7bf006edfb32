//! Events of sites and forms.

use jiff::Timestamp;

use super::Report;
use super::say::{capitalised, clip, count, date, quoted, site_name, time, time_seen_from, waiting};
use crate::notify::notice::{FormSilent, PostsRefused, RefusedPost, SitePaused, SiteResumed, TokenExpiring};

/// Longest text of KaiCalls in a headline, in characters.
const WHY_MAX: usize = 60;

pub(super) fn paused_headline(data: &SitePaused) -> String {
    let why = clip(&data.why, WHY_MAX);
    format!("{}: KaiCalls refuses the site's keys ({why}); {}", site_name(&data.site), waiting(data.queued))
}

pub(super) fn paused(title: String, data: &SitePaused) -> Report {
    let paragraph = format!(
        "KaiCalls has refused the keys of this site since {}. Nothing is lost: new leads are still stored, and all of them are \
         sent as soon as the keys work again. Until then, none of them reaches KaiCalls.",
        time(data.since)
    );
    Report::new(title, paragraph)
        .fact("Site", site_name(&data.site))
        .fact("KaiCalls said", quoted(&data.why))
        .known("Refused keys", Some(data.public_keys.join(", ")).filter(|keys| !keys.is_empty()))
        .fact("Waiting", count(data.queued, "lead"))
        .cure(data.cure)
}

pub(super) fn resumed_headline(data: &SiteResumed) -> String {
    let then = match data.queued {
        0 => String::new(),
        1 => "; 1 lead is on its way".to_owned(),
        leads => format!("; {} are on their way", count(leads, "lead")),
    };
    format!("{}: KaiCalls takes the site's keys again{then}", site_name(&data.site))
}

pub(super) fn resumed(title: String, data: &SiteResumed) -> Report {
    Report::new(title, "The site's leads are sent again, the oldest first. There is nothing to do.")
        .fact("Site", site_name(&data.site))
        .fact("Waiting", count(data.queued, "lead"))
}

pub(super) fn refused_headline(data: &PostsRefused, at: Timestamp) -> String {
    let site = site_name(&data.site);
    let posts = data.refused.iter().map(|post| post.count).sum();
    let most = data.refused.iter().max_by_key(|post| post.count);
    let first = data.refused.iter().map(|post| post.first_at).min();
    let Some((most, first)) = most.zip(first) else {
        return format!("{site}: posts were refused");
    };
    let mostly = if data.refused.len() > 1 { "mostly " } else { "" };
    let since = time_seen_from(first, at);
    format!("{site}: {} refused, {mostly}{} (since {since})", count(posts, "post"), mistake(&most.mistake))
}

pub(super) fn refused(title: String, data: &PostsRefused) -> Report {
    let paragraph = "formgate refused these posts of the site's forms, so what visitors sent in them is probably lost: most form \
                     plugins don't try again, and show the visitor a success all the same.";
    let mut report = Report::new(title, paragraph).fact("Site", site_name(&data.site));
    for post in &data.refused {
        let status = post.status.map(|status| format!(" ({status})")).unwrap_or_default();
        report = report.fact(&format!("{}{status}", capitalised(&mistake(&post.mistake))), refused_post(post));
    }
    for post in &data.refused {
        let step = match data.refused.len() {
            1 => post.cure.clone(),
            _ => format!("{}: {}", capitalised(&mistake(&post.mistake)), post.cure),
        };
        // One cure may serve several mistakes' statuses.
        if !report.cures.contains(&step) {
            report = report.cure(step);
        }
    }
    report
}

/// Says how often, when and from where, on one line. Host and agent are a stranger's words.
fn refused_post(post: &RefusedPost) -> String {
    let mut line = count(post.count, "post");
    if post.count == 1 {
        line += &format!(" at {}", time(post.last_at));
    } else {
        line += &format!(" between {} and {}", time(post.first_at), time(post.last_at));
    }
    if let Some(host) = &post.host {
        line += &format!(", sent by {}", quoted(host));
    }
    if let Some(agent) = &post.agent {
        line += &format!(" ({})", quoted(agent));
    }
    line
}

/// Says in words what was wrong with a post.
fn mistake(word: &str) -> String {
    let said = match word {
        "no_credential" => "no token",
        "unknown_token" => "wrong token",
        "expired_token" => "token expired",
        "other_sites_token" => "another site's token",
        "other_origin" => "from a page that isn't the form's",
        "bad_signature" => "wrong signature",
        "unknown_keys" => "unknown key pair",
        "wrong_secret_key" => "wrong Secret Key",
        "unauthorized" | "credentials_unknown" => "not authorized",
        "keys_missing" => "the site has no keys",
        "keys_refused" => "KaiCalls refuses the keys",
        "upload_too_large" | "body_too_large" => "too large",
        "head_too_large" => "headers too large",
        "head_too_slow" | "body_too_slow" => "too slow",
        "files_not_taken" => "files aren't taken",
        "rate_limited" => "too many at once",
        "method_not_allowed" => "not a POST",
        "store_full" => "no room left",
        "form_full" => "the form's room is used up",
        "store_unavailable" => "couldn't be stored",
        other => return clip(&other.replace('_', " "), WHY_MAX),
    };
    said.to_owned()
}

pub(super) fn token_headline(data: &TokenExpiring, at: Timestamp) -> String {
    let site = site_name(&data.site);
    let Some(first) = data.tokens.iter().map(|token| token.expires).min() else {
        return format!("{site}: a token expires soon");
    };
    match data.tokens.len() {
        1 if first < date(at) => format!("{site}: a token expired on {first}"),
        1 => format!("{site}: a token expires on {first}"),
        tokens => format!("{site}: {tokens} tokens expire, the first on {first}"),
    }
}

pub(super) fn token_expiring(title: String, data: &TokenExpiring, at: Timestamp) -> Report {
    let paragraph = "A token lets the site's forms post to formgate. Once it has expired, at the end of that day (UTC), posts with it \
                     are refused, and what visitors send in them is lost.";
    let mut report = Report::new(title, paragraph).fact("Site", site_name(&data.site));
    for token in &data.tokens {
        let label = match &token.note {
            Some(note) => format!("Token {} ({})", token.sha256, quoted(note)),
            None => format!("Token {}", token.sha256),
        };
        let verb = if token.expires < date(at) { "expired" } else { "expires" };
        report = report.fact(&label, format!("{verb} on {}", token.expires));
    }
    report.cure(data.cure.as_str())
}

pub(super) fn silent_headline(data: &FormSilent, at: Timestamp) -> String {
    let since = data.last_at.map(|last| format!(" since {}", time_seen_from(last, at))).unwrap_or_default();
    format!("{}: form {} has been silent{since}", site_name(&data.site), data.form)
}

pub(super) fn silent(title: String, data: &FormSilent) -> Report {
    let paragraph = "This form usually posts more often. Perhaps nobody has filled it in; perhaps the form was changed and no \
                     longer posts to formgate, and then its leads are lost.";
    Report::new(title, paragraph)
        .fact("Site", site_name(&data.site))
        .fact("Form", data.form.to_string())
        .known("Last post", data.last_at.map(time))
        .cure(
            "Fill in the form once yourself. If no lead arrives, check the webhook URL in the form plugin's settings.",
        )
}

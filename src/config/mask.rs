//! Which stretches of a file may hold a secret, judged by the text alone.
//!
//! The judgement must also hold for files that are no TOML and for keys that are misspelt, since it is their lines
//! that get shown. It would rather hide too much.

use std::ops::Range;

/// Stands for what is hidden, whatever its length.
pub(super) const MASK: &str = "***";

/// Keys whose strings may be shown inside a secret's table or list: they say where it is, or are public.
pub(super) const OPEN_KEYS: [&str; 5] = ["env", "file", "sha256", "note", "expires"];

/// The key of sinks, of whose values only those of [`OPEN_KEYS`] are shown where they are written in its own line.
pub(super) const SINKS: &str = "notify";

/// Tables whose `url` is no secret; the empty one is a site's file.
const OPEN_URLS: [&str; 3] = ["", "site", "queue"];

/// Returns the byte ranges to hide, sorted, without overlap.
pub(super) fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<_> = credentials(text).into_iter().chain(passwords_in_urls(text)).collect();
    let headers = headers(text);
    for (at, _) in text.match_indices('=') {
        let key = text.get(..at).map_or("", key_before);
        let header = headers.partition_point(|(start, _)| *start < at).checked_sub(1);
        let table = header.and_then(|last| headers.get(last)).map_or("", |(_, name)| name);
        if is_secret_key(key) || is_secret_in(table, key) {
            ranges.extend(value_ranges(text, at + 1));
        }
    }
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    merge(ranges)
}

/// Returns the text with keys and tokens masked that can be known by their own shape.
pub(super) fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for range in merge(credentials(text)) {
        shown.push_str(text.get(from..range.start).unwrap_or_default());
        shown.push_str(MASK);
        from = range.end;
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    shown
}

/// Finds `wp_sk_…`, `kc_live_…`, and `fg_` with a token's worth of characters behind it.
fn credentials(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let find = |prefix: &'static str, least: usize| {
        text.match_indices(prefix).filter_map(move |(start, _)| {
            let from = start + prefix.len();
            let tail = bytes.iter().skip(from).take_while(|byte| is_word(**byte)).count();
            (tail >= least).then_some(start..from + tail)
        })
    };
    let mut ranges: Vec<_> = find("wp_sk_", 1).chain(find("kc_live_", 1)).chain(find("fg_", 20)).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Returns the last part of the key that stands before an `=`.
fn key_before(before: &str) -> &str {
    let trimmed = before.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
    let start = trimmed.rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    let start =
        start.map_or(0, |at| at + trimmed.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    trimmed.get(start..).unwrap_or_default()
}

/// Returns where the tables of a text begin, and the last part of their names.
fn headers(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut headers = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.trim_start().strip_prefix('[') {
            let name = name.trim_start_matches('[').split(']').next().unwrap_or_default();
            headers.push((
                at,
                name.rsplit('.').next().unwrap_or_default().trim_matches([' ', '\t', '"', '\'', '\r', '\n']),
            ));
        }
        at += line.len();
    }
    headers
}

/// Tells whether a key holds a secret because of the table that it stands in: a webhook's URL often is one in itself, also
/// where the table's name is misspelt.
fn is_secret_in(table: &str, key: &str) -> bool {
    let key = key.to_lowercase();
    strsim::osa_distance(&key, SINKS) <= 2 || !OPEN_URLS.contains(&table) && strsim::osa_distance(&key, "url") <= 1
}

/// Finds the password in `scheme://user:password@host`.
fn passwords_in_urls(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, mark)| {
        let start = at + mark.len();
        let rest = text.get(start..line_end(text, start))?;
        let user = rest.get(..rest.rfind('@')?)?;
        Some(start + user.find(':')? + 1..start + user.len())
    })
}

pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "token", "password", "authorization", "cookie"].iter().any(|word| key.contains(word))
        || ["secret", "secret_key", "api_key", "wpforms_secret", "token"]
            .iter()
            .any(|known| strsim::osa_distance(&key, known) <= 2)
}

/// Returns what to hide of the value that begins behind an `=`.
fn value_ranges(text: &str, after: usize) -> Vec<Range<usize>> {
    let rest = text.get(after..).unwrap_or_default();
    let start = after + rest.len() - rest.trim_start_matches([' ', '\t']).len();
    match text.as_bytes().get(start) {
        Some(b'"' | b'\'') => std::iter::once(start..literal_end(text, start)).collect(),
        Some(open @ (b'[' | b'{')) => strings_inside(text, start, *open),
        _ => std::iter::once(start..line_end(text, start)).collect(),
    }
}

/// Returns the strings between a bracket and the one that closes it, but for those under [`OPEN_KEYS`].
fn strings_inside(text: &str, start: usize, open: u8) -> Vec<Range<usize>> {
    let close = if open == b'[' { b']' } else { b'}' };
    let (mut depth, mut at, mut found) = (0_usize, start, Vec::new());
    while let Some(&byte) = text.as_bytes().get(at) {
        if byte == b'"' || byte == b'\'' {
            let end = literal_end(text, at);
            if !is_open_value(text.get(..at).unwrap_or_default()) {
                found.push(at..end);
            }
            at = end.max(at + 1);
            continue;
        }
        depth = depth + usize::from(byte == open) - usize::from(byte == close && depth > 0);
        at += 1;
        if depth == 0 {
            break;
        }
    }
    found
}

fn is_open_value(before: &str) -> bool {
    let before = before.trim_end();
    before.strip_suffix('=').is_some_and(|key| OPEN_KEYS.contains(&key_before(key)))
}

/// Returns where the string that begins with a quote at `start` ends: behind its last quote, or with the line or the
/// file where it is not closed.
fn literal_end(text: &str, start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    for fence in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(fence) {
            return inner.find(fence).map_or(text.len(), |at| start + at + 2 * fence.len());
        }
    }
    let quote = rest.chars().next().unwrap_or('"');
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return start + at,
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return start + at + 1,
            _ => {}
        }
    }
    text.len()
}

fn line_end(text: &str, start: usize) -> usize {
    text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| start + at)
}

fn merge(sorted: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut shown = text.to_owned();
        for range in secret_ranges(text).into_iter().rev() {
            shown.replace_range(range, MASK);
        }
        shown
    }

    #[test]
    fn no_secret_is_shown_however_it_is_written() {
        for (text, expected) in [
            ("secret_key = \"hush\" # x", "secret_key = *** # x"),
            ("secret_key='hu\\' # x", "secret_key=*** # x"),
            ("secret_key = \"hu\\\"sh\"", "secret_key = ***"),
            ("secret_key = \"hush\nb = 1", "secret_key = ***\nb = 1"),
            ("secret_key = hush\nb = 1", "secret_key = ***\nb = 1"),
            ("secret_key = \"\"\"\nhu\nsh\"\"\"\nb = \"x\"", "secret_key = ***\nb = \"x\""),
            (
                "wpforms_secret = [\"a]\", 'b', { env = \"E\" }]\nb = \"x\"",
                "wpforms_secret = [***, ***, { env = \"E\" }]\nb = \"x\"",
            ),
            ("\"secret_key\" = { file = \"f\", evn = \"x\" }", "\"secret_key\" = { file = \"f\", evn = *** }"),
            ("forms.a.secrt_key = \"hush\"", "forms.a.secrt_key = ***"),
            (
                "tokens = [{ sha256 = \"ab\", note = \"n\" }, \"hush\"]",
                "tokens = [{ sha256 = \"ab\", note = \"n\" }, ***]",
            ),
            ("public_key = \"wp_sk_real\"", "public_key = \"***\""),
            ("# é wp_sk_real.", "# é ***."),
            ("note = \"fg_0123456789012345678901234567890123456789012\"", "note = \"***\""),
            (
                "cfg_name = \"x\"\nname = \"y\"\npublic_key = \"wp_pk_a\"",
                "cfg_name = \"x\"\nname = \"y\"\npublic_key = \"wp_pk_a\"",
            ),
            ("é = \"x\"", "é = \"x\""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn the_url_of_a_webhook_is_hidden_and_a_sites_is_shown() {
        for (text, expected) in [
            ("url = \"https://a.example\"", "url = \"https://a.example\""),
            ("[[site]]\nurl = \"https://a.example\"", "[[site]]\nurl = \"https://a.example\""),
            ("[queue]\nurl = \"sqlite:a\"", "[queue]\nurl = \"sqlite:a\""),
            ("[[notify]]\nurl = \"https://hush\"\nname = \"a\"", "[[notify]]\nurl = ***\nname = \"a\""),
            ("[[site.notify]]\nurl = \"https://hush", "[[site.notify]]\nurl = ***"),
            ("[[ notfy ]]\nulr = 'https://hush'", "[[ notfy ]]\nulr = ***"),
            ("[[notify]]\nurl = { env = \"E\" }", "[[notify]]\nurl = { env = \"E\" }"),
            (
                "notify = [\n  { url = \"hush\", secret = { file = \"f\" } },\n]",
                "notify = [\n  { url = ***, secret = { file = \"f\" } },\n]",
            ),
            ("[mail]\nsmtp = \"smtps://u:hu@sh@a.example\"", "[mail]\nsmtp = \"smtps://u:***@a.example\""),
            ("[queue]\nurl = \"postgres://u:hu/sh@db/leads\"", "[queue]\nurl = \"postgres://u:***@db/leads\""),
            (
                "[queue]\nurl = \"postgres://db/leads?user=u&password=hush&sslmode=disable\"",
                "[queue]\nurl = \"postgres://db/leads?user=u&password=***",
            ),
            ("smtp = \"smtps://u@a.example:465\"", "smtp = \"smtps://u@a.example:465\""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn a_message_shows_no_credential() {
        assert_eq!(without_credentials("`wp_sk_a` and `wp_sk_b`"), "`***` and `***`");
        assert_eq!(without_credentials("fg_x is short"), "fg_x is short");
    }
}

//! The small page a visitor sees where the form names none of its own: no script, nothing of what was sent, nothing loaded.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::words::{Notice, Words};

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem;\
                     color:#222;background:#fff}@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}\
                     a{color:#8cf}}";

/// Lets the browser use that style and nothing else.
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

/// Writes a page. `errors` are what is wrong with the form, `home` the origin of the website.
pub(super) fn page(words: &Words, notice: Notice, errors: &[String], home: Option<&str>) -> Bytes {
    let text = words.text(notice);
    let lang = escaped(words.tag());
    let title = escaped(&text.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <main>\n<h1>{title}</h1>\n"
    );
    let mut add =
        |line: std::fmt::Arguments<'_>| html.write_fmt(line).expect("a String takes all that is written to it");
    if !errors.is_empty() {
        add(format_args!("<ul>\n"));
        errors.iter().for_each(|error| add(format_args!("<li>{}</li>\n", escaped(error))));
        add(format_args!("</ul>\n"));
    }
    add(format_args!("<p>{}</p>\n", escaped(&text.text)));
    if let Some(home) = home {
        add(format_args!("<p><a href=\"{}/\">{}</a></p>\n", escaped(home), escaped(words.home())));
    }
    add(format_args!("</main>\n</html>\n"));
    html.into()
}

/// Says in headers what a browser may do with the page. Only pages of `home` may show it in a frame.
pub(super) fn protect(headers: &mut HeaderMap, words: &Words, home: Option<&str>) {
    let style = &*STYLE_SOURCE;
    let ancestors = home.unwrap_or("'none'");
    let policy = format!(
        "default-src 'none'; style-src {style}; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
    );
    let plain = |text: &str| HeaderValue::from_str(text).expect("origins, digests and language tags are ASCII");
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LANGUAGE, plain(words.tag()));
    headers.insert(header::CONTENT_SECURITY_POLICY, plain(&policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, char| {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    #[test]
    fn what_is_written_can_break_out_of_nothing() {
        let words = words::of_tag("fr").expect("French");
        let html = page(words, Notice::Invalid, &["<script>\"'&".to_owned()], Some("https://a.example\"><b>"));
        let html = String::from_utf8(html.into()).expect("text");
        assert!(html.contains("<li>&lt;script&gt;&quot;&#39;&amp;</li>"), "{html}");
        assert!(html.contains("href=\"https://a.example&quot;&gt;&lt;b&gt;/\""), "{html}");
        assert!(html.starts_with("<!doctype html>\n<html lang=\"fr\">"), "{html}");
    }
}

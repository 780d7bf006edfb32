//! What is posted of an event.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::WebhookFormat;
use crate::event::EventType;
use crate::notify::notice::{Data, LeadData, Notice};
use crate::notify::words;

/// The largest body. What a visitor sent is left out of one that would be larger; nothing else in an event is large.
const BODY_MAX: usize = 1024 * 1024;

/// The body of Standard Webhooks, in the order that its readers know.
#[derive(Serialize)]
struct Standard<'a, D> {
    r#type: &'static str,
    /// When it happened; when it is sent is in a header.
    timestamp: Timestamp,
    data: &'a D,
}

/// Writes the body of an event, as it is signed and posted.
pub(super) fn write(notice: &Notice, format: WebhookFormat) -> Vec<u8> {
    match format {
        WebhookFormat::Slack => json!({ "text": escape(&words::headline(notice)) }).to_string().into_bytes(),
        WebhookFormat::Standard => write_standard(notice, BODY_MAX),
    }
}

fn write_standard(notice: &Notice, max: usize) -> Vec<u8> {
    let whole = to_json(notice.event, notice.at, &notice.data);
    match &notice.data {
        Data::Lead(lead) if whole.len() > max && lead.lead.content.is_some() => {
            to_json(notice.event, notice.at, &without_content(lead))
        }
        _ => whole,
    }
}

fn to_json(event: EventType, at: Timestamp, data: &impl Serialize) -> Vec<u8> {
    let body = Standard { r#type: event.as_str(), timestamp: at, data };
    serde_json::to_vec(&body).expect("only maps with text keys are written, to memory")
}

/// Returns the data of a lead without what the visitor sent, and says so.
fn without_content(data: &LeadData) -> Value {
    let mut value = json!(data);
    if let Some(Value::Object(lead)) = value.get_mut("lead") {
        lead.remove("content");
        lead.insert("content_omitted".to_owned(), Value::Bool(true));
    }
    value
}

/// Writes text for chats as what it is. Slack reads links and mentions between angle brackets; Mattermost and others read
/// `@here` and `[text](link)` as well, so an invisible space goes into those.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' | ']' => escaped.extend([character, '\u{200B}']),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_a_link_or_a_mention_in_a_chat() {
        for (text, escaped) in [
            ("Acme & Sons: 12 leads wait", "Acme &amp; Sons: 12 leads wait"),
            ("<!here> <https://evil.example|click>", "&lt;!here&gt; &lt;https://evil.example|click&gt;"),
            ("@channel", "@\u{200B}channel"),
            ("[click](https://evil.example)", "[click]\u{200B}(https://evil.example)"),
            ("&lt;", "&amp;lt;"),
        ] {
            assert_eq!(escape(text), escaped);
        }
    }
}

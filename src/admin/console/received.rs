//! What was received, as a lead's page shows it: the fields, the headers that are kept, the bytes.

use maud::{Markup, html};

use super::lead::LeadPage;
use super::words;
use crate::operate::{ReceivedView, ShownField};

/// Longest body that a page shows, in bytes; a fixture has all of it.
const SHOWN_MAX: usize = 64 * 1024;
/// Most fields and values that a page shows.
const FIELDS_MAX: usize = 500;
const VALUES_MAX: usize = 50;

pub(super) fn section(page: &LeadPage<'_>) -> Markup {
    let life = &page.life;
    html! {
        section {
            h2 { (words::RECEIVED_SECTION) }
            (fields(&life.fields))
            @if !life.extras.is_empty() {
                details.panel {
                    summary { (words::EXTRAS) " (" (life.extras.len()) ")" }
                    dl.facts {
                        @for extra in life.extras.iter().take(FIELDS_MAX) {
                            dt { bdi { (extra.label) } }
                            dd.value { bdi { (extra.value) } }
                        }
                    }
                }
            }
            (request(&life.received))
        }
    }
}

fn fields(fields: &[ShownField]) -> Markup {
    html! {
        @if fields.is_empty() { p.empty { (words::NO_FIELDS) } }
        @else {
            table.list.fields {
                thead { tr { th { (words::FIELD) } th { (words::VALUE) } } }
                tbody {
                    @for field in fields.iter().take(FIELDS_MAX) {
                        tr {
                            td {
                                @if let Some(label) = &field.label { bdi { (label) } span.hint { code { (field.key) } } }
                                @else { code { (field.key) } }
                            }
                            td.value {
                                @for value in field.values.iter().take(VALUES_MAX) { div { bdi { (value) } } }
                            }
                        }
                    }
                }
            }
            @if fields.len() > FIELDS_MAX { p.hint { (words::more_fields(fields.len() - FIELDS_MAX)) } }
        }
    }
}

fn request(received: &ReceivedView) -> Markup {
    let ReceivedView { method, query, headers, trace_id, body_bytes, cut, body } = received;
    html! {
        details.panel {
            summary { (words::RAW) ", " (body_bytes) " " (words::BYTES) }
            dl.facts {
                dt { (words::METHOD) } dd { code { (method) } }
                @if let Some(query) = query { dt { (words::QUERY) } dd.value { code { (query) } } }
                @for (name, value) in headers { dt { (name) } dd.value { code { (value) } } }
                @if let Some(trace) = trace_id { dt { (words::TRACE) } dd { code { (trace) } } }
            }
            @if *cut { p.hint { (words::FILES_CUT) } }
            @match body {
                Some(body) => {
                    pre tabindex="0" { (beginning(body)) }
                    @if body.len() > SHOWN_MAX { p.hint { (words::BODY_CUT) } }
                }
                None => p.hint { (words::NOT_TEXT) },
            }
        }
    }
}

/// Returns as much of a text as a page shows.
fn beginning(text: &str) -> &str {
    let end = (0..=SHOWN_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or(text)
}

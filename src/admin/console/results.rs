//! What became of each lead that something was done with, or would.

use maud::{Markup, html};

use super::show::{short, state};
use super::words;
use crate::operate::Done;

/// Leads that are shown, the first ones.
pub(super) const SHOWN_MAX: usize = 100;

/// What became of each lead, or would.
pub(super) fn table(results: &[Done]) -> Markup {
    html! {
        @if !results.is_empty() {
            table.list {
                thead { tr { th { (words::LEAD_ID) } th { (words::SITE) } th { (words::STATE) } th { (words::WHAT_HAPPENS) } } }
                tbody {
                    @for done in results.iter().take(SHOWN_MAX) {
                        tr {
                            td { a href=(format!("/console/leads/{}", done.id)) { code { (short(&done.id)) } } }
                            td data-name=(words::SITE) { @if let Some(site) = &done.site { (site) } }
                            td { @if let Some(before) = done.state { (state(before)) } }
                            td.wide { (outcome(done)) }
                        }
                    }
                }
            }
        }
    }
}

fn outcome(done: &Done) -> Markup {
    html! {
        strong { (words::outcome(done.outcome)) }
        @if !done.why.is_empty() { " " span.hint { (done.why) } }
        @if let Some(after) = &done.after {
            @if done.before.as_ref() != Some(after) {
                dl.change {
                    @for (name, old, new) in changes(done) {
                        dt { (name) }
                        dd { @if !old.is_empty() { del { bdi { (old) } } " → " } ins { bdi { (new) } } }
                    }
                }
            }
        }
    }
}

/// Returns the fields of a lead that would change, with their values before and after.
fn changes(done: &Done) -> Vec<(&'static str, &str, &str)> {
    let Some(after) = &done.after else { return Vec::new() };
    let before = done.before.as_ref();
    let all = [
        (words::NAME, before.map_or("", |lead| lead.name()), after.name()),
        (words::EMAIL, before.map_or("", |lead| lead.email()), after.email()),
        (words::PHONE, before.and_then(|lead| lead.phone()).unwrap_or_default(), after.phone().unwrap_or_default()),
        (words::MESSAGE, before.map_or("", |lead| lead.message()), after.message()),
    ];
    all.into_iter().filter(|(_, old, new)| old != new).collect()
}

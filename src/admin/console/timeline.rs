//! What was sent and what came back, moment by moment, as a lead's page shows it.

use jiff::SignedDuration;
use maud::{Markup, html};

use super::show::{exactly, span, state};
use super::words;
use crate::operate::{Life, Step, Trace};

pub(super) fn section(trace: &Trace, life: &Life) -> Markup {
    html! {
        section {
            h2 { (words::TIMELINE) }
            ol.timeline { @for step in &trace.steps { (moment(step)) } }
            @if life.entry.attempts > 0 { p.hint { (words::attempts(life.entry.attempts)) } }
        }
    }
}

fn moment(step: &Step) -> Markup {
    let is_future = step.state.is_none();
    html! {
        li.future[is_future] {
            p.when {
                (exactly(step.at))
                @if step.after_ms >= 1_000 && !is_future {
                    " " span.hint { "+" (span(SignedDuration::from_millis(step.after_ms))) }
                }
            }
            p {
                @if let Some(left) = step.state { (state(left)) " " }
                bdi { (step.what) }
                @if let Some(took) = step.duration_ms { " " span.hint { (took) " ms" } }
            }
        }
    }
}

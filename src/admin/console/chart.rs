//! A chart of columns, drawn on the server: what came in behind what was delivered.

use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::show::{clock, number};
use super::words;
use crate::operate::Period;

/// Its size, in units of the view; a page scales it.
const WIDTH: usize = 720;
const HEIGHT: usize = 130;
/// A column's share of its place, in percent.
const FILLED: usize = 70;
/// Every nth column has its time below it.
const HOURS_APART: usize = 6;
const DAYS_APART: usize = 3;

/// Draws the last hours; the script writes their times in the reader's zone.
pub(super) fn hours(periods: &[Period]) -> Markup {
    columns(periods, words::LAST_24H, "%H:%M", HOURS_APART, |period| clock(period.begin))
}

/// Draws the last days, which are those of UTC.
pub(super) fn days(periods: &[Period]) -> Markup {
    columns(periods, words::LAST_14D, "%-d %b", DAYS_APART, |period| html! { (label(period, "%-d %b")) })
}

fn columns(periods: &[Period], title: &str, format: &str, apart: usize, below: impl Fn(&Period) -> Markup) -> Markup {
    let highest = periods.iter().map(|period| period.received.max(period.delivered)).max().unwrap_or_default();
    let most = highest.max(1);
    let total = |of: fn(&Period) -> u64| number(periods.iter().map(of).sum());
    let received = total(|period| period.received);
    let delivered = total(|period| period.delivered);
    let summary = format!("{title}: {received} {}, {delivered} {}", words::RECEIVED, words::DELIVERED);
    html! {
        figure.chart {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(summary) preserveAspectRatio="none" {
                @for (index, period) in periods.iter().enumerate() { (place(period, index, periods.len(), most, format)) }
                line x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            }
            div.scale aria-hidden="true" {
                @for (index, period) in periods.iter().enumerate() {
                    span { @if index % apart == apart - 1 { (below(period)) } }
                }
            }
            figcaption {
                span.key.received { (words::RECEIVED) }
                span.key.delivered { (words::DELIVERED) }
                @if periods.iter().any(|period| period.refused > 0) { span.key.refused { (words::REFUSED) } }
                span.most { (words::MOST) " " (number(highest)) }
            }
        }
    }
}

/// Draws one period: its columns, and what is said when it is pointed at.
fn place(period: &Period, index: usize, count: usize, most: u64, format: &str) -> Markup {
    let place = WIDTH / count.max(1);
    let width = place * FILLED / 100;
    let x = index * place + (place - width) / 2;
    let height = |count: u64| usize::try_from(count.min(most) * HEIGHT as u64 / most).unwrap_or_default();
    html! {
        g {
            title { (told(period, format)) }
            rect.place x=(index * place) y="0" width=(place) height=(HEIGHT) {}
            (column("received", x, width, height(period.received)))
            (column("delivered", x, width, height(period.delivered)))
            (column("refused", x + width - width / 4, width / 4, height(period.refused)))
        }
    }
}

fn column(class: &str, x: usize, width: usize, height: usize) -> Markup {
    html! { @if height > 0 { rect class=(class) x=(x) y=(HEIGHT - height) width=(width) height=(height) {} } }
}

fn label(period: &Period, format: &str) -> String {
    period.begin.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// What a column says when pointed at.
fn told(period: &Period, format: &str) -> String {
    let Period { received, delivered, refused, .. } = *period;
    let refused = if refused > 0 { format!(", {} {}", number(refused), words::REFUSED) } else { String::new() };
    let label = label(period, format);
    let received = number(received);
    let delivered = number(delivered);
    format!("{label} UTC: {received} {}, {delivered} {}{refused}", words::RECEIVED, words::DELIVERED)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let begin: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let period = |received, delivered, refused| Period { begin, received, delivered, refused };
        let chart = hours(&[period(0, 0, 0), period(4_000, 2_000, 1)]).into_string();
        assert!(chart.contains(r#"aria-label="Last 24 hours: 4,000 received, 2,000 delivered""#), "{chart}");
        assert!(chart.contains("<title>10:00 UTC: 4,000 received, 2,000 delivered, 1 refused</title>"), "{chart}");
        assert!(chart.contains(r#"height="130""#) && chart.contains(r#"height="65""#), "{chart}");
        assert_eq!(chart.matches("</rect>").count(), chart.matches("<rect").count(), "each ends where it begins");
        assert!(days(&[]).into_string().contains("0 received"));
    }
}

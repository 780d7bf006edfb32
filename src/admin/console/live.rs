//! What happens now, as it happens: the script reads the admin API's stream. Without scripts, the newest leads.

use http::StatusCode;
use maud::{Markup, html};

use super::form::{Fields, with_query};
use super::layout::{Section, Shell};
use super::show::{moment, state};
use super::{PageResult, Request, words};
use crate::operate::{self, FilterAsked, LeadPage};
use crate::queue::Order;

/// Leads that are shown without scripts.
const NEWEST: usize = 20;
/// How often the page renews itself without scripts, in seconds.
const RELOAD: u16 = 15;

impl Request<'_> {
    pub(super) async fn live(&self, query: &str) -> PageResult {
        let fields = Fields::of_query(query);
        let site = fields.one("site").map(str::trim).filter(|site| !site.is_empty());
        let asked = FilterAsked { site: site.map(str::to_owned), ..FilterAsked::default() };
        let query = asked.read(self.now)?;
        let situation = self.app.situation(self.now);
        let newest = operate::list(self.app.store.store(), &query, Order::Newest, None, NEWEST, &situation).await?;
        let newest = if self.app.masks() { newest.masked() } else { newest };
        let site = site.unwrap_or_default();
        let main = html! {
            h1 { (words::LIVE) }
            (bar(site))
            (stream(site))
            noscript { p.notice { (words::LIVE_NO_SCRIPT) } (self.newest(&newest)) }
        };
        let shell = Shell { reload: RELOAD, ..self.shell(words::LIVE, Section::Live) };
        Ok(shell.page(StatusCode::OK, &main))
    }

    fn newest(&self, page: &LeadPage) -> Markup {
        html! {
            table.list {
                tbody {
                    @for lead in &page.leads {
                        tr {
                            td { (moment(lead.accepted_at, self.now)) }
                            td { (lead.site) span.hint { " / " (lead.form) } }
                            td { (state(lead.state)) }
                            td.wide { a href=(format!("/console/leads/{}", lead.id)) { (lead.cause) } }
                        }
                    }
                }
            }
        }
    }
}

fn bar(site: &str) -> Markup {
    html! {
        form.filter method="get" action="/console/live" {
            label { span { (words::SITE) } input type="text" name="site" value=(site) size="16"; }
            button type="submit" { (words::FILTER) }
            button #pause type="button" hidden data-resume=(words::RESUME) aria-pressed="false" { (words::PAUSE) }
            span #status.status role="status" data-connected=(words::CONNECTED) data-paused=(words::PAUSED)
                data-lost=(words::DISCONNECTED) data-full=(words::STREAMS_FULL) {}
        }
    }
}

/// The table that the script fills.
fn stream(site: &str) -> Markup {
    let url = with_query("/api/v1/stream", &[("site", site)]);
    html! {
        table.list.stream #stream hidden data-url=(url) data-missed=(words::MISSED) data-attempt=(words::ATTEMPT) {
            thead {
                tr {
                    th { (words::TIME) } th { (words::SITE_AND_FORM) } th { (words::EVENT) }
                    th.number { (words::TOOK) } th { (words::DETAILS) }
                }
            }
            tbody {}
        }
        p.empty #nothing hidden { (words::LIVE_EMPTY) }
    }
}

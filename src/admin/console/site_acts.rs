//! What can be done with a site: a token made, its keys verified; and what to paste in each plugin.

use http::StatusCode;
use maud::{Markup, html};

use super::form::Fields;
use super::layout::Section;
use super::show::{fact, prose};
use super::site::SitePage;
use super::{PageResult, Request, words};
use crate::admin::fault::ApiError;
use crate::admin::sites::site_of;
use crate::operate::{self, Actor, NewToken, PairState, PairVerified, SetupValues};

/// What stands for a token that isn't shown any more.
const TOKEN: &str = "TOKEN";

impl Request<'_> {
    /// Makes a token, and shows it once.
    pub(super) async fn add_token(&self, id: &str, fields: &Fields) -> PageResult {
        let app = self.app;
        let site = site_of(id)?;
        let config = app.config.load_full();
        let note = fields.one("note").map(str::trim).filter(|note| !note.is_empty());
        let made = operate::add_token(&config, &site, note, None, &app.audit, Actor::Console, self.now).await?;
        let notice = new_token(&made);
        // It is in the site's file by now: whatever fails on the way to the whole page, it must be shown.
        match self.site_page(id, Some(notice.clone())).await {
            Ok(page) => Ok(page),
            Err(_told_later) => Ok(self.shell(site.as_str(), Section::Sites).page(StatusCode::OK, &notice)),
        }
    }

    /// Asks KaiCalls whether it takes the site's keys.
    pub(super) async fn verify_keys(&self, id: &str) -> PageResult {
        let app = self.app;
        let site = site_of(id)?;
        let _place = app.console.asking.try_acquire().map_err(|_full| ApiError::Busy)?;
        let verifier = app.key_verifier.as_ref().ok_or(ApiError::NoSuchPath)?;
        let config = app.config.load_full();
        let pairs = verifier.verify(&config, &site, self.now).await?;
        self.site_page(id, Some(verified(&pairs))).await
    }
}

impl SitePage<'_> {
    /// What to do in each plugin so that its forms post here.
    pub(super) fn paste(&self) -> Markup {
        let config = self.request.app.config.load();
        let plain_url = self.site.summary.hook_url.as_str();
        let url = format!("{plain_url}?token={TOKEN}");
        let gateway = config.server.base_url();
        let values = SetupValues { url: &url, plain_url, token: TOKEN, gateway: &gateway };
        html! {
            section {
                h2 { (words::PASTE) }
                p.hint { (words::PASTE_HINT) }
                @for plugin in operate::plugin_steps(&config.mappings, &values) {
                    details.panel {
                        summary { (plugin.title) }
                        ol.steps { @for step in &plugin.steps { li { (prose(step)) } } }
                    }
                }
            }
        }
    }
}

fn new_token(NewToken { sha256, webhook_url, plain_url, token, .. }: &NewToken) -> Markup {
    html! {
        div.notice.good role="status" {
            strong { (words::NEW_TOKEN) }
            p { (words::TOKEN_ONCE) }
            dl.facts {
                dt { (words::WEBHOOK_URL) } dd {
                    code.secret #secret { (webhook_url) }
                    button type="button" data-copy="#secret" hidden { (words::COPY) }
                }
                dt { (words::PLAIN_URL) } dd { code { (plain_url) } }
                dt { (words::ADMIN_HEADER) } dd { code { "Authorization: Bearer " (token.expose()) } }
                dt { (words::TOKEN_HASH) } dd { code { (sha256) } }
            }
        }
    }
}

fn verified(pairs: &[PairVerified]) -> Markup {
    let is_well = pairs.iter().all(|pair| pair.state == PairState::Ok);
    html! {
        div.notice.good[is_well].bad[!is_well] role="status" {
            strong { (words::KEY_PAIR) }
            p { (words::VERIFIED) }
            @for pair in pairs {
                dl.facts {
                    (fact(words::FORM, pair.form.as_ref().map(|form| html! { (form) }).as_ref()))
                    dt { (words::STATE) } dd { (words::pair_state(pair.state)) }
                    (fact(words::PUBLIC_KEY, pair.public_key.as_ref().map(|key| html! { code { (key) } }).as_ref()))
                    (fact(words::BUSINESS, pair.business_id.as_ref().map(|id| html! { code { (id) } }).as_ref()))
                    (fact(words::WHY, pair.why.as_ref().map(|why| html! { (prose(why)) }).as_ref()))
                }
            }
        }
    }
}

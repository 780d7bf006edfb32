//! What the gateway knows of each site.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::Date;
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::AdminApp;
use super::api::NothingAsked;
use super::fault::ApiError;
use super::reply::ApiReply;
use super::request;
use crate::lead::SiteId;
use crate::operate::{self, NewToken};

/// How long it may take to write what was counted last; then what is written is shown.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// The query by which a site is shown with what KaiCalls tells of it.
pub(super) const ASKS_KAICALLS: &str = "kaicalls=true";
/// The end of the path by which KaiCalls is asked about a site's keys.
pub(super) const VERIFIES_KEYS: &str = "/keys/verify";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TokenAsked {
    note: Option<String>,
    expires: Option<Date>,
}

impl AdminApp {
    /// Writes what was counted, so that what is shown is as of now. A store that can't be written may well be read.
    pub(super) async fn write_activity(&self) {
        drop(timeout(FLUSH_TIME, self.activity.flush(&self.store.share())).await);
    }

    /// Answers `GET /sites` and `GET /sites/{id}`.
    pub(super) async fn sites(&self, parts: &[&str], query: &str) -> Result<ApiReply, ApiError> {
        if let [_, id, "keys"] = parts {
            let age = Duration::try_from(Timestamp::now().duration_since(self.since)).unwrap_or_default();
            let age = Some(age).filter(|_| self.has_taken_over);
            let keys = operate::keys::in_force(&self.config.load(), &self.keys_under_way, &site_of(id)?, age);
            return Ok(ApiReply::json(StatusCode::OK, &keys));
        }
        let store = self.store.store();
        self.write_activity().await;
        let situation = self.situation(Timestamp::now());
        match (parts, query) {
            ([_], "") => Ok(ApiReply::json(StatusCode::OK, &operate::sites(store, &situation).await?)),
            ([_, id], "" | ASKS_KAICALLS | "kaicalls=false") => {
                let id = site_of(id)?;
                let widgets = self.widgets.as_ref().filter(|_| query == ASKS_KAICALLS);
                Ok(ApiReply::json(StatusCode::OK, &operate::site(store, &situation, &id, widgets).await?))
            }
            ([_], _) => Err(ApiError::Request("the list of sites has no parameters".to_owned())),
            _ => Err(ApiError::Request("a site has one parameter: kaicalls=true".to_owned())),
        }
    }

    /// Answers `POST /sites/{id}/keys/verify`.
    pub(super) async fn post_verify(&self, session: &mut ServerSession, id: &str) -> Result<ApiReply, ApiError> {
        let id = site_of(id)?;
        let NothingAsked {} = request::json(session).await?;
        let Some(verifier) = &self.key_verifier else { return Err(ApiError::NoSuchPath) };
        let pairs = verifier.verify(&self.config.load_full(), &id, Timestamp::now()).await?;
        Ok(ApiReply::json(StatusCode::OK, &json!({ "pairs": pairs })))
    }

    /// Answers `POST /sites/{id}/tokens`: the only answer in which the token stands.
    pub(super) async fn post_token(&self, session: &mut ServerSession, id: &str) -> Result<ApiReply, ApiError> {
        let id = site_of(id)?;
        let TokenAsked { note, expires } = request::json(session).await?;
        let config = self.config.load_full();
        let now = Timestamp::now();
        let made = operate::add_token(&config, &id, note.as_deref(), expires, &self.audit, self.by(), now).await?;
        let NewToken { token, sha256, webhook_url, plain_url, note } = made;
        let shown = json!({
            "site": id,
            "token": token.expose(),
            "sha256": sha256,
            "url": plain_url,
            "url_with_token": webhook_url,
            "note": note,
            "expires": expires,
        });
        Ok(ApiReply::json(StatusCode::OK, &shown))
    }
}

pub(super) fn site_of(id: &str) -> Result<SiteId, ApiError> {
    SiteId::parse(id).map_err(|_no_id| ApiError::Request("the path doesn't name a site".to_owned()))
}

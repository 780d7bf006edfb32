//! Leads over HTTP, masked where `[admin].mask` says so.

use jiff::Timestamp;

use super::api::{ApiResult, found};
use super::fault::ApiError;
use super::reply::ApiReply;
use super::request::Parameters;
use super::{AdminApp, Caller};
use crate::operate::{
    self, Actor, AmendAsked, Choice, ExplainAsked, Export, ExportFormat, LeadPage, RetryAsked, Trace,
};
use crate::queue::{Order, StoreError};
use crate::telemetry;

impl AdminApp {
    /// Tells whether leads are shown masked. Through the socket they never are: whoever reaches it owns the store's files.
    pub(super) fn masks(&self) -> bool {
        matches!(self.caller, Caller::Network) && self.config.load().admin.mask
    }

    /// Tells whether chosen leads are to be masked. Where they would be and are asked for whole, that is written down.
    pub(super) async fn hides(
        &self,
        reveal: bool,
        choice: &Choice,
        by: Actor,
        now: Timestamp,
    ) -> Result<bool, ApiError> {
        if !self.masks() || !reveal {
            return Ok(self.masks());
        }
        operate::reveal(&self.audit, by, choice, now).await?;
        Ok(false)
    }

    /// Answers `GET /leads`.
    pub(super) async fn leads(&self, parameters: &Parameters, now: Timestamp) -> ApiResult {
        let query = parameters.filter.read(now)?;
        let hides = self.hides(parameters.reveal, &Choice::Query(query.clone()), self.by(), now).await?;
        let order = parameters.order.unwrap_or(Order::Newest);
        let cursor = parameters.cursor;
        let limit = parameters.limit();
        let page = operate::list(self.store.store(), &query, order, cursor, limit, &self.situation(now)).await?;
        found(&if hides { LeadPage::masked(page) } else { page })
    }

    /// Answers `GET /leads/{id}`.
    pub(super) async fn lead(&self, id: &str, reveal: bool, now: Timestamp) -> ApiResult {
        let life = operate::show(self.store.store(), &self.situation(now), id).await?;
        let hides = self.hides(reveal, &Choice::Ids(vec![life.entry.id.to_string()]), self.by(), now).await?;
        if !hides {
            return found(&life);
        }
        // Requests must not wait for a large body.
        let masked = telemetry::blocking(move || life.masked()).await;
        found(&masked.map_err(|panicked| StoreError::Corrupt(panicked.into()))?)
    }

    /// Answers `GET /leads/{id}/trace`.
    pub(super) async fn trace(&self, id: &str, reveal: bool, now: Timestamp) -> ApiResult {
        let trace = operate::trace(self.store.store(), &self.situation(now), id).await?;
        let hides = self.hides(reveal, &Choice::Ids(vec![trace.id.to_string()]), self.by(), now).await?;
        found(&if hides { Trace::masked(trace) } else { trace })
    }

    /// Answers `POST /explain`. A stored submission is a visitor's: where leads are masked, it is shown once that is written
    /// down, and not before.
    pub(super) async fn explain(&self, asked: ExplainAsked) -> ApiResult {
        let subject = operate::ExplainSubject::find(self.store.store(), &asked).await?;
        if let Some(entry) = subject.stored() {
            let choice = Choice::Ids(vec![entry.to_string()]);
            if self.hides(asked.reveal, &choice, self.by(), Timestamp::now()).await? {
                let words = "leads are masked here: add `\"reveal\": true` to explain a stored one";
                return Err(ApiError::Request(words.to_owned()));
            }
        }
        found(&operate::explain(self.config.load_full(), asked, subject).await?)
    }

    /// Answers `GET /leads/export`.
    pub(super) async fn export(&self, parameters: &Parameters, now: Timestamp) -> ApiResult {
        let format = parameters.format.as_deref().unwrap_or("csv");
        let no_format = || ApiError::Request("`format` must be csv, ndjson or json".to_owned());
        let format = ExportFormat::parse(format).ok_or_else(no_format)?;
        let query = parameters.filter.read(now)?;
        let choice = Choice::Query(query);
        let hides = self.hides(parameters.reveal, &choice, self.by(), now).await?;
        let export = Export::begin(&self.audit, choice, format, self.by(), self.situation(now)).await?;
        Ok(ApiReply::export(export.masking(hides), format.media_type()))
    }

    /// Answers `POST /leads/retry`. Only of a dry run leads are shown.
    pub(super) async fn retry(&self, asked: &RetryAsked, now: Timestamp) -> ApiResult {
        let choice = Choice::read(&asked.ids, asked.filter.as_ref(), now)?;
        let hides = asked.dry_run && self.hides(asked.reveal, &choice, self.by(), now).await?;
        let config = self.config.load_full();
        let tried = operate::retry(self.store.store(), &config, &self.audit, asked, self.by(), now).await?;
        found(&if hides { tried.masked() } else { tried })
    }

    /// Answers `POST /leads/amend`. Only of a dry run the lead is shown.
    pub(super) async fn amend(&self, asked: &AmendAsked, now: Timestamp) -> ApiResult {
        let choice = Choice::Ids(vec![asked.id.clone()]);
        let hides = asked.dry_run && self.hides(asked.reveal, &choice, self.by(), now).await?;
        let config = self.config.load_full();
        let done = operate::amend(self.store.store(), &config, &self.audit, asked, self.by(), now).await?;
        found(&if hides { done.masked() } else { done })
    }
}

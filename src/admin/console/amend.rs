//! Correcting a lead: what of its form was changed, and what became of it.

use sha2::{Digest as _, Sha256};

use super::form::{Fields, with_query};
use super::lead::{AMENDED, AMENDED_HELD, Notice};
use super::{PageResult, Request, redirect, words};
use crate::lead::LeadField;
use crate::operate::{self, Actor, AmendAsked, BadAmend, EntryOutcome, Life, OperateError};

impl Request<'_> {
    /// Corrects a lead and queues it. What isn't changed stays as it is found.
    pub(super) async fn amend(&self, id: &str, fields: &Fields) -> PageResult {
        let app = self.app;
        let situation = app.situation(self.now);
        let life = operate::show(app.store.store(), &situation, id).await?;
        let asked = amendment(&life, fields);
        let amended =
            operate::amend(app.store.store(), &situation.config, &app.audit, &asked, Actor::Console, self.now).await;
        match amended {
            Ok(done) => {
                let done = if done.outcome == EntryOutcome::Held { AMENDED_HELD } else { AMENDED };
                *app.console.gathered.lock().await = None;
                Ok(redirect(&with_query(&format!("/console/leads/{}", life.entry.id), &[("done", done)])))
            }
            Err(OperateError::BadAmend(BadAmend::Nothing)) => {
                self.lead_page(id, Notice::Wrong(words::NOTHING_CORRECTED.to_owned(), fields)).await
            }
            Err(OperateError::BadAmend(bad)) => self.lead_page(id, Notice::Wrong(bad.to_string(), fields)).await,
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns what of a form differs from what was shown in it, as its digests tell: the lead may be another by now.
fn amendment(life: &Life, fields: &Fields) -> AmendAsked {
    let changed = |field: LeadField| {
        let typed = fields.raw(field.as_str())?;
        let shown = fields.one(&shown_name(field));
        (shown != Some(digest(typed).as_str())).then(|| typed.replace("\r\n", "\n"))
    };
    AmendAsked {
        id: life.entry.id.to_string(),
        name: changed(LeadField::Name),
        email: changed(LeadField::Email),
        phone: changed(LeadField::Phone),
        message: changed(LeadField::Message),
        ..AmendAsked::default()
    }
}

/// Names the field of the form with the digest of what was shown.
pub(super) fn shown_name(field: LeadField) -> String {
    format!("shown_{}", field.as_str())
}

/// Names a text as a browser gives it back: it sends CRLF for every end of a line, and none of a field of one line.
pub(super) fn digest(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    hex::encode(Sha256::digest(text.trim().as_bytes()))
}

//! `export`: entries with their leads as a table for other programs, written piece by piece.

use jiff::Timestamp;

use super::audit::{Act, Actor, Audit, AuditError, Begun};
use super::choice::Choice;
use super::summary::Summary;
use super::waiting::Situation;
use super::walk::{Cursor, Walk};
use super::{OperateError, csv, find};
use crate::lead::EntryId;
use crate::queue::{Head, Store, StoreError};

/// Entries that are looked at for one piece.
const PIECE: usize = 200;

const COLUMNS: [&str; 14] = [
    "id",
    "site",
    "form",
    "state",
    "reason",
    "cause",
    "accepted_at",
    "name",
    "email",
    "phone",
    "message",
    "lead_id",
    "attempts",
    "seen",
];

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    Csv,
    Ndjson,
    Json,
}

impl ExportFormat {
    /// Reads a format as it is written everywhere.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "csv" => Some(Self::Csv),
            "ndjson" => Some(Self::Ndjson),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
        }
    }
}

/// An export under way. Its audit says how many entries left; of one that is cut off there is only the beginning.
pub struct Export {
    choice: Choice,
    format: ExportFormat,
    /// As of its beginning.
    situation: Situation,
    is_masked: bool,
    begun: Option<Begun>,
    at: ExportPosition,
    entries: usize,
    unreadable: Vec<EntryId>,
}

/// How far an export has come.
#[derive(Clone, Copy)]
enum ExportPosition {
    Start,
    Behind(Cursor),
    /// So many of the ids are written.
    AtId(usize),
    End,
}

impl Export {
    /// Begins, once that is written down.
    pub async fn begin(
        audit: &Audit,
        choice: Choice,
        format: ExportFormat,
        by: Actor,
        situation: Situation,
    ) -> Result<Self, AuditError> {
        let begun = audit.begin(Act::of("export", by, &choice), situation.now).await?;
        Ok(Self {
            choice,
            format,
            situation,
            is_masked: false,
            begun: Some(begun),
            at: ExportPosition::Start,
            entries: 0,
            unreadable: Vec::new(),
        })
    }

    /// Hides addresses and telephone numbers, or doesn't.
    #[must_use]
    pub fn masking(self, is_masked: bool) -> Self {
        Self { is_masked, ..self }
    }

    /// Writes the next piece, which may be empty; none when all is written.
    pub async fn next(&mut self, store: &dyn Store, now: Timestamp) -> Result<Option<Vec<u8>>, OperateError> {
        let mut piece = match self.at {
            ExportPosition::Start => self.head(),
            ExportPosition::Behind(_) | ExportPosition::AtId(_) => String::new(),
            ExportPosition::End => return Ok(None),
        };
        match self.fill(store, &mut piece).await {
            Ok(ExportPosition::End) => {
                self.at = ExportPosition::End;
                piece.push_str(if self.format == ExportFormat::Json { "\n]\n" } else { "" });
                self.end(true, now).await?;
            }
            Ok(at) => self.at = at,
            Err(error) => {
                self.at = ExportPosition::End;
                self.end(false, now).await?;
                return Err(error.into());
            }
        }
        Ok(Some(piece.into_bytes()))
    }

    /// Returns how many entries are written so far.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Returns those that are not in it because they can't be read.
    pub fn unreadable(&self) -> &[EntryId] {
        &self.unreadable
    }

    async fn end(&mut self, well: bool, now: Timestamp) -> Result<(), AuditError> {
        match self.begun.take() {
            Some(begun) => begun.end(self.entries, well, now).await,
            None => Ok(()),
        }
    }

    /// Writes some entries, and returns how far it has come.
    async fn fill(&mut self, store: &dyn Store, piece: &mut String) -> Result<ExportPosition, StoreError> {
        let query = match &self.choice {
            Choice::Query(query) => query.clone(),
            Choice::Ids(ids) => {
                let ids = ids.clone();
                return self.fill_ids(store, &ids, piece).await;
            }
        };
        let from = match self.at {
            ExportPosition::Behind(cursor) => Some(cursor),
            _ => None,
        };
        let mut walk = Walk::new(store, &query, &[None], from, PIECE);
        while let Some(entry) = walk.next().await? {
            self.add(&entry, piece);
        }
        self.unreadable.extend(walk.unreadable());
        Ok(walk.cursor().map_or(ExportPosition::End, ExportPosition::Behind))
    }

    /// Writes entries by their ids; those that are gone by now are left out.
    async fn fill_ids(
        &mut self,
        store: &dyn Store,
        ids: &[String],
        piece: &mut String,
    ) -> Result<ExportPosition, StoreError> {
        let done = match self.at {
            ExportPosition::AtId(done) => done,
            _ => 0,
        };
        for id in ids.iter().skip(done).take(PIECE) {
            match find(store, id).await {
                Ok(Ok(entry)) => self.add(&entry.head, piece),
                Ok(Err(_gone)) => {}
                Err(StoreError::Corrupt(_)) => self.unreadable.extend(EntryId::parse(id)),
                Err(error) => return Err(error),
            }
        }
        let done = done + PIECE;
        Ok(if done < ids.len() { ExportPosition::AtId(done) } else { ExportPosition::End })
    }

    fn add(&mut self, entry: &Head, piece: &mut String) {
        let summary = Summary::of(entry, &self.situation);
        let summary = if self.is_masked { summary.masked() } else { summary };
        piece.push_str(&self.row(&summary));
        self.entries += 1;
    }

    fn head(&self) -> String {
        match self.format {
            ExportFormat::Csv => csv_head(),
            ExportFormat::Ndjson => String::new(),
            ExportFormat::Json => "[".to_owned(),
        }
    }

    fn row(&self, summary: &Summary) -> String {
        // A summary is plain values under string keys, which always serialise.
        let json = || serde_json::to_string(summary).unwrap_or_default();
        match self.format {
            ExportFormat::Csv => csv_row(summary),
            ExportFormat::Ndjson => format!("{}\n", json()),
            ExportFormat::Json => format!("{}\n{}", if self.entries == 0 { "" } else { "," }, json()),
        }
    }
}

/// Writes the names of the columns of [`csv_row`].
pub fn csv_head() -> String {
    csv::row(&COLUMNS)
}

/// Writes an entry as a row for spreadsheets, in which no cell is a formula.
pub fn csv_row(summary: &Summary) -> String {
    let lead = summary.lead.as_ref();
    csv::row(&[
        &summary.id.to_string(),
        summary.site.as_str(),
        summary.form.as_str(),
        summary.state.as_str(),
        summary.reason.as_str(),
        &summary.cause,
        &summary.accepted_at.to_string(),
        lead.map_or("", |lead| lead.name()),
        lead.map_or("", |lead| lead.email()),
        lead.and_then(|lead| lead.phone()).unwrap_or_default(),
        lead.map_or("", |lead| lead.message()),
        summary.lead_id.as_deref().unwrap_or_default(),
        &summary.attempts.to_string(),
        &summary.seen.to_string(),
    ])
}

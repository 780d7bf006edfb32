//! The operator's verbs, one function each: the admin API and the command line both call these.
//!
//! They work on any [`Store`](crate::queue::Store), except what only a file can do (`maintain`), with the configuration of now; the time is an argument. What may
//! take long is done in pages: each call is bounded and says from where to go on. What takes something out of the store,
//! or puts it there, leaves a line in the [`Audit`].

mod again;

mod amend;

mod audit;

mod capture;

mod choice;

mod copy;

mod count;

mod csv;

mod digest;

mod discard;

mod erase;

mod explain;

mod export;

mod figures;

mod find;

mod gateways;

mod group;

mod held;

mod held_back;

mod history;

pub mod keys;

mod lead_view;

mod list;

mod maintain;

mod mask;

pub mod onboard;

mod person;

mod phone;

mod query;

mod refusals;

mod retry;

mod reveal;

mod show;

mod sinks;

mod site;

mod sites;

pub mod sites_file;

mod status;

mod summary;

mod text;

mod token;

mod trace;

mod waiting;

mod walk;

mod watched;

mod when;

mod widget;

pub use crate::pipeline::SetupValues;
pub use amend::{AmendAsked, BadAmend, amend};
pub use audit::{Actor, Audit, AuditError};
pub use capture::{Captured, capture};
pub use choice::{BadChoice, Choice, Done, EntryOutcome, IDS_MAX, PAGE_DEFAULT, PAGE_MAX};
pub use copy::{Copied, CopyProgress, CopyStep, NotCopied, copy, running_gateways};
pub use count::{COUNTED_MAX, count};
pub use digest::{DAYS_MAX, Digest, DigestSite, NeedsPerson, digest};
pub use discard::{DROPPED_STATES, DropAsked, drop_entries};
pub use erase::{BadErase, EraseAsked, Erased, ErasedEntry, erase};
pub use explain::{BadExplain, ExplainAsked, ExplainReport, ExplainSubject, errors_of, explain, lead_of};
pub use export::{Export, ExportFormat, csv_head, csv_row};
pub use figures::Window;
pub use find::{NotFound, find};
pub use gateways::GatewayStatus;
pub use group::{Group, Groups, groups};
pub use held::{Recheck, recheck_held};
pub use history::{HISTORY_DAYS, HISTORY_HOURS, History, HistoryReader, Period, history_of};
pub use keys::{KeyVerifier, PairState, PairVerified};
pub use lead_view::LeadView;
pub use list::{LeadPage, list};
pub use maintain::{BackedUp, NotRestored, RestoreAsked, Restored, backup, restore, salvage};
pub use mask::{mask_raw, mask_text};
pub use onboard::{PluginSteps, plugin_steps};
pub use query::{BadQuery, FilterAsked, Query, REASONS};
pub use refusals::{RefusedMistake, SiteRefusals, refused_posts};
pub use retry::{RATE_DEFAULT, RATE_MAX, RETRIED_STATES, RetryAsked, Tried, retry};
pub use reveal::reveal;
pub use show::{FieldEvidence, Life, ReceivedView, ShownCandidate, ShownCorrection, ShownField, Today, show};
pub use sinks::{SinkState, SinkStatus};
pub use site::{FormSeen, KaiCallsWeek, NoSuchSite, ShownLead, SiteDetail, TokenSeen, site};
pub use sites::{KeyState, KeyStatus, RefusedPosts, SiteError, SiteList, SiteState, SiteSummary, StateCounts, sites};
pub use status::{Degradation, DeliveryWait, LastError, LeadCounts, Process, Status, StoreStatus, status};
pub use summary::Summary;
pub use text::SearchText;
pub use token::{BadToken, MadeToken, NewToken, SHOWN_DIGITS, add_token, token_hash, write_token};
pub use trace::{Step, Trace, trace};
pub use waiting::{Situation, WaitsFor};
pub use walk::{Cursor, InvalidCursor};
pub use watched::WatchedLeads;
pub use widget::Widgets;

use crate::queue::{NoFile, StoreError};

/// Why a verb was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NoFile(#[from] NoFile),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error(transparent)]
    NoSuchSite(#[from] NoSuchSite),
    #[error(transparent)]
    BadAmend(#[from] BadAmend),
    #[error(transparent)]
    BadChoice(#[from] BadChoice),
    #[error(transparent)]
    BadErase(#[from] BadErase),
    #[error(transparent)]
    BadQuery(#[from] BadQuery),
    #[error(transparent)]
    BadExplain(#[from] BadExplain),
    #[error(transparent)]
    BadToken(#[from] BadToken),
}

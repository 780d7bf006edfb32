//! Whether submissions are taken at all, apart from whether the store can be written.

use parking_lot::Mutex;

/// Why no submission is taken any more by this process; a closed set. Only another process ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaking {
    /// It was asked to stop, and finishes what is under way.
    Stopping,
    /// A listener of the gateway ended by itself.
    ListenerEnded,
    /// What writes the store has died.
    StoreEnded,
}

impl NotTaking {
    /// Returns the reason as `/readyz` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::ListenerEnded => "listener_ended",
            Self::StoreEnded => "store_ended",
        }
    }
}

/// Why this process stopped accepting submissions: the first reason counts.
#[derive(Debug, Default)]
pub(super) struct AcceptanceEnd(Mutex<Option<NotTaking>>);

impl AcceptanceEnd {
    pub(super) fn end(&self, reason: NotTaking) {
        self.0.lock().get_or_insert(reason);
    }

    pub(super) fn ended(&self) -> Option<NotTaking> {
        *self.0.lock()
    }
}

//! The numbers that stand for words in the tables. Once released a number never changes its meaning.

use crate::event::EventType;
use crate::queue::{AttemptResult, NoteKind, Reason, State};

/// A word of a closed set that is stored as a number.
pub(super) trait Code: Sized {
    fn code(self) -> u8;
    fn from_code(code: u8) -> Option<Self>;
}

/// One list for both ways, so that no word can be written that isn't read: a word without a number, or a number given
/// twice, doesn't compile.
macro_rules! codes {
    ($words:ty: $($code:literal $word:ident)*) => {
        impl Code for $words {
            fn code(self) -> u8 {
                match self {
                    $(Self::$word => $code,)*
                }
            }

            #[deny(unreachable_patterns)]
            fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$word),)*
                    _ => None,
                }
            }
        }
    };
}

codes! { State: 0 Queued 1 Held 2 Delivered 3 Dead }

codes! { Reason:
    0 Accepted
    1 Undecodable
    2 Invalid
    3 HoldRule
    4 OverLimit
    5 DeliverOff
    6 UnknownForm
    7 OtherHost
    8 Ambiguous
    9 SiteGone
    10 SiteBack
    11 Poison
    12 Delivered
    13 Refused
    14 Retrying
    15 GaveUp
    16 Retried
    17 Amended
    18 Dropped
    19 Salvaged
    20 Restored
    21 Uncertain
    22 Test
    23 Spam
}

codes! { AttemptResult: 0 Delivered 1 KeyRefused 2 LeadRefused 3 Failed 4 Ambiguous }

codes! { NoteKind: 0 Token 1 Form 2 Shape 3 Daily 4 Gateway 5 Refused 6 PageForm 7 Sink 8 Alarm }

codes! { EventType:
    0 LeadOverdue
    1 SitePaused
    2 SiteResumed
    3 SitePostsRefused
    4 SiteTokenExpiring
    5 FormSilent
    6 GatewayConfigBroken
    7 GatewayStoreDegraded
    8 GatewayUpstreamDown
    9 GatewayUpstreamUp
    10 GatewayCertificateExpiring
    11 GatewayBackupFailed
    12 GatewayDegraded
    13 GatewaySinkFailing
    14 DigestDaily
    15 DigestWeekly
    16 LeadDelivered
    17 LeadHeld
    18 LeadDead
    19 NotifyTest
}

//! Who may post, and how much.
//!
//! ```text
//! credentials     a site's token, in one of four places
//! refused         why credentials were refused, for the operator's log
//! signature       WPForms' signature over what is sent
//! key_pairs       KaiCalls' key pair, at KaiCalls' own endpoints
//! sender          who sent what was refused, for the operator
//! shared_keys     which of several sites with one key pair it is; host reads where a request says it comes from
//! client_address  whom a request is counted for
//! places          how many connections may be open: altogether, and of one address
//! limits          how often: the gateway, an address, a site
//! strangers       what has shown no valid credential
//! floods          what of it is logged
//! ```

pub(super) mod client_address;
mod credentials;
mod floods;
pub(super) mod host;
pub(super) mod key_pairs;
mod limits;
mod refused;
mod sender;
mod shared_keys;
mod signature;
mod slots;
mod strangers;

pub(super) use self::credentials::{Credentials, site};
pub(super) use self::floods::Floods;
pub(super) use self::limits::{Limiters, Over};
pub(super) use self::refused::{CredentialFault, RefusedCredential, TokenOwners};
pub(super) use self::sender::sender;
pub(super) use self::shared_keys::{Holder, SiteOwner, owner};
pub(super) use self::signature::Signature;
pub(super) use self::slots::{ConnectionSlot, ConnectionSlots, Eviction, SlotGrant};
pub(super) use self::strangers::unauthorized;

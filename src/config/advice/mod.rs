//! Warnings of what loads but is hardly meant: it would show only when a lead is lost or a stranger is let in.
//!
//! Each says where it stands and how to mend it. None keeps anything from being served.

mod keys;

mod layout;

mod network;

mod notify;

mod sites;

pub(super) use keys::{PlacedPair, warn_of_odd_key, warn_of_shared_pairs};
pub(super) use layout::{is_foreign, is_nested_site, is_other_language, unread_beside};
pub(super) use network::{warn_of_open_admin, warn_of_open_doors};
pub(super) use notify::warn_of_sinks;
pub(super) use sites::{warn_of_no_region, warn_of_no_sites, warn_of_no_token, warn_of_shared_tokens};

//! A page's own form: posted by a visitor's browser, without a token, from an origin that the form's `browser` names.
//!
//! ```text
//! origin     which page a request comes from
//! preflight  may a page's script post here?
//! audience   how the answer must look: for the page's script, or for a person
//! answer     what a visitor gets; words has its texts, html writes the page
//! share      what such posts may take of the store: anybody can forge an origin
//! ```
//!
//! An origin is no secret and no proof. It keeps other websites' pages out, and no program: hence the limits.

mod answer;
mod audience;
mod html;
mod origin;
mod preflight;
mod share;
mod words;

pub(super) use self::answer::{allow_origin, answer};
pub(super) use self::audience::Audience;
pub(super) use self::origin::{PageRequest, is_other_page, page_request};
pub(super) use self::share::{FormKey, StoreShare, bytes_of};

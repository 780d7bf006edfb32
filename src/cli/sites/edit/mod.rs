//! Changes a site where it is written, and leaves every other byte of the file as it is.
//!
//! [`document`] opens and closes the text; each change has a module of its own; [`guarded`] makes a change to a file.

mod document;

mod guarded;

mod keys;

mod pause;

mod table;

mod token;

pub(in crate::cli) use document::EditError;
pub(in crate::cli) use guarded::{EditLock, Edited, edit_file, in_the_way};
pub(in crate::cli) use keys::{WrittenKey, named_files, with_keys, written_keys};
pub(in crate::cli) use pause::{paused, resumed};
pub(in crate::cli) use table::{with_site, without_site};
pub(in crate::cli) use token::{NewToken, with_token, without_token};

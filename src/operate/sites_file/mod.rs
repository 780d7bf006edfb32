//! Changes a site where it is written, and leaves every other byte of the file as it is.
//!
//! [`document`] opens and closes the text; each change has a module of its own; [`guarded`] makes a change to a file, by
//! [`replace`].

mod document;

mod guarded;

mod keys;

mod pause;

mod replace;

mod table;

mod token;

pub use document::EditError;
pub use guarded::{EditLock, Edited, Harm, SiteFileError, edit_file};
pub use keys::{WrittenKey, named_files, with_keys, written_keys};
pub use pause::{paused, resumed};
pub use replace::{Replacement, folder_of, probe_folder};
pub use table::{with_site, without_site};
pub use token::{WrittenToken, with_token, without_token};

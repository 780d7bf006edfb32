//! What kind of failure it is that a site's file can't be changed.

use crate::cli::error::Error;
use crate::operate::sites_file::SiteFileError;

impl From<SiteFileError> for Error {
    fn from(error: SiteFileError) -> Self {
        use SiteFileError::{Create, Edit, Harm, InTheWay, Lock, Read, Write};
        let cure = error.cure();
        let failure = match error {
            Lock { .. } | Write { .. } | Create { .. } => Self::store(error),
            Read { .. } | Edit { .. } | Harm { .. } | InTheWay(_) => Self::config(error),
        };
        cure.into_iter().fold(failure, Self::hint)
    }
}

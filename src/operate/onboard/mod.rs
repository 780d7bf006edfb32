//! Bringing sites in: a spreadsheet read with every bad row told, and the file of what to paste into their plugins.

mod paste;

mod region;

mod roster;

pub use paste::{PasteError, PasteFile, PasteRow};
pub use region::region_of_url;
pub use roster::{BadRow, FILE_MAX, Roster, RosterError, RosterRow, is_name, is_web_address, read_roster};

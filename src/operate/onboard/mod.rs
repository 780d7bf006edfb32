//! Bringing sites in: a spreadsheet read with every bad row told, the file of what to paste into their plugins, and the
//! steps in each plugin.

mod paste;

mod plugin_steps;

mod region;

mod roster;

pub use paste::{PasteError, PasteFile, PasteRow};
pub use plugin_steps::{PluginSteps, plugin_steps, plugins};
pub use region::region_of_url;
pub use roster::{BadRow, FILE_MAX, Roster, RosterError, RosterRow, is_name, is_web_address, read_roster};

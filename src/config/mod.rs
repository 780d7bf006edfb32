//! Raw TOML in, a compiled snapshot out; every problem with its file, line, column and cure.
//!
//! Nothing but the snapshot leaves this room: who holds a [`Config`] holds a valid one. The order of the work stands
//! in [`load`]; each table of the file has a module of its own, which compiles it straight to the checked types.

mod admin;

mod advice;

mod backup;

mod browser;

mod certificate;

mod cut_short;

mod diagnostic;

mod digest;

mod find;

mod form;

mod include;

mod keys;

mod last_good;

mod limits;

mod live;

mod load;

mod mapping;

mod mappings;

mod mask;

mod merge;

mod notify;

mod page_origin;

mod permission;

mod queue;

mod reader;

mod recurring;

mod removal;

mod secret;

mod sections;

mod server;

mod shipped;

mod site;

mod sites;

mod snapshot;

mod source;

mod stand_in;

mod start;

mod suggest;

mod token;

mod upstream;

mod values;

mod watched;

mod written;

pub use certificate::Validity;
pub use diagnostic::{Diagnostic, Diagnostics, Severity, SourceLocation};
pub use find::{NoConfigFile, find_config_file};
pub use keys::{CONFIG_KEYS, MAPPING_KEYS};
pub use live::{Live, Reloaded};
pub use load::{BrokenSite, Loaded, NewSitePlace, load};
pub use mappings::{mapping_of, shipped_mappings};
pub use notify::{
    Alerts, Mail, MailAddress, MailSecurity, SigningKey, Silence, Sink, SinkSites, SinkTarget, SiteNotify,
    WebhookFormat, WebhookTarget,
};
pub use page_origin::{InvalidPageOrigin, PageOrigin};
pub use reader::{Key, KeyDefault, KeyShape, KnownKeys};
pub use removal::{Recorded, Removals};
pub use secret::{MissingSecret, SecretSource, Sources};
pub use snapshot::{
    Admin, Backup, Config, KaiCallsConfig, Keep, Limit, Limits, Listen, Missing, OverLimit, PageForm, Queue, Rate,
    Retry, Server, Site, StoreUrl, Token,
};
pub use stand_in::{ConfigPart, PartFault, StandIn, StandInGroup, StandInSource, gather};
pub use start::{Origin, Starting, data_folder, start};
pub use suggest::known_names;
pub use watched::Watched;
pub use written::{WrittenSite, written_site};

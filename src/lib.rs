//! formgate takes what form plugins post, keeps it, and delivers it as leads to KaiCalls.
//!
//! # The path of a submission
//!
//! One submission, in order. Beside each step stands what the client, the plugin that posted, has been promised by then.
//!
//! 1. [`accept`] reads the head of a request to `/hooks/{site}[/{form}]`, finds the site and checks the credential. A
//!    request without a valid one ends here, and so does one that is too large or too fast. *Promised: nothing.*
//! 2. [`received`] is what came, as it will be stored: method, type, query, the headers on the list, the body with the
//!    contents of files cut out. Nothing later looks at the request itself. *Promised: nothing.*
//! 3. [`pipeline`] makes of it a lead, or a rejection with every reason. It is pure: the same site, mapping and submission
//!    give the same lead whenever it is asked, so an entry can be made anew after a mapping was mended.
//!     - [`decode`] reads the body, however it is encoded, into a submission: ordered fields and one JSON tree.
//!     - [`map`] recognises the plugin and applies its mapping, a file of selectors: a draft.
//!     - [`lead`] checks e-mail, phone, name and message. A `Lead` is valid by construction.
//!
//!    *Promised: nothing.*
//! 4. [`queue`] writes the entry, as it came and what became of it, and returns after the disk has it. It is queued, or held
//!    where no lead could be made of it. A submission that cannot be written is refused with 503.
//! 5. [`accept`] answers 200 with the entry's id. *Promised from here on: this submission is delivered, queued or held
//!    where an operator sees it and why, until an operator drops it or its announced retention period ends.* A kill after this
//!    point loses nothing. The plugin is done.
//! 6. [`send`] claims the entry under a lease, which is written before its POST leaves, and hands the lead to
//!    [`kaicalls`], which posts it with the site's keys and the entry's id as `Idempotency-Key`.
//! 7. [`send`] judges the reply and settles the entry: delivered, to be tried again later, or dead. A kill between POST and
//!    settlement means one more POST: delivery is at least once.
//!
//! Beside the path: [`http`] is what the listeners of [`accept`] and [`admin`] do alike, [`admin`] tells operators and monitors how it goes, [`operate`] holds what operators can do,
//! [`config`] compiles files into a snapshot that a request loads once and that follows them while all runs, and [`sandbox`] is KaiCalls' API for tests and demos. [`app`] puts the services together.
//!
//! Who may use whom is a table in `tests/tidy.rs`, and only ever downwards; `ARCHITECTURE.md` tells why.

pub mod accept;

pub mod http;

pub mod received;

pub mod pipeline;

pub mod decode;

pub mod map;

pub mod lead;

pub mod queue;

pub mod send;

pub mod kaicalls;

pub mod operate;

pub mod notify;

pub mod admin;

pub mod config;

pub mod sandbox;

pub mod cli;

pub mod destination;

pub mod postgres_url;

pub mod event;

pub mod clock;

pub mod app;

pub mod telemetry;

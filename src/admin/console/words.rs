//! Every word of the console that isn't data: in one place, so that the same thing is called the same on every page.

use crate::lead::LeadField;
use crate::operate::{EntryOutcome, KeyState, PairState};

pub(super) const PRODUCT: &str = "formgate";
pub(super) const SKIP: &str = "Skip to content";
pub(super) const NAVIGATION: &str = "Main";

// The parts of the console.
pub(super) const OVERVIEW: &str = "Overview";
pub(super) const LEADS: &str = "Leads";
pub(super) const SITES: &str = "Sites";
pub(super) const LIVE: &str = "Live";

// Logging in and out.
pub(super) const LOG_IN: &str = "Log in";
pub(super) const LOG_OUT: &str = "Log out";
pub(super) const ADMIN_TOKEN: &str = "Admin token";
pub(super) const WHERE_TOKEN: &str =
    "Use [admin].token from config.toml, or what is in the file admin.token of the data folder.";
pub(super) const WRONG_TOKEN: &str = "That isn't the admin token.";
pub(super) const TOO_MANY_GUESSES: &str = "Too many attempts";
pub(super) const FOREIGN_FORM: &str =
    "the form wasn't sent from this console; if a proxy changes the Host header, add its name to [admin].hosts";
pub(super) const OLD_FORM: &str = "the form is from an earlier session; go back, reload the page and try again";

pub(super) const SESSION_ENDED: &str = "Your session has ended. Log in again; what you sent was not done.";

// What the script says.
pub(super) const SECONDS: &str = "s";
pub(super) const MINUTES: &str = "min";
pub(super) const HOURS: &str = "h";
pub(super) const AGO: &str = "ago";
pub(super) const IN: &str = "in";
pub(super) const COPY: &str = "Copy";
pub(super) const COPIED: &str = "Copied";
pub(super) const STOPPED: &str = "It stopped. Press Continue to go on from here.";
pub(super) const STALE: &str = "Not updating: the gateway can't be reached. What is shown may be out of date.";

// Anywhere.
pub(super) const FAILED: &str = "That didn't work";
pub(super) const BACK_TO_OVERVIEW: &str = "Back to the overview";
pub(super) const NONE: &str = "none";
pub(super) const JUST_NOW: &str = "just now";
pub(super) const SINCE: &str = "since";
pub(super) const FROM: &str = "from";
pub(super) const OF: &str = "of";
pub(super) const ALL: &str = "All";
pub(super) const ANY: &str = "Any";
pub(super) const CLOSE: &str = "Close";
pub(super) const CANCEL: &str = "Cancel";
pub(super) const PAGES: &str = "Pages";
pub(super) const LAST: &str = "Last";
pub(super) const STATE: &str = "State";
pub(super) const SITE: &str = "Site";
pub(super) const FORM: &str = "Form";
pub(super) const REASON: &str = "Reason";
pub(super) const LEAD: &str = "lead";
pub(super) const LEADS_MANY: &str = "leads";
pub(super) const LEAD_ID: &str = "Lead ID";

// Keys.
pub(super) const KEYS: &str = "Keyboard shortcuts";
pub(super) const SHORTCUTS: &str = "Shortcuts";
pub(super) const USE_KEYS: &str = "Use keyboard shortcuts";
pub(super) const RENEW: &str = "Update pages automatically";
pub(super) const KEY_LIST: [(&str, &str); 8] = [
    ("j", "Next row"),
    ("k", "Previous row"),
    ("Enter", "Open the row"),
    ("x", "Select the row"),
    ("/", "Search"),
    ("g", "Then o, l, s or v: go to Overview, Leads, Sites or Live"),
    ("p", "Pause the live view"),
    ("?", "This list"),
];

// Overview.
pub(super) const ALL_WELL: &str = "All is well";
pub(super) const NOT_READY: &str = "Submissions can't be stored";
pub(super) const NEEDS_LOOK: &str = "Something needs attention";
pub(super) const LEAD_NEEDS: &str = "lead needs attention";
pub(super) const LEADS_NEED: &str = "leads need attention";
pub(super) const AS_OF: &str = "Updated";
pub(super) const SINK_FAILS: &str = "Notifications don't arrive:";
pub(super) const GONE_410: &str = "it answered 410 Gone; change its table in config.toml to try it again";
pub(super) const SITE_WAITS: &str = "Deliveries are paused:";
pub(super) const UPSTREAM_DOWN: &str = "KaiCalls can't be reached";
pub(super) const UPSTREAM_UP: &str = "No failures";
pub(super) const LEAD_WAITS: &str = "lead is queued";
pub(super) const LEADS_WAIT: &str = "leads are queued";
pub(super) const NEXT_TRY: &str = "next try";
pub(super) const RECEIVED_24H: &str = "received, 24 h";
pub(super) const DELIVERED_24H: &str = "delivered, 24 h";
pub(super) const WAITING: &str = "queued";
pub(super) const OLDEST: &str = "oldest";
pub(super) const HELD: &str = "held";
pub(super) const DEAD: &str = "dead";
pub(super) const LAST_24H: &str = "Last 24 hours";
pub(super) const LAST_14D: &str = "Last 14 days";
pub(super) const RECEIVED: &str = "received";
pub(super) const DELIVERED: &str = "delivered";
pub(super) const REFUSED: &str = "refused";
pub(super) const MOST: &str = "highest:";
pub(super) const NEEDS_PERSON: &str = "Needs attention";
pub(super) const NOTHING_NEEDS: &str = "Nothing. Leads that are held or refused appear here, grouped by cause.";
pub(super) const CAUSE: &str = "Cause";
pub(super) const OLDEST_LEAD: &str = "Oldest";
pub(super) const REFUSED_POSTS: &str = "Refused posts";
pub(super) const REFUSED_HINT: &str =
    "These posts were rejected and not stored. Plugins don't retry, so fix the cause below.";
pub(super) const IN_24H: &str = "24 h";
pub(super) const MISTAKE: &str = "Mistake";
pub(super) const UNKNOWN_SITES: &str = "unknown sites";
pub(super) const POST_REFUSED: &str = "post was refused in 24 hours";
pub(super) const POSTS_REFUSED: &str = "posts were refused in 24 hours";
pub(super) const INCOMPLETE: &str = "Not everything could be read";
pub(super) const INCOMPLETE_CURE: &str = "Figures and causes may lack something; the gateway's log says what failed.";
pub(super) const SITE_FILE_BROKEN: &str = "The file of a site is broken:";
pub(super) const SITE_FILE_CURE: &str = "Its last good version is in force; `formgate check` shows what is wrong.";
pub(super) const KEYS_REFUSED_CURE: &str = "Check the keys on the site's page.";
pub(super) const GATEWAY: &str = "Gateway";
pub(super) const VERSION: &str = "Version";
pub(super) const RUNNING_SINCE: &str = "started";
pub(super) const LISTENS: &str = "URL for forms";
pub(super) const UPSTREAM: &str = "KaiCalls";
pub(super) const CONFIGURATION: &str = "Configuration";
pub(super) const CONFIG_OK: &str = "In force";
pub(super) const CONFIG_BROKEN: &str = "Not all of it is in force: see above";
pub(super) const STORE: &str = "Store";
pub(super) const GATEWAYS: &str = "Gateways";
pub(super) const THIS_GATEWAY: &str = "this one";
pub(super) const NOT_SEEN_SINCE: &str = "not seen since";
pub(super) const OTHER_CONFIGURATION: &str = "another configuration";
pub(super) const SENDS_FOR: &str = "sends for sites:";

// The list of leads.
pub(super) const ANY_TIME: &str = "Any time";
pub(super) const LAST_HOUR: &str = "Last hour";
pub(super) const LAST_7D: &str = "Last 7 days";
pub(super) const LAST_30D: &str = "Last 30 days";
pub(super) const SEARCH: &str = "Search";
pub(super) const SEARCH_HINT: &str = "Name, e-mail, phone or text";
pub(super) const SINCE_FIELD: &str = "Received";
pub(super) const BEFORE: &str = "Before";
pub(super) const FILTER: &str = "Filter";
pub(super) const CLEAR: &str = "Clear";
pub(super) const RECEIVED_AT: &str = "Received";
pub(super) const SITE_AND_FORM: &str = "Site / form";
pub(super) const WHO: &str = "Lead";
pub(super) const NO_LEAD: &str = "No lead";
pub(super) const NO_LEADS_YET: &str = "No leads yet. They appear here as soon as a form posts.";
pub(super) const NO_LEADS_MATCH: &str = "No lead matches the filter.";
pub(super) const SEARCHED_PART: &str = "Only some leads were searched. The link below the list searches further.";
pub(super) const CHOOSE_PAGE: &str = "Select all on this page";
pub(super) const ONE_CHOSEN: &str = "1 selected";
pub(super) const MANY_CHOSEN: &str = "{n} selected";
pub(super) const EVERY_LEAD: &str = "All leads";
pub(super) const ALL_MATCHING: &str = "All that match the filter";
pub(super) const FIRST_PAGE: &str = "First page";
pub(super) const OLDER: &str = "Older";
pub(super) const NEWER: &str = "Newer";
pub(super) const OLDEST_FIRST: &str = "Oldest first";
pub(super) const NEWEST_FIRST: &str = "Newest first";

// What is done with leads.
pub(super) const RETRY: &str = "Retry";
pub(super) const RELEASE: &str = "Release";
pub(super) const DROP: &str = "Drop";
pub(super) const EXPORT: &str = "Export";
pub(super) const RETRY_MEANS: &str =
    "Each lead is mapped again by the configuration in force and sent. One that still isn't valid stays held.";
pub(super) const RELEASE_MEANS: &str =
    "Sends leads that a rule, an unknown form, a test or another host held back. Invalid leads stay held.";
pub(super) const DROP_MEANS: &str =
    "The leads won't be sent. They stay visible as dead until they expire, and can be retried.";
pub(super) const EXPORT_MEANS: &str =
    "The leads are written to a file with names, addresses and messages. The audit log records it.";
pub(super) const NO_VERB: &str = "the form doesn't say what to do; use the buttons above the list";
pub(super) const NOTHING_CHOSEN: &str = "no lead is selected; go back and select some";
pub(super) const TOO_MANY_CHOSEN: &str = "more than 500 leads are selected; use a filter instead";
pub(super) const NO_FORMAT: &str = "the format must be csv, ndjson or json";
pub(super) const NOT_COUNTED: &str = "all that match";
pub(super) const QUEUED: &str = "queued to be sent";
pub(super) const DROPPED: &str = "dropped";
pub(super) const HELD_AGAIN: &str = "held";
pub(super) const LEFT_AS_IS: &str = "unchanged";
pub(super) const IN_PROGRESS: &str = "In progress";
pub(super) const FINISHED: &str = "Finished";
pub(super) const GOES_ON: &str = "Keep this page open. If you close it, the remaining leads are not changed.";
pub(super) const CONTINUE: &str = "Continue";
pub(super) const STOP_HERE: &str = "Stop here";
pub(super) const BACK_TO_LIST: &str = "Back";
pub(super) const WHAT_HAPPENS: &str = "Result";
pub(super) const FORMAT: &str = "Format";
pub(super) const EXPORT_LEADS: &str = "Export leads";
pub(super) const DOWNLOAD: &str = "Download";

// A lead.
pub(super) const NAME: &str = "Name";
pub(super) const EMAIL: &str = "E-mail";
pub(super) const PHONE: &str = "Phone";
pub(super) const MESSAGE: &str = "Message";
pub(super) const LEAD_MADE: &str = "Lead";
pub(super) const AMENDED: &str = "Corrected and queued to be sent.";
pub(super) const AMENDED_HELD: &str = "Corrected. It stays held, because the site has deliver = false.";
pub(super) const NOTHING_CORRECTED: &str = "Nothing was changed. Correct a field, or use Retry.";
pub(super) const CORRECT_AND_SEND: &str = "Save and send";
pub(super) const CORRECTION_HINT: &str =
    "What was received stays as it was. A corrected message replaces the whole message, with all lines below it.";
pub(super) const CORRECTED_BY: &str = "Corrected by";
pub(super) const BY_RULE: &str = "Source:";
pub(super) const EVIDENCE: &str = "Why these fields";
pub(super) const EVIDENCE_HINT: &str =
    "No mapping names these fields. Each candidate is weighed; the best combination wins.";
pub(super) const SCORE: &str = "Score";
pub(super) const CONFIDENCE: &str = "confidence";
pub(super) const FACTS: &str = "Details";
pub(super) const KAICALLS_ID: &str = "KaiCalls lead ID";
pub(super) const MAPPING: &str = "Mapping";
pub(super) const TODAY: &str = "Current mapping";
pub(super) const WOULD_DIFFER: &str = "Would produce a different lead. Retry shows a preview.";
pub(super) const POSTED: &str = "Posted";
pub(super) const TIMES: &str = "times";
pub(super) const ODDITIES: &str = "Warnings";
pub(super) const LEFT_OUT: &str = "Left out";
pub(super) const EXPIRES: &str = "Will be deleted";
pub(super) const FIXTURE: &str = "Test fixture";
pub(super) const FIXTURE_HINT: &str =
    "Keep this request as a test: put both files into a folder, and formgate test checks them.";
pub(super) const FIXTURE_REQUEST: &str = "Request (.http)";
pub(super) const FIXTURE_LEAD: &str = "Expected lead (.json)";
pub(super) const RECEIVED_SECTION: &str = "Received";
pub(super) const EXTRAS: &str = "Added below the message";
pub(super) const NO_FIELDS: &str = "No fields could be read.";
pub(super) const FIELD: &str = "Field";
pub(super) const VALUE: &str = "Value";
pub(super) const RAW: &str = "Raw request";
pub(super) const BYTES: &str = "bytes";
pub(super) const METHOD: &str = "Method";
pub(super) const QUERY: &str = "Query";
pub(super) const TRACE: &str = "Trace ID";
pub(super) const FILES_CUT: &str = "The contents of uploaded files aren't stored.";
pub(super) const BODY_CUT: &str = "Only the beginning is shown; the test fixture has all of it.";
pub(super) const NOT_TEXT: &str = "The body isn't text; the test fixture has its bytes.";
pub(super) const TIMELINE: &str = "Timeline";
pub(super) const SHOW_MASKED: &str = "Show personal data";
pub(super) const MASKED_HINT: &str =
    "E-mail addresses and phone numbers are masked. The audit log records who shows them.";

// Sites.
pub(super) const SITE_OK: &str = "ok";
pub(super) const SITE_PAUSED: &str = "paused";
pub(super) const SITE_OFF: &str = "deliveries off";
pub(super) const SITE_NO_KEYS: &str = "no keys";
pub(super) const SITE_GONE: &str = "not configured";
pub(super) const SITE_BROKEN: &str = "file broken";
pub(super) const FIND_SITE: &str = "ID, name or address";
pub(super) const ONLY_TROUBLE: &str = "Only sites with a problem";
pub(super) const NO_SITES: &str = "No site matches.";
pub(super) const LAST_LEAD: &str = "Last lead";
pub(super) const WEEK: &str = "7 days";
pub(super) const QUEUED_SHORT: &str = "Queued";
pub(super) const HELD_SHORT: &str = "Held";
pub(super) const DEAD_SHORT: &str = "Dead";
pub(super) const REFUSED_SHORT: &str = "Refused 24 h";
pub(super) const NEXT_PAGE: &str = "Next";
pub(super) const PREVIOUS_PAGE: &str = "Previous";
pub(super) const SORT_BY: &str = "Sort by";
pub(super) const WEBHOOK_URL: &str = "Webhook URL";
pub(super) const WEBSITE: &str = "Website";
pub(super) const LAST_ERROR: &str = "Last error";
pub(super) const KEY_PAIR: &str = "KaiCalls keys";
pub(super) const VERIFY_NOW: &str = "Verify now";
pub(super) const FORMS_SEEN: &str = "Forms";
pub(super) const NO_FORMS: &str = "No form has posted yet.";
pub(super) const POSTS: &str = "Posts";
pub(super) const FIRST_SEEN: &str = "First";
pub(super) const TOKENS: &str = "Tokens";
pub(super) const NO_TOKENS: &str = "No tokens: nothing can post to this site.";
pub(super) const TOKEN_HASH: &str = "SHA-256";
pub(super) const NOTE: &str = "Note";
pub(super) const EXPIRES_ON: &str = "Expires";
pub(super) const LAST_USED: &str = "Last used";
pub(super) const NEVER: &str = "never";
pub(super) const NEW_TOKEN: &str = "New token";
pub(super) const TOKEN_NOTE_HINT: &str = "What it is for, such as the plugin's name";
pub(super) const TOKEN_ONCE: &str = "Copy the URL now. It isn't shown again; only the token's hash is stored.";
pub(super) const PASTE: &str = "Plugin setup";
pub(super) const PASTE_HINT: &str = "Replace TOKEN with the site's token. If you don't have it, make a new one above.";
pub(super) const SENDER: &str = "From";
pub(super) const CURE: &str = "What to do";
pub(super) const COUNT: &str = "Count";
pub(super) const PUBLIC_KEY: &str = "Public key";
pub(super) const PLAIN_URL: &str = "Without the token";
pub(super) const ADMIN_HEADER: &str = "For plugins with headers";
pub(super) const BUSINESS: &str = "Business";
pub(super) const WHY: &str = "Why";
pub(super) const VERIFIED: &str = "Checked with KaiCalls just now.";

// Live.
pub(super) const PAUSE: &str = "Pause";
pub(super) const RESUME: &str = "Resume";
pub(super) const CONNECTED: &str = "Live";
pub(super) const PAUSED: &str = "Paused";
pub(super) const DISCONNECTED: &str = "Disconnected. Connecting again …";
pub(super) const MISSED: &str = "Events missed: {n}";
pub(super) const STREAMS_FULL: &str = "Too many live views are open. Close one; this one connects by itself.";
pub(super) const LIVE_EMPTY: &str = "Requests and deliveries appear here as they happen.";
pub(super) const LIVE_NO_SCRIPT: &str =
    "Live updates need JavaScript. Below are the newest leads; the page renews itself.";
pub(super) const TIME: &str = "Time";
pub(super) const EVENT: &str = "Event";
pub(super) const TOOK: &str = "Took";
pub(super) const ATTEMPT: &str = "attempt {n}";
pub(super) const DETAILS: &str = "Details";

/// Says how long to wait.
pub(super) fn wait(seconds: u64) -> String {
    format!("Wait {seconds} s, then try again.")
}

pub(super) fn unreadable(count: usize) -> String {
    format!("{count} of the entries here can't be read; see formgate store salvage.")
}

pub(super) fn choose(name: &str, id: &str) -> String {
    format!("Select {name}, {id}")
}

pub(super) fn more_causes(count: usize) -> String {
    format!("{count} more {}", if count == 1 { "cause" } else { "causes" })
}

pub(super) fn preview(verb: &str) -> String {
    format!("Preview: {verb}")
}

pub(super) fn first_of_more(count: usize) -> String {
    format!("below is a preview of the first {count}; the others are processed as well.")
}

pub(super) fn more_fields(count: usize) -> String {
    format!("and {count} more")
}

pub(super) fn attempts(count: u32) -> String {
    format!("{count} {} in all", if count == 1 { "attempt" } else { "attempts" })
}

pub(super) fn lead_field(field: LeadField) -> &'static str {
    match field {
        LeadField::Name => NAME,
        LeadField::Email => EMAIL,
        LeadField::Phone => PHONE,
        LeadField::Message => MESSAGE,
    }
}

/// Says what becomes of a lead.
pub(super) fn outcome(outcome: EntryOutcome) -> &'static str {
    match outcome {
        EntryOutcome::Queued => "Queued",
        EntryOutcome::Held => "Held",
        EntryOutcome::Dropped => "Dropped",
        EntryOutcome::Unchanged => "Unchanged",
        EntryOutcome::Skipped => "Skipped",
        EntryOutcome::Busy => "Being sent now",
        EntryOutcome::Missing => "Missing",
        EntryOutcome::Unreadable => "Unreadable",
    }
}

/// Says whether KaiCalls takes a key pair.
pub(super) fn key_state(state: KeyState) -> &'static str {
    match state {
        KeyState::Ok => "accepted by KaiCalls",
        KeyState::Refused => "refused",
        KeyState::Missing => "missing",
        KeyState::Unknown => "not used in the last 7 days",
    }
}

/// Says what KaiCalls answered about a key pair.
pub(super) fn pair_state(state: PairState) -> &'static str {
    match state {
        PairState::Ok => "valid",
        PairState::Refused => "refused",
        PairState::Unreachable => "KaiCalls didn't respond",
        PairState::Missing => "missing",
        PairState::Unreadable => "can't be read",
    }
}

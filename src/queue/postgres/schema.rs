//! The tables, and how they came to be as they are: numbered steps, each taken once.
//!
//! All lie in a schema of their own. Times are milliseconds since 1970, words of closed sets are numbers (`queue/codes.rs`).
//! Gateways of two versions share the tables while one after the other is brought up to date: a step that a program of the
//! version before can live with leaves `usable_from` as it is.

use tokio_postgres::Row;

use super::failure::Failure;
use super::indexes;
use super::transaction::BEGIN;

/// One step.
struct Step {
    sql: &'static str,
    /// The oldest version whose programs can use the tables behind this step.
    usable_from: u32,
}

/// The version that this program makes, and the newest that it knows.
pub(super) const KNOWN: u32 = STEPS.len() as u32;

/// Taken by whoever takes steps, so that of several gateways that start together one does.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7166181092)";

/// Whoever waits for a table keeps those waiting that use it, so a step doesn't wait for long.
const STEP_WAIT: &str = "SET LOCAL lock_timeout = '1s'";

const STEPS: [Step; 2] = [Step { sql: FIRST, usable_from: 1 }, Step { sql: DETAIL, usable_from: 1 }];

const FIRST: &str = r#"
-- How an entry stands: what claims and settlements rewrite. Its lead and what was received are in formgate.content.
CREATE TABLE formgate.entry (
    number bigint GENERATED ALWAYS AS IDENTITY,
    id uuid PRIMARY KEY,
    site text COLLATE "C" NOT NULL,
    form text COLLATE "C" NOT NULL,
    partition smallint NOT NULL,
    state smallint NOT NULL,
    reason smallint NOT NULL,
    revision bigint NOT NULL,
    accepted_at bigint NOT NULL,
    due_at bigint,
    waits_from bigint NOT NULL,
    expires_at bigint,
    attempts bigint NOT NULL,
    seen bigint NOT NULL,
    lease bigint,
    lead_id text,
    traceparent text,
    history bytea NOT NULL,
    dedupe_key bytea,
    -- About what it takes, with its indexes.
    bytes bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

CREATE INDEX entry_due ON formgate.entry (site, due_at, number) INCLUDE (id, accepted_at) WHERE state = 0;
-- What is delivered is most of all, and sought least: the others have short indexes of their own.
CREATE INDEX entry_open ON formgate.entry (state, id) WHERE state <> 2;
CREATE INDEX entry_site_open ON formgate.entry (site, state, id) WHERE state <> 2;
CREATE INDEX entry_reason ON formgate.entry (reason, id) WHERE state <> 2;
CREATE INDEX entry_site ON formgate.entry (site, id);
CREATE INDEX entry_expires ON formgate.entry (expires_at, id) WHERE expires_at IS NOT NULL;

-- Written once: the lead as JSON, what was received as JSON without its body, and that. `json` keeps a text as it is,
-- also with an escaped NUL in it, which `jsonb` refuses.
CREATE TABLE formgate.content (
    id uuid PRIMARY KEY,
    form text COLLATE "C" NOT NULL,
    reading json NOT NULL,
    received json NOT NULL,
    body bytea NOT NULL
);
-- A form is never changed: here it is indexed once, where each change of the entry would index it anew.
CREATE INDEX content_form ON formgate.content (form, id);

CREATE TABLE formgate.dedupe (key bytea PRIMARY KEY, id uuid NOT NULL, seen_at bigint NOT NULL);
CREATE INDEX dedupe_id ON formgate.dedupe (id);
CREATE INDEX dedupe_seen_at ON formgate.dedupe (seen_at);

-- Counts are kept as changes that are added up now and then: a row that all gateways write to would be their bottleneck.
CREATE TABLE formgate.tally (
    site text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    entries bigint NOT NULL,
    bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (site, state)
);
CREATE TABLE formgate.tally_change (
    site text COLLATE "C" NOT NULL, state smallint NOT NULL, entries bigint NOT NULL, bytes bigint NOT NULL DEFAULT 0
);

-- Events as they are recorded. They get their numbers when somebody reads: transactions end in another order than they begin.
CREATE TABLE formgate.unnumbered (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    event smallint,
    entry uuid,
    site text,
    form text,
    from_state smallint,
    to_state smallint,
    reason smallint,
    attempt smallint
);
CREATE TABLE formgate.outbox (
    number bigint PRIMARY KEY,
    at bigint NOT NULL,
    event smallint,
    entry uuid,
    site text,
    form text,
    from_state smallint,
    to_state smallint,
    reason smallint,
    attempt smallint
);
CREATE TABLE formgate.reader (name text COLLATE "C" PRIMARY KEY, upto bigint NOT NULL);
CREATE TABLE formgate.once (place bigint GENERATED ALWAYS AS IDENTITY, key text COLLATE "C" PRIMARY KEY);
CREATE INDEX once_place ON formgate.once (place);

CREATE TABLE formgate.note (
    kind smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    first_at bigint NOT NULL,
    last_at bigint NOT NULL,
    text text,
    numbers bigint[] NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX note_last_at ON formgate.note (kind, last_at, key);

CREATE TABLE formgate.hold (
    name text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    until bigint NOT NULL
) WITH (fillfactor = 50);

-- One row each: the last number of an event, and what is written to find out that writing works.
CREATE TABLE formgate.last_event (number bigint NOT NULL);
INSERT INTO formgate.last_event VALUES (0);
CREATE TABLE formgate.probe (at bigint NOT NULL);
INSERT INTO formgate.probe VALUES (0);
"#;

/// What the reason of what is held or dead leaves open, and the revision of which it says that. Programs of version 1 leave both as
/// they are; see `causes`. Their indexes are made by `indexes`.
const DETAIL: &str = r#"
ALTER TABLE formgate.entry ADD COLUMN detail text COLLATE "C" NOT NULL DEFAULT '', ADD COLUMN detail_revision bigint;
"#;

/// Sees to it that the tables are there, and of a version that this program can use.
pub(super) async fn prepare(client: &tokio_postgres::Client) -> Result<(), Failure> {
    if let Some(version) = version(client).await?
        && version.number >= KNOWN
    {
        return version.check();
    }
    client.batch_execute(BEGIN).await?;
    let taken = take_steps(client).await;
    let end = if taken.is_ok() { "COMMIT" } else { "ROLLBACK" };
    client.batch_execute(end).await?;
    taken
}

async fn take_steps(client: &tokio_postgres::Client) -> Result<(), Failure> {
    client.batch_execute(LOCK).await?;
    // Another may have taken them while this one waited.
    let found = version(client).await?;
    if let Some(found) = &found {
        found.check()?;
    }
    let done = found.as_ref().map_or(0, |version| version.number);
    if done == 0 {
        client
            .batch_execute(
                // An administrator may have made it, for a user who may not.
                "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'formgate') THEN
                    CREATE SCHEMA formgate;
                 END IF; END $$;
                 CREATE TABLE formgate.version (number bigint NOT NULL, usable_from bigint NOT NULL);
                 INSERT INTO formgate.version VALUES (0, 0)",
            )
            .await?;
    }
    client.batch_execute(STEP_WAIT).await?;
    for (number, step) in (1_u32..).zip(&STEPS).skip(usize::try_from(done).unwrap_or(usize::MAX)) {
        client.batch_execute(step.sql).await?;
        let usable_from = step.usable_from;
        client
            .batch_execute(&format!("UPDATE formgate.version SET number = {number}, usable_from = {usable_from}"))
            .await?;
    }
    if done == 0 {
        client.batch_execute(&indexes::of_new_store()).await?;
    }
    Ok(())
}

/// How far the tables are.
struct Version {
    number: u32,
    usable_from: u32,
}

impl Version {
    fn check(&self) -> Result<(), Failure> {
        if self.usable_from > KNOWN {
            return Err(Failure::Newer { found: self.number, known: KNOWN });
        }
        Ok(())
    }
}

async fn version(client: &tokio_postgres::Client) -> Result<Option<Version>, Failure> {
    // Not to_regclass(): within a transaction that remembers what it didn't find before another made it.
    const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'formgate' AND c.relname = 'version')";
    let there = client.query_typed(IS_THERE, &[]).await?;
    if !there.first().is_some_and(|row| row.get::<_, bool>(0)) {
        return Ok(None);
    }
    let found = client.query_typed("SELECT number, usable_from FROM formgate.version", &[]).await?;
    let number = |row: &Row, at: usize| u32::try_from(row.get::<_, i64>(at)).unwrap_or(u32::MAX);
    Ok(found.first().map(|row| Version { number: number(row, 0), usable_from: number(row, 1) }))
}

//! What is carried beside entries: events with their readers, keys of what was emitted, notes.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Core;
use super::failure::Failure;
use super::row::{number_of, signed, storable, unsigned, uuid};
use super::transaction::Lock;
use crate::queue::unreadable::Unreadable;
use crate::queue::{CarriedEvents, Emission, Happened, Key, Move, Note, NoteKind, OnceKeys};

/// Gives keys of what was emitted, oldest first.
pub(super) async fn once_keys(core: &Core, after: u64, limit: usize) -> Result<OnceKeys, Failure> {
    const KEYS: &str = "SELECT key, place FROM formgate.once WHERE place > $1 ORDER BY place LIMIT $2";
    let params = [(&signed(after) as _, Type::INT8), (&signed(limit as u64) as _, Type::INT8)];
    let rows = core.database.query(KEYS, &params).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|row| unsigned(row.get(1)));
    let keys = rows.iter().map(|row| Key::parse(row.get(0)).map_err(|_invalid| Unreadable { column: "key" }));
    Ok(OnceKeys { keys: keys.collect::<Result<_, _>>()?, next })
}

const READERS: &str = "INSERT INTO formgate.reader (name, upto) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (name) DO NOTHING";
const EVENTS: &str = "INSERT INTO formgate.outbox
    (number, at, event, entry, site, form, from_state, to_state, reason, attempt)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::uuid[], $5::text[], $6::text[], $7::smallint[],
        $8::smallint[], $9::smallint[], $10::smallint[])
    ON CONFLICT (number) DO NOTHING";
const LAST: &str = "UPDATE formgate.last_event SET number = greatest(number, $1)";
const ONCE: &str = "INSERT INTO formgate.once (key) SELECT key FROM unnest($1::text[]) WITH ORDINALITY AS g(key, place)
    ORDER BY place ON CONFLICT (key) DO NOTHING";

/// Takes in events, readers and keys.
pub(super) async fn take_events(core: &Core, carried: &CarriedEvents) -> Result<(), Failure> {
    let CarriedEvents { last, readers, events, once } = carried;
    let names: Vec<&str> = readers.iter().map(|(name, _)| name.as_str()).collect();
    let places: Vec<i64> = readers.iter().map(|(_, upto)| signed(*upto)).collect();
    let keys: Vec<&str> = once.iter().map(Key::as_str).collect();
    let last = events.iter().map(|event| event.number).max().max(Some(*last)).unwrap_or(*last);
    let transaction = core.database.begin_locked(Lock::Events).await?;
    transaction.execute(READERS, &[(&names, Type::TEXT_ARRAY), (&places, Type::INT8_ARRAY)]).await?;
    let columns = EventColumns::of(carried);
    transaction.execute(EVENTS, &columns.params()).await?;
    transaction.execute(LAST, &[(&signed(last), Type::INT8)]).await?;
    transaction.execute(ONCE, &[(&keys, Type::TEXT_ARRAY)]).await?;
    transaction.commit().await
}

/// Events as the table has them.
#[derive(Default)]
struct EventColumns {
    numbers: Vec<i64>,
    times: Vec<i64>,
    events: Vec<Option<i16>>,
    entries: Vec<Option<Uuid>>,
    sites: Vec<Option<String>>,
    forms: Vec<Option<String>>,
    from: Vec<Option<i16>>,
    to: Vec<Option<i16>>,
    reasons: Vec<Option<i16>>,
    attempts: Vec<Option<i16>>,
}

impl EventColumns {
    fn of(carried: &CarriedEvents) -> Self {
        let mut columns = Self::default();
        for event in &carried.events {
            columns.numbers.push(signed(event.number));
            columns.times.push(event.at.as_millisecond());
            match &event.happened {
                Happened::Emitted(emission) => columns.add_emission(emission),
                Happened::Moved(moved) => columns.add_move(moved),
            }
        }
        columns
    }

    fn add_emission(&mut self, Emission { event, entry, site, form }: &Emission) {
        self.events.push(Some(number_of(*event)));
        self.entries.push(entry.map(uuid));
        self.sites.push(site.as_ref().map(|site| site.as_str().to_owned()));
        self.forms.push(form.as_ref().map(|form| form.as_str().to_owned()));
        for column in [&mut self.from, &mut self.to, &mut self.reasons, &mut self.attempts] {
            column.push(None);
        }
    }

    fn add_move(&mut self, Move { entry, site, form, from, to, reason, attempt }: &Move) {
        self.events.push(None);
        self.entries.push(Some(uuid(*entry)));
        self.sites.push(Some(site.as_str().to_owned()));
        self.forms.push(Some(form.as_str().to_owned()));
        self.from.push(from.map(number_of));
        self.to.push(to.map(number_of));
        self.reasons.push(Some(number_of(*reason)));
        self.attempts.push(attempt.map(number_of));
    }

    fn params(&self) -> [super::database::Param<'_>; 10] {
        [
            (&self.numbers, Type::INT8_ARRAY),
            (&self.times, Type::INT8_ARRAY),
            (&self.events, Type::INT2_ARRAY),
            (&self.entries, Type::UUID_ARRAY),
            (&self.sites, Type::TEXT_ARRAY),
            (&self.forms, Type::TEXT_ARRAY),
            (&self.from, Type::INT2_ARRAY),
            (&self.to, Type::INT2_ARRAY),
            (&self.reasons, Type::INT2_ARRAY),
            (&self.attempts, Type::INT2_ARRAY),
        ]
    }
}

const NOTES: &str = "INSERT INTO formgate.note AS n (kind, key, first_at, last_at, text, numbers)
    SELECT $1, key, first_at, last_at, text, numbers::bigint[]
    FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS g(key, first_at, last_at, text, numbers)
    ON CONFLICT (kind, key) DO UPDATE SET first_at = excluded.first_at, last_at = excluded.last_at,
        text = excluded.text, numbers = excluded.numbers
    WHERE n.last_at <= excluded.last_at";

/// Takes in notes as they are.
pub(super) async fn take_notes(core: &Core, kind: NoteKind, notes: &[Note]) -> Result<(), Failure> {
    let keys: Vec<&str> = notes.iter().map(|note| note.key.as_str()).collect();
    let first_at: Vec<i64> = notes.iter().map(|note| note.first_at.as_millisecond()).collect();
    let last_at: Vec<i64> = notes.iter().map(|note| note.last_at.as_millisecond()).collect();
    let texts: Vec<Option<String>> = notes.iter().map(|note| note.text.as_deref().map(storable)).collect();
    let numbers: Vec<String> = notes.iter().map(|note| super::notes::array(&note.numbers)).collect();
    let params = [
        (&number_of(kind) as _, Type::INT2),
        (&keys as _, Type::TEXT_ARRAY),
        (&first_at as _, Type::INT8_ARRAY),
        (&last_at as _, Type::INT8_ARRAY),
        (&texts as _, Type::TEXT_ARRAY),
        (&numbers as _, Type::TEXT_ARRAY),
    ];
    core.database.query(NOTES, &params).await?;
    core.forget_notes_counted(kind);
    Ok(())
}

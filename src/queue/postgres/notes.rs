//! Small facts that gateways share, merged where they lie.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Core;
use super::failure::Failure;
use super::row::{now, number_of, signed, storable, time, unsigned};
use crate::queue::codes::Code as _;
use crate::queue::standing::whole_millisecond;
use crate::queue::unreadable::Unreadable;
use crate::queue::{
    CHANGES_MAX, Key, Merge, NOTES_MAX, Note, NoteChange, NoteKind, NoteLimits, NumbersMerge, TextMerge,
};

/// How a statement merges: which it is stands in its text, since a conflict knows nothing of the row that is given.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Manner {
    text: &'static str,
    number: &'static str,
}

const LATEST: &str = "excluded.text";
const FIRST: &str = "coalesce(n.text, excluded.text)";
const KEPT: &str = "n.text";
const ADDED: &str = "least(coalesce(kept, 0)::numeric + coalesce(given, 0), 9223372036854775807)::bigint";
const GREATEST: &str = "greatest(coalesce(kept, 0), coalesce(given, 0))";

impl Manner {
    fn of(merge: &Merge) -> Self {
        let text = match merge.text {
            TextMerge::Keep => KEPT,
            TextMerge::Latest(_) => LATEST,
            TextMerge::First(_) => FIRST,
        };
        let number = match merge.numbers {
            NumbersMerge::Keep | NumbersMerge::Add(_) => ADDED,
            NumbersMerge::Max(_) => GREATEST,
        };
        Self { text, number }
    }

    fn sql(self) -> String {
        let Self { text, number } = self;
        let now = now!("g.at");
        format!(
            "INSERT INTO formgate.note AS n (kind, key, first_at, last_at, text, numbers)
             SELECT kind, key, at, at, text, numbers::bigint[]
             FROM (SELECT kind, key, {now} AS at, text, numbers FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS g(kind, key, at, text, numbers)) g
             ORDER BY kind, key COLLATE \"C\"
             ON CONFLICT (kind, key) DO UPDATE SET last_at = excluded.last_at, text = {text}, numbers = ARRAY(
                SELECT {number} FROM unnest(n.numbers, excluded.numbers) WITH ORDINALITY AS m(kept, given, place)
                ORDER BY place)
             RETURNING n.kind, n.first_at = n.last_at"
        )
    }
}

/// How often notes are written again that another transaction was in the way of.
const TRIES_MAX: usize = 5;

/// A change as of a time.
type Dated<'c> = &'c (NoteChange, Timestamp);

/// Writes to notes: to all of them or, with an error, to none.
pub(super) async fn note_all(core: &Core, changes: &[(NoteChange, Timestamp)]) -> Result<(), Failure> {
    let mut left: Vec<Dated<'_>> = changes.iter().take(CHANGES_MAX).collect();
    let mut statements = Vec::new();
    while !left.is_empty() {
        let (statement, later) = first_statement(left);
        statements.push(statement);
        left = later;
    }
    let mut kinds = HashSet::new();
    match &*statements {
        [] => {}
        [only] => {
            let columns = Columns::of(core, only);
            kinds = begun(&core.database.query(&manner_of(only).sql(), &params(&columns)).await?);
        }
        several => {
            let mut tries = 1;
            kinds = loop {
                match write_together(core, several).await {
                    Err(Failure::Again(_)) if tries < TRIES_MAX => tries += 1,
                    written => break written?,
                }
            };
        }
    }
    for kind in kinds {
        make_room(core, kind).await?;
    }
    Ok(())
}

async fn write_together(core: &Core, statements: &[Vec<Dated<'_>>]) -> Result<HashSet<NoteKind>, Failure> {
    let transaction = core.database.begin().await?;
    let mut kinds = HashSet::new();
    for statement in statements {
        let columns = Columns::of(core, statement);
        kinds.extend(begun(&transaction.query(&manner_of(statement).sql(), &params(&columns)).await?));
    }
    transaction.commit().await?;
    Ok(kinds)
}

/// Takes what can go into one statement: of one manner, and each note once. What waits for a note waits for its turn.
fn first_statement(changes: Vec<Dated<'_>>) -> (Vec<Dated<'_>>, Vec<Dated<'_>>) {
    let manner = changes.first().map(|(change, _)| Manner::of(&change.merge));
    let mut seen = HashSet::new();
    changes.into_iter().partition(|(change, _)| {
        let is_first = seen.insert((change.kind, change.key.clone()));
        is_first && Some(Manner::of(&change.merge)) == manner
    })
}

fn manner_of(statement: &[Dated<'_>]) -> Manner {
    statement.first().map_or(Manner { text: KEPT, number: ADDED }, |(change, _)| Manner::of(&change.merge))
}

/// What a statement is given.
struct Columns {
    kinds: Vec<i16>,
    keys: Vec<String>,
    times: Vec<Option<i64>>,
    texts: Vec<Option<String>>,
    numbers: Vec<String>,
}

impl Columns {
    fn of(core: &Core, statement: &[Dated<'_>]) -> Self {
        let all = || statement.iter().map(|(change, _)| change);
        let text = |change: &NoteChange| match &change.merge.text {
            TextMerge::Keep => None,
            TextMerge::Latest(text) | TextMerge::First(text) => Some(storable(text)),
        };
        Self {
            kinds: all().map(|change| number_of(change.kind)).collect(),
            keys: all().map(|change| change.key.as_str().to_owned()).collect(),
            times: statement.iter().map(|(change, at)| time_of(core, change.kind, *at)).collect(),
            texts: all().map(text).collect(),
            numbers: all().map(|change| array(change.merge.numbers.numbers())).collect(),
        }
    }
}

/// Which gateways are there is seen by when they wrote last, so that is told by one clock; all else is as of its own time.
fn time_of(core: &Core, kind: NoteKind, at: Timestamp) -> Option<i64> {
    match kind {
        NoteKind::Gateway => core.now(at),
        _ => Some(whole_millisecond(at).as_millisecond()),
    }
}

/// Writes numbers as PostgreSQL writes an array.
pub(super) fn array(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(|number| signed(*number).to_string()).collect();
    format!("{{{}}}", numbers.join(","))
}

fn params(columns: &Columns) -> [super::database::Param<'_>; 5] {
    [
        (&columns.kinds, Type::INT2_ARRAY),
        (&columns.keys, Type::TEXT_ARRAY),
        (&columns.times, Type::INT8_ARRAY),
        (&columns.texts, Type::TEXT_ARRAY),
        (&columns.numbers, Type::TEXT_ARRAY),
    ]
}

/// Returns the kinds of which notes may have been begun.
fn begun(rows: &[Row]) -> HashSet<NoteKind> {
    let is_new = rows.iter().filter(|row| row.get(1));
    is_new.filter_map(|row| u8::try_from(row.get::<_, i16>(0)).ok().and_then(NoteKind::from_code)).collect()
}

const COUNT: &str = "SELECT count(*) FROM formgate.note WHERE kind = $1";

const FALL_OUT: &str = "DELETE FROM formgate.note WHERE (kind, key) IN (
    SELECT kind, key FROM formgate.note WHERE kind = $1 ORDER BY last_at, key LIMIT $2)";

/// Lets the oldest notes of a kind fall out where there are too many.
///
/// They are counted by whoever has begun as many as may be missing to the bound since it counted last: where there are few, all
/// the others may have begun as many.
async fn make_room(core: &Core, kind: NoteKind) -> Result<(), Failure> {
    if !core.should_count_notes(kind) {
        return Ok(());
    }
    let number = number_of(kind);
    let counted = core.database.query(COUNT, &[(&number, Type::INT2)]).await?;
    let there = counted.first().map_or(0, |row| unsigned(row.get(0)));
    let NoteLimits { notes_max, .. } = kind.limits();
    core.notes_counted(kind, there.min(notes_max));
    let Some(most) = there.checked_sub(notes_max).filter(|most| *most > 0) else { return Ok(()) };
    core.database.query(FALL_OUT, &[(&number, Type::INT2), (&signed(most), Type::INT8)]).await.map(drop)
}

/// Lists notes.
pub(super) async fn notes(
    core: &Core,
    kind: NoteKind,
    prefix: &str,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Note>, Failure> {
    const NOTES: &str = "SELECT key, first_at, last_at, text, numbers FROM formgate.note
        WHERE kind = $1 AND key ^@ $2 AND ($3::text IS NULL OR key > $3) ORDER BY key LIMIT $4";
    // No note has a key with a NUL in it.
    if prefix.contains('\0') {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(limit.clamp(1, NOTES_MAX)).unwrap_or(i64::MAX);
    let after = after.map(Key::as_str);
    let params = [
        (&number_of(kind) as _, Type::INT2),
        (&prefix as _, Type::TEXT),
        (&after as _, Type::TEXT),
        (&limit as _, Type::INT8),
    ];
    let rows = core.database.query(NOTES, &params).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn read(row: &Row) -> Result<Note, Unreadable> {
    Ok(Note {
        key: Key::parse(row.get(0)).map_err(|_invalid| Unreadable { column: "key" })?,
        first_at: time(row.get(1), "first_at")?,
        last_at: time(row.get(2), "last_at")?,
        text: row.get(3),
        numbers: row.get::<_, Vec<i64>>(4).into_iter().map(unsigned).collect(),
    })
}

/// Removes notes whose time is over.
pub(super) async fn expire(core: &Core, now: Timestamp, limit: usize) -> Result<(), Failure> {
    const EXPIRE: &str = "DELETE FROM formgate.note WHERE (kind, key) IN (
        SELECT kind, key FROM formgate.note WHERE kind = $1 AND last_at <= $2 ORDER BY last_at, key LIMIT $3)";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    for kind in NoteKind::ALL {
        let keep = kind.limits().keep;
        let until = now.checked_sub(keep).unwrap_or(Timestamp::MIN).as_millisecond();
        let params = [(&number_of(kind) as _, Type::INT2), (&until as _, Type::INT8), (&limit as _, Type::INT8)];
        core.database.query(EXPIRE, &params).await?;
        core.forget_notes_counted(kind);
    }
    Ok(())
}

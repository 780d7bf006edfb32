//! Which entries a site has, whatever their state: for lists of one site.
//!
//! A site's stretch of the index lies among those of all others, so each entry would change a page of its own. They are
//! put in for many at once; those behind [`upto`] are not in it yet, and who lists looks at them one by one.

use rusqlite::{Connection, params};

use super::arrival;
use super::failure::Failure;
use super::workspace::Workspace;
use crate::lead::EntryId;

/// How many entries may be missing before they are put in while nobody waits.
pub(super) const BEHIND: usize = 4_096;
/// How many may be missing before somebody has to wait for that.
pub(super) const BEHIND_MAX: usize = 32_768;

/// Returns the number of the last entry that is in it.
pub(super) fn upto(connection: &Connection) -> Result<i64, Failure> {
    let mut find = connection.prepare_cached("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'listed'")?;
    Ok(find.query_row([], |row| row.get(0))?)
}

/// Puts in what is behind.
pub(super) fn catch_up(workspace: &mut Workspace) -> Result<(), Failure> {
    workspace.unlisted = 0;
    put_in(&workspace.connection, arrival::entered(&workspace.connection)?)
}

/// Puts in what is behind, up to a number.
pub(super) fn put_in(connection: &Connection, last: i64) -> Result<(), Failure> {
    let mut put = connection.prepare_cached(
        "INSERT OR IGNORE INTO listed (site, id)
            SELECT site, id FROM entry WHERE number > ?1 AND number <= ?2 ORDER BY site, id",
    )?;
    put.execute([upto(connection)?, last])?;
    set_upto(connection, last)
}

/// Says that all are in it up to a number.
pub(super) fn set_upto(connection: &Connection, number: i64) -> Result<(), Failure> {
    let mut set = connection.prepare_cached(
        "INSERT INTO meta (key, value) VALUES ('listed', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
    )?;
    set.execute([number])?;
    Ok(())
}

/// Takes an entry out, if it is in.
pub(super) fn remove(connection: &Connection, site: i64, id: EntryId) -> Result<(), Failure> {
    let mut remove = connection.prepare_cached("DELETE FROM listed WHERE site = ?1 AND id = ?2")?;
    remove.execute(params![site, id.as_bytes()])?;
    Ok(())
}

/// Files an entry under another site, if it is in.
pub(super) fn assign(connection: &Connection, from: i64, to: i64, id: EntryId) -> Result<(), Failure> {
    let mut assign = connection.prepare_cached("UPDATE OR IGNORE listed SET site = ?2 WHERE site = ?1 AND id = ?3")?;
    assign.execute(params![from, to, id.as_bytes()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::super::SqliteStore;
    use super::super::tests::{entry, number, store};
    use super::*;
    use crate::queue::{Filter, NewEntry, Order, Store};

    const COUNT: u16 = 4_100;
    const LISTED: &str = "SELECT count(*) FROM listed";

    fn id(number: u16) -> EntryId {
        EntryId::new(number.into(), &[0; 10])
    }

    async fn append_all(store: &Arc<SqliteStore>) {
        let mut appends = JoinSet::new();
        for number in 0..COUNT {
            let new = NewEntry { id: id(number), ..entry(0, 10) };
            let store = Arc::clone(store);
            appends.spawn(async move { store.append(new, None).await.map(drop) });
        }
        appends.join_all().await.into_iter().collect::<Result<(), _>>().expect("appended");
    }

    /// Returns the newest entries of the site.
    async fn newest(store: &SqliteStore) -> Vec<EntryId> {
        let filter = Filter { site: Some(entry(0, 0).site), ..Filter::default() };
        let page = store.scan(&filter, Order::Newest, None, 10).await.expect("scanned");
        page.heads.iter().map(|head| head.id).collect()
    }

    fn expected() -> Vec<EntryId> {
        (COUNT - 10..COUNT).rev().map(id).collect()
    }

    #[tokio::test]
    async fn what_is_behind_is_put_in_while_nobody_waits() {
        let (_folder, store) = store();
        append_all(&store).await;
        // Whoever asks keeps the writer from it, so it may take a few tries.
        let mut listed = 0;
        for _ in 0..1_000 {
            listed = number(&store, LISTED).await;
            if listed > 0 {
                break;
            }
        }
        assert!((4_096..=COUNT.into()).contains(&listed), "{listed}");
        assert_eq!(newest(&store).await, expected(), "with those that came behind");
    }

    #[tokio::test]
    async fn where_it_cannot_be_put_in_the_list_of_a_site_is_whole_all_the_same() {
        let (_folder, store) = store();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON listed BEGIN SELECT raise(ABORT, 'refused'); END";
        let forbid = move |workspace: &mut Workspace| Ok(workspace.connection.execute_batch(refuse)?);
        store.writer.write(forbid).await.expect("forbidden");
        append_all(&store).await;
        for _ in 0..100 {
            assert_eq!(number(&store, LISTED).await, 0);
        }
        assert_eq!(newest(&store).await, expected());
    }
}

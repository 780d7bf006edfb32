//! A store that is removed, replaced or destroyed under the running gateway.

use std::path::{Path, PathBuf};

use super::Plan;
use super::client::{Connection, get, once};
use super::gateway::{Place, Settings};
use super::load::Heard;
use super::row::Row;
use super::submission::submission;

/// Posts before and after.
const POSTS: usize = 20;

type Harm = fn(&Path) -> std::io::Result<()>;

const HARMS: &[(&str, Harm)] = &[
    ("database removed", |store| std::fs::remove_file(store)),
    ("database replaced", |store| {
        std::fs::rename(store, beside(store, ".aside"))?;
        std::fs::copy(beside(store, ".aside"), store).map(drop)
    }),
    ("log removed", |store| std::fs::remove_file(beside(store, "-wal"))),
    ("folder removed", |store| std::fs::remove_dir_all(store.parent().unwrap_or(store))),
    ("database emptied", |store| std::fs::OpenOptions::new().write(true).open(store)?.set_len(0)),
    ("database overwritten", |store| spoil(store)),
    ("log overwritten", |store| spoil(&beside(store, "-wal"))),
];

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Overwrites a file in place with what is no database.
fn spoil(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    std::fs::OpenOptions::new().write(true).open(file)?.write_all_at(&vec![0xA5; length], 0)
}

pub(crate) async fn gone(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("store harmed under the gateway", HARMS.len());
    for (name, harm) in HARMS {
        suffer(plan, name, *harm, &mut row).await?;
    }
    Ok(row)
}

/// Whatever is answered 200 after the harm has to be found by who opens the store next.
async fn suffer(plan: &Plan, name: &str, harm: Harm, row: &mut Row) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = Place::new(&plan.program, folder.path(), &Settings::default())?;
    let mut gateway = place.start().await?;
    let mut connection = Connection::open(place.address).await?;
    for number in 0..POSTS {
        anyhow::ensure!(connection.send(&submission(number)).await?.id().is_some(), "not taken before the harm");
    }
    harm(&place.store)?;
    let mut heard = Heard::default();
    for number in POSTS..2 * POSTS {
        let answer = connection.send(&submission(number)).await?;
        match answer.id() {
            Some(id) => heard.ids.push(id),
            None => *heard.refused.entry(answer.status).or_default() += 1,
        }
        row.expect(answer.status == 200 || (answer.status == 503 && answer.header("retry-after").is_some()), || {
            format!("{name}: answered {}", answer.status)
        });
    }
    let ready = once(place.admin, &get(place.admin, "/readyz")).await?;
    let noticed = ready.status == 503 && heard.ids.is_empty();
    gateway.kill().await?;
    let entries = place.entries().await.unwrap_or_default();
    let lost = heard.ids.iter().filter(|id| !entries.contains_key(*id)).count();
    row.expect(lost == 0, || format!("{name}: {lost} answered 200 afterwards are lost"));
    row.expect(noticed || lost == 0, || format!("{name}: not noticed, /readyz says {}", ready.status));
    row.counts.answered += heard.ids.len();
    row.counts.lost += lost;
    row.counts.queued += heard.ids.len() - lost;
    row.tell(format!("{name}: 200 {}, 503 {}, /readyz {}", heard.ids.len(), POSTS - heard.ids.len(), ready.status));
    Ok(())
}

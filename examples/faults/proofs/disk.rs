//! Disks that are full or read-only, and a store that has reached its size.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formgate::queue::Store as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::Plan;
use super::client::{Connection, get, once, post};
use super::gateway::{Gateway, PATIENCE, Place, Settings, token};
use super::load::Heard;
use super::row::Row;

/// Posts after which a disk should have been full long ago.
const POSTS_MAX: usize = 5_000;
/// Posts while it is.
const POSTS_FULL: usize = 50;

/// A file system that is there as long as this is.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) async fn new(at: &Path, options: &[&str]) -> anyhow::Result<Result<Self, String>> {
        std::fs::create_dir_all(at)?;
        let mounted = run("mount", options, at).await?;
        Ok(mounted.map(|()| Self(at.to_owned())))
    }

    async fn unmount(self) -> anyhow::Result<()> {
        run("umount", &[], &self.0).await?.map_err(anyhow::Error::msg)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may have been unmounted before.
        let quiet = std::process::Stdio::null;
        let mut unmount = std::process::Command::new("umount");
        drop(unmount.arg("-l").arg(&self.0).stderr(quiet()).stdout(quiet()).status());
    }
}

/// Runs a command on a path; what it said, where it failed.
async fn run(program: &str, arguments: &[&str], path: &Path) -> anyhow::Result<Result<(), String>> {
    let ended = Command::new(program).args(arguments).arg(path).output().await?;
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Ok(if ended.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) })
}

pub(crate) async fn full(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("disk full", 1);
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk");
    let _mounted = match Mounted::new(&disk, &["-t", "tmpfs", "-o", "size=6m,mode=700", "none"]).await? {
        Ok(mounted) => mounted,
        Err(why) => return Ok(Row::not_run(row.proof, why)),
    };
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 3 << 20])?;
    let place = place(plan, folder.path(), disk.join("formgate.db"), "")?;
    let mut gateway = place.start().await?;
    let mut heard = Heard::default();
    until_refused(&place, &mut row, &mut heard).await?;
    fill(&disk.join("rest"))?;
    operators_go_on(&place, folder.path(), &mut row, &mut heard).await?;
    gateway.kill().await?;
    fill(&disk.join("more"))?;
    operators_go_on(&place, folder.path(), &mut row, &mut heard).await?;
    for name in ["filler", "rest", "more"] {
        std::fs::remove_file(disk.join(name))?;
    }
    gateway = place.start().await?;
    recovers(&place, &mut row, &mut heard).await?;
    end(&place, &mut gateway, &mut row, &heard).await?;
    let audit = std::fs::read_to_string(disk.join("audit.ndjson"))?;
    let acts = audit.lines().filter(|line| line.contains("\"outcome\":\"done\"")).count();
    row.expect(acts == 6, || format!("the audit has {acts} acts of 6:\n{audit}"));
    Ok(row)
}

/// Takes what room there is, to the last byte.
pub(crate) fn fill(file: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(file)?;
    while file.write_all(&[0; 512]).is_ok() {}
    Ok(())
}

/// Drops, erases and backs up (to another disk), through the gateway or where none runs.
async fn operators_go_on(place: &Place, elsewhere: &Path, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    let copy = elsewhere.join(format!("copy-{}.db", heard.ids.len()));
    let copy = copy.to_string_lossy().into_owned();
    let erased = heard.ids.pop().ok_or_else(|| anyhow::anyhow!("nothing was taken"))?;
    // It ends dead, or was delivered before: neither is a loss.
    let dropped = heard.ids.pop().ok_or_else(|| anyhow::anyhow!("too few were taken"))?;
    for line in [["backup", &copy], ["drop", &dropped], ["erase", &erased]] {
        let ran = place.leads(&line).await?;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let verb = line.first().copied().unwrap_or_default();
        // One that was delivered meanwhile can't be dropped.
        let is_done = ran.status.success() || (verb == "drop" && said.contains("1 skipped"));
        row.expect(is_done, || format!("{verb} on a full disk: {said}"));
    }
    Ok(())
}

pub(crate) async fn max_size(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("max_size reached", 1);
    let folder = tempfile::tempdir()?;
    let place = place(plan, folder.path(), folder.path().join("formgate.db"), "max_size = \"1MiB\"")?;
    let mut gateway = place.start().await?;
    let mut heard = Heard::default();
    until_refused(&place, &mut row, &mut heard).await?;
    let room = heard.ids.split_off(heard.ids.len() / 2);
    let store = place.open_store()?;
    let ids: Vec<_> = room.iter().filter_map(|id| formgate::lead::EntryId::parse(id)).collect();
    let erased = store.erase(&ids).await?;
    drop(store);
    row.expect(erased == room.len(), || format!("{} answered 200, {erased} of them there to erase", room.len()));
    recovers(&place, &mut row, &mut heard).await?;
    end(&place, &mut gateway, &mut row, &heard).await?;
    Ok(row)
}

/// A file system that turns read-only under the gateway, as Linux does to one whose disk fails.
pub(crate) async fn read_only(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("file system turns read-only", 1);
    let folder = tempfile::tempdir()?;
    let (disk, image) = (folder.path().join("disk"), folder.path().join("image"));
    std::fs::File::create(&image)?.set_len(32 << 20)?;
    let image_path = image.to_string_lossy().into_owned();
    if let Err(why) = run("mkfs.ext4", &["-q"], &image).await? {
        return Ok(Row::not_run(row.proof, why));
    }
    let mounted = match Mounted::new(&disk, &["-o", "loop", &image_path]).await? {
        Ok(mounted) => mounted,
        Err(why) => return Ok(Row::not_run(row.proof, why)),
    };
    let place = place(plan, folder.path(), disk.join("formgate.db"), "")?;
    let mut gateway = place.start().await?;
    let mut heard = Heard::default();
    let mut connection = Connection::open(place.address).await?;
    for number in 0..POSTS_FULL {
        send(&mut connection, number, &mut row, &mut heard).await?;
    }
    if let Err(why) = run("mount", &["-o", "remount,abort"], &disk).await? {
        return Ok(Row::not_run(row.proof, why));
    }
    refused(&place, &mut row, &mut heard).await?;
    gateway.kill().await?;
    mounted.unmount().await?;
    let _mounted = Mounted::new(&disk, &["-o", "loop", &image_path]).await?.map_err(anyhow::Error::msg)?;
    gateway = place.start().await?;
    recovers(&place, &mut row, &mut heard).await?;
    end(&place, &mut gateway, &mut row, &heard).await?;
    Ok(row)
}

fn place(plan: &Plan, folder: &Path, store: PathBuf, queue: &str) -> anyhow::Result<Place> {
    let settings = Settings { queue, ..Settings::default() };
    let mut place = Place::new(&plan.program, folder, &settings)?;
    place.store = store;
    place.write_config(&place.config(&settings))?;
    Ok(place)
}

/// Posts until it is refused, and then some more.
async fn until_refused(place: &Place, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    let mut connection = Connection::open(place.address).await?;
    let mut number = 0;
    while send(&mut connection, number, row, heard).await? {
        number += 1;
        anyhow::ensure!(number < POSTS_MAX, "it took {number} and was never full");
    }
    refused(place, row, heard).await
}

/// Posts while nothing can be stored: what is answered 200 all the same has to be there in the end.
async fn refused(place: &Place, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    let before = heard.ids.len();
    let mut connection = Connection::open(place.address).await?;
    for number in 0..POSTS_FULL {
        send(&mut connection, POSTS_MAX + number, row, heard).await?;
    }
    let refused = POSTS_FULL - (heard.ids.len() - before);
    row.expect(refused > 0, || "everything was taken".to_owned());
    row.tell(format!("503 {}", heard.refused.get(&503).copied().unwrap_or_default()));
    let ready = once(place.admin, &get(place.admin, "/readyz")).await?;
    row.expect(ready.status == 503, || format!("/readyz says {}", ready.status));
    let reason = ready.json().pointer("/checks/store").and_then(|store| store.as_str().map(str::to_owned));
    row.tell(format!("/readyz {} \"{}\"", ready.status, reason.unwrap_or_default()));
    Ok(())
}

/// Waits until it takes submissions again, by itself.
async fn recovers(place: &Place, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut connection = Connection::open(place.address).await?;
    let mut number = 2 * POSTS_MAX;
    while !send(&mut connection, number, row, heard).await? {
        anyhow::ensure!(started.elapsed() < PATIENCE, "it does not recover");
        sleep(Duration::from_millis(20)).await;
        number += 1;
    }
    // What it said last holds for a second.
    let mut ready = once(place.admin, &get(place.admin, "/readyz")).await?;
    while ready.status != 200 && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
        ready = once(place.admin, &get(place.admin, "/readyz")).await?;
    }
    row.expect(ready.status == 200, || format!("/readyz says {} afterwards", ready.status));
    row.tell(format!("recovered after {} ms", started.elapsed().as_millis()));
    Ok(())
}

/// Posts a submission; tells whether it was taken. Another answer than 200 is 503 with `Retry-After`.
async fn send(connection: &mut Connection, number: usize, row: &mut Row, heard: &mut Heard) -> anyhow::Result<bool> {
    let body = format!(r#"{{"name":"Jane","email":"j{number}@example.com","message":"{}"}}"#, "x".repeat(3_000));
    let answer = connection.send(&post("/hooks/acme", &token("acme"), "application/json", body.as_bytes())).await?;
    if let Some(id) = answer.id() {
        heard.ids.push(id);
        return Ok(true);
    }
    *heard.refused.entry(answer.status).or_default() += 1;
    row.expect(answer.status == 503 && answer.header("retry-after").is_some(), || {
        format!("answered {} without a Retry-After", answer.status)
    });
    Ok(false)
}

async fn end(place: &Place, gateway: &mut Gateway, row: &mut Row, heard: &Heard) -> anyhow::Result<()> {
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    heard.judge(row, &place.entries().await?, &Default::default());
    Ok(())
}

//! A store that is damaged when the gateway starts: set aside, a new one begun, and merged back by the operator.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;

use anyhow::Context as _;
use tokio::process::Command;

use super::Plan;
use super::client::{Connection, get, once};
use super::gateway::{Place, Settings};
use super::load::Heard;
use super::row::Row;
use super::submission::submission;

/// Posts before the damage and after it.
const POSTS: usize = 200;
/// What is overwritten: the database's first page, without which nothing in it is found.
const DAMAGE: usize = 4096;

pub(crate) async fn corrupt(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("store corrupt at start", 1);
    let folder = tempfile::tempdir()?;
    let place = Place::new(&plan.program, folder.path(), &Settings::default())?;
    let mut heard = Heard::default();
    let mut gateway = place.start().await?;
    post(&place, 0, &mut heard).await?;
    anyhow::ensure!(gateway.stop().await? == Some(0), "it does not stop: {}", gateway.last_words());
    damage(&place)?;
    gateway = place.start().await?;
    row.expect(gateway.events("queue.set_aside") == 1, || "it does not say that the store is set aside".to_owned());
    let before = once(place.admin, &get(place.admin, "/readyz")).await?;
    let degraded = before.json().pointer("/degraded").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let told = degraded.contains(&"store_set_aside".into());
    row.expect(before.status == 200 && told, || format!("/readyz says {} before it is salvaged", before.status));
    post(&place, POSTS, &mut heard).await?;
    let salvaged = salvage(&place).await?;
    row.tell(format!("/readyz {}, then `leads salvage`: {salvaged}", before.status));
    let green = once(place.admin, &get(place.admin, "/readyz")).await?;
    row.expect(green.status == 200, || format!("/readyz says {} afterwards: {salvaged}", green.status));
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    heard.judge(&mut row, &place.entries().await?, &HashMap::new());
    Ok(row)
}

async fn post(place: &Place, first: usize, heard: &mut Heard) -> anyhow::Result<()> {
    let mut connection = Connection::open(place.address).await?;
    for number in first..first + POSTS {
        let answer = connection.send(&submission(number)).await?;
        heard.ids.push(answer.id().with_context(|| format!("answered {}", answer.status))?);
    }
    Ok(())
}

/// Overwrites the beginning of the database while nobody has it open.
fn damage(place: &Place) -> anyhow::Result<()> {
    let database = std::fs::OpenOptions::new().write(true).open(&place.store)?;
    Ok(database.write_all_at(&[0xA5; DAMAGE], 0)?)
}

/// Does as an operator does; gives what was said.
async fn salvage(place: &Place) -> anyhow::Result<String> {
    let mut command = Command::new(&place.program);
    command.args(["leads", "salvage", "--config"]).arg(place.folder.join("config.toml"));
    let said = command.output().await?;
    let lines = [said.stdout, said.stderr].concat();
    Ok(String::from_utf8_lossy(&lines).split_whitespace().collect::<Vec<_>>().join(" "))
}

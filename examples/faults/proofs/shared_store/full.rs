//! The disk of the database is full, until there is room again.

use std::time::Duration;

use tokio::time::sleep;

use super::super::Plan;
use super::super::client::{Connection, post};
use super::super::disk::{Mounted, fill};
use super::super::gateway::token;
use super::super::load::Heard;
use super::super::postgres::folder::Folder;
use super::super::postgres::programs::Programs;
use super::super::postgres::server::{Auth, Server};
use super::super::row::Row;
use super::{DATABASE, Gateways};

/// A database without a row takes some 8 MiB, and as much again with the tables.
const DISK: &str = "size=32m,mode=777";
const POSTS: usize = 50;

pub(crate) async fn full(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("PostgreSQL: disk full", 1);
    let elsewhere = tempfile::tempdir()?;
    let disk = elsewhere.path().join("disk");
    let _mounted = match Mounted::new(&disk, &["-t", "tmpfs", "-o", DISK, "none"]).await? {
        Ok(mounted) => mounted,
        Err(why) => return Ok(Row::not_run(row.proof, why)),
    };
    let programs = Programs::find().await?;
    let folder = Folder::new(&programs)?;
    let server = Server::start_new(&programs, folder.path(), Auth::Password).await?;
    server.create_database_at(DATABASE, &disk.join("database")).await?;
    let gateways = Gateways::start(&plan.program, &server.url(DATABASE)).await?;
    let mut heard = Heard::default();
    post_all(&gateways, &mut row, &mut heard).await?;
    fill(&disk.join("filler"))?;
    for _ in 0..10 {
        post_all(&gateways, &mut row, &mut heard).await?;
    }
    row.tell(format!("503 {}", heard.refused.get(&503).copied().unwrap_or_default()));
    std::fs::remove_file(disk.join("filler"))?;
    recovers(&gateways, &mut row, &mut heard).await?;
    gateways.end(&mut row, &heard).await?;
    Ok(row)
}

/// Posts what fills pages. Each is taken, or refused with a time after which to try again.
async fn post_all(gateways: &Gateways, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    let mut connection = Connection::open(gateways.balancer.address).await?;
    for number in 0..POSTS {
        let unique = heard.ids.len() + heard.refused.values().sum::<usize>();
        let text = format!("{unique}-{number} ").repeat(600);
        let body = format!(r#"{{"name":"Jane","email":"j{unique}@example.com","message":"{text}"}}"#);
        let request = post("/hooks/acme", &token("acme"), "application/json", body.as_bytes());
        let answer = connection.send(&request).await?;
        match answer.id() {
            Some(id) => heard.ids.push(id),
            None => *heard.refused.entry(answer.status).or_default() += 1,
        }
        let is_right = answer.status == 200 || (answer.status == 503 && answer.header("retry-after").is_some());
        row.expect(is_right, || format!("answered {} without a Retry-After", answer.status));
    }
    Ok(())
}

/// Waits until all are taken again, by themselves.
async fn recovers(gateways: &Gateways, row: &mut Row, heard: &mut Heard) -> anyhow::Result<()> {
    for _ in 0..100 {
        let before = heard.refused.values().sum::<usize>();
        post_all(gateways, row, heard).await?;
        if heard.refused.values().sum::<usize>() == before {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    row.failed.push("it does not recover".to_owned());
    Ok(())
}

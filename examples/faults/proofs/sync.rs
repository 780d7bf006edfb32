//! That the log is synced before the answer leaves, as the kernel saw it: `strace` on the gateway.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Plan;
use super::client::{Connection, post};
use super::gateway::{Gateway, Place, Settings, signal, token};
use super::load::Heard;
use super::row::Row;

const ALONE: usize = 40;
const CLIENTS: usize = 64;
const EACH: usize = 5;
/// What of a system call's bytes is written down: enough for a page of the log.
const SHOWN: &str = "8192";

/// A system call that ended, by the numbers of the lines where it began and ended.
struct Call {
    began: usize,
    ended: usize,
    kind: Kind,
}

enum Kind {
    /// The log was written; the submissions that are in what was written.
    LogWritten(Vec<String>),
    LogSynced,
    /// An answer left; the ids in it.
    Answered(Vec<String>),
}

pub(crate) async fn sync(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("fsync before the answer", ALONE + CLIENTS * EACH);
    if Command::new("strace").arg("-V").output().await.is_err() {
        return Ok(Row::not_run(row.proof, "strace is missing (on Debian: apt-get install strace)"));
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    // Held, not sent: claims and settlements are synced too, and would be counted.
    let settings = Settings { site: "deliver = false", ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let path = trace.to_string_lossy().into_owned();
    let calls = "trace=fsync,fdatasync,write,pwrite64,writev,sendto,sendmsg";
    let arguments = ["-f", "-ttt", "-y", "-s", SHOWN, "-e", calls, "-e", "signal=none", "-o", &path];
    let mut gateway = match place.start_below("strace", &arguments).await {
        Ok(gateway) => gateway,
        Err(error) => return Ok(Row::not_run(row.proof, format!("strace can't trace here: {error:#}"))),
    };
    let mut marked = HashMap::new();
    post_all(&place, "alone", ALONE, &mut marked).await?;
    let alone = read_calls(&trace, &place.store)?;
    post_at_once(&place, &mut marked).await?;
    stop(&mut gateway).await?;
    let all = read_calls(&trace, &place.store)?;
    check(&mut row, &all, &marked);
    let syncs = |calls: &[Call]| calls.iter().filter(|call| matches!(call.kind, Kind::LogSynced)).count();
    let (first, rest) = (syncs(&alone), syncs(&all) - syncs(&alone));
    row.tell(format!("alone {ALONE} posts, {first} fsyncs"));
    let ratio = (CLIENTS * EACH) as f64 / rest.max(1) as f64;
    row.tell(format!("{CLIENTS} at once {} posts, {rest} fsyncs, {ratio:.1} posts a fsync", CLIENTS * EACH));
    row.expect(first >= ALONE, || format!("{first} fsyncs for {ALONE} posts one after the other"));
    row.expect(ratio > 2.0, || format!("{ratio:.1} posts a fsync: no batches"));
    let heard = Heard { ids: marked.into_values().collect(), ..Heard::default() };
    heard.judge(&mut row, &place.entries().await?, &HashMap::new());
    Ok(row)
}

/// Stops the gateway itself, which is below the one that traces it.
async fn stop(gateway: &mut Gateway) -> anyhow::Result<()> {
    let own = gateway.id().unwrap_or_default();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    for child in children.split_whitespace() {
        signal(child.parse()?, "TERM").await?;
    }
    gateway.ended().await.map(drop)
}

async fn post_at_once(place: &Place, marked: &mut HashMap<String, String>) -> anyhow::Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let address = place.address;
        clients.spawn(async move { post_each(address, &format!("client{client}"), EACH).await });
    }
    for ids in clients.join_all().await {
        marked.extend(ids?);
    }
    Ok(())
}

async fn post_all(place: &Place, name: &str, count: usize, marked: &mut HashMap<String, String>) -> anyhow::Result<()> {
    marked.extend(post_each(place.address, name, count).await?);
    // What strace has seen is in the file a moment later.
    sleep(Duration::from_millis(300)).await;
    Ok(())
}

/// Posts submissions with a mark in each; gives the ids by the marks.
async fn post_each(address: std::net::SocketAddr, name: &str, count: usize) -> anyhow::Result<HashMap<String, String>> {
    let mut ids = HashMap::new();
    let mut connection = Connection::open(address).await?;
    for number in 0..count {
        let mark = format!("mark-{name}-{number}-");
        let body = format!(r#"{{"name":"Jane","email":"{name}{number}@example.com","message":"{mark}"}}"#);
        let request = post("/hooks/acme", &token("acme"), "application/json", body.as_bytes());
        let answer = connection.send(&request).await?;
        let id = answer.id().ok_or_else(|| anyhow::anyhow!("answered {}", answer.status))?;
        ids.insert(mark, id);
    }
    Ok(ids)
}

/// Of each submission: it was written into the log, then the log was synced, then the answer left.
fn check(row: &mut Row, calls: &[Call], marked: &HashMap<String, String>) {
    let mut written: HashMap<&str, usize> = HashMap::new();
    let mut answered: HashMap<&str, usize> = HashMap::new();
    for call in calls {
        match &call.kind {
            Kind::LogWritten(marks) => {
                for mark in marks {
                    let ended = written.entry(mark).or_insert(call.ended);
                    *ended = (*ended).min(call.ended);
                }
            }
            Kind::Answered(ids) => answered.extend(ids.iter().map(|id| (id.as_str(), call.began))),
            Kind::LogSynced => {}
        }
    }
    let mut proven = 0;
    for (mark, id) in marked {
        let (Some(written), Some(answered)) = (written.get(mark.as_str()), answered.get(id.as_str())) else {
            row.failed.push(format!("{mark} is not in the trace"));
            continue;
        };
        let synced = calls
            .iter()
            .any(|call| matches!(call.kind, Kind::LogSynced) && call.began > *written && call.ended < *answered);
        row.expect(synced, || format!("{mark} was answered before it was synced"));
        proven += usize::from(synced);
    }
    row.tell(format!("written, synced, answered in this order {proven} of {}", marked.len()));
}

fn read_calls(trace: &Path, store: &Path) -> anyhow::Result<Vec<Call>> {
    let text = String::from_utf8_lossy(&std::fs::read(trace)?).into_owned();
    let log = format!("{}-wal>", store.display());
    let mut begun: HashMap<String, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Thread, time, call.
        let (thread, rest) = line.split_once(' ').unwrap_or_default();
        let (_time, rest) = rest.trim_start().split_once(' ').unwrap_or_default();
        let thread = thread.to_owned();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (number, first.to_owned()));
            continue;
        }
        let (began, whole) = match begun.remove(&thread).filter(|_| rest.starts_with("<... ")) {
            Some((began, first)) => (began, first + rest),
            None => (number, rest.to_owned()),
        };
        calls.extend(kind(&whole, &log).map(|kind| Call { began, ended: number, kind }));
    }
    Ok(calls)
}

fn kind(call: &str, log: &str) -> Option<Kind> {
    let (name, arguments) = call.split_once('(')?;
    let on_log = arguments.split(',').next().is_some_and(|file| file.trim_end_matches(')').contains(log))
        || arguments.split_once(')').is_some_and(|(file, _)| file.ends_with(log));
    match name {
        "fsync" | "fdatasync" if on_log => Some(Kind::LogSynced),
        "write" | "pwrite64" if on_log => Some(Kind::LogWritten(found(arguments, "mark-", '"'))),
        "write" | "writev" | "sendto" | "sendmsg" if arguments.contains("<socket:") || arguments.contains("<TCP:") => {
            Some(Kind::Answered(found(&arguments.replace('\\', ""), "\"id\":\"", '"')))
        }
        _ => None,
    }
}

/// Finds what stands between a beginning and an end; of marks, with the beginning, up to their last dash.
fn found(text: &str, beginning: &str, end: char) -> Vec<String> {
    let mut found = Vec::new();
    for piece in text.split(beginning).skip(1) {
        let piece = piece.split([end, '\\']).next().unwrap_or_default();
        found.push(if beginning.ends_with('-') { format!("{beginning}{piece}") } else { piece.to_owned() });
    }
    found
}

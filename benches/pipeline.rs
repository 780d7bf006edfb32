//! How long the pure path takes: submissions received, decoded, mapped and checked.
//!
//!     cargo bench --bench pipeline [-- ROW...]
//!
//! A row is a folder of fixtures, `W1` to `W3`, or `growth`; without any, all. `loop ROW` runs a row for five seconds and
//! prints nothing: for a profiler. The floor is serde_json reading as many bytes
//! of JSON, measured in turn with ours: compare the ratios, since the speed of a machine that others use drifts. The
//! time is the processor's, which the others don't take; the allocator is the program's.

mod plain;
mod submissions;
mod table;

use std::hint::black_box;

use formgate::config::shipped_mappings;
use formgate::lead::{Draft, Lead};
use formgate::pipeline::{End, Mappings, SiteRules, process};
use formgate::received::Received;
use rustix::time::{ClockId, clock_gettime};

use submissions::{Growth, Request, WORKLOADS, captured, grown, workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is aimed at: for fixtures the ratio to the floor, for workloads microseconds.
const GOALS: [(&str, &str); 9] = [
    ("contact-form-7", "3"),
    ("elementor", "2.5"),
    ("gravity-forms", "2.5"),
    ("wpforms", "3"),
    ("kaicalls", "4"),
    ("generic", "5"),
    ("W1", "12"),
    ("W2", "20"),
    ("W3", "20"),
];
/// How many seconds a round takes at least.
const ROUND: f64 = 0.005;
const ROUNDS: usize = 21;
const CALLS_MAX: u32 = 1 << 20;
/// Long enough for a profiler.
const LOOP: f64 = 5.0;

fn main() -> anyhow::Result<()> {
    let (mappings, _) = shipped_mappings();
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some((_, workloads)) = asked.split_first().filter(|(first, _)| *first == "loop") {
        return workloads.iter().try_for_each(|name| run_for_a_profiler(&mappings, name));
    }
    let is_asked = |row: &str| asked.is_empty() || asked.iter().any(|name| row == name);
    time_captured(&mappings, is_asked)?;
    time_the_least(&mappings, is_asked)?;
    time_workloads(&mappings, is_asked)?;
    if is_asked("growth") {
        time_growth(&mappings, Growth::Fields)?;
        time_growth(&mappings, Growth::Kilobytes)?;
    }
    Ok(())
}

fn time_captured(mappings: &Mappings, is_asked: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let head =
        ["fixtures", "cases", "bytes", "µs each", "floor µs", "ratio", "goal", "with reading µs", "floor µs", "ratio"];
    let mut rows = Vec::new();
    for row in captured()?.into_iter().filter(|row| is_asked(row.name.split(',').next().unwrap_or_default())) {
        let received = receive(&row.requests)?;
        let count = received.len() as f64;
        // What came, and what is left of it where files are cut.
        let bytes: usize = row.requests.iter().map(|request| request.body.len()).sum();
        let kept: usize = received.iter().map(|received| received.body.len()).sum();
        let read_floor = plain::json(bytes);
        let floor = plain::json(kept);
        let times = medians([
            &mut || received.iter().for_each(|received| run(mappings, received)),
            &mut || plain::read_json(floor.as_bytes()),
            &mut || row.requests.iter().for_each(|request| read_and_run(mappings, request)),
            &mut || plain::read_json(read_floor.as_bytes()),
        ]);
        let [ours, floor, with_reading, read_floor] = times.map(|time| time / count);
        let goal = goal(&row.name);
        rows.push(vec![
            row.name,
            received.len().to_string(),
            (bytes / received.len()).to_string(),
            format!("{ours:.1}"),
            format!("{floor:.1}"),
            format!("{:.1}", ours / floor),
            goal,
            format!("{with_reading:.1}"),
            format!("{read_floor:.1}"),
            format!("{:.1}", with_reading / read_floor),
        ]);
    }
    if !rows.is_empty() {
        table::print("Captured submissions, and serde_json reading as many bytes", &head, &rows);
    }
    Ok(())
}

/// What no pure path can go below while a body is read by these libraries and a lead is checked by these rules: nothing is
/// decided, and nothing mapped.
fn time_the_least(mappings: &Mappings, is_asked: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let head = ["fixtures", "plain reading µs", "checks of the lead µs", "floor µs", "ratio of both"];
    let mut rows = Vec::new();
    for row in captured()?.into_iter().filter(|row| is_asked(&row.name)) {
        let received = receive(&row.requests)?;
        let count = received.len() as f64;
        let floor = plain::json(received.iter().map(|received| received.body.len()).sum());
        let leads: Vec<Lead> = received.iter().filter_map(|received| lead(mappings, received)).collect();
        let mut read = || received.iter().for_each(plain::read);
        let mut checks = || leads.iter().for_each(check);
        let mut read_floor = || plain::read_json(floor.as_bytes());
        let times = medians([&mut read, &mut checks, &mut read_floor]);
        let [read, checks, floor] = times.map(|time| time / count);
        rows.push(vec![
            row.name,
            format!("{read:.1}"),
            format!("{checks:.1}"),
            format!("{floor:.1}"),
            format!("{:.1}", (read + checks) / floor),
        ]);
    }
    if !rows.is_empty() {
        table::print(
            "The least it can be: the libraries' reading of the body, and the checks of the lead it becomes",
            &head,
            &rows,
        );
    }
    Ok(())
}

fn lead(mappings: &Mappings, received: &Received) -> Option<Lead> {
    match process(mappings, &SiteRules::default(), None, received).end {
        End::Lead { lead, .. } => Some(lead),
        End::Held { lead, .. } => lead,
    }
}

fn check(lead: &Lead) {
    let draft = Draft {
        name: Some(lead.name()),
        email: Some(lead.email()),
        phone: lead.phone(),
        message: Some(lead.message()),
        ..Draft::default()
    };
    black_box(Lead::check(draft)).ok();
}

fn time_workloads(mappings: &Mappings, is_asked: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let head = ["workload", "bytes", "µs", "goal", "with reading µs", "plain reading by", "µs", "floor µs", "ratio"];
    let mut rows = Vec::new();
    for name in WORKLOADS.into_iter().filter(|name| is_asked(name)) {
        let request = workload(name)?;
        let received = request.receive()?;
        let body = &request.body;
        let kind = request.content_type().unwrap_or_default();
        let (by, read): (_, &dyn Fn()) = match kind.split(['/', ';']).nth(1).unwrap_or_default() {
            "json" => ("serde_json", &|| plain::read_json(body)),
            "form-data" => ("multer", &|| plain::read_parts(kind, body)),
            _ => ("serde_urlencoded", &|| plain::read_pairs(body)),
        };
        let floor = plain::json(body.len());
        let [ours, with_reading, read, floor] = medians([
            &mut || run(mappings, &received),
            &mut || read_and_run(mappings, &request),
            &mut || read(),
            &mut || plain::read_json(floor.as_bytes()),
        ]);
        rows.push(vec![
            name.to_owned(),
            body.len().to_string(),
            format!("{ours:.1}"),
            goal(name),
            format!("{with_reading:.1}"),
            by.to_owned(),
            format!("{read:.1}"),
            format!("{floor:.1}"),
            format!("{:.1}", ours / floor),
        ]);
    }
    if !rows.is_empty() {
        table::print("Workloads, and a plain reading of the same bytes", &head, &rows);
    }
    Ok(())
}

fn time_growth(mappings: &Mappings, growth: Growth) -> anyhow::Result<()> {
    let (unit, units) = growth.units();
    let each = format!("µs a {unit}");
    let read_each = format!("with reading µs a {unit}");
    let head = ["encoding", units, "bytes", "µs", each.as_str(), "with reading µs", read_each.as_str()];
    let mut rows = Vec::new();
    for (encoding, size, request) in grown(growth)? {
        let received = request.receive()?;
        let [ours, with_reading] =
            medians([&mut || run(mappings, &received), &mut || read_and_run(mappings, &request)]);
        rows.push(vec![
            encoding.to_owned(),
            size.to_string(),
            request.body.len().to_string(),
            format!("{ours:.1}"),
            format!("{:.2}", ours / size as f64),
            format!("{with_reading:.1}"),
            format!("{:.2}", with_reading / size as f64),
        ]);
    }
    table::print(&format!("Growth by {units}: linear where the figures a {unit} stay or fall"), &head, &rows);
    Ok(())
}

fn goal(row: &str) -> String {
    let goal = GOALS.iter().find(|(name, _)| *name == row);
    goal.map_or_else(|| "–".to_owned(), |(_, goal)| format!("≤ {goal}"))
}

fn run_for_a_profiler(mappings: &Mappings, name: &str) -> anyhow::Result<()> {
    let folder = captured()?.into_iter().find(|row| row.name == name);
    let received = match folder {
        Some(row) => receive(&row.requests)?,
        None => vec![workload(name)?.receive()?],
    };
    let started = processor_time();
    while processor_time() - started < LOOP {
        (0..100).for_each(|_| received.iter().for_each(|received| run(mappings, received)));
    }
    Ok(())
}

fn receive(requests: &[Request]) -> anyhow::Result<Vec<Received>> {
    requests.iter().map(Request::receive).collect()
}

fn run(mappings: &Mappings, received: &Received) {
    black_box(process(mappings, &SiteRules::default(), None, received));
}

fn read_and_run(mappings: &Mappings, request: &Request) {
    if let Ok(received) = request.receive() {
        run(mappings, &received);
    }
}

/// Returns how many microseconds each call takes: the middle of several rounds, in which each has its turn.
fn medians<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [f64; N] {
    let counts = calls.each_mut().map(|call| calls_a_round(call));
    let mut times = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for ((call, times), count) in calls.iter_mut().zip(&mut times).zip(counts) {
            times.push(time(call, count) / f64::from(count));
        }
    }
    times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times.get(ROUNDS / 2).copied().unwrap_or_default() * 1e6
    })
}

/// Returns how many calls fill a round. To look at the clock after each would cost as much as the smallest.
fn calls_a_round(call: &mut dyn FnMut()) -> u32 {
    // What is made at the first call and kept would make a round look full.
    call();
    let mut calls = 1;
    while time(call, calls) < ROUND && calls < CALLS_MAX {
        calls *= 2;
    }
    calls
}

/// Returns how many seconds of the processor's time so many calls take.
fn time(call: &mut dyn FnMut(), calls: u32) -> f64 {
    let started = processor_time();
    (0..calls).for_each(|_| call());
    processor_time() - started
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

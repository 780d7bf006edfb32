//! How often the pure path asks for memory, a submission: what it allocates, and what it lets grow.
//!
//!     cargo bench --bench allocations
//!
//! A program of its own, since counting takes time. What is counted doesn't depend on whose allocator is behind it.

mod submissions;
mod table;

use std::hint::black_box;

use formgate::config::shipped_mappings;
use formgate::pipeline::{Mappings, SiteRules, process};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use submissions::{Growth, Request, WORKLOADS, captured, grown, workload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// What is aimed at, whatever the submission; of those that grow it is what each field adds that matters.
const GOAL: &str = "≤ 40";

fn main() -> anyhow::Result<()> {
    let (mappings, _) = shipped_mappings();
    let mut rows = Vec::new();
    for row in captured()? {
        rows.push(count(&mappings, &row.name, GOAL, &row.requests)?);
    }
    for name in WORKLOADS {
        rows.push(count(&mappings, name, GOAL, &[workload(name)?])?);
    }
    for growth in [Growth::Fields, Growth::Kilobytes] {
        let (_, units) = growth.units();
        for (encoding, size, request) in grown(growth)? {
            rows.push(count(&mappings, &format!("{encoding}, {size} {units}"), "–", &[request])?);
        }
    }
    let head = ["submissions", "allocations each", "goal", "grown", "bytes", "reading them: allocations", "grown"];
    table::print("Allocations a submission", &head, &rows);
    Ok(())
}

/// Counts what requests ask for, a submission, first on the way in and then on the path.
fn count(mappings: &Mappings, name: &str, goal: &str, requests: &[Request]) -> anyhow::Result<Vec<String>> {
    // What is made once and kept is no submission's.
    for request in requests {
        black_box(process(mappings, &SiteRules::default(), None, &request.receive()?));
    }
    let region = Region::new(ALLOCATOR);
    let received = requests.iter().map(Request::receive).collect::<Result<Vec<_>, _>>()?;
    let reading = region.change();
    let region = Region::new(ALLOCATOR);
    for received in &received {
        black_box(process(mappings, &SiteRules::default(), None, received));
    }
    let path = region.change();
    let each = |count: usize| (count / requests.len()).to_string();
    Ok(vec![
        name.to_owned(),
        each(path.allocations),
        goal.to_owned(),
        each(path.reallocations),
        each(path.bytes_allocated.saturating_add_signed(path.bytes_reallocated)),
        each(reading.allocations),
        each(reading.reallocations),
    ])
}

//! What this process takes of its machine. Only Linux tells; elsewhere there is the time of its start alone.

use std::fs;

use prometheus::{CounterVec, Gauge, IntGaugeVec, Opts};

use super::set::MetricSet;
use super::store::set_or_remove;
use super::{
    Metrics, MetricsError, OpenFiles, PROCESS_CPU, PROCESS_MEMORY, PROCESS_OPEN_FILES, PROCESS_OPEN_FILES_MAX,
    PROCESS_START, seconds,
};

/// Ticks a second in which Linux tells processor time: its USER_HZ, the same on every machine that formgate runs on.
const TICKS: f64 = 100.0;

/// Its gauges.
pub(super) struct ProcessMetrics {
    start: Gauge,
    // Without labels, and with no series where the system doesn't tell.
    cpu: CounterVec,
    memory: IntGaugeVec,
    open_files: IntGaugeVec,
    open_files_max: IntGaugeVec,
}

impl ProcessMetrics {
    pub(super) fn new(set: &MetricSet<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            start: set.add(Gauge::new(PROCESS_START, "When the gateway in this process began.")?)?,
            cpu: set.add(CounterVec::new(Opts::new(PROCESS_CPU, "Processor time of the process."), &[])?)?,
            memory: set.gauges_of(PROCESS_MEMORY, "Memory of the process that is in RAM.", &[])?,
            open_files: set.gauges_of(PROCESS_OPEN_FILES, "Open files of the process.", &[])?,
            open_files_max: set.gauges_of(PROCESS_OPEN_FILES_MAX, "How many files it may have open.", &[])?,
        })
    }
}

impl Metrics {
    /// Measures this process, in which the gateway began at a time, in seconds since 1970.
    pub fn measure_process(&self, since: i64) {
        self.process.start.set(seconds(since));
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        if let Some(seconds) = cpu_seconds(&read("/proc/self/stat")) {
            let counted = self.process.cpu.with_label_values::<&str>(&[]);
            // A counter panics at less than nothing, which two scrapes at once could make of it.
            counted.inc_by((seconds - counted.get()).max(0.0));
        }
        let files = OpenFiles::of_this_process();
        let count = |files: Option<usize>| files.and_then(|files| u64::try_from(files).ok());
        set_or_remove(&self.process.memory, resident_bytes(&read("/proc/self/status")));
        set_or_remove(&self.process.open_files, count(files.open));
        set_or_remove(&self.process.open_files_max, count(files.limit));
    }
}

/// Reads the processor time; the program's name, in brackets, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The 14th and 15th of all, counted from the third, which is the first after the name.
    let mut ticks = after_name.split_whitespace().skip(11);
    let user: f64 = ticks.next()?.parse().ok()?;
    let system: f64 = ticks.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_and_memory_are_read() {
        let stat = "42 (form) gate) S 1 42 42 0 -1 4194560 900 0 7 0 250 50 0 0 20 0 9 0 5555 1000 200";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!((cpu_seconds(""), cpu_seconds("42 (x) S 1")), (None, None));
        assert_eq!(resident_bytes("VmHWM:\t   900 kB\nVmRSS:\t   812 kB\n"), Some(812 * 1024));
        assert_eq!(resident_bytes("Name:\tformgate\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let metrics = Metrics::new().expect("metrics");
        metrics.measure_process(1_800_000_000);
        let page = String::from_utf8(metrics.text().expect("a page")).expect("text");
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().parse::<f64>().expect("a number")
        };
        assert!(value(PROCESS_START) == 1_800_000_000.0 && value(PROCESS_CPU) >= 0.0, "{page}");
        assert!(value(PROCESS_MEMORY) > 1_000_000.0 && value(PROCESS_OPEN_FILES) > 2.0, "{page}");
        assert!(value(PROCESS_OPEN_FILES_MAX) > value(PROCESS_OPEN_FILES), "{page}");
    }
}

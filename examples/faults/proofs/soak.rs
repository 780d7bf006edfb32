//! Everything at once for a long time: load, an API that comes and goes, kills, restarts, reloads and upgrades.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Plan;
use super::gateway::{Gateway, Place, Settings};
use super::kill::drain;
use super::load::Load;
use super::row::Row;
use super::upstream::{Mood, Upstream};

const CLIENTS: usize = 4;
/// Between two posts of a client.
const PACE: Duration = Duration::from_millis(20);
/// Between two faults.
const CALM: Duration = Duration::from_secs(3);
/// How often memory, files and disk are written down.
const SAMPLES: u32 = 5;
/// Growth from the first sample to the last that is no leak.
const GROWTH_KIB: u64 = 64 * 1024;
const GROWTH_FILES: usize = 32;

const FAULTS: usize = 7;

/// Takes as many seconds as the plan has rounds.
pub(crate) async fn soak(plan: &Plan) -> anyhow::Result<Row> {
    let mut row = Row::new("soak", plan.rounds);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    let settings = Settings { upstream: upstream.url(), ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    let mut gateway = place.start().await?;
    let load = Load::start_slowly(place.address, CLIENTS, PACE);
    let whole = Duration::from_secs(plan.rounds as u64);
    let (began, mut samples, mut faults) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < whole {
        sleep(CALM.min(whole)).await;
        if began.elapsed() >= whole / SAMPLES * (samples.len() as u32) {
            samples.push((began.elapsed().as_secs(), gateway.size(), disk(&place.folder)));
        }
        gateway = fault(faults, &place, &settings, &upstream, &load, gateway).await?;
        faults += 1;
    }
    upstream.set(Mood::default());
    let heard = load.stop().await;
    drain(&place).await?;
    samples.push((began.elapsed().as_secs(), gateway.size(), disk(&place.folder)));
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    row.expect(heard.refused.is_empty(), || format!("answers {:?}", heard.refused));
    row.tell(format!("{faults} faults, answers p99 {} ms", heard.percentile(99).as_millis()));
    tell_trend(&mut row, &samples);
    heard.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

/// The next fault of the cycle; gives the gateway that runs afterwards.
async fn fault(
    number: usize,
    place: &Place,
    settings: &Settings<'_>,
    upstream: &Upstream,
    load: &Load,
    mut gateway: Gateway,
) -> anyhow::Result<Gateway> {
    match number % FAULTS {
        0 => upstream.set(Mood { away: true, ..Mood::default() }),
        1 => upstream.set(Mood { drops_percent: 10, ..Mood::default() }),
        2 => {
            gateway.kill().await?;
            load.set_up(false);
            gateway = place.start().await?;
            load.set_up(true);
        }
        3 => {
            place.write_config(&place.config(settings))?;
            gateway.signal("HUP").await?;
            gateway.until("config.reloaded").await?;
        }
        4 => upstream.set(Mood::default()),
        5 => {
            let mut new = place.start_upgrade().await?;
            gateway.signal("QUIT").await?;
            new.until("gateway.listening").await?;
            anyhow::ensure!(gateway.ended().await? == Some(0), "the old one failed: {}", gateway.last_words());
            gateway = new;
        }
        _ => {
            load.set_up(false);
            anyhow::ensure!(gateway.stop().await? == Some(0), "it failed: {}", gateway.last_words());
            gateway = place.start().await?;
            load.set_up(true);
        }
    }
    Ok(gateway)
}

type Sample = (u64, (u64, usize), u64);

fn tell_trend(row: &mut Row, samples: &[Sample]) {
    let shown = samples.iter().map(|(seconds, (memory, files), disk)| {
        format!("{seconds} s: RSS {} MiB, files {files}, disk {:.1} MiB", memory / 1024, *disk as f64 / 1_048_576.0)
    });
    row.tell(shown.collect::<Vec<_>>().join(", "));
    if let (Some((_, first, _)), Some((_, last, _))) = (samples.first(), samples.last()) {
        row.expect(last.0 < first.0 + GROWTH_KIB, || format!("memory grew from {} to {} KiB", first.0, last.0));
        row.expect(last.1 < first.1 + GROWTH_FILES, || format!("open files grew from {} to {}", first.1, last.1));
    }
}

fn disk(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder.join("data")) else { return 0 };
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|data| data.len()).sum()
}

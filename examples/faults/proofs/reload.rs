//! Reloads under load: no request sees half of a configuration, and nothing is left behind.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Plan;
use super::client::{Connection, post};
use super::gateway::{Place, Settings, sha256, token};
use super::kill::drain;
use super::load::Heard;
use super::row::Row;
use super::upstream::Upstream;

const CLIENTS: usize = 4;
const VERSIONS: [&str; 2] = ["one", "two"];
/// Reloads after which memory counts as warm.
const WARM: usize = 50;
/// Growth over all reloads that is no leak.
const GROWTH_KIB: u64 = 32 * 1024;
const GROWTH_FILES: usize = 48;

/// Five reloads for each round of the plan.
pub(crate) async fn reload(plan: &Plan) -> anyhow::Result<Row> {
    let rounds = plan.rounds * 5;
    let mut row = Row::new("reload under load", rounds);
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start().await?;
    let settings = Settings { upstream: upstream.url(), queue: "dedupe = \"0s\"", ..Settings::default() };
    let place = Place::new(&plan.program, folder.path(), &settings)?;
    place.write_config(&config(&place, &settings, "one"))?;
    let mut gateway = place.start().await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for version in VERSIONS.iter().cycle().take(CLIENTS) {
        clients.spawn(client(place.address, version, stopped.clone()));
    }
    let mut warm = gateway.size();
    for (round, version) in VERSIONS.iter().cycle().skip(1).take(rounds).enumerate() {
        place.write_config(&config(&place, &settings, version))?;
        gateway.signal("HUP").await?;
        gateway.until("config.reloaded").await?;
        if round == WARM.min(rounds / 2) {
            warm = gateway.size();
        }
    }
    let size = gateway.size();
    stop.send_replace(true);
    let heard = hear(&mut row, clients).await;
    drain(&place).await?;
    row.expect(gateway.events("config.reload_failed") == 0, || "a reload failed".to_owned());
    let halves = upstream.texts().iter().filter(|(email, message)| !email.starts_with(message.as_str())).count();
    row.expect(halves == 0, || format!("{halves} leads show one version's token and the other's mapping"));
    row.tell(format!("halves {halves}"));
    check_growth(&mut row, warm, size);
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    heard.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

/// Gathers what the clients were answered: 200, or 401 while the other version was in force.
async fn hear(row: &mut Row, clients: JoinSet<(Vec<String>, Vec<u16>)>) -> Heard {
    let (mut heard, mut denied) = (Heard::default(), 0);
    for (ids, others) in clients.join_all().await {
        heard.ids.extend(ids);
        let odd: Vec<_> = others.iter().filter(|status| **status != 401).collect();
        denied += others.len() - odd.len();
        row.expect(odd.is_empty(), || format!("answers {odd:?}"));
    }
    row.expect(denied > 0, || "no token was ever out of force".to_owned());
    row.tell(format!("401 {denied}"));
    heard
}

fn check_growth(row: &mut Row, warm: (u64, usize), size: (u64, usize)) {
    row.expect(size.0 < warm.0 + GROWTH_KIB, || format!("memory grew from {} to {} KiB", warm.0, size.0));
    row.expect(size.1 <= warm.1 + GROWTH_FILES, || format!("open files grew from {} to {}", warm.1, size.1));
    row.tell(format!("RSS {} → {} KiB, files {} → {}", warm.0, size.0, warm.1, size.1));
}

/// Token and mapping of a site change together: what comes with version `one`'s token says so in its message.
fn config(place: &Place, settings: &Settings<'_>, version: &str) -> String {
    let site = format!(
        "[[site]]\nid = \"both\"\npublic_key = \"wp_pk_both\"\nsecret_key = \"wp_sk_both\"\n\
         tokens = [{{ sha256 = \"{}\" }}]\n[site.forms.contact.lead]\nmessage = {{ template = \"{version}\" }}\n\
         [site.forms.contact.extras]\nto = \"drop\"\n",
        sha256(&token(version))
    );
    place.config(settings) + &site
}

/// Posts with one version's token; gives the ids that were answered 200, and the other statuses.
async fn client(address: SocketAddr, version: &'static str, stopped: watch::Receiver<bool>) -> (Vec<String>, Vec<u16>) {
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    let mut kept = None;
    let token = Arc::new(token(version));
    while !*stopped.borrow() {
        let number = ids.len();
        let body = format!(r#"{{"name":"Jane","email":"{version}{number}@example.com"}}"#);
        let request = post("/hooks/both/contact", &token, "application/json", body.as_bytes());
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(address).await,
        };
        let Ok(mut connection) = connection else {
            others.push(0);
            continue;
        };
        match connection.send(&request).await {
            Ok(answer) => {
                match answer.id() {
                    Some(id) => ids.push(id),
                    None => others.push(answer.status),
                }
                kept = Some(connection).filter(|_| !answer.closes());
            }
            Err(_) => others.push(0),
        }
    }
    (ids, others)
}

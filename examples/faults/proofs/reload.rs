//! Reloads under load: no request sees half of a configuration, and nothing is left behind.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Plan;
use super::client::{Connection, post};
use super::gateway::{Gateway, Place, Settings, sha256, token};
use super::kill::drain;
use super::load::Heard;
use super::row::Row;
use super::upstream::Upstream;

const CLIENTS: usize = 4;
/// Reloads after which memory counts as warm.
const WARM: usize = 50;
/// Growth over all reloads that is no leak.
const GROWTH_KIB: u64 = 32 * 1024;
const GROWTH_FILES: usize = 8;

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
    for number in 0..CLIENTS {
        clients.spawn(client(place.address, ["one", "two"][number % 2], stopped.clone()));
    }
    let mut warm = gateway.size();
    for round in 0..rounds {
        let version = ["two", "one"].get(round % 2).copied().unwrap_or_default();
        place.write_config(&config(&place, &settings, version))?;
        reload_once(&mut gateway).await?;
        if round == WARM {
            warm = gateway.size();
        }
    }
    let size = gateway.size();
    stop.send_replace(true);
    let mut heard = Heard::default();
    let mut denied = 0;
    for (ids, others) in clients.join_all().await {
        heard.ids.extend(ids);
        denied += others.iter().filter(|status| **status == 401).count();
        let odd: Vec<_> = others.iter().filter(|status| **status != 401).collect();
        row.expect(odd.is_empty(), || format!("answers {odd:?}"));
    }
    drain(&place).await?;
    row.expect(gateway.events("config.reload_failed") == 0, || "a reload failed".to_owned());
    let halves = upstream.texts().iter().filter(|(email, message)| !email.starts_with(message.as_str())).count();
    row.expect(halves == 0, || format!("{halves} leads show one version's token and the other's mapping"));
    row.expect(denied > 0, || "no token was ever out of force".to_owned());
    row.expect(size.0 < warm.0 + GROWTH_KIB, || format!("memory grew from {} to {} KiB", warm.0, size.0));
    row.expect(size.1 <= warm.1 + GROWTH_FILES, || format!("open files grew from {} to {}", warm.1, size.1));
    row.tell(format!("halves {halves}, 401 {denied}"));
    row.tell(format!("RSS {} → {} KiB, files {} → {}", warm.0, size.0, warm.1, size.1));
    let code = gateway.stop().await?;
    row.expect(code == Some(0), || format!("it ended with {code:?}"));
    heard.judge(&mut row, &place.entries().await?, &upstream.taken());
    Ok(row)
}

async fn reload_once(gateway: &mut Gateway) -> anyhow::Result<()> {
    gateway.signal("HUP").await?;
    gateway.until("config.reloaded").await
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

//! KaiCalls is away for an hour: every lead reaches its own client by mail, once, and KaiCalls later, once.

use std::sync::Arc;

use formgate::config::{MailSecurity, Sink, SinkTarget};
use formgate::event::EventPattern;
use formgate::notify::Session;

use super::{client_of, session, webhook};
use crate::mail::{MailServer, Received};
use crate::scripted_api::ScriptedApi;
use crate::world::World;

const LEADS: u64 = 1_000;
const SITES: [&str; 3] = ["acme", "beta", "gamma"];

fn owner(site: &str, receiver: &ScriptedApi) -> Sink {
    let sink = client_of(webhook(site, receiver, &["lead.overdue"]), &[site]);
    let address = formgate::config::MailAddress::parse(&format!("owner@{site}.example")).expect("an address");
    let events = vec![EventPattern::parse("lead.overdue").expect("a pattern")];
    Sink { target: SinkTarget::Mail(vec![address]), events, ..sink }
}

/// 1,000 leads in the first 25 minutes, and not one answer for an hour.
async fn outage(world: &World, session: &mut Session) {
    world.api.go_away().await;
    for number in 1..=LEADS {
        world.queue_named(site_of(number), number, Some(&visitor(number))).await;
        world.pass_ms(1_500);
        if number % 20 == 0 {
            world.step().await;
            session.step().await.expect("stepped");
        }
    }
    for _ in 0..70 {
        world.pass(30);
        world.step().await;
        session.step().await.expect("stepped");
    }
    assert!(world.sent().is_empty());
    world.api.come_back().await;
}

/// Everything is delivered, and an hour more goes by.
async fn recovery(world: &World, session: &mut Session) {
    for _ in 0..400 {
        world.pass(60);
        world.step().await;
        session.step().await.expect("stepped");
        if world.sent().len() as u64 >= LEADS {
            break;
        }
    }
    for _ in 0..12 {
        world.pass(300);
        world.step().await;
        session.step().await.expect("stepped");
    }
}

fn site_of(number: u64) -> &'static str {
    SITES[usize::try_from(number).expect("few") % SITES.len()]
}

fn visitor(number: u64) -> String {
    format!("Visitor {number:04}")
}

/// Checks that a mail tells of leads of its own site alone.
fn check_owner(mail: &Received) {
    let text = mail.text();
    let site = SITES.iter().find(|site| mail.to() == format!("owner@{site}.example")).expect("an owner");
    let mut of_others = (1..=LEADS).filter(|number| site_of(*number) != *site);
    assert!(of_others.all(|number| !text.contains(&visitor(number))), "{site}");
    assert!(text.contains("KaiCalls"), "{text}");
}

#[tokio::test]
async fn in_an_outage_of_an_hour_a_thousand_leads_of_three_sites_are_each_in_one_mail_and_delivered_later() {
    let receiver = super::receiver().await;
    let server = MailServer::start(&[]).await;
    let mail = server.config(MailSecurity::None);
    let mails = server.collect();
    let world = World::with(|config| {
        config.sinks = SITES.iter().map(|site| Arc::new(owner(site, &receiver))).collect();
        config.mail = Some(mail);
    })
    .await;
    let mut session = session(&world).await;
    outage(&world, &mut session).await;
    recovery(&world, &mut session).await;
    let mut delivered = world.sent();
    delivered.sort();
    delivered.dedup();
    assert_eq!((delivered.len() as u64, world.sent().len() as u64), (LEADS, LEADS), "each once");
    let mails = mails.all();
    let texts: Vec<String> = mails.iter().map(Received::text).collect();
    for number in 1..=LEADS {
        let told = texts.iter().filter(|text| text.contains(&visitor(number))).count();
        assert_eq!(told, 1, "{}", visitor(number));
    }
    mails.iter().for_each(check_owner);
    assert!(mails.len() < 60, "{} mails", mails.len());
}

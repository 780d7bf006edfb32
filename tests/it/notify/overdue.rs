//! KaiCalls is away for an hour: every lead reaches its own client by mail, once, and KaiCalls later, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use formgate::config::{MailSecurity, Sink, SinkTarget};
use formgate::event::EventPattern;
use formgate::lead::EntryId;

use super::{client_of, session, webhook};
use crate::mail::MailServer;
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
    world.api.go_away().await;
    // 1,000 leads in the first 50 minutes: one every three seconds.
    let mut sites: BTreeMap<EntryId, &str> = BTreeMap::new();
    for number in 1..=LEADS {
        let site = SITES[usize::try_from(number).expect("few") % SITES.len()];
        sites.insert(world.queue_named(site, number, Some(&format!("Visitor {number:04}"))).await, site);
        world.pass(3);
        if number % 10 == 0 {
            world.step().await;
            session.step().await.expect("stepped");
        }
    }
    world.pass(600);
    world.api.come_back().await;
    for _ in 0..400 {
        world.pass(60);
        world.step().await;
        session.step().await.expect("stepped");
        if world.sent().len() as u64 >= LEADS
            && world
                .store
                .counts()
                .await
                .expect("counts")
                .iter()
                .all(|count| count.entries == 0 || count.state != formgate::queue::State::Queued)
        {
            break;
        }
    }
    let mut delivered = world.sent();
    delivered.sort();
    delivered.dedup();
    assert_eq!((delivered.len() as u64, world.sent().len() as u64), (LEADS, LEADS), "each once");
    for _ in 0..10 {
        world.pass(300);
        session.step().await.expect("stepped");
    }
    let mails = mails.all();
    let told = |number: u64| mails.iter().filter(|mail| mail.text().contains(&format!("Visitor {number:04}"))).count();
    let overdue: Vec<u64> = (1..=LEADS).filter(|number| told(*number) > 0).collect();
    // Those of the last minutes were delivered before their time had come.
    assert!(overdue.len() > 900, "{}", overdue.len());
    for number in overdue {
        assert_eq!(told(number), 1, "Visitor {number:04}");
    }
    for mail in &mails {
        let site = SITES.iter().find(|site| mail.to() == format!("owner@{site}.example")).expect("an owner");
        for (place, _) in SITES.iter().enumerate().filter(|(_, other)| *other != site) {
            let of_others = (1..=LEADS).filter(|number| usize::try_from(*number).expect("few") % SITES.len() == place);
            assert!(of_others.into_iter().all(|number| !mail.text().contains(&format!("Visitor {number:04}"))));
        }
        assert!(mail.text().contains("KaiCalls"), "{}", mail.text());
    }
    assert!(mails.len() < 60, "{} mails", mails.len());
}

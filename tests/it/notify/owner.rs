//! The owner's six settings in README.md, as they stand there.

use std::fs;
use std::path::Path;

use formgate::config::{Sources, load};

use super::session;
use crate::mail::MailServer;
use crate::world::World;

/// The block of the section, as it stands in README.md.
fn settings() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("read");
    let (_, section) = readme.split_once("## Be told").expect("the section");
    let (_, block) = section.split_once("```toml\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    block.to_owned()
}

#[tokio::test]
async fn the_readmes_six_settings_mail_what_is_wrong_and_the_lead_itself() {
    let block = settings();
    let settings = block.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(settings, 6, "{block}");

    let server = MailServer::start(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("secrets")).expect("a folder");
    fs::write(folder.path().join("secrets/mail_password"), "hush").expect("written");
    let block = block.replace("smtps://formgate@mail.example:465", &format!("smtp://localhost:{}", server.port()));
    // Without a login there is none to be had.
    let block = block.replace("password = { file = \"secrets/mail_password\" }\n", "");
    fs::write(folder.path().join("config.toml"), block).expect("written");
    let sources = Sources::with_environment([]);
    let loaded = load(&folder.path().join("config.toml"), &sources, jiff::civil::date(2026, 11, 30));
    let (written, _) = loaded.complete().unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render(false)));
    let mails = server.collect();

    let world = World::with(|config| {
        config.sinks = written.sinks;
        config.mail = written.mail;
        config.alerts = written.alerts;
    })
    .await;
    let mut session = session(&world).await;
    world.api.go_away().await;
    for (number, site) in ["acme", "beta", "gamma"].into_iter().enumerate() {
        world.queue_named(site, u64::try_from(number).expect("few") + 1, Some("Jane Doe")).await;
    }
    for _ in 0..200 {
        world.pass(10);
        world.step().await;
        session.step().await.expect("stepped");
    }
    let subjects: Vec<_> = mails.all().iter().map(|mail| mail.subject_line().to_owned()).collect();
    assert!(subjects.iter().any(|subject| subject.contains("KaiCalls has been unreachable")), "{subjects:?}");
    let overdue: Vec<_> = mails.all().into_iter().filter(|mail| mail.text().contains("jane1@example.com")).collect();
    let [overdue] = &overdue[..] else { panic!("once: {subjects:?}") };
    assert_eq!(overdue.to(), "owner@acme.example");
    for part in ["Jane Doe", "jane2@example.com", "jane3@example.com"] {
        assert!(overdue.text().contains(part), "{}", overdue.text());
    }
}

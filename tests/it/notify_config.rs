//! `[[notify]]`, `[mail]` and `[alerts]`: who is told of what, and that what is wrong with it harms nobody else.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use formgate::config::{
    self, Config, ConfigPart, MailSecurity, PartFault, Severity, Silence, Sink, SinkSites, SinkTarget, StandIn,
    StandInSource, WebhookFormat, load,
};
use formgate::event::EventType;
use formgate::lead::{FormId, SiteId};

use crate::config::{ACME, Folder, TODAY, site, site_of, sources};
use crate::reload::{self, Files};

/// 24 bytes.
const SIGNING: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

fn sink<'a>(config: &'a Config, name: &str) -> &'a Sink {
    config.sinks.iter().find(|sink| sink.name == name).expect("a sink of that name")
}

fn names(config: &Config) -> Vec<&str> {
    config.sinks.iter().map(|sink| sink.name.as_str()).collect()
}

fn url(sink: &Sink) -> &str {
    match &sink.target {
        SinkTarget::Webhook(webhook) => webhook.url.expose(),
        SinkTarget::Mail(_) => "",
    }
}

fn only(ids: &[&str]) -> SinkSites {
    SinkSites::Only(ids.iter().map(|id| site(id)).collect::<BTreeSet<SiteId>>())
}

/// A gateway with mail, two sinks of its own, and a site with one.
fn with_two_sites() -> Folder {
    let config = format!(
        "[mail]\nsmtp = \"smtp://a%40agency.example@mail.example\"\npassword = \"hush\"\n\
         [[notify]]\nurl = \"https://hooks.example/hush\"\nsecret = [\"{SIGNING}\", \"{SIGNING}\"]\n\
         [[notify]]\nname = \"chat\"\nurl = \"http://127.0.0.1:9/hush\"\nformat = \"slack\"\nsites = [\"beta\"]\n\
         [alerts]\noverdue = \"off\"\nsilence = \"2d\"\n"
    );
    let owner = "[[notify]]\nname = \"owner\"\nemail = \"owner@acme.example\"\nleads = true\nevents = [\"lead.*\"]\n";
    Folder::of(&[
        ("config.toml", &config),
        ("sites/beta.toml", &ACME.replace("acme\"\nregion", "beta\"\nregion").replace("acme_0", "beta_0")),
        ("sites/acme.toml", &format!("{ACME}silence = \"off\"\n[forms.contact]\nsilence = \"5h\"\n{owner}")),
    ])
}

#[test]
fn sinks_come_in_order_and_those_of_a_site_are_bound_to_it() {
    let config = with_two_sites().config();
    assert_eq!(names(&config), ["notify-1", "chat", "acme/owner"]);
    let (acme, beta) = (site("acme"), site("beta"));

    let first = sink(&config, "notify-1");
    assert_eq!((&first.sites, first.leads), (&SinkSites::All, false));
    assert!(first.wants(EventType::GatewayBackupFailed, None) && !first.wants(EventType::LeadHeld, Some(&acme)));
    let SinkTarget::Webhook(webhook) = &first.target else { panic!("a webhook") };
    assert_eq!((webhook.format, webhook.allow_private), (WebhookFormat::Standard, false));
    assert_eq!(webhook.secrets.iter().map(|key| key.expose().len()).collect::<Vec<_>>(), [24, 24]);

    let chat = sink(&config, "chat");
    assert_eq!(chat.sites, only(&["beta"]));
    assert!(matches!(&chat.target, SinkTarget::Webhook(webhook) if webhook.allow_private), "loopback is private");

    let owner = sink(&config, "acme/owner");
    assert_eq!((&owner.sites, owner.leads, owner.is_mail()), (&only(&["acme"]), true, true));
    assert!(owner.wants(EventType::LeadHeld, Some(&acme)) && !owner.wants(EventType::LeadHeld, Some(&beta)));
    let shown = format!("{:?} {:?}", config.sinks, config.mail);
    assert!(["hush", "owner@"].iter().all(|hidden| !shown.contains(hidden)), "{shown}");
}

#[test]
fn mail_and_alerts_are_as_written_and_the_nearest_silence_counts() {
    let config = with_two_sites().config();
    let mail = config.mail.as_ref().expect("mail");
    assert_eq!((mail.host.as_str(), mail.port, mail.security), ("mail.example", 587, MailSecurity::StartTls));
    assert_eq!((mail.user.as_deref(), mail.from.as_str()), (Some("a@agency.example"), "a@agency.example"));

    assert_eq!((config.alerts.overdue, config.alerts.silence), (None, Silence::After(Duration::from_secs(2 * 86_400))));
    let silence = |id: &str, form: &str| {
        site_of(&config, id).notify.silence_of(&FormId::parse(form).expect("a form"), &config.alerts)
    };
    assert_eq!(silence("acme", "contact"), Silence::After(Duration::from_secs(5 * 3600)));
    assert_eq!(silence("acme", "other"), Silence::Off);
    assert_eq!(silence("beta", "contact"), config.alerts.silence);
}

#[test]
fn mail_without_a_server_is_told_with_its_cure_and_harms_no_other_sink() {
    let folder = Folder::of(&[
        (
            "config.toml",
            "[[notify]]\nemail = \"a@agency.example\"\n[[notify]]\nurl = \"http://localhost/\"\nformat = \"slack\"\n",
        ),
        ("sites/acme.toml", &format!("{ACME}[[notify]]\nemail = \"a@acme.example\"\n")),
    ]);
    let loaded = folder.load();
    let report = loaded.diagnostics.render(false);
    assert_eq!(report.matches("error: there is no [mail] to send `email` with").count(), 2, "{report}");
    assert!(report.contains("config.toml:2:9") && report.contains("a [mail] table in config.toml"), "{report}");
    let config = loaded.config.expect("nothing is broken");
    assert_eq!(names(&config), ["notify-2"]);
    assert!(config.sites.contains_key(&site("acme")), "its intake goes on");
}

#[test]
fn every_bound_is_told() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>();
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let webhook = "[[notify]]\nurl = \"https://hooks.example/\"\nformat = \"slack\"\n";
    let mail = "[mail]\nsmtp = \"smtps://mail.example\"\nfrom = \"a@agency.example\"\n";
    let addresses = list(many(21, &|n| format!("\"a{n}@agency.example\"")));
    let secrets = list(many(5, &|_| format!("\"{SIGNING}\"")));
    let sites = list(many(501, &|n| format!("\"s{n}\"")));
    let patterns = list(many(41, &|_| "\"lead.dead\"".to_owned()));
    for (config, site, expected) in [
        (webhook.repeat(65), "", "more than 64 [[notify]] tables"),
        (String::from("[server]\n"), webhook.repeat(9).as_str(), "more than 8 [[notify]] tables"),
        (format!("{mail}[[notify]]\nemail = {addresses}\n"), "", "1 to 20 addresses"),
        (format!("{webhook}secret = {secrets}\n"), "", "1 to 4 secrets"),
        (format!("{webhook}sites = {sites}\n"), "", "1 to 500 sites"),
        (format!("{webhook}events = {patterns}\n"), "", "1 to 40 patterns"),
    ] {
        let folder = Folder::of(&[("config.toml", &config), ("sites/acme.toml", &format!("{ACME}{site}"))]);
        let loaded = folder.load();
        assert_eq!(loaded.diagnostics.count(Severity::Error), 1, "{}", loaded.diagnostics.render(false));
        assert!(loaded.diagnostics.render(false).contains(expected), "{}", loaded.diagnostics.render(false));
    }
    let most = Folder::of(&[
        ("config.toml", &webhook.repeat(64)),
        ("sites/acme.toml", &format!("{ACME}{}", webhook.repeat(8))),
    ]);
    assert_eq!(most.config().sinks.len(), 72);
}

#[test]
fn a_checkout_without_its_secrets_has_nothing_wrong() {
    let folder = Folder::of(&[
        ("config.toml", "[[notify]]\nurl = { file = \"secrets/url\" }\nsecret = { env = \"NOT_SET\" }\n"),
        ("sites/acme.toml", ACME),
    ]);
    let loaded = load(&folder.path("config.toml"), &sources().with_stand_ins(), TODAY);
    assert!(!loaded.diagnostics.prevent_serving(), "{}", loaded.diagnostics.render(false));
    assert!(loaded.config.expect("sound").sinks.is_empty(), "what stands in is no URL");
}

/// A gateway with a sink whose URL is in a file, one whose URL is written out, and one of a site.
fn telling() -> (Files, String) {
    let files = Files::new("http://127.0.0.1:1");
    let bare = fs::read_to_string(files.config_path()).expect("text");
    files.write("secrets/hook", "https://hooks.example/filed");
    let text = format!(
        "{bare}\n[[notify]]\nname = \"filed\"\nurl = {{ file = \"secrets/hook\" }}\nformat = \"slack\"\n\
         [[notify]]\nname = \"written\"\nurl = \"https://hooks.example/hush\"\nformat = \"slack\"\n"
    );
    files.write("config.toml", &text);
    let acme = fs::read_to_string(files.config_path().with_file_name("sites").join("acme.toml")).expect("text");
    files.write(
        "sites/acme.toml",
        &format!("{acme}[[notify]]\nurl = {{ file = \"../secrets/hook\" }}\nformat = \"slack\"\n"),
    );
    (files, text)
}

fn stand_in(of: &[StandIn], part: &ConfigPart) -> Option<(PartFault, StandInSource)> {
    of.iter().find(|stand_in| stand_in.part == *part).map(|stand_in| (stand_in.fault, stand_in.by))
}

const NOTIFY: ConfigPart = ConfigPart::Section("notify");

#[test]
fn a_change_of_sinks_needs_no_restart() {
    let (files, text) = telling();
    let (live, config) = files.start();
    assert_eq!(names(&config.load()), ["filed", "written", "acme/notify-1"]);
    let mail = "[mail]\nsmtp = \"smtp://localhost:25\"\nfrom = \"a@agency.example\"\n[[notify]]\nemail = \"a@agency.example\"\n";
    files.write("config.toml", &format!("{}{mail}[alerts]\noverdue = \"5m\"\n", text.replace("hush", "anew")));
    let reloaded = live.reload(TODAY);
    reload::sound(&reloaded);
    assert_eq!(config.load().needs_restart, Vec::<&str>::new());
    let config = config.load();
    assert_eq!(names(&config), ["filed", "written", "notify-3", "acme/notify-1"]);
    assert_eq!(url(sink(&config, "written")), "https://hooks.example/anew");
    assert_eq!(config.alerts.overdue, Some(Duration::from_secs(300)));
}

#[test]
fn a_broken_sink_goes_on_as_it_was_and_no_other_is_touched() {
    let (files, text) = telling();
    let (live, config) = files.start();
    let broken = text.replace("hush\"", "anew\"\nleeds = true").replace(
        "[[notify]]\nname = \"filed\"",
        "[alerts]\noverdue = \"1s\"\n[mail]\nsmtp = 5\n[[notify]]\nname = \"filed\"\nleads = true\nsites = [\"acme\"]",
    );
    files.write("config.toml", &broken);
    files.write_site("beta", "Beta anew");
    let reloaded = live.reload(TODAY);
    assert!(!format!("{reloaded:?}").contains("hush") && !format!("{reloaded:?}").contains("anew"), "{reloaded:?}");
    for section in ["notify", "alerts", "mail"] {
        let found = stand_in(&reloaded.stand_ins, &ConfigPart::Section(section));
        assert_eq!(found, Some((PartFault::Broken, StandInSource::LastGood)), "{section}");
    }
    let config = config.load();
    assert_eq!(names(&config), ["filed", "written", "acme/notify-1"]);
    assert_eq!(url(sink(&config, "written")), "https://hooks.example/hush", "as it was");
    assert!(sink(&config, "filed").leads, "as it is written now");
    assert_eq!(config.sites[&site("beta")].name.as_deref(), Some("Beta anew"));
}

#[test]
fn a_broken_sink_of_a_site_leaves_the_site_as_it_was() {
    let (files, _text) = telling();
    let (live, config) = files.start();
    let file = files.config_path().with_file_name("sites").join("acme.toml");
    let acme = fs::read_to_string(&file).expect("text");
    files.write("sites/acme.toml", &acme.replace("format = \"slack\"", "format = \"teams\""));
    let reloaded = live.reload(TODAY);
    assert_eq!(reloaded.kept_sites(), [site("acme")]);
    assert_eq!(names(&config.load()), ["filed", "written", "acme/notify-1"]);
}

#[test]
fn a_url_that_is_away_keeps_the_known_one_and_takes_no_site_with_it() {
    let (files, _text) = telling();
    let (live, config) = files.start();
    fs::remove_file(files.config_path().with_file_name("secrets").join("hook")).expect("removed");
    // Twice: what stands in once stands in again.
    for _reload in 0..2 {
        let reloaded = live.reload(TODAY);
        assert_eq!(stand_in(&reloaded.stand_ins, &NOTIFY), Some((PartFault::Incomplete, StandInSource::LastGood)));
        assert!(!reloaded.is_config_broken && reloaded.kept_sites().is_empty());
        assert_eq!(names(&config.load()), ["filed", "written", "acme/notify-1"]);
        assert!(config.load().broken_sites.is_empty());
    }

    let starting = config::start(&files.config_path(), &Files::sources(), TODAY);
    let (fresh, _origin) = starting.in_force.expect("it can be served");
    assert_eq!(names(&fresh), ["written"], "nothing is known of the others");
    assert_eq!(fresh.sites.len(), 2);
    assert!(fresh.sites.values().all(|site| site.keys.is_some()));
    assert_eq!(stand_in(&starting.stand_ins, &NOTIFY), Some((PartFault::Incomplete, StandInSource::Itself)));
}

#[test]
fn the_copy_knows_no_url_and_gives_back_what_it_can() {
    let (files, text) = telling();
    let text = text.replace("memory:", "sqlite:data/formgate.db").replace(
        "[[notify]]\nname = \"filed\"",
        "[mail]\nsmtp = \"smtps://a@mail.example\"\nfrom = \"a@agency.example\"\npassword = \"hush\"\n[[notify]]\nname = \"filed\"",
    );
    files.write("config.toml", &text);
    let (live, _config) = files.start();
    live.keep_copy().expect("a copy");
    let copy = files.config_path().with_file_name("data").join("last-good/configuration.json");
    let copy = fs::read_to_string(copy).expect("the copy");
    assert!(copy.contains("secrets/hook") && !copy.contains("hush"), "{copy}");

    files.write("config.toml", &text.replace("format = \"slack\"", "format = \"teams\""));
    let starting = config::start(&files.config_path(), &Files::sources(), TODAY);
    let (config, _origin) = starting.in_force.expect("it can be served");
    assert_eq!(names(&config), ["filed", "acme/notify-1"], "the URL that was written out is in no copy");
    assert!(config.mail.is_some(), "[mail] itself is sound");
    assert_eq!(stand_in(&starting.stand_ins, &NOTIFY), Some((PartFault::Broken, StandInSource::Itself)));

    files.write("config.toml", &text.replace("smtps://a@", "smtps://a:b@"));
    let starting = config::start(&files.config_path(), &Files::sources(), TODAY);
    assert!(starting.in_force.expect("it can be served").0.mail.is_none(), "its password is in no copy");
}

//! The configuration as an operator meets it: what loads, and what is said about what doesn't.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use formgate::config::{CONFIG_KEYS, Config, Loaded, MAPPING_KEYS, Severity, Site, Sources, StoreUrl, load};
use formgate::lead::SiteId;
use jiff::civil::{Date, date};

pub(crate) const TODAY: Date = date(2026, 11, 21);

pub(crate) fn sources() -> Sources {
    Sources::with_environment([
        ("ACME_SECRET", "wp_sk_acme_0123456789abcdef\n"),
        ("EMPTY", " "),
        ("WPFORMS", "sign-here"),
    ])
}

/// A folder with files only their owner may read, as a careful operator has them.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn copy(from: &Path) -> Self {
        let folder = Self::of(&[]);
        for file in files_below(from) {
            let name = file.strip_prefix(from).expect("below").to_str().expect("a plain name");
            if name != "expected.txt" {
                folder.write(name, &fs::read_to_string(&file).expect("text"));
            }
        }
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(&path, text).expect("written");
        self.allow(name, 0o600);
    }

    fn allow(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("permissions");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn load(&self) -> Loaded {
        load(&self.path("config.toml"), &sources(), TODAY)
    }

    /// Loads what must be sound.
    pub(crate) fn config(&self) -> Config {
        let complete = self.load().complete();
        complete.map_err(|diagnostics| diagnostics.render(false)).expect("a sound configuration").0
    }

    /// Writes what loading says and gives, with this folder's own path taken out.
    fn report(&self) -> String {
        let loaded = self.load();
        let mut text = loaded.diagnostics.render(false);
        let sites = loaded.config.map(|config| config.sites.into_keys().map(String::from).collect::<Vec<_>>());
        let broken = loaded.broken_sites.into_iter().map(|site| site.id.map_or("?".to_owned(), String::from));
        text +=
            &format!("\nsites: {}\n", sites.map_or("none, config.toml is broken".to_owned(), |sites| sites.join(" ")));
        text += &format!("broken sites: {}\n", broken.collect::<Vec<_>>().join(" "));
        text += &format!("broken mappings: {}\n", loaded.broken_mappings.join(" "));
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        lines.join("\n").replace(&format!("{}/", self.0.path().display()), "") + "\n"
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn site(id: &str) -> SiteId {
    SiteId::parse(id).expect("an id")
}

pub(crate) fn site_of<'a>(config: &'a Config, id: &str) -> &'a Arc<Site> {
    config.sites.get(&site(id)).expect("a site of that id")
}

pub(crate) const ACME: &str = "id = \"acme\"\nregion = \"US\"\npublic_key = \"wp_pk_acme_0123456789abcdef\"\nsecret_key = { env = \"ACME_SECRET\" }\nwpforms_secret = \"x\"\n";

#[test]
fn every_case_is_reported_as_expected() {
    let mut cases: Vec<_> =
        fs::read_dir(root().join("fixtures/config")).expect("cases").map(|case| case.expect("a case").path()).collect();
    cases.sort();
    let mut failures = Vec::new();
    for case in &cases {
        let found = Folder::copy(case).report();
        let file = case.join("expected.txt");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&file, &found).expect("written");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            failures.push(format!("{}\n--- expected\n{expected}--- found\n{found}", case.display()));
        }
        if found.contains("hush") {
            failures.push(format!(
                "{} shows a secret:
{found}",
                case.display()
            ));
        }
    }
    assert!(cases.len() >= 8, "only {} cases", cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_example_has_no_error_and_lacks_only_its_keys() {
    let loaded = load(&root().join("config.example.toml"), &Sources::with_environment([]), TODAY);
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics.render(false));
    assert_eq!(loaded.diagnostics.count(Severity::Warning), 1, "it has no token: {}", loaded.diagnostics.render(false));
    assert_eq!(loaded.diagnostics.count(Severity::Unresolved), 2, "{}", loaded.diagnostics.render(false));
    assert!(loaded.diagnostics.render(false).contains("formgate sandbox --keys"));
    assert!(loaded.complete().is_err());
}

#[test]
fn the_example_works_beside_the_sandbox_and_says_that_a_token_is_needed() {
    let folder = Folder::of(&[
        ("config.toml", &fs::read_to_string(root().join("config.example.toml")).expect("the example")),
        ("data/sandbox/public_key", "wp_pk_a_0123456789abcdef\n"),
        ("data/sandbox/secret_key", "wp_sk_a_0123456789abcdef\n"),
    ]);
    let (config, diagnostics) = folder.load().complete().expect("a configuration");
    assert_eq!(site_of(&config, "example").keys.as_ref().expect("keys").secret().expose(), "wp_sk_a_0123456789abcdef");
    assert_eq!(diagnostics.count(Severity::Warning), 1);
    assert!(diagnostics.render(false).contains("run `formgate sites token example`"));
}

#[test]
fn the_example_says_the_defaults() {
    let example = fs::read_to_string(root().join("config.example.toml")).expect("the example");
    let bare: Vec<_> = example.lines().take_while(|line| *line != "[[site]]").collect();
    let stated =
        Folder::of(&[("config.toml", &bare.join("\n").replace("http://127.0.0.1:9090", "https://www.kaicalls.com"))]);
    let silent = Folder::of(&[("config.toml", "[server]\n")]);
    let show = |folder: &Folder| {
        let Config { server, admin, upstream, queue, limits, alerts, .. } = folder.config();
        let shown = format!("{server:#?} {admin:#?} {upstream:#?} {queue:#?} {limits:#?} {alerts:#?}");
        shown.replace(&folder.0.path().display().to_string(), "")
    };
    assert_eq!(show(&stated), show(&silent));
}

#[test]
fn the_example_holds_every_key() {
    let example = fs::read_to_string(root().join("config.example.toml")).expect("the example");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: std::collections::HashSet<_> = example.split(|c| !is_word(c)).collect();
    let missing: Vec<_> =
        CONFIG_KEYS.iter().flat_map(|table| table.keys).filter(|key| !words.contains(key.name)).collect();
    assert!(missing.is_empty(), "config.example.toml does not mention {missing:?}");
    assert!(MAPPING_KEYS.iter().any(|table| table.get("detect").is_some()));
}

#[test]
fn what_the_example_shows_in_comments_is_right_too() {
    let example = fs::read_to_string(root().join("config.example.toml")).expect("the example");
    let shown = |line: &&str| {
        ["# [site.", "# [[site.", "# [backup]", "# [mail]", "# [[notify]]"].iter().any(|table| line.starts_with(table))
            || line.split_once(" = ").is_some_and(|(key, _)| !key.trim_start_matches("# ").contains(' '))
    };
    let lines: Vec<_> = example
        .lines()
        .filter(|line| !line.contains("<64 hex>"))
        .map(|line| line.strip_prefix("# ").filter(|_| shown(&line)).unwrap_or(line))
        .collect();
    let text = lines.join("\n");
    assert!(text.contains("\n[site.forms.contact]\n") && text.contains("\ntls = "), "{text}");
    let folder = Folder::of(&[("config.toml", &text)]);
    let sources = Sources::with_environment([
        ("FORMGATE_ADMIN_TOKEN", "0123456789abcdef"),
        ("EXAMPLE_WPFORMS", "sign-here"),
        ("CONTACT_PUBLIC_KEY", "wp_pk_contact_0123456789"),
        ("CONTACT_SECRET_KEY", "wp_sk_a_0123456789abcdef"),
        ("MAIL_PASSWORD", "hush"),
        ("OPS_WEBHOOK", "https://hooks.example/hush"),
        ("OPS_WEBHOOK_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ]);
    let diagnostics = load(&folder.path("config.toml"), &sources, TODAY).diagnostics;
    assert!(!diagnostics.has_errors(), "{}", diagnostics.render(false));
    assert_eq!(diagnostics.count(Severity::Unresolved), 4, "{}", diagnostics.render(false));
}

#[test]
fn a_file_cut_anywhere_is_reported_without_its_secrets() {
    let case = root().join("fixtures/config/sound");
    let folder = Folder::copy(&case);
    for name in ["config.toml", "sites/acme.toml", "mappings/mine.toml"] {
        let whole = fs::read_to_string(case.join(name)).expect("text");
        for (cut, _) in whole.char_indices().step_by(7) {
            folder.write(name, whole.get(..cut).expect("a boundary"));
            let report = folder.report();
            assert!(!report.contains("hush"), "{name} cut at {cut}:\n{report}");
        }
        folder.write(name, &whole);
    }
    assert!(folder.load().diagnostics.is_empty());
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let folder = Folder::of(&[
        ("config.toml", "[queue]\nurl = \"sqlite:store/a.db\"\n"),
        ("sites/acme.toml", &ACME.replace("{ env = \"ACME_SECRET\" }", "{ file = \"../secrets/acme\" }")),
        ("secrets/acme", "wp_sk_filed_0123456789abcdef\r\n"),
    ]);
    let config = folder.config();
    assert_eq!(config.queue.url, StoreUrl::Sqlite(folder.path("store/a.db")));
    assert_eq!(site_of(&config, "acme").keys.as_ref().expect("keys").secret().expose(), "wp_sk_filed_0123456789abcdef");
}

#[test]
fn a_secret_may_be_a_credential_of_the_unit() {
    let folder = Folder::of(&[
        ("config.toml", "[server]\n"),
        ("sites/acme.toml", &ACME.replace("{ env = \"ACME_SECRET\" }", "{ file = \"acme_sk\" }")),
        ("credentials/acme_sk", "wp_sk_unit_0123456789abcdef"),
    ]);
    folder.allow("credentials/acme_sk", 0o440);
    let credentials = folder.path("credentials");
    let sources = Sources::with_environment([("CREDENTIALS_DIRECTORY", credentials.to_str().expect("a path"))]);
    let (config, diagnostics) = load(&folder.path("config.toml"), &sources, TODAY).complete().expect("a configuration");
    assert_eq!(site_of(&config, "acme").keys.as_ref().expect("keys").secret().expose(), "wp_sk_unit_0123456789abcdef");
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
    let whole = format!("{{ file = \"{}\" }}", credentials.join("acme_sk").display());
    folder.write("sites/acme.toml", &ACME.replace("{ env = \"ACME_SECRET\" }", &whole));
    let (_config, diagnostics) =
        load(&folder.path("config.toml"), &sources, TODAY).complete().expect("by its path too");
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(false));
}

#[test]
fn secrets_that_others_can_read_are_warned_of() {
    let folder = Folder::of(&[
        ("config.toml", "[server]\n"),
        ("sites/acme.toml", &ACME.replace("{ env = \"ACME_SECRET\" }", "{ file = \"../acme_sk\" }")),
        ("acme_sk", "wp_sk_a_0123456789abcdef"),
    ]);
    assert!(folder.load().diagnostics.is_empty());
    folder.allow("acme_sk", 0o640);
    folder.allow("sites/acme.toml", 0o604);
    let diagnostics = folder.load().diagnostics;
    assert_eq!(diagnostics.count(Severity::Warning), 2, "{}", diagnostics.render(false));
    assert!(!diagnostics.prevent_serving());
}

#[test]
fn a_key_of_tls_that_others_can_read_is_warned_of() {
    let server = "[server]\ntls = { cert = \"tls.pem\", key = \"tls.key\" }\n";
    let folder = Folder::of(&[("config.toml", server), ("sites/acme.toml", ACME), ("tls.pem", ""), ("tls.key", "")]);
    folder.allow("tls.pem", 0o644);
    assert!(folder.load().diagnostics.is_empty(), "everybody is shown the certificate");
    folder.allow("tls.key", 0o644);
    let report = folder.report();
    assert!(report.contains("warning: `key`: other users can read the file\n --> config.toml:2:"), "{report}");
}

#[test]
fn keys_left_out_move_with_those_given() {
    let folder = Folder::of(&[(
        "config.toml",
        "[server]\nmax_body = \"50MiB\"\n[queue]\nretry = { max = \"2s\" }\n[limits]\nsite = { over = \"hold\" }\n",
    )]);
    let config = folder.config();
    assert_eq!((config.server.max_upload, config.server.max_reading), (50 << 20, 256 << 20));
    assert_eq!(config.queue.retry.first, Duration::from_secs(2));
    assert_eq!(config.limits.site.burst.get(), 60);
}

#[test]
fn an_own_mapping_replaces_the_shipped_one_unless_it_is_its_copy() {
    let shipped = fs::read_to_string(root().join("mappings/generic.toml")).expect("a mapping");
    let folder = Folder::of(&[
        ("config.toml", "[server]\n"),
        ("mappings/generic.toml", &shipped),
        ("mappings/wpforms.toml", "title = \"Mine\""),
    ]);
    let config = folder.config();
    let is_own = |name: &str| config.mappings.get(name).map(|mapping| mapping.own);
    assert_eq!((is_own("generic"), is_own("wpforms"), is_own("elementor")), (Some(false), Some(true), Some(false)));
}

/// Writes the file of each of many sites.
fn fleet(folder: &Folder, count: usize, site: impl Fn(usize) -> String) {
    for number in 0..count {
        folder.write(&format!("sites/s{number:04}.toml"), &site(number));
    }
}

fn bare_site(number: usize) -> String {
    format!("id = \"s{number:04}\"\npublic_key = \"wp_pk_short\"\nsecret_key = \"wp_sk_short\"\n")
}

#[test]
fn what_a_fleet_shares_is_told_once() {
    let folder = Folder::of(&[("config.toml", "[server]\n")]);
    fleet(&folder, 300, bare_site);
    for number in 0..300 {
        folder.allow(&format!("sites/s{number:04}.toml"), 0o644);
    }
    let loaded = folder.load();
    let told = loaded.diagnostics.render(false);
    assert!(told.lines().count() < 30, "{told}");
    for line in [
        "warning: 300 sites have no token, so nobody can post to them: s0000, s0001, s0002 and 297 more sites",
        "warning: 300 sites have no `region`: phone numbers without + are sent as typed: s0000, s0001, s0002 and 297 more sites",
        "warning: 299 sites share a key pair: KaiCalls can't tell their leads apart: s0001, s0002, s0003 and 296 more sites",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is missing in\n{told}");
    }
    let readable = format!(
        "warning: other users can read 300 files with secrets in {}: s0000.toml, s0001.toml, s0002.toml and 297 more files",
        folder.path("sites").display()
    );
    assert!(told.lines().any(|told| told == readable), "{told}");
    assert!(!told.contains("short"), "a key is shown:\n{told}");
    let also = loaded.diagnostics.iter().map(|diagnostic| diagnostic.also.len()).max();
    assert_eq!(also, Some(599), "a program is told every place");
}

/// Gives the warnings of a sound `config.toml`, each with its place.
fn warned(config: &str) -> Vec<String> {
    let folder = Folder::of(&[("config.toml", config), ("sites/acme.toml", ACME), ("a.pem", ""), ("a.key", "")]);
    let diagnostics = folder.load().diagnostics;
    assert!(!diagnostics.prevent_serving(), "{}", diagnostics.render(false));
    diagnostics.iter().map(|diagnostic| format!("{} {}", diagnostic.location(), diagnostic.message)).collect()
}

#[test]
fn proxies_that_nobody_believes_are_warned_of() {
    for (unheard, what) in [
        ("[server]\ntrusted_proxies = [\"10.0.0.2/32\"]\n", "2:19 without `client_address`, all visitors"),
        ("[server]\nclient_address = \"x-real-ip\"\ntrusted_proxies = []\n", "2:18 `client_address` has no effect"),
        ("[server]\nlisten = \"10.0.0.1:80\"\nclient_address = \"x-real-ip\"\n", "3:18 `client_address` counts only"),
    ] {
        let told = warned(unheard);
        assert!(told.len() == 1 && told[0].contains(&format!("config.toml:{what}")), "{told:?}");
    }
}

#[test]
fn doors_that_stand_open_are_warned_of() {
    let plain = warned("[server]\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:80\", \"[2001:db8::1]:80\"]\n");
    assert_eq!(plain.len(), 2, "{plain:?}");
    assert!(plain[0].contains("config.toml:2:26 plain HTTP on a public address (every interface)"), "{plain:?}");
    assert!(plain[1].contains("config.toml:2:40 plain HTTP on a public address:"), "{plain:?}");
    for sound in [
        "[server]\nlisten = [\"10.0.0.1:80\", \"127.0.0.1:80\", \"[fd00::1]:80\"]\n",
        "[server]\nlisten = \"0.0.0.0:443\"\ntls = { cert = \"a.pem\", key = \"a.key\" }\n",
        "[server]\nlisten = \"0.0.0.0:8080\"\npublic_url = \"https://gate.example\"\n",
        "[server]\nclient_address = \"x-forwarded-for\"\ntrusted_proxies = [\"10.0.0.0/8\", \"172.16.0.0/12\"]\n",
        "[server]\nclient_address = \"x-forwarded-for\"\n",
        "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n",
    ] {
        assert_eq!(warned(sound), [""; 0], "{sound}");
    }
    let admin = warned("[admin]\nlisten = \"[::]:8081\"\n");
    assert!(
        admin.len() == 1
            && admin[0].contains("config.toml:2:10 the admin listener uses plain HTTP on a public address"),
        "{admin:?}"
    );
    let halves =
        warned("[server]\nclient_address = \"x-real-ip\"\ntrusted_proxies = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n");
    assert!(halves.len() == 1 && halves[0].contains("trusts every IPv4 address"), "{halves:?}");
    assert!(halves[0].contains("`x-real-ip`"), "{halves:?}");
}

#[test]
fn backups_of_a_store_in_memory_are_warned_of() {
    let told = |config: &str| {
        let diagnostics = Folder::of(&[("config.toml", config), ("sites/acme.toml", ACME)]).load().diagnostics;
        assert!(!diagnostics.prevent_serving(), "{}", diagnostics.render(false));
        diagnostics.iter().map(|it| format!("{} {}", it.location(), it.message)).collect::<Vec<_>>()
    };
    let warned = told("[queue]\nurl = \"memory:\"\n[backup]\nto = \"backups\"\n");
    assert!(warned.len() == 1 && warned[0].contains("makes no copies: the store is in memory"), "{warned:?}");
    assert_eq!(told("[backup]\nto = \"backups\"\n"), [""; 0]);
}

#[test]
fn a_certificate_that_ends_is_warned_of() {
    let server = "[server]\ntls = { cert = \"chain.pem\", key = \"a.key\" }\n";
    let folder = Folder::of(&[("config.toml", server), ("sites/acme.toml", ACME), ("a.key", "")]);
    let warned = |certificate: &str, today: Date| {
        fs::copy(root().join("tests/it/tls").join(certificate), folder.path("chain.pem")).expect("copied");
        let diagnostics = load(&folder.path("config.toml"), &sources(), today).diagnostics;
        assert!(!diagnostics.prevent_serving());
        diagnostics.iter().map(|diagnostic| (diagnostic.location(), diagnostic.message.clone())).collect::<Vec<_>>()
    };
    for (certificate, today, expected) in [
        ("good.pem", TODAY, None),
        ("expired.pem", date(2020, 12, 17), None),
        ("expired.pem", date(2020, 12, 18), Some("expires in 14 days, on 2021-01-01")),
        ("expired.pem", date(2020, 12, 31), Some("expires tomorrow")),
        ("expired.pem", date(2021, 1, 1), Some("expires today")),
        ("expired.pem", TODAY, Some("expired on 2021-01-01: clients refuse it")),
        ("ca.pem", date(2026, 11, 20), Some("is not valid before 2026-11-21: clients refuse it until then")),
    ] {
        let warned = warned(certificate, today);
        match expected {
            None => assert!(warned.is_empty(), "{certificate} {today}: {warned:?}"),
            Some(expected) => {
                let [(place, message)] = warned.as_slice() else { panic!("{certificate} {today}: {warned:?}") };
                assert!(place.ends_with("config.toml:2:16") && message.ends_with(expected), "{place} {message}");
            }
        }
    }
}

#[test]
fn a_pair_of_keys_belongs_to_one_site() {
    let branch = "public_key = \"wp_pk_branch_0123456789abcdef\"\nsecret_key = \"wp_sk_branch_0123456789abcdef\"\n";
    let folder = Folder::of(&[
        ("config.toml", "[server]\n"),
        ("sites/acme.toml", &format!("{ACME}[forms.a]\n{branch}[forms.b]\n{branch}")),
        ("sites/beta.toml", &ACME.replace("acme", "beta")),
    ]);
    assert_eq!(folder.load().diagnostics.count(Severity::Warning), 0, "forms of one site may share a branch's pair");
    folder.write("sites/gamma.toml", &format!("id = \"gamma\"\nregion = \"US\"\nwpforms_secret = \"x\"\n{branch}"));
    let told = folder.load().diagnostics.render(false);
    assert!(told.contains("warning: site `gamma` has the same key pair as site `acme`, at "), "{told}");
    assert!(!told.contains("sk_branch"), "{told}");
}

#[test]
fn no_file_and_no_text_are_said_plainly() {
    let folder = Folder::of(&[]);
    assert!(folder.report().starts_with("error: can't be read: "), "{}", folder.report());
    fs::write(folder.path("config.toml"), b"a = \"\xff\"").expect("written");
    assert!(folder.report().starts_with("error: is not valid UTF-8 at byte 5\n"), "{}", folder.report());
}

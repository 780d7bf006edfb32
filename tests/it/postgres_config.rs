//! `[queue]` with a PostgreSQL store: where its URL may stand, what is kept beside it, and what is said about it.

use std::fs;

use formgate::config::{self, Config, Sources, StoreUrl, load};

use super::config::{ACME, Folder, TODAY};

const URL: &str = "postgres://formgate:hush@db1.example:5433,db2.example/leads";

fn store_of(config: &Config) -> String {
    let StoreUrl::Postgres(url) = &config.queue.url else { panic!("{:?}", config.queue.url) };
    assert_eq!(url.config().get_password(), Some(b"hush".as_slice()));
    url.to_string()
}

fn with(queue: &str) -> Folder {
    Folder::of(&[("config.toml", queue), ("sites/acme.toml", ACME), ("secrets/database", &format!("{URL}\n"))])
}

fn loaded(folder: &Folder, sources: &Sources) -> Result<Config, String> {
    let complete = load(&folder.path("config.toml"), sources, TODAY).complete();
    complete.map(|(config, _)| config).map_err(|diagnostics| diagnostics.render(false))
}

fn sources() -> Sources {
    Sources::with_environment([("ACME_SECRET", "wp_sk_acme_0123456789abcdef"), ("DATABASE_URL", URL)])
}

#[test]
fn the_url_may_stand_where_secrets_stand() {
    for queue in [
        format!("[queue]\nurl = \"{URL}\"\n"),
        "[queue]\nurl = { env = \"DATABASE_URL\" }\n".to_owned(),
        "[queue]\nurl = { file = \"secrets/database\" }\n".to_owned(),
    ] {
        let config = loaded(&with(&queue), &sources()).expect("a configuration");
        assert_eq!(store_of(&config), "postgres://db1.example:5433,db2.example/leads", "{queue}");
    }
}

#[test]
fn what_is_kept_beside_a_database_lies_beside_the_configuration() {
    let folder = with("[queue]\nurl = { env = \"DATABASE_URL\" }\n");
    let config = loaded(&folder, &sources()).expect("a configuration");
    assert_eq!(config.data_folder(), Some(&*folder.path("data")));
    folder.write("config.toml", &format!("[server]\ndata = \"elsewhere\"\n[queue]\nurl = \"{URL}\"\n"));
    let config = loaded(&folder, &sources()).expect("a configuration");
    assert_eq!(config.data_folder(), Some(&*folder.path("elsewhere")));
}

#[test]
fn authorities_are_relative_to_the_configuration() {
    let folder = with("[queue]\nurl = \"postgres://u@db.example/leads?sslrootcert=ca.pem\"\n");
    let config = loaded(&folder, &sources()).expect("a configuration");
    let StoreUrl::Postgres(url) = config.queue.url else { panic!("{:?}", config.queue.url) };
    assert!(format!("{:?}", url.tls()).contains(folder.path("ca.pem").to_str().expect("a path")), "{:?}", url.tls());
}

#[test]
fn a_url_that_is_missing_or_wrong_is_an_error_and_never_another_store() {
    for (queue, said) in [
        ("{ env = \"NOT_SET\" }", "`url`: the environment variable `NOT_SET` is not set"),
        ("{ file = \"gone\" }", "gone doesn't exist"),
        ("{ env = \"ACME_SECRET\" }", "`url` isn't a store"),
        ("\"postgres://u:hush@db.example\"", "`url` isn't the URL of a PostgreSQL store: it names no database"),
        ("\"mysql://u:hush@db.example/leads\"", "postgres://USER:PASSWORD@HOST/DATABASE"),
        ("3", "`url` must be a string, { env = \"NAME\" } or { file = \"path\" }"),
    ] {
        let folder = with(&format!("[queue]\nurl = {queue}\n"));
        let told = loaded(&folder, &sources()).expect_err("an error");
        assert!(told.contains(said) && told.contains("config.toml:2:"), "{queue}: {told}");
        assert!(!told.contains("hush"), "{told}");
        let starting = config::start(&folder.path("config.toml"), &sources(), TODAY);
        assert!(starting.in_force.is_none(), "{queue}: it would start with another store");
    }
}

#[test]
fn whoever_only_maps_needs_no_database() {
    let folder = with("[queue]\nurl = { env = \"NOT_SET\" }\n");
    let sources = Sources::with_environment([]).with_stand_ins();
    let config = loaded(&folder, &sources).expect("a configuration");
    assert_eq!(config.queue.url, StoreUrl::Memory);
}

#[test]
fn others_may_not_read_a_file_with_the_password() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = with("[queue]\nurl = { file = \"secrets/database\" }\n");
    fs::set_permissions(folder.path("secrets/database"), fs::Permissions::from_mode(0o644)).expect("permissions");
    let told = load(&folder.path("config.toml"), &sources(), TODAY).diagnostics.render(false);
    assert!(told.contains("`url`: other users can read the file"), "{told}");
}

#[test]
fn copies_of_a_database_are_not_the_gateways_to_make() {
    let folder = with(&format!("[queue]\nurl = \"{URL}\"\n[backup]\nto = \"backups\"\n"));
    let told = loaded(&folder, &sources()).expect_err("an error");
    assert!(told.contains("[backup] copies a SQLite store") && told.contains("pg_basebackup"), "{told}");
    // A gateway that is deployed all the same takes leads.
    let (config, _) = config::start(&folder.path("config.toml"), &sources(), TODAY).in_force.expect("it starts");
    assert_eq!(config.backup, None);
}

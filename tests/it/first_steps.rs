//! What a newcomer does first, with the program alone: `demo` and `init`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::cli::Place;

#[test]
fn the_demo_needs_nothing_but_the_program() {
    let place = Place::of(&[]);
    let ran = place.run(&["demo"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.data, ran.talk);
    assert!(ran.data.contains("contact-form-7  01-webhook-default-basic "), "{}", ran.data);
    assert!(ran.talk.contains("each became the expected lead"), "{}", ran.talk);
    assert_eq!(fs::read_dir(place.path("")).expect("a folder").count(), 0, "nothing stays behind");
}

#[test]
fn the_demo_fails_where_a_submission_becomes_another_lead() {
    let request = "POST /hooks/a/contact HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                   Content-Length: 40\r\n\r\nname=Jane&email=j%40b.co&message=Hi+you!";
    let lead = r#"{"expect": {"name": "Jane", "email": "j@b.co", "message": "Hi"}}"#;
    let ran = Place::of(&[("x/a.http", request), ("x/a.json", lead)]).run(&["demo", "--fixtures", "."]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.data, ran.talk);
    assert!(ran.talk.contains("1 submission didn't become what was expected"), "{}", ran.talk);
}

#[test]
fn init_makes_what_check_takes_and_shows_the_url_once() {
    let place = Place::of(&[]);
    let line =
        ["init", "gate", "--url", "https://www.acme-dental.example/", "--name", "Acme \"Dental\"", "--region", "US"];
    let ran = place.run(&[&line[..], &["--public-url", "https://gate.agency.example", "--output", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let json = ran.json();
    let token = json["token"].as_str().expect("a token");
    let url = format!("https://gate.agency.example/hooks/acme-dental?token={token}");
    assert_eq!(json["url_with_token"], *url);
    let site = fs::read_to_string(place.path("gate/sites/acme-dental.toml")).expect("the site");
    assert!(!site.contains(token) && site.contains(r#"name = "Acme \"Dental\"""#), "{site}");
    for (folder, mode) in [("data", 0o700), ("secrets", 0o700)] {
        let made = fs::metadata(place.path("gate").join(folder)).expect("a folder");
        assert_eq!(made.permissions().mode() & 0o777, mode, "{folder}");
    }
    assert_eq!(fs::read_to_string(place.path("gate/.gitignore")).expect("written"), "/data/\n/secrets/\n*.paste.csv\n");
    assert!(ran.talk.contains("write the site's KaiCalls key pair into gate/secrets/acme-dental_public_key"));
    assert!(!ran.talk.contains("public_url"), "{}", ran.talk);

    let checked = place.run(&["check", "--config", "gate/config.toml", "--output", "json"]).json();
    assert_eq!((checked["errors"].as_u64(), checked["unresolved"].as_u64()), (Some(0), Some(2)), "{checked}");
    assert_eq!(checked["sites"], 1, "a site whose keys are yet to come is one");
    let told = place.run(&["check", "--config", "gate/config.toml"]).data;
    assert!(told.contains("the file gate/secrets/acme-dental_public_key doesn't exist"), "{told}");
    for (name, key) in [("public_key", "wp_pk_0123456789abcdef"), ("secret_key", "wp_sk_0123456789abcdef")] {
        fs::write(place.path(&format!("gate/secrets/acme-dental_{name}")), key).expect("written");
    }
    let checked = place.run(&["check", "--config", "gate/config.toml", "--output", "json"]).json();
    assert_eq!((checked["errors"].as_u64(), checked["unresolved"].as_u64()), (Some(0), Some(0)), "{checked}");
    assert_eq!(checked["sites"], 1);
}

#[test]
fn init_writes_for_a_container_what_it_is_told() {
    let place = Place::of(&[]);
    let ran = place.run(&["init", "gate", "--listen", "0.0.0.0:8080", "--data", "/var/lib/formgate-of-no-one"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    let config = fs::read_to_string(place.path("gate/config.toml")).expect("written");
    for line in [
        r#"listen = "0.0.0.0:8080" "#,
        r#"data = "/var/lib/formgate-of-no-one" "#,
        r#"url = "sqlite:/var/lib/formgate-of-no-one/formgate.db" "#,
    ] {
        assert!(config.lines().any(|it| it.starts_with(line)), "{line}\n{config}");
    }
    let made = |path: &str| place.path(path).exists();
    assert!(!made("gate/data") && !made("/var/lib/formgate-of-no-one"), "the gateway makes it where it runs");
    assert_eq!(fs::read_to_string(place.path("gate/.gitignore")).expect("written"), "/secrets/\n*.paste.csv\n");
}

#[test]
fn a_gateway_without_a_configuration_says_how_to_come_by_one() {
    let place = Place::of(&[("broken.toml", "[server")]);
    let gone = place.run(&["serve", "--config", "etc/formgate/config.toml"]);
    assert_eq!(gone.code, 78, "{}", gone.talk);
    assert!(gone.talk.contains("etc/formgate/config.toml doesn't exist"), "{}", gone.talk);
    assert!(gone.talk.contains("`formgate init etc/formgate`; in a container, mount the folder"), "{}", gone.talk);
    let broken = place.run(&["serve", "--config", "broken.toml"]);
    assert_eq!(broken.code, 78, "{}", broken.talk);
    assert!(
        broken.talk.contains("broken.toml has errors") && !broken.talk.contains("formgate init"),
        "{}",
        broken.talk
    );
}

#[test]
fn init_overwrites_nothing() {
    let ours = "# ours\n";
    for file in ["config.toml", "sites/example.toml"] {
        let place = Place::of(&[(file, ours)]);
        let ran = place.run(&["init"]);
        assert_eq!(ran.code, 2, "{}", ran.data);
        assert!(ran.talk.contains("already exists; nothing was written"), "{}", ran.talk);
        assert_eq!(fs::read_to_string(place.path(file)).expect("it is there"), ours);
        assert!(!place.path("data").exists() && !place.path(".gitignore").exists());
    }
    let place = Place::of(&[(".gitignore", "/target\n/data")]);
    assert_eq!(place.run(&["init"]).code, 0);
    assert_eq!(fs::read_to_string(place.path(".gitignore")).expect("kept"), "/target\n/data\n/secrets/\n*.paste.csv\n");
}

#[test]
fn init_writes_nothing_that_check_would_refuse() {
    let wrong: [&[&str]; 4] =
        [&["--region", "Mars"], &["--public-url", "gate"], &["--url", "no address"], &["--site", "Not An Id"]];
    for wrong in wrong {
        let place = Place::of(&[]);
        let ran = place.run(&[&["init"], wrong].concat());
        assert_eq!((ran.code, ran.data.as_str()), (2, ""), "{wrong:?}: {}", ran.talk);
        assert_eq!(fs::read_dir(place.path("")).expect("a folder").count(), 0, "{wrong:?}");
    }
}

#[test]
fn init_without_a_public_url_says_that_its_url_is_local() {
    let ran = Place::of(&[]).run(&["init"]);
    assert_eq!(ran.code, 0, "{}", ran.talk);
    assert!(ran.data.contains("  http://127.0.0.1:8080/hooks/example?token=fg_"), "{}", ran.data);
    assert!(ran.talk.contains("set [server].public_url"), "{}", ran.talk);
}

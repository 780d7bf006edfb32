//! What is said of each key is so: its default, whether it is required, and that it is described at all.

use formgate::config::{CONFIG_KEYS, Config, Key, KeyDefault, KeyShape, KnownKeys, MAPPING_KEYS};
use formgate::map::OnInvalid;

use crate::config::{ACME, Folder, site_of};

/// Tables that need something in them, and so are looked at by themselves.
const APART: [&str; 5] = ["backup", "notify", "mail", "site", "alerts"];

/// A file with every required key of a table, each on a line of its own; and whether it is a mapping.
const WITH_REQUIRED: &[(&str, bool, &str)] = &[
    ("tls", false, "[server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\n"),
    ("a listen address", false, "[[server.listen]]\naddress = \"127.0.0.1:0\"\n"),
    ("[backup]", false, "[backup]\nto = \"copies\"\n"),
    ("[mail]", false, "[mail]\nfrom = \"a@agency.example\"\nsmtp = \"smtp://localhost\"\n"),
    (
        "a site",
        false,
        "[[site]]\nid = \"acme\"\npublic_key = \"wp_pk_0123456789\"\nsecret_key = \"wp_sk_0123456789\"\n",
    ),
    ("a token", false, "[[site]]\nid = \"acme\"\n[[site.tokens]]\nsha256 = \"00\"\n"),
    (
        "[forms.*.browser]",
        false,
        "[[site]]\nid = \"acme\"\n[site.forms.a.browser]\norigins = [\"https://acme.example\"]\n",
    ),
    ("a selector", true, "[form.id]\nfield = \"$ Id\"\n"),
    ("[[extras.drop_where]]", true, "[[extras.drop_where]]\nexists = [\"$.a\"]\nfields = [\"b\"]\n"),
    ("[[fields]]", true, "[[fields]]\neach = \"$.a[*]\"\n"),
    ("a label or type", true, "[[fields]]\neach = \"$.a[*]\"\n[fields.label]\nis = \"A\"\n"),
    ("[[combine]]", true, "[[combine]]\nkeys = [\"{n}.a\"]\n"),
    ("[[hold]]", true, "[[hold]]\nkeys = [\"a\"]\nreason = \"spam\"\n"),
    ("[[example]]", true, "[[example]]\nbody = \"a=b\"\nreject = [{ code = \"missing\" }]\n"),
    ("an example's reject", true, "[[example]]\nbody = \"a=b\"\n[[example.reject]]\ncode = \"missing\"\n"),
];

fn tables() -> impl Iterator<Item = &'static KnownKeys> {
    CONFIG_KEYS.iter().chain(&MAPPING_KEYS)
}

fn table(name: &str) -> &'static KnownKeys {
    tables().find(|known| known.table == name).expect(name)
}

/// Writes a default as a file has it; none where none is stated as a value.
fn written(default: KeyDefault) -> Option<String> {
    let quoted = |text: &str| format!("\"{text}\"");
    Some(match default {
        KeyDefault::None | KeyDefault::Required | KeyDefault::Words(_) => return None,
        KeyDefault::Text(text) => quoted(text),
        KeyDefault::Number(number) => number.to_string(),
        KeyDefault::Flag(flag) => flag.to_string(),
        KeyDefault::Texts(texts) => {
            format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
        KeyDefault::Members(members) => {
            let members = members.iter().filter_map(|(name, value)| Some(format!("{name} = {}", written(*value)?)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    })
}

/// Writes the stated defaults of a table's own keys.
fn defaults(known: &KnownKeys) -> String {
    let line = |key: &Key| Some(format!("{} = {}\n", key.name, written(key.default)?));
    known.keys.iter().filter_map(line).collect()
}

/// Writes a table and those within it, as far as they have stated defaults.
fn defaults_below(path: &str, known: &KnownKeys) -> String {
    let mut text = format!("[{path}]\n{}", defaults(known));
    for key in known.keys.iter().filter(|key| written(key.default).is_none()) {
        if let KeyShape::Table(inner) = key.shape
            && table(inner).keys.iter().all(|key| written(key.default).is_some())
        {
            text.push_str(&defaults_below(&format!("{path}.{}", key.name), table(inner)));
        }
    }
    text
}

fn shown(config: &Config, folder: &Folder) -> String {
    let Config { server, admin, upstream, queue, limits, alerts, .. } = config;
    let text = format!("{server:#?} {admin:#?} {upstream:#?} {queue:#?} {limits:#?} {alerts:#?}");
    text.replace(&folder.path("").display().to_string(), "")
}

#[test]
fn every_key_and_table_is_described() {
    for known in tables() {
        assert!(known.about.ends_with('.'), "{}: say what it is, in a sentence", known.table);
        for key in known.keys {
            let is_sentence = key.about.ends_with('.') && !key.about.starts_with(|first: char| first.is_lowercase());
            assert!(is_sentence, "`{}` of {}: say what it does, in a sentence: {}", key.name, known.table, key.about);
        }
    }
}

#[test]
fn what_is_said_to_be_the_default_is_what_counts_in_an_empty_file() {
    let mut text = String::new();
    for key in table("the configuration").keys.iter().filter(|key| !APART.contains(&key.name)) {
        let KeyShape::Table(inner) = key.shape else { panic!("{} is no table: write it into APART", key.name) };
        text.push_str(&defaults_below(key.name, table(inner)));
    }
    text.push_str(&defaults_below("alerts", table("[alerts]")));
    for key in ["dedupe = \"10m\"", "burst = 2000", "[queue.retry]", "mask = false", "overdue = \"30m\""] {
        assert!(text.contains(key), "{key} isn't in\n{text}");
    }
    let stated = Folder::of(&[("config.toml", &text)]);
    let silent = Folder::of(&[("config.toml", "[server]\n")]);
    assert_eq!(shown(&stated.config(), &stated), shown(&silent.config(), &silent), "{text}");
    let limit = Folder::of(&[("config.toml", &format!("[limits.site]\n{}", defaults(table("[limits] site"))))]);
    assert_eq!(limit.config().limits, silent.config().limits);
}

#[test]
fn what_is_said_to_be_the_default_counts_in_a_table_with_only_what_it_must_have() {
    let config = |text: &str| Folder::of(&[("config.toml", text)]).config();
    let apart = |head: &str, known: &str| {
        let text = defaults(table(known));
        assert!(text.lines().count() >= 2, "{known}: {text}");
        (config(head), config(&format!("{head}{text}")))
    };
    let (silent, stated) = apart("[backup]\nto = \"/copies\"\n", "[backup]");
    assert_eq!(silent.backup, stated.backup);
    let (silent, stated) = apart("[[notify]]\nurl = \"https://hooks.example\"\n", "[[notify]]");
    assert!(silent.sinks == stated.sinks && silent.sinks.len() == 1, "{:?}", defaults(table("[[notify]]")));
    let head = ACME.replace("id = ", "[[site]]\nid = ");
    let (silent, stated) = apart(&head, "a site");
    let of = |config: &Config| {
        let site = site_of(config, "acme");
        format!("{:?} {:?} {:?} {:?} {:?}", site.tokens, site.deliver, site.hosts, site.rules, site.notify)
    };
    assert_eq!(of(&silent), of(&stated));
}

#[test]
fn what_is_said_to_be_a_mappings_default_is() {
    let mappings = |text: &str| {
        let folder = Folder::of(&[("config.toml", "[server]\n"), ("mappings/mine.toml", text)]);
        let known = folder.config().mappings;
        let mine = known.get("mine").expect("it is loaded");
        format!("{:?} {:?} {:?}", mine.lead, mine.combine, mine.fields)
    };
    for (head, known) in
        [("[lead.name]\njoin = [\"a\"]\n", "a lead field"), ("[[combine]]\nkeys = [\"{n}.a\"]\n", "[[combine]]")]
    {
        let text = defaults(table(known));
        assert!(!text.is_empty(), "{known}");
        assert_eq!(mappings(head), mappings(&format!("{head}{text}")), "{known}");
    }
    // Its example is run when it is loaded.
    let example = "[[example]]\nbody = '{\"email\":\"a@b.example\",\"message\":\"Hi\",\"size\":\"L\"}'\n\
                   lead = { message = \"Hi\\n\\nSize: L\" }\n";
    let extras = defaults(table("[extras]"));
    assert_eq!(extras, "to = \"message\"\n");
    assert_eq!(mappings(example), mappings(&format!("[extras]\n{extras}{example}")));
    let on_invalid = table("a mapping").get("on_invalid").and_then(|key| written(key.default));
    assert_eq!((on_invalid.as_deref(), OnInvalid::default()), (Some("\"hold\""), OnInvalid::Hold));
}

#[test]
fn what_is_said_to_be_required_is() {
    for known in tables() {
        for key in known.keys.iter().filter(|key| matches!(key.default, KeyDefault::Required)) {
            let sample = WITH_REQUIRED.iter().find(|(table, ..)| *table == known.table);
            let (_, is_mapping, text) = sample.unwrap_or_else(|| panic!("add {} to WITH_REQUIRED", known.table));
            let begin = format!("{} = ", key.name);
            let without: String = text.split_inclusive('\n').filter(|line| !line.starts_with(&begin)).collect();
            assert_ne!(*text, without, "{text} has no {begin}");
            let said = |text: &str| match is_mapping {
                true => Folder::of(&[("config.toml", "[server]\n"), ("mappings/mine.toml", text)])
                    .load()
                    .diagnostics
                    .render(false),
                false => Folder::of(&[("config.toml", text)]).load().diagnostics.render(false),
            };
            let missing = format!("`{}` is missing in {}", key.name, known.table);
            assert!(said(&without).contains(&missing), "{without}{}", said(&without));
            assert!(!said(text).contains(&missing), "{text}{}", said(text));
        }
    }
}

//! `formgate explain`.

mod view;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;

use super::capture::{CAPTURE_MAX, Capture};
use super::cases;
use super::console::{Console, Format};
use super::error::Error;
use super::exit::Exit;
use super::rules::{ConfigArg, LoadedRules, Met};
use crate::lead::overlay::Overlay;
use crate::lead::{FormId, SiteId};
use crate::operate::ExplainReport;
use crate::pipeline::{self, Explained, Mappings};
use crate::received::Received;
use crate::telemetry;

/// Shows what becomes of one submission, and why.
///
/// Shows its fields, the lead, the rule behind each value, and what is left out. Stores and sends nothing. Without a
/// configuration, it uses the shipped mappings.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The site whose rules apply [default: the one in the captured URL, else none]
    #[arg(long, value_name = "SITE", value_parser = SiteId::parse)]
    site: Option<SiteId>,
    /// The form, as named in the webhook URL
    #[arg(long, value_name = "FORM", value_parser = FormId::parse)]
    form: Option<FormId>,
    /// Read FILE as a body without headers, of this media type
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// A captured request (.http), or with --content-type just a body; - reads standard input
    file: PathBuf,
}

/// A submission and everything the pipeline says about it.
struct Subject<'a> {
    received: &'a Received,
    explained: &'a Explained,
    /// The mapping that knows the request; none where only the last resort fits.
    plugin: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(received: &'a Received, explained: &'a Explained) -> Self {
        let plugin = explained.explanation.as_ref().and_then(|explanation| explanation.plugin.as_deref());
        Self { received, explained, plugin }
    }
}

pub(super) fn run(args: &ExplainArgs, console: &mut Console) -> Result<Exit, Error> {
    let capture = read(&args.file, args.content_type.as_deref())?;
    let rules = LoadedRules::load(&args.config, console)?;
    if args.output == Format::Text {
        rules.mention_problems(console);
    }
    let met = rules.meet(args.site.as_ref(), args.form.as_ref(), &capture)?;
    let received = capture.received();
    let explained = explain(&rules.mappings, &met, &received);
    let subject = Subject::of(&received, &explained);
    match args.output {
        Format::Json => console.json(&ExplainReport::of(&explained))?,
        Format::Text => {
            let text = view::text(&subject, console.paint());
            console.data(text)?;
        }
    }
    Ok(Exit::Ok)
}

fn explain(mappings: &Mappings, met: &Met, received: &Received) -> Explained {
    telemetry::catch(|| pipeline::explain(mappings, &met.site, met.form.as_ref(), received))
        .unwrap_or_else(|_panicked| pipeline::panicked(&met.site, met.form.as_ref(), &Overlay::default()))
}

/// Reads a capture, or a bare body of a media type.
fn read(path: &Path, content_type: Option<&str>) -> Result<Capture, Error> {
    let bytes = read_bytes(path).map_err(Error::usage)?;
    if let Some(content_type) = content_type {
        return Ok(Capture {
            method: "POST".to_owned(),
            target: b"/".to_vec(),
            headers: vec![("Content-Type".to_owned(), content_type.as_bytes().to_vec())],
            body: Bytes::from(bytes),
        });
    }
    Capture::parse(&bytes).map_err(|bad| {
        let error = Error::usage(bad).context(format!("{} is not a captured request", path.display()));
        error.hint("if it is just a body, name its media type: --content-type application/json")
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, anyhow::Error> {
    if path != Path::new("-") {
        return cases::read_file(path, CAPTURE_MAX);
    }
    let mut bytes = Vec::new();
    std::io::stdin().take(CAPTURE_MAX + 1).read_to_end(&mut bytes).context("can't read standard input")?;
    if bytes.len() as u64 > CAPTURE_MAX {
        return Err(anyhow!("standard input is larger than {CAPTURE_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::shipped_mappings;

    const BODY: &str = r#"{"your-name":"Jane Doe","your-email":"jane@example.com","your-message":"Hi\u001b[31m","_wpcf7":"7","your-subject":"Boiler"}"#;

    fn with_subject<T>(content_type: &str, body: &str, told: impl FnOnce(&Subject<'_>) -> T) -> T {
        let capture = Capture {
            method: "POST".to_owned(),
            headers: vec![("content-type".to_owned(), content_type.as_bytes().to_vec())],
            body: Bytes::from(body.to_owned()),
            ..Capture::default()
        };
        let (mappings, _) = shipped_mappings();
        let received = capture.received();
        let explained = explain(&mappings, &Met { site: Default::default(), form: None }, &received);
        told(&Subject::of(&received, &explained))
    }

    fn json(content_type: &str, body: &str) -> serde_json::Value {
        with_subject(content_type, body, |subject| {
            serde_json::to_value(ExplainReport::of(subject.explained)).expect("json")
        })
    }

    #[test]
    fn the_json_has_exactly_the_keys_of_the_contract_in_order() {
        let keys = |value: &serde_json::Value| value.as_object().expect("object").keys().cloned().collect::<Vec<_>>();
        let whole = [
            "plugin",
            "mapping",
            "form",
            "oddities",
            "fields",
            "document",
            "lead",
            "errors",
            "rules",
            "extras",
            "dropped",
            "confidence",
            "candidates",
        ];
        let good = json("application/json", BODY);
        assert_eq!(keys(&good), whole);
        assert_eq!(keys(&good["fields"][0]), ["key", "label", "type", "values", "becomes", "role", "owner"]);
        assert_eq!(keys(&good["rules"]), ["name", "email", "phone", "message"]);
        assert_eq!(keys(&good["lead"]), ["name", "email", "message"]);
        assert_eq!(good["plugin"], "contact-form-7");
        assert_eq!(good["extras"][0], serde_json::json!({"label": "Subject", "value": "Boiler"}));
        assert_eq!(good["dropped"], serde_json::json!(["_wpcf7"]));
        assert_eq!(good["confidence"]["email"], serde_json::json!(1.0));
        assert_eq!(keys(&good["candidates"]["name"][0]), ["keys", "value", "score", "evidence"]);
        assert_eq!(good["candidates"]["name"][0]["evidence"]["label"], 82);
        assert!(good["rules"]["phone"].is_null() && good["rules"]["name"].is_string());
    }

    #[test]
    fn each_field_is_told_by_what_became_of_it_and_not_by_its_value() {
        let became = |body: &str| {
            let told = json("application/json", body);
            let fields = told["fields"].as_array().expect("fields").iter();
            let extra = |field: &serde_json::Value| {
                let index = field["extra"].as_u64().and_then(|index| usize::try_from(index).ok());
                index.map(|index| told["extras"][index]["label"].as_str().expect("a label").to_owned())
            };
            let became = |field: &serde_json::Value| extra(field).unwrap_or_else(|| field["becomes"][0].to_string());
            fields.map(became).collect::<Vec<_>>()
        };
        let lead = r#""name":"Jo Do","email":"jo@example.com","message":"Hi""#;
        // One value inside the other; the same value twice; values that stand in a lead field.
        assert_eq!(
            became(&format!(r#"{{{lead},"photo":"http://x/3","how_many":"3"}}"#)),
            ["\"name\"", "\"email\"", "\"message\"", "Photo", "How many"]
        );
        let body = format!(r#"{{{lead},"photo":"http://x/3","how_many":"3"}}"#);
        let text = with_subject("application/json", &body, |subject| view::text(subject, Default::default()));
        let of_field = text.lines().find(|line| line.trim_start().starts_with("how_many"));
        assert!(of_field.is_some_and(|line| line.ends_with("→ extra \"How many\"")), "{text}");
        assert_eq!(became(&format!(r#"{{{lead},"red":"7","blue":"7"}}"#))[3..], ["Red", "Blue"]);
        assert_eq!(became(&format!(r#"{{{lead},"host":"example.com"}}"#))[3..], ["Host"]);
        let lead = r#""name":"Jo Do","email":"jo@example.com","message":"Hello""#;
        assert_eq!(became(&format!(r#"{{{lead},"again":"Hello","none":""}}"#))[3..], ["\"repeated\"", "\"empty\""]);
    }

    #[test]
    fn a_submission_that_makes_no_lead_is_explained_too() {
        let invalid = json("application/x-www-form-urlencoded", "email=nowhere&x=1");
        assert!(invalid["lead"].is_null() && invalid["plugin"].is_null());
        assert_eq!(
            (invalid["errors"][0]["field"].as_str(), invalid["errors"][0]["code"].as_str()),
            (Some("email"), Some("invalid"))
        );
        let undecodable = json("image/png", "\u{1}");
        assert!(undecodable["document"].is_null() && undecodable["mapping"].is_null());
        assert!(undecodable["errors"][0]["field"].is_null());
        assert_eq!(
            (undecodable["errors"][0]["code"].as_str(), undecodable["form"].as_str()),
            (Some("invalid"), Some("default"))
        );
    }

    #[test]
    fn numbers_stay_as_written_and_parts_in_order() {
        let text = with_subject("application/json", r#"{"z":12345678901234567890123.10,"a":1}"#, |subject| {
            serde_json::to_string(&ExplainReport::of(subject.explained)).expect("json")
        });
        assert!(text.contains(r#""document":{"z":12345678901234567890123.10,"a":1}"#), "{text}");
    }

    #[test]
    fn a_person_sees_what_became_of_each_field_and_no_control_character() {
        let text = with_subject("application/json", BODY, |subject| view::text(subject, Default::default()));
        insta::assert_snapshot!("explain_text", text);
    }

    #[test]
    fn a_person_sees_what_is_wrong_and_the_cure() {
        let body = "email=nowhere&company=ACME+%26+Sons&empty=";
        let text =
            with_subject("application/x-www-form-urlencoded", body, |subject| view::text(subject, Default::default()));
        insta::assert_snapshot!("explain_text_of_an_invalid_one", text);
        let text = with_subject("image/png", "\u{1}", |subject| view::text(subject, Default::default()));
        insta::assert_snapshot!("explain_text_of_an_undecodable_one", text);
    }
}

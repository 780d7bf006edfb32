//! `POST /api/v1/explain`: the engine of a playground.

use serde_json::{Value, json};

use crate::console::stage::{ADMIN, Stage};
use crate::gateway::{self, send, status};

const MAPPING: &str = "[[detect]]\nexists = [\"$.who\"]\n[lead]\nname = \"$.who\"\nemail = \"$.reach\"\n";

async fn explain(stage: &Stage, asked: &Value) -> (u16, Value) {
    let host = stage.gateway.admin();
    let body = asked.to_string();
    let request = format!(
        "POST /api/v1/explain HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = send(host, request).await;
    (status(&answer), gateway::json(&answer))
}

#[tokio::test]
async fn a_body_is_explained_as_the_command_does_and_nothing_is_stored() {
    let stage = Stage::start().await;
    let body = r#"{"your-name":"Ann Lee","your-email":"ann@lee.example","your-tel":"020 7946 0018","budget":"5000"}"#;
    let asked = json!({ "site": "birch-law", "content_type": "application/json", "body": body });
    let (code, told) = explain(&stage, &asked).await;
    assert_eq!((code, &told["lead"]["email"]), (200, &json!("ann@lee.example")), "{told}");
    assert_eq!(told["lead"]["phone"], "+442079460018", "by the site's country");
    assert_eq!(
        (&told["plugin"], &told["rules"]["name"]),
        (&json!("contact-form-7"), &json!("auto by label: your-name"))
    );
    assert_eq!(told["extras"], json!([{ "label": "Budget", "value": "5000" }]));
    let keys: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert_eq!(keys[..5], ["plugin", "mapping", "form", "oddities", "fields"]);
    let (_, bare) = explain(&stage, &json!({ "content_type": "application/json", "body": body })).await;
    assert_eq!(bare["lead"]["phone"], "020 7946 0018", "without a site");
    assert!(stage.store.store().counts().await.expect("counted").iter().all(|count| count.entries == 0));
    stage.stop().await;
}

#[tokio::test]
async fn a_mapping_that_isn_t_written_yet_is_tried_on_a_stored_submission() {
    let stage = Stage::start().await;
    stage.post("birch-law/contact", r#"{"who":"Ann Lee","reach":"ann (at) lee","text":"Hello"}"#).await;
    stage.post("birch-law/contact", r#"{"who":"Bob Ray","reach":"bob@ray.example","text":"Hello"}"#).await;
    let id = stage.newest().await;
    let (code, told) = explain(&stage, &json!({ "entry": id, "mapping": MAPPING })).await;
    assert_eq!((code, &told["mapping"], &told["form"]), (200, &json!("tried"), &json!("contact")), "{told}");
    assert_eq!((&told["lead"]["name"], &told["rules"]["email"]), (&json!("Bob Ray"), &json!("$.reach")));
    let (_, now) = explain(&stage, &json!({ "entry": id })).await;
    assert_ne!(now["mapping"], "tried", "it is in force nowhere");
    let broken = MAPPING.replace("email =", "e_mail =");
    let (code, problem) = explain(&stage, &json!({ "entry": id, "mapping": broken })).await;
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(code == 400 && detail.contains("mapping:5:1") && detail.contains("e_mail"), "{detail}");
    stage.stop().await;
}

#[tokio::test]
async fn odd_questions_are_told_what_to_ask() {
    let stage = Stage::start().await;
    for (asked, told) in [
        (json!({}), "either `body` with its `content_type`, or `entry`"),
        (json!({ "body": "a=1" }), "either `body` with its `content_type`, or `entry`"),
        (json!({ "body": "a=1", "content_type": "text/plain", "site": "nobody" }), "no such site"),
        (json!({ "body": "a=1", "content_type": "text/plain", "form": "A B" }), "the id of a form"),
    ] {
        let (code, problem) = explain(&stage, &asked).await;
        assert!(code == 400 && problem["detail"].as_str().is_some_and(|detail| detail.contains(told)), "{problem}");
    }
    assert_eq!(explain(&stage, &json!({ "entry": "0198c0de-1234-7abc" })).await.0, 404);
    let undecodable = json!({ "body": "{", "content_type": "application/json" });
    let (code, told) = explain(&stage, &undecodable).await;
    assert_eq!((code, &told["lead"]), (200, &Value::Null), "{told}");
    stage.stop().await;
}

#[tokio::test]
async fn where_leads_are_masked_a_stored_one_is_explained_once_that_is_written_down() {
    let stage = Stage::with("mask = true", |_store| async {}).await;
    stage.post("birch-law/contact", r#"{"who":"Bob Ray","reach":"bob@ray.example"}"#).await;
    let id = stage.newest().await;
    let (code, problem) = explain(&stage, &json!({ "entry": id })).await;
    assert!(code == 400 && !problem.to_string().contains("bob@ray"), "{problem}");
    let (code, told) = explain(&stage, &json!({ "entry": id, "reveal": true })).await;
    assert_eq!((code, &told["lead"]["email"]), (200, &json!("bob@ray.example")));
    let audit = std::fs::read_to_string(stage.folder.path().join("data/audit.ndjson")).expect("the audit");
    assert!(audit.contains(r#""verb":"reveal""#), "{audit}");
    stage.stop().await;
}

//! What was expected of a posted request against the gateway's answer, and against what the sandbox received.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::post::GatewayAnswer;
use crate::cli::expectation::{Difference, Expectation};
use crate::lead::LeadField;

/// How often the sandbox is asked while leads are on their way.
const ASKED_EVERY: Duration = Duration::from_millis(200);
/// More than the sandbox keeps.
const ALL: usize = 1_000_000;

/// A lead as KaiCalls received it.
///
/// No `Debug`: it is personal data.
#[derive(Clone, Deserialize)]
pub(in crate::cli) struct SentLead {
    /// What the API calls it.
    pub(in crate::cli) id: String,
    pub(in crate::cli) name: String,
    pub(in crate::cli) email: String,
    pub(in crate::cli) phone: Option<String>,
    message: String,
    /// The entry's id.
    idempotency_key: Option<String>,
}

/// The sandbox's list of leads.
#[derive(Deserialize)]
struct SandboxLeads {
    leads: Vec<SentLead>,
}

/// Leads by the id of their entry.
pub(in crate::cli) type SentLeads = HashMap<String, SentLead>;

impl SentLead {
    fn found(&self) -> Expectation {
        let fields = [
            (LeadField::Name, Some(&self.name)),
            (LeadField::Email, Some(&self.email)),
            (LeadField::Phone, self.phone.as_ref()),
            (LeadField::Message, Some(&self.message)),
        ];
        let all = fields.into_iter().filter_map(|(field, text)| Some((field, text?.clone())));
        Expectation::Lead(all.collect::<BTreeMap<_, _>>())
    }
}

/// Tells whether an answer means that a lead goes to KaiCalls.
pub(in crate::cli) fn is_on_its_way(answer: &GatewayAnswer) -> bool {
    answer.code == 200 && matches!(answer.status.as_deref(), Some("queued" | "duplicate"))
}

/// Compares a gateway's answer with what is expected: a lead is queued, anything else is held or refused.
pub(in crate::cli) fn answer(expected: &Expectation, answer: &GatewayAnswer) -> Vec<Difference> {
    let wanted = match expected {
        Expectation::Lead(_) if is_on_its_way(answer) => return Vec::new(),
        // What is stored as held may be answered with an error all the same.
        Expectation::Reject(_) if is_held(answer) || matches!(answer.code, 400 | 415 | 422) => return Vec::new(),
        Expectation::Lead(_) => "200 queued",
        Expectation::Reject(_) => "200 held, 400, 415 or 422",
    };
    vec![Difference { what: "answer", expected: Some(wanted.to_owned()), found: Some(words(answer)) }]
}

fn is_held(answer: &GatewayAnswer) -> bool {
    answer.code == 200 && answer.status.as_deref() == Some("held")
}

/// Writes an answer in a word or two.
pub(in crate::cli) fn words(answer: &GatewayAnswer) -> String {
    format!("{} {}", answer.code, answer.status.as_deref().unwrap_or_default()).trim_end().to_owned()
}

/// Compares what KaiCalls received with the lead that is expected.
pub(in crate::cli) fn lead(expected: &Expectation, sent: Option<&SentLead>) -> Vec<Difference> {
    match (expected, sent) {
        (Expectation::Reject(_), None) => Vec::new(),
        (expected, Some(sent)) => expected.differences(&sent.found()),
        (Expectation::Lead(_), None) => {
            let expected = Some("a lead in the sandbox".to_owned());
            vec![Difference { what: "delivery", expected, found: None }]
        }
    }
}

/// Asks the sandbox for its leads until all of `ids` are there, or the time is over.
pub(in crate::cli) async fn sent_leads(
    client: &Client,
    sandbox: &str,
    ids: &[&str],
    wait: Duration,
) -> Result<SentLeads, reqwest::Error> {
    let deadline = Instant::now() + wait;
    loop {
        let leads = ask(client, sandbox).await?;
        if ids.iter().all(|id| leads.contains_key(*id)) || Instant::now() >= deadline {
            return Ok(leads);
        }
        sleep(ASKED_EVERY).await;
    }
}

async fn ask(client: &Client, sandbox: &str) -> Result<SentLeads, reqwest::Error> {
    let url = format!("{}/_sandbox/leads?limit={ALL}", sandbox.trim_end_matches('/'));
    let listed: SandboxLeads = client.get(url).send().await?.error_for_status()?.json().await?;
    let by_id = listed.leads.into_iter().filter_map(|lead| Some((lead.idempotency_key.clone()?, lead)));
    Ok(by_id.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, status: Option<&str>) -> GatewayAnswer {
        GatewayAnswer { code, status: status.map(str::to_owned), id: None }
    }

    #[test]
    fn an_answer_fits_what_is_expected_or_not() {
        let lead_expected =
            Expectation::parse(r#"{"expect": {"name": "A"}}"#).expect("readable").expect("an expectation");
        let reject =
            Expectation::parse(r#"{"reject": [{"code": "no_fields"}]}"#).expect("readable").expect("an expectation");
        for (code, status, lead_fits, reject_fits) in [
            (200, Some("queued"), true, false),
            (200, Some("duplicate"), true, false),
            (200, Some("held"), false, true),
            (422, None, false, true),
            (400, None, false, true),
            (401, None, false, false),
            (503, None, false, false),
        ] {
            let given = answered(code, status);
            assert_eq!(answer(&lead_expected, &given).is_empty(), lead_fits, "{code} {status:?}");
            assert_eq!(answer(&reject, &given).is_empty(), reject_fits, "{code} {status:?}");
        }
    }

    #[test]
    fn a_lead_is_compared_as_it_was_received() {
        let sent: SentLead =
            serde_json::from_str(r#"{"id": "lead_1", "name": "A", "email": "a@b.co", "message": "Hi"}"#)
                .expect("a lead");
        let expected = |json: &str| Expectation::parse(json).expect("readable").expect("an expectation");
        let same = expected(r#"{"expect": {"name": "A", "email": "a@b.co", "message": "Hi"}}"#);
        assert!(lead(&same, Some(&sent)).is_empty());
        assert_eq!(lead(&same, None).first().map(|difference| difference.what), Some("delivery"));
        let reject = expected(r#"{"reject": [{"code": "no_fields"}]}"#);
        assert!(lead(&reject, None).is_empty());
        assert_eq!(lead(&reject, Some(&sent)).first().map(|difference| difference.what), Some("reject"));
    }

    #[tokio::test]
    async fn leads_are_found_at_the_sandbox_by_their_entrys_id() {
        use crate::destination::{BaseUrl, KeyPair, Secret};
        use crate::kaicalls;
        use crate::lead::{Draft, EntryId, Lead};
        use crate::sandbox::{Options, Sandbox};

        let sandbox = Sandbox::start(Options::new(([127, 0, 0, 1], 0).into())).expect("it starts");
        let base_url = BaseUrl::parse(&sandbox.base_url()).expect("a base URL");
        let api = kaicalls::Client::new(kaicalls::Options::new(base_url)).expect("a client");
        let secret = Secret::new(sandbox.keys().secret_key.clone());
        let keys = KeyPair::new(&sandbox.keys().public_key, &secret).expect("keys");
        let draft = Draft { name: Some("A"), email: Some("a@b.co"), message: Some("Hi"), ..Draft::default() };
        let (id, checked) = (EntryId::new(1, &[7; 10]), Lead::check(draft).expect("a lead"));
        drop(api.intake(&keys, &checked.lead, id, None).await);
        let client = super::super::post::client(false).expect("a client");
        let (url, wait) = (format!("{}/", sandbox.base_url()), Duration::from_secs(30));
        let sent = sent_leads(&client, &url, &[&id.to_string()], wait).await.expect("leads");
        let expected = Expectation::parse(r#"{"expect": {"name": "A", "email": "a@b.co", "message": "Hi"}}"#);
        let expected = expected.expect("readable").expect("an expectation");
        assert!(lead(&expected, sent.get(&id.to_string())).is_empty());
        let none = sent_leads(&client, &url, &["another"], Duration::ZERO).await.expect("leads");
        assert!(!none.contains_key("another"));
    }
}

//! One request to one response, without the wire: the API's endpoints and the sandbox's own.

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::intake::Fields;
use super::keyring::{Keyring, NewKeyPair, Randomness, WrongKey};
use super::leads::{Leads, ReceivedLead};

pub(super) const INTAKE: &str = "/api/v1/wordpress/intake";
const VERIFY: &str = "/api/v1/wordpress/auth/verify";
const WIDGET: &str = "/api/v1/wordpress/dashboard-widget";
const CREATE_KEYS: &str = "/api/v1/wordpress/keys/create";
const LEADS: &str = "/_sandbox/leads";
const FAULTS: &str = "/_sandbox/faults";

/// The widget shows so many leads.
const WIDGET_LEADS: usize = 10;
/// `/_sandbox/leads` shows so many unless it is told another number.
const LISTED_LEADS: usize = 1_000;
/// Longest business id that is taken over, in characters.
const BUSINESS_ID_MAX: usize = 100;
/// Longest `Idempotency-Key` that is written down, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 256;

/// The state of the sandbox.
pub(super) struct SandboxState {
    keyring: Mutex<Keyring>,
    pub(super) leads: Mutex<Leads>,
    pub(super) fault: Mutex<Option<Fault>>,
}

impl SandboxState {
    pub(super) fn new(keys: &NewKeyPair, live_keys: &[String], fault: Option<Fault>) -> Self {
        let keyring = Mutex::new(Keyring::new(keys, live_keys));
        Self { keyring, leads: Mutex::default(), fault: Mutex::new(fault) }
    }
}

/// A request, read completely.
#[derive(Default)]
pub(super) struct SandboxRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) authorization: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) idempotency_key: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What the outer shell reads for the routes: the clock and the dice.
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) random: Randomness,
}

/// A response; JSON unless it says otherwise.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    fn json(status: u16, body: &Value) -> Self {
        let content_type = "application/json".to_owned();
        Self { status, content_type, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    /// The error of the WordPress endpoints.
    fn refusal(status: u16, words: &str) -> Self {
        Self::json(status, &json!({"success": false, "error": words}))
    }

    /// The error of everything else.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({"error": {"code": code, "message": message}}))
    }

    /// The answer that a fault is.
    pub(super) fn of_fault(fault: &Fault) -> Self {
        let status = fault.status.unwrap_or(200);
        let mut response = Self::refusal(status, "Failed to create lead");
        if let Some(body) = &fault.body {
            response.body = body.clone().into_bytes();
        }
        if matches!(status, 204 | 205 | 304) {
            response.body.clear();
        }
        if let Some(content_type) = &fault.content_type {
            response.content_type.clone_from(content_type);
        }
        response.headers.extend(fault.retry_after.iter().map(|wait| ("retry-after", wait.clone())));
        response
    }
}

/// Answers a request.
pub(super) fn respond(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let allowed = match request.path.as_str() {
        INTAKE | VERIFY | CREATE_KEYS => "POST",
        WIDGET | LEADS => "GET",
        FAULTS => "GET, POST, DELETE",
        _ => return Response::error(404, "not_found", "No such path"),
    };
    if !allowed.split(", ").any(|method| method == request.method) {
        let mut response = Response::error(405, "method_not_allowed", &format!("Use {allowed}"));
        response.headers.push(("allow", allowed.to_owned()));
        return response;
    }
    if request.method == "POST" && !is_json(request.content_type.as_deref()) {
        return Response::error(415, "unsupported_media_type", "Use Content-Type: application/json");
    }
    match (request.path.as_str(), request.method.as_str()) {
        (INTAKE, _) => intake(state, request, moment),
        (VERIFY, _) => verify(state, request),
        (CREATE_KEYS, _) => create_keys(state, request, moment),
        (WIDGET, _) => widget(state, request, moment),
        (LEADS, _) => list_leads(state, request),
        (_, "POST") => set_fault(state, request),
        (_, "DELETE") => {
            *state.fault.lock() = None;
            show_fault(None)
        }
        _ => show_fault(state.fault.lock().as_ref()),
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn bearer(request: &SandboxRequest) -> Option<&str> {
    let (scheme, token) = request.authorization.as_deref()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns the public key of a valid pair and the business it belongs to.
fn authorize(state: &SandboxState, request: &SandboxRequest) -> Option<(String, String)> {
    let (public, secret) = bearer(request)?.split_once(':')?;
    let business = state.keyring.lock().business(public, secret).ok()?.to_owned();
    Some((public.to_owned(), business))
}

fn intake(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let Some((public_key, business_id)) = authorize(state, request) else {
        return Response::refusal(401, "Unauthorized");
    };
    let fields = match Fields::read(&request.body) {
        Ok(fields) => fields,
        Err(refusal) => return Response::refusal(400, &refusal.to_string()),
    };
    let id = format!("lead_{}", hex::encode(moment.random.get(..12).unwrap_or_default()));
    let Fields { name, email, phone, message } = fields;
    let idempotency_key = request.idempotency_key.clone().filter(|key| key.len() <= IDEMPOTENCY_KEY_MAX);
    state.leads.lock().push(ReceivedLead {
        id: id.clone(),
        name,
        email,
        phone,
        message,
        public_key,
        business_id,
        idempotency_key,
        received_at: moment.now,
    });
    Response::json(200, &json!({"success": true, "leadId": id, "message": "Lead created successfully"}))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct VerifyFields {
    public_key: String,
    api_key: String,
}

fn verify(state: &SandboxState, request: &SandboxRequest) -> Response {
    let body: VerifyFields = serde_json::from_slice(&request.body).unwrap_or_default();
    if body.public_key.is_empty() || body.api_key.is_empty() {
        return Response::refusal(400, "API Key and Public Key are required.");
    }
    match state.keyring.lock().business(&body.public_key, &body.api_key) {
        Ok(business_id) => Response::json(200, &json!({"success": true, "business_id": business_id})),
        Err(WrongKey::Public) => Response::refusal(401, "Invalid Public Key."),
        Err(WrongKey::Secret) => Response::refusal(401, "Invalid API Key."),
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CreateKeysBody {
    business_id: Option<String>,
}

fn create_keys(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let mut keyring = state.keyring.lock();
    if !bearer(request).is_some_and(|key| keyring.may_mint(key)) {
        return Response::refusal(401, "Unauthorized");
    }
    let body = if request.body.is_empty() { b"{}" } else { request.body.as_slice() };
    let Ok(body) = serde_json::from_slice::<CreateKeysBody>(body) else {
        return Response::refusal(400, "Invalid JSON body");
    };
    let mut keys = NewKeyPair::fresh(&moment.random);
    if let Some(business_id) = body.business_id.filter(|id| !id.is_empty()) {
        keys.business_id = business_id.chars().take(BUSINESS_ID_MAX).collect();
    }
    if !keyring.add(&keys) {
        return Response::refusal(429, "The sandbox has too many connections");
    }
    let minted = json!({
        "success": true,
        "publicKey": keys.public_key,
        "secretKey": keys.secret_key,
        "businessId": keys.business_id,
        "connectionId": keys.connection_id,
        "message": "WordPress API keys created successfully",
    });
    Response::json(200, &minted)
}

fn widget(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let Some((_, business_id)) = authorize(state, request) else {
        return Response::refusal(401, "Unauthorized");
    };
    let leads = state.leads.lock();
    let own = leads.newest().filter(|lead| lead.business_id == business_id);
    let recent: Vec<Value> =
        own.take(WIDGET_LEADS).map(|lead| json!({"name": lead.name, "created_at": lead.received_at})).collect();
    let this_week = leads.this_week(&business_id, moment.now);
    Response::json(200, &json!({"success": true, "recentLeads": recent, "leadsThisWeek": this_week}))
}

fn list_leads(state: &SandboxState, request: &SandboxRequest) -> Response {
    let limit = request.query.as_deref().and_then(|query| query.strip_prefix("limit="));
    let limit = match limit.map(str::parse) {
        None => LISTED_LEADS,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return Response::error(400, "invalid_limit", "limit must be a number"),
    };
    let leads = state.leads.lock();
    let newest: Vec<&ReceivedLead> = leads.newest().take(limit).collect();
    Response::json(200, &json!({"received": leads.received(), "leads": newest}))
}

fn set_fault(state: &SandboxState, request: &SandboxRequest) -> Response {
    let fault = match serde_json::from_slice::<Fault>(&request.body) {
        Ok(fault) => fault,
        Err(error) => return Response::error(400, "invalid_fault", &error.to_string()),
    };
    if let Err(invalid) = fault.check() {
        return Response::error(400, "invalid_fault", &invalid.to_string());
    }
    show_fault(Some(state.fault.lock().insert(fault)))
}

fn show_fault(fault: Option<&Fault>) -> Response {
    Response::json(200, &json!({"fault": fault}))
}

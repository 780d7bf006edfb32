//! One request to one response, without the wire: the API's endpoints. The sandbox's own are in `control`.

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::control;
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::faults::{Faults, Target};
use super::intake::Fields;
use super::keyring::{Keyring, NewKeyPair, Randomness, WrongKey};
use super::leads::{Leads, ReceivedLead};
use super::live_key::{LiveKey, MintRefusal};

/// The widget shows so many leads.
const WIDGET_LEADS: usize = 10;
/// Longest business id that is taken over, in characters.
const BUSINESS_ID_MAX: usize = 100;
/// Longest URL of a site that is taken over, in characters.
const SITE_URL_MAX: usize = 2_048;
/// Longest `Idempotency-Key` that is written down, in bytes.
const IDEMPOTENCY_KEY_MAX: usize = 256;

/// The state of the sandbox.
pub(super) struct SandboxState {
    pub(super) keyring: Mutex<Keyring>,
    pub(super) leads: Mutex<Leads>,
    pub(super) faults: Mutex<Faults>,
}

impl SandboxState {
    pub(super) fn new(keys: &NewKeyPair, live_keys: Vec<LiveKey>, faults: Faults, now: Timestamp) -> Self {
        let keyring = Mutex::new(Keyring::new(keys, live_keys, now));
        Self { keyring, leads: Mutex::default(), faults: Mutex::new(faults) }
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
    pub(super) fn json(status: u16, body: &Value) -> Self {
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
        let words = match (status, fault.endpoint) {
            (401, Endpoint::Verify) => "Invalid API Key.",
            (401, _) => "Unauthorized",
            _ => fault.endpoint.failure(),
        };
        let mut response = Self::refusal(status, words);
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

impl MintRefusal {
    fn status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Scope | Self::OtherBusiness => 403,
            Self::BusinessNeeded => 400,
        }
    }
}

/// Answers a request.
pub(super) fn respond(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let endpoint = Endpoint::at(&request.path);
    let Some(allowed) = endpoint.map(Endpoint::method).or_else(|| control::methods(&request.path)) else {
        return Response::error(404, "not_found", "No such path");
    };
    if !allowed.split(", ").any(|method| method == request.method) {
        let mut response = Response::error(405, "method_not_allowed", &format!("Use {allowed}"));
        response.headers.push(("allow", allowed.to_owned()));
        return response;
    }
    if request.method == "POST" && !is_json(request.content_type.as_deref()) {
        return Response::error(415, "unsupported_media_type", "Use Content-Type: application/json");
    }
    match endpoint {
        Some(Endpoint::Intake) => intake(state, request, moment),
        Some(Endpoint::Verify) => verify(state, request, moment),
        Some(Endpoint::Keys) => create_keys(state, request, moment),
        Some(Endpoint::Widget) => widget(state, request, moment),
        None => control::respond(state, request),
    }
}

/// Returns the fault that meets a request, and counts it.
pub(super) fn draw_fault(state: &SandboxState, request: &SandboxRequest) -> Option<Fault> {
    let endpoint = Endpoint::at(&request.path)?;
    let mut faults = state.faults.lock();
    if faults.all().is_empty() {
        return None;
    }
    faults.draw(&target(state, endpoint, request), rand::random)
}

/// Finds out whose request it is, without asking whether it is allowed.
fn target(state: &SandboxState, endpoint: Endpoint, request: &SandboxRequest) -> Target {
    let public_key = match endpoint {
        Endpoint::Intake | Endpoint::Widget => {
            bearer(request).and_then(|pair| pair.split_once(':')).map(|(public, _)| public.to_owned())
        }
        Endpoint::Verify => serde_json::from_slice::<VerifyFields>(&request.body).ok().map(|body| body.public_key),
        Endpoint::Keys => None,
    };
    let site_url = match endpoint {
        Endpoint::Keys => serde_json::from_slice::<CreateKeysBody>(&request.body).ok().and_then(|body| body.site_url),
        _ => public_key.as_deref().and_then(|public| state.keyring.lock().find(public)?.site_url.clone()),
    };
    Target { endpoint, public_key, site_url }
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
fn authorize(state: &SandboxState, request: &SandboxRequest, now: Timestamp) -> Option<(String, String)> {
    let (public, secret) = bearer(request)?.split_once(':')?;
    let mut keyring = state.keyring.lock();
    let connection = keyring.connection(public, secret).ok()?;
    connection.last_used_at = Some(now);
    Some((public.to_owned(), connection.business_id.clone()))
}

fn intake(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let Some((public_key, business_id)) = authorize(state, request, moment.now) else {
        return Response::refusal(401, "Unauthorized");
    };
    let fields = match Fields::read(&request.body) {
        Ok(fields) => fields,
        Err(refusal) => return Response::refusal(400, &refusal.to_string()),
    };
    let id = format!("lead_{}", hex::encode(moment.random.get(..12).unwrap_or_default()));
    let Fields { name, email, phone, message } = fields;
    let idempotency_key = request.idempotency_key.clone().filter(|key| key.len() <= IDEMPOTENCY_KEY_MAX);
    if let Some(connection) = state.keyring.lock().find(&public_key) {
        connection.leads += 1;
    }
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

fn verify(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let body: VerifyFields = serde_json::from_slice(&request.body).unwrap_or_default();
    if body.public_key.is_empty() || body.api_key.is_empty() {
        return Response::refusal(400, "API Key and Public Key are required.");
    }
    match state.keyring.lock().connection(&body.public_key, &body.api_key) {
        Ok(connection) => {
            connection.last_verified_at = Some(moment.now);
            Response::json(200, &json!({"success": true, "business_id": connection.business_id}))
        }
        Err(WrongKey::Public) => Response::refusal(401, "Invalid Public Key."),
        Err(WrongKey::Secret) => Response::refusal(401, "Invalid API Key."),
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CreateKeysBody {
    business_id: Option<String>,
    site_url: Option<String>,
}

/// Its errors have the WordPress endpoints' form, since its success has: the documents show none of its errors.
fn create_keys(state: &SandboxState, request: &SandboxRequest, moment: &Moment) -> Response {
    let body = if request.body.is_empty() { b"{}" } else { request.body.as_slice() };
    let body = serde_json::from_slice::<CreateKeysBody>(body);
    let asked = body.as_ref().ok().and_then(|body| body.business_id.as_deref()).filter(|id| !id.is_empty());
    let mut keyring = state.keyring.lock();
    let business_id = match keyring.mint(bearer(request).unwrap_or_default(), asked, moment.now) {
        // What the key may do is not told to a request that can't be read.
        Err(refusal) if body.is_ok() || refusal == MintRefusal::Unauthorized => {
            return Response::refusal(refusal.status(), &refusal.to_string());
        }
        Err(_) => return Response::refusal(400, "Invalid JSON body"),
        Ok(business_id) => business_id,
    };
    let Ok(body) = body else {
        return Response::refusal(400, "Invalid JSON body");
    };
    let mut keys = NewKeyPair::fresh(&moment.random);
    if let Some(business_id) = business_id {
        keys.business_id = business_id.chars().take(BUSINESS_ID_MAX).collect();
    }
    let site_url = body.site_url.map(|url| url.chars().take(SITE_URL_MAX).collect());
    if !keyring.add(&keys, site_url, moment.now) {
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
    let Some((_, business_id)) = authorize(state, request, moment.now) else {
        return Response::refusal(401, "Unauthorized");
    };
    let leads = state.leads.lock();
    let own = leads.newest().filter(|lead| lead.business_id == business_id);
    let recent: Vec<Value> =
        own.take(WIDGET_LEADS).map(|lead| json!({"name": lead.name, "created_at": lead.received_at})).collect();
    let this_week = leads.this_week(&business_id, moment.now);
    Response::json(200, &json!({"success": true, "recentLeads": recent, "leadsThisWeek": this_week}))
}

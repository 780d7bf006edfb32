//! The sandbox's own endpoints, below `/_sandbox`: what it received, what it minted, what it does wrong.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::faults::{FaultFilter, Faults};
use super::leads::ReceivedLead;
use super::routes::{Response, SandboxRequest, SandboxState};

const LEADS: &str = "/_sandbox/leads";
const FAULTS: &str = "/_sandbox/faults";
const CONNECTIONS: &str = "/_sandbox/connections";

/// A list shows so many unless it is told another number.
const LISTED: usize = 1_000;

/// Returns the methods that a path takes; `None` where there is no such path.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    match path {
        LEADS | CONNECTIONS => Some("GET"),
        FAULTS => Some("GET, POST, DELETE"),
        _ if named_connection(path).is_some() => Some("DELETE"),
        _ => None,
    }
}

/// Answers a request whose path and method are allowed.
pub(super) fn respond(state: &SandboxState, request: &SandboxRequest) -> Response {
    match (request.path.as_str(), request.method.as_str()) {
        (LEADS, _) => list_leads(state, request),
        (CONNECTIONS, _) => list_connections(state, request),
        (FAULTS, "POST") => add_fault(state, request),
        (FAULTS, "DELETE") => clear_faults(state, request),
        (FAULTS, _) => {
            let faults = state.faults.lock();
            show_faults(faults.of_intake(), &faults)
        }
        (path, _) => revoke(state, named_connection(path).unwrap_or_default()),
    }
}

/// Returns the connection id or public key that a path ends with.
fn named_connection(path: &str) -> Option<&str> {
    let name = path.strip_prefix(CONNECTIONS)?.strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<usize>,
}

fn limit(request: &SandboxRequest) -> Result<usize, Response> {
    let query = serde_urlencoded::from_str::<ListQuery>(request.query.as_deref().unwrap_or_default());
    match query {
        Ok(query) => Ok(query.limit.unwrap_or(LISTED)),
        Err(_) => Err(Response::error(400, "invalid_limit", "limit must be a number")),
    }
}

fn list_leads(state: &SandboxState, request: &SandboxRequest) -> Response {
    let limit = match limit(request) {
        Ok(limit) => limit,
        Err(response) => return response,
    };
    let leads = state.leads.lock();
    let newest: Vec<&ReceivedLead> = leads.newest().take(limit).collect();
    Response::json(200, &json!({"received": leads.received(), "leads": newest}))
}

fn list_connections(state: &SandboxState, request: &SandboxRequest) -> Response {
    let limit = match limit(request) {
        Ok(limit) => limit,
        Err(response) => return response,
    };
    let keyring = state.keyring.lock();
    let mut newest = keyring.newest();
    let count = newest.len();
    newest.truncate(limit);
    Response::json(200, &json!({"count": count, "connections": newest}))
}

fn revoke(state: &SandboxState, name: &str) -> Response {
    match state.keyring.lock().revoke(name) {
        Some(connection) => Response::json(200, &json!({"revoked": connection})),
        None => Response::error(404, "not_found", "No such connection"),
    }
}

fn add_fault(state: &SandboxState, request: &SandboxRequest) -> Response {
    let fault = match serde_json::from_slice::<Fault>(&request.body) {
        Ok(fault) => fault,
        Err(error) => return Response::error(400, "invalid_fault", &error.to_string()),
    };
    let mut faults = state.faults.lock();
    match faults.add(fault.clone()) {
        Ok(()) => show_faults(Some(&fault), &faults),
        Err(invalid) => Response::error(400, "invalid_fault", &invalid.to_string()),
    }
}

fn clear_faults(state: &SandboxState, request: &SandboxRequest) -> Response {
    let filter = serde_urlencoded::from_str::<FaultFilter>(request.query.as_deref().unwrap_or_default());
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => return Response::error(400, "invalid_filter", &error.to_string()),
    };
    let mut faults = state.faults.lock();
    faults.clear(&filter);
    show_faults(faults.of_intake(), &faults)
}

/// `fault` is the one that was just set, else the one of intake for every site.
fn show_faults(fault: Option<&Fault>, faults: &Faults) -> Response {
    let shown: Value = json!({"fault": fault, "faults": faults.all()});
    Response::json(200, &shown)
}

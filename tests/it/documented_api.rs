//! Every path that is documented is answered, and takes exactly the parameters that are documented of it.

use std::collections::BTreeSet;

use formgate::admin::{API_ROUTES, AdminRoute, HEALTH_ROUTES};

use crate::admin_api::{ADMIN, Api};
use crate::gateway::{header, status};

const AUTHORIZED: &str = "authorization: Bearer ";

#[tokio::test]
async fn every_documented_path_of_the_admin_listener_is_answered() {
    let api = Api::start();
    api.hold(1).await;
    let id = api.get("/api/v1/leads").await.1["leads"][0]["id"].as_str().expect("an id").to_owned();
    for route in HEALTH_ROUTES {
        assert_eq!(status(&api.raw(route.method, route.path, "", "").await), 200, "{}", route.path);
    }
    for route in API_ROUTES {
        let path = path_of(&route, &id);
        // The stream goes on for an hour, and a ping's name has to be announced.
        let is_plain = route.method == "GET" && !path.ends_with("/stream") && !path.contains("/pings/");
        if is_plain {
            let answer = api.raw("GET", &path, &format!("{AUTHORIZED}{ADMIN}\r\n"), "").await;
            assert_eq!(status(&answer), 200, "{path}: {answer}");
        }
        let other = if route.method == "GET" { "POST" } else { "GET" };
        let answer = api.raw(other, &path, &format!("{AUTHORIZED}{ADMIN}\r\n"), "").await;
        assert_eq!((status(&answer), header(&answer, "allow")), (405, Some(route.method)), "{other} {path}: {answer}");
    }
}

#[tokio::test]
async fn what_a_post_takes_is_what_is_documented() {
    let api = Api::start();
    for route in API_ROUTES.iter().filter(|route| route.method == "POST") {
        let (code, problem) = api.post(&path_of(route, "x"), "{\"nonsense\": 1}").await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!(code, 400, "{}: {problem}", route.path);
        let (_, known) = detail.split_once("unknown field `nonsense`").expect(detail);
        let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
        assert_eq!(known, documented(route), "{}: {detail}", route.path);
    }
}

#[tokio::test]
async fn what_is_asked_of_leads_is_what_is_documented() {
    let api = Api::start();
    for path in ["/api/v1/leads", "/api/v1/stream"] {
        let (code, problem) = api.get(&format!("{path}?nonsense=1")).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        let (_, known) = detail.split_once("; use ").unwrap_or_else(|| panic!("{code} {problem}"));
        let known: BTreeSet<&str> = known.split(", ").collect();
        let routes = API_ROUTES.iter().filter(|route| route.method == "GET" && route.path.starts_with(path));
        let all: BTreeSet<&str> = routes.flat_map(documented).collect();
        assert_eq!(known, all, "{path}");
    }
}

fn path_of(route: &AdminRoute, lead: &str) -> String {
    let id = if route.path.contains("/sites/") { "acme" } else { lead };
    route.path.replace("{id}", id).replace("{name}", "doctor-x")
}

fn documented(route: &AdminRoute) -> BTreeSet<&'static str> {
    route.takes.iter().flat_map(|group| *group).map(|(name, _)| *name).collect()
}

//! Logging in with the admin token, and out.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, html};
use pingora::protocols::http::ServerSession;

use super::form::{Fields, with_query};
use super::layout::{Shell, mark, with_security_headers};
use super::session::{clear_cookie, set_cookie};
use super::{PageResult, origin, redirect, words};
use crate::admin::AdminApp;
use crate::admin::fault::ApiError;
use crate::admin::reply::ApiReply;
use crate::admin::{request, token};
use crate::http::client_address;

/// Longest form, in bytes: a token and a path.
const LOGIN_MAX: usize = 16 * 1024;
/// Where a login leads, unless the reader asked for another page.
const HOME: &str = "/console/";

impl AdminApp {
    /// Opens a session for whoever shows the admin token.
    pub(super) async fn log_in(&self, session: &mut ServerSession) -> PageResult {
        let headers = &session.req_header().headers;
        if !origin::is_own(headers, &self.config.load().admin) {
            return Err(ApiError::Request(words::FOREIGN_FORM.to_owned()));
        }
        let is_secure = origin::is_secure(headers);
        if let Err(wait) = self.console.guesses.count(self.client(session)) {
            return Ok(too_many(wait.as_secs() + 1));
        }
        let fields = Fields::new(request::form(session, LOGIN_MAX).await?);
        let wanted = fields.one("next").unwrap_or_default();
        let Some(token) = self.admin_token().filter(|token| token::fits(fields.one("token"), Some(token))) else {
            return Ok(page(&with_query("", &[("next", wanted)]), Some(words::WRONG_TOKEN)));
        };
        let cookie = set_cookie(&self.console.sessions.open(&token), is_secure);
        Ok(with_cookie(redirect(local(wanted)), &cookie))
    }

    /// Returns who asks, past the proxies that the configuration trusts: behind one, all would count as one.
    fn client(&self, session: &ServerSession) -> IpAddr {
        let peer = session.client_addr().and_then(|peer| peer.as_inet()).map(|peer| peer.ip());
        let server = &self.config.load().server;
        // A peer without an address can't be told from others.
        let peer = peer.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let headers = &session.req_header().headers;
        client_address(peer, headers, server.client_address.as_deref(), &server.trusted_proxies)
    }
}

/// Shows the form; `wrong` says why the last one didn't let in.
pub(super) fn page(query: &str, wrong: Option<&str>) -> ApiReply {
    let fields = Fields::of_query(query.trim_start_matches('?'));
    let next = local(fields.one("next").unwrap_or_default());
    let main = html! {
        form.login method="post" action="/console/login" {
            p.brand { (mark()) span { (words::PRODUCT) } }
            h1 { (words::LOG_IN) }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            input type="hidden" name="next" value=(next);
            // Password managers keep a token under a name.
            input type="hidden" name="username" value="formgate" autocomplete="username";
            label for="token" { (words::ADMIN_TOKEN) }
            input #token type="password" name="token" autocomplete="current-password" required autofocus;
            p.hint { (words::WHERE_TOKEN) }
            button.primary type="submit" { (words::LOG_IN) }
        }
    };
    let status = if wrong.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    Shell { title: words::LOG_IN, at: None, csrf: "", refresh: 0, reload: 0 }.page(status, &main)
}

/// Answers whoever has no session.
///
/// A browser that follows a link from another site leaves out a `SameSite=Strict` cookie. A page that fetches itself again
/// is ours, so that the second request has it.
pub(super) fn first(headers: &HeaderMap, path: &str, query: &str) -> ApiReply {
    let is_from_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let here = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    match is_from_elsewhere {
        true => again(),
        false if here == HOME => redirect("/console/login"),
        false => redirect(&with_query("/console/login", &[("next", &here)])),
    }
}

/// A page that fetches itself again.
fn again() -> ApiReply {
    let body: Markup = html! { (DOCTYPE) html lang="en" { head { meta http-equiv="refresh" content="0"; } } };
    with_security_headers(ApiReply::whole(StatusCode::OK, "text/html; charset=utf-8", body.into_string().into_bytes()))
}

/// Says that somebody has logged out.
pub(super) fn out() -> ApiReply {
    // What the browser keeps of the pages goes too.
    let clear = HeaderName::from_static("clear-site-data");
    with_cookie(redirect("/console/login"), &clear_cookie()).with(clear, "\"cache\"")
}

fn too_many(seconds: u64) -> ApiReply {
    let main = html! {
        div.notice.bad role="alert" { h1 { (words::TOO_MANY_GUESSES) } p { (words::wait(seconds)) } }
        p { a href="/console/login" { (words::LOG_IN) } }
    };
    let shell = Shell { title: words::TOO_MANY_GUESSES, at: None, csrf: "", refresh: 0, reload: 0 };
    shell.page(StatusCode::TOO_MANY_REQUESTS, &main).with_value(header::RETRY_AFTER, HeaderValue::from(seconds))
}

fn with_cookie(reply: ApiReply, cookie: &str) -> ApiReply {
    match HeaderValue::try_from(cookie) {
        Ok(cookie) => reply.with_value(header::SET_COOKIE, cookie),
        // It is made of letters of base64.
        Err(_never) => reply,
    }
}

/// Returns a page of the console to go to; never one of another site.
pub(super) fn local(path: &str) -> &str {
    let is_own = path.starts_with(HOME) && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_own { path } else { HOME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_the_console_alone() {
        assert_eq!(local("/console/leads?state=held"), "/console/leads?state=held");
        for foreign in
            ["", "//evil.example", "https://evil.example", "/console", "/consoles/", "/console/\r\nx: y", "/metrics"]
        {
            assert_eq!(local(foreign), HOME, "{foreign}");
        }
    }
}

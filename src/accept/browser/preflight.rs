//! The question a browser asks before a page's script posts what a plain form can't: JSON, above all.

use http::{HeaderValue, header};

use super::page_request;
use crate::accept::gateway::{Gateway, Request};
use crate::accept::outcome::{Outcome, Refusal};
use crate::accept::route::Allowed;
use crate::lead::{FormId, SiteId};

impl Gateway {
    /// Answers a preflight from a page that may post the form. Any other `OPTIONS` is told the same, whatever exists.
    pub(in crate::accept) fn preflight(
        request: &Request<'_>,
        site: &SiteId,
        form: &FormId,
    ) -> Result<Outcome, Refusal> {
        let headers = &request.head.headers;
        let page = page_request(headers, request.config, site, form);
        let is_asked = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let page = page.filter(|page| page.is_cors && is_asked);
        let origin = page.and_then(|page| HeaderValue::from_str(page.origin.as_str()).ok());
        origin.map(Outcome::Preflight).ok_or(Refusal::Method(Allowed::Hook))
    }
}

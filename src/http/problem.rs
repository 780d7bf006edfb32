//! Errors as `application/problem+json` (RFC 9457).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Serialize, Serializer};

use super::{RequestId, json};

/// A problem; `E` is what is wrong with one field.
#[derive(Serialize)]
pub struct Problem<'a, E> {
    /// What its type ends with: a word of a closed set, with hyphens or underscores.
    #[serde(rename = "type", serialize_with = "urn")]
    pub kind: &'a str,
    pub title: &'a str,
    #[serde(serialize_with = "number")]
    pub status: StatusCode,
    pub detail: &'a str,
    #[serde(serialize_with = "id")]
    pub request_id: &'a RequestId,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [E],
}

impl<E: Serialize> Problem<'_, E> {
    /// Makes the answer that says so.
    pub fn response(&self) -> Response<Bytes> {
        json(self.status, "application/problem+json", self)
    }
}

fn urn<S: Serializer>(kind: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:formgate:problem:{}", kind.replace('_', "-")))
}

fn number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

fn id<S: Serializer>(id: &RequestId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_problem_has_the_members_of_its_standard() {
        let request_id = &RequestId::random();
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem =
            Problem { kind: "no_lead", title: "No lead", status, detail: "…", request_id, errors: &["email"] };
        let response = problem.response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let expected = format!(
            r#"{{"type":"urn:formgate:problem:no-lead","title":"No lead","status":422,"detail":"…","request_id":"{}","errors":["email"]}}"#,
            request_id.as_str()
        );
        assert_eq!(response.body(), &expected);
    }
}

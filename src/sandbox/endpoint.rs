//! The API's endpoints: their paths, and their names in faults.

use serde::{Deserialize, Serialize};

/// An endpoint of the API; in JSON and on the command line `intake`, `verify`, `widget` or `keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `POST …/intake`: takes a lead.
    #[default]
    Intake,
    /// `POST …/auth/verify`: is a pair of keys valid?
    Verify,
    /// `GET …/dashboard-widget`: the recent leads.
    Widget,
    /// `POST …/keys/create`: mints a pair of keys.
    Keys,
}

/// Why text names no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint is intake, verify, widget or keys")]
pub struct UnknownEndpoint;

impl Endpoint {
    const ALL: [Self; 4] = [Self::Intake, Self::Verify, Self::Widget, Self::Keys];

    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self, UnknownEndpoint> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name).ok_or(UnknownEndpoint)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Verify => "verify",
            Self::Widget => "widget",
            Self::Keys => "keys",
        }
    }

    /// Finds the endpoint of a path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Intake => "/api/v1/wordpress/intake",
            Self::Verify => "/api/v1/wordpress/auth/verify",
            Self::Widget => "/api/v1/wordpress/dashboard-widget",
            Self::Keys => "/api/v1/wordpress/keys/create",
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Widget => "GET",
            Self::Intake | Self::Verify | Self::Keys => "POST",
        }
    }

    /// Returns the words of an error that is no fault of the request's.
    pub(super) fn failure(self) -> &'static str {
        match self {
            Self::Intake => "Failed to create lead",
            Self::Verify => "Failed to verify API keys",
            Self::Widget => "Failed to load leads",
            Self::Keys => "Failed to create API keys",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_name_everywhere() {
        for endpoint in Endpoint::ALL {
            assert_eq!(serde_json::to_value(endpoint).expect("JSON"), endpoint.name());
            assert_eq!(
                (Endpoint::parse(endpoint.name()), Endpoint::at(endpoint.path())),
                (Ok(endpoint), Some(endpoint))
            );
        }
        assert_eq!((Endpoint::parse("leads"), Endpoint::at("/intake")), (Err(UnknownEndpoint), None));
    }
}

//! When tokens were last used, which only the running gateway's store knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::leads::{Remote, gateway};
use crate::cli::rules::ConfigArg;
use crate::lead::SiteId;
use crate::operate::TokenSeen;

/// When each token of a site was last used, by the beginning of its SHA-256.
pub(super) type LastUsed = BTreeMap<String, Timestamp>;

/// Who knows it; none where no gateway answers, or where it can't be asked.
pub(super) struct Seen(Option<Remote>);

/// What is read of a site, as the admin API tells it.
#[derive(Deserialize)]
struct SiteSeen {
    tokens: Vec<TokenSeen>,
}

impl Seen {
    /// Finds the gateway, and says why where the last use stays unknown.
    pub(super) async fn of(config: &ConfigArg, admin: Option<&str>, console: &mut Console) -> Self {
        match gateway(config, admin, console).await {
            Ok(Some(remote)) => Self(Some(remote)),
            Ok(None) => {
                console.say("no gateway answers, so it isn't known when tokens were last used");
                Self(None)
            }
            Err(error) => {
                tell(&error, console);
                Self(None)
            }
        }
    }

    /// Asks for a site's tokens; none where it can't be known.
    pub(super) async fn last_used(&mut self, site: &SiteId, console: &mut Console) -> Option<LastUsed> {
        let asked = self.0.as_ref()?.get::<SiteSeen>(&format!("/sites/{site}"), &()).await;
        match asked {
            Ok(found) => {
                let used = found.tokens.into_iter().filter_map(|token| Some((token.sha256, token.last_used?)));
                Some(used.collect())
            }
            Err(error) => {
                tell(&error, console);
                // The others would fail alike.
                self.0 = None;
                None
            }
        }
    }
}

fn tell(error: &Error, console: &mut Console) {
    let why = error.render();
    let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    console.say(format!("it isn't known when tokens were last used: {why}"));
}

//! Events as webhooks: what comes over the wire, what an answer means, and which addresses are never reached.

pub(crate) mod notices;
mod receiver;
mod wire;

use formgate::config::{SigningKey, WebhookFormat, WebhookTarget};
use formgate::destination::Secret;
use formgate::notify::sink::webhook::WebhookClient;
use formgate::notify::sink::{Sent, SinkFailure};

/// A webhook that signs with these keys, each made of one byte.
fn target(url: &str, keys: &[u8]) -> WebhookTarget {
    WebhookTarget {
        url: Secret::new(url.to_owned()),
        secrets: keys.iter().map(|byte| SigningKey::new(vec![*byte; 32]).expect("a key")).collect(),
        format: WebhookFormat::Standard,
        allow_private: false,
    }
}

fn client() -> WebhookClient {
    WebhookClient::new().expect("a client")
}

fn failure(sent: Sent) -> SinkFailure {
    let Sent::Failed(failure) = sent else { panic!("{sent:?} is no failure") };
    failure
}

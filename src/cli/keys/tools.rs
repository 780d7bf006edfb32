//! What all commands on keys need: the client, the operator's own key, the secrets folder, and the words for what fails.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::cli::console::Console;
use crate::cli::error::Error;
use crate::cli::rules::{ConfigArg, today};
use crate::config::{self, KaiCallsConfig, Loaded, Sources, Starting};
use crate::destination::InvalidKaiCallsKey;
use crate::kaicalls::{self, Client, LiveKey};
use crate::operate::keys::{Pace, ProvisionError, Provisioner, Refused, SecretsFolder, SecretsFolderError};

/// Requests to KaiCalls at once.
pub(in crate::cli) const AT_ONCE: usize = 8;

/// What a command works with that writes pairs.
pub(in crate::cli) struct OpenedKeys {
    pub(in crate::cli) path: PathBuf,
    /// The files, and what a gateway that starts now would use in the place of those that are broken.
    pub(in crate::cli) starting: Starting,
    pub(in crate::cli) provisioner: Provisioner,
}

/// Takes the right to write pairs, and only then reads the configuration: what another command wrote before is in it.
pub(in crate::cli) fn open(config: &ConfigArg, mints: bool) -> Result<OpenedKeys, Error> {
    let (path, loaded) = config.load()?;
    let provisioner = provisioner(&loaded, mints)?;
    let starting = config::start(&path, &Sources::command_line(), today());
    Ok(OpenedKeys { path, starting, provisioner })
}

/// Opens the secrets folder, and reads the operator's own key where pairs are to be minted.
pub(in crate::cli) fn provisioner(loaded: &Loaded, mints: bool) -> Result<Provisioner, Error> {
    let upstream = upstream(loaded)?;
    let operator_key = if mints { Some(operator_key(upstream)?) } else { None };
    let folder = SecretsFolder::open(&loaded.secrets_folder).map_err(folder_failure)?;
    Ok(Provisioner::new(client(upstream)?, operator_key, folder, pace()))
}

/// The pace at which KaiCalls is asked about keys.
pub(super) fn pace() -> Pace {
    Pace::new(AT_ONCE, Timestamp::now)
}

pub(super) fn upstream(loaded: &Loaded) -> Result<&KaiCallsConfig, Error> {
    let broken = || Error::config(anyhow!("[kaicalls] has errors")).hint("`formgate check` shows them");
    loaded.upstream().ok_or_else(broken)
}

pub(super) fn client(upstream: &KaiCallsConfig) -> Result<Client, Error> {
    let options = kaicalls::Options {
        timeout: upstream.timeout,
        max_in_flight: AT_ONCE,
        ..kaicalls::Options::new(upstream.base_url.clone())
    };
    Client::new(options).map_err(Error::failed)
}

/// Reads the key that mints.
fn operator_key(upstream: &KaiCallsConfig) -> Result<LiveKey, Error> {
    let source = upstream.api_key.as_ref().ok_or_else(|| failure(ProvisionError::NoOperatorKey))?;
    let cant = "[kaicalls].api_key can't be used";
    let text = source.read(&Sources::command_line()).map_err(|missing| Error::config(missing).context(cant))?;
    LiveKey::parse(text.expose()).map_err(|invalid| {
        let what = match (invalid, kind_of(text.expose())) {
            (InvalidKaiCallsKey::Prefix(_), Some(kind)) => anyhow!("it is {kind}"),
            _ => anyhow!("it {invalid}"),
        };
        let hint = "KaiCalls' standard API key begins with kc_live_: Dashboard > Settings > API Keys";
        Error::keys(what).context(cant).hint(hint)
    })
}

/// Names a key of another kind.
fn kind_of(key: &str) -> Option<&'static str> {
    let kinds = [
        ("wp_pk_", "a site's public key"),
        ("wp_sk_", "a site's secret key"),
        ("kc_test_", "a test key, and KaiCalls has none yet"),
        ("fg_", "a token of formgate"),
    ];
    kinds.into_iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, kind)| kind)
}

fn folder_failure(error: SecretsFolderError) -> Error {
    let hint = match &error {
        SecretsFolderError::Busy(_) => "wait until it has ended, and run this again".to_owned(),
        SecretsFolderError::Open(folder) => format!("chmod 700 {}", folder.display()),
        SecretsFolderError::Io(..) => "[sites].secrets names the folder; run this as the gateway's user".to_owned(),
    };
    Error::store(error).hint(hint)
}

/// Puts into words why there is no pair, with what to do.
pub(in crate::cli) fn failure(error: ProvisionError) -> Error {
    let hint = match &error {
        ProvisionError::NoOperatorKey => {
            "write api_key = { env = \"KAICALLS_API_KEY\" } under [kaicalls] in config.toml, and set that variable to a \
             key from KaiCalls' Dashboard > Settings > API Keys"
        }
        ProvisionError::OperatorKeyRefused(_) => {
            "it is mistyped, expired or deleted: create another under KaiCalls' Dashboard > Settings > API Keys"
        }
        ProvisionError::MintRefused(refused) => mint_cure(refused),
        ProvisionError::OtherBusiness { .. } => {
            "the API key belongs to another business: create one for this business. The pair isn't used; revoke its \
             connection in KaiCalls' dashboard"
        }
        ProvisionError::NewPairRefused(_) => "it isn't used; run this again for another",
        ProvisionError::PairRefused(_) => {
            "copy both keys of one connection anew, or mint a pair with `formgate keys mint`"
        }
        ProvisionError::Unreachable(_) => "run this again later: it goes on where it stopped",
        ProvisionError::Folder(_) => "[sites].secrets names the folder; run this as the gateway's user",
    };
    match &error {
        ProvisionError::NoOperatorKey => Error::config(error).hint(hint),
        ProvisionError::Unreachable(_) => Error::upstream(error).hint(hint),
        ProvisionError::Folder(_) => Error::store(error).hint(hint),
        ProvisionError::OperatorKeyRefused(_)
        | ProvisionError::MintRefused(_)
        | ProvisionError::OtherBusiness { .. }
        | ProvisionError::NewPairRefused(_)
        | ProvisionError::PairRefused(_) => Error::keys(error).hint(hint),
    }
}

/// Waits for something, and tells a person who watches while KaiCalls asks to be left alone.
pub(super) async fn telling<T>(work: impl Future<Output = T>, provisioner: &Provisioner, console: &mut Console) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                console.progress("");
                return done;
            }
            () = sleep(Duration::from_millis(500)) => {
                let wait = provisioner.pace().waits_until().map(|until| until.saturating_duration_since(Instant::now()));
                if let Some(wait) = wait {
                    console.progress(&format!("KaiCalls asks to be left alone; going on in {} s", wait.as_secs() + 1));
                }
            }
        }
    }
}

fn mint_cure(refused: &Refused) -> &'static str {
    match refused.status {
        400 | 422 => "an API key that spans several businesses needs --business ID",
        403 => {
            "the API key may lack the scope to write leads (leads:write or *), or belong to another business than the one \
             that was asked for"
        }
        _ => "KaiCalls' words say why; support@kaicalls.com knows more",
    }
}

/// Names what may have been minted in vain, where this run found any.
pub(in crate::cli) fn say_in_vain(folder: &SecretsFolder, console: &mut Console) {
    let found = folder.in_vain();
    if found.is_empty() {
        return;
    }
    console.say("\nKaiCalls may have connections that nobody uses. Revoke them in its dashboard, under WordPress:");
    for in_vain in &found {
        let url = in_vain.site_url.as_deref().unwrap_or("no site URL");
        let id = in_vain.name();
        console.say(format!("  {} ({url}), {id}, asked for at {:.0}: {}", in_vain.site, in_vain.asked_at, in_vain.why));
    }
    console.say(format!("They are also in {}; delete it when they are revoked", folder.in_vain_file().display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;
    use crate::destination::Secret;

    #[test]
    fn a_key_of_another_kind_is_named_and_never_shown() {
        for (key, named) in [
            ("wp_sk_hush", "a site's secret key"),
            ("wp_pk_hush", "a site's public key"),
            ("kc_test_hush", "a test key"),
            ("fg_hush", "a token of formgate"),
            ("hush", "must begin with kc_live_"),
            ("kc_live_hu sh", "must hold only"),
        ] {
            let api_key = Some(SecretSource::Text(Secret::new(key.to_owned())));
            let upstream = KaiCallsConfig { api_key, ..KaiCallsConfig::default() };
            let refused = operator_key(&upstream).expect_err(key).render();
            assert!(refused.contains(named) && !refused.contains("hush"), "{refused}");
        }
        assert!(operator_key(&KaiCallsConfig::default()).expect_err("none").render().contains("api_key = { env"));
    }
}

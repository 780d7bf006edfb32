//! Key pairs: minted, verified, and brought to where a site's file can name them, so that a kill at any moment leaves no
//! pair that nobody knows of. How far a site has come is written into the secrets folder before each step.
//!
//! ```text
//! Asked   KaiCalls is asked for a pair                killed here, the answer may be lost: it is named as minted in vain
//! Minted  the secret is in its file; it is verified   killed here, the next run goes on with this pair
//! in use  the site's file names the pair              nothing is left to be done, but for the pair that was replaced
//! ```
//!
//! KaiCalls documents no way to list or revoke connections. So each one that may have been minted in vain is written down
//! for a person, who revokes it in the dashboard: `minted-in-vain.csv` in the secrets folder.

mod folder;

mod in_force;

mod in_vain;

mod judge;

mod pace;

mod pairs;

mod progress;

mod verifier;

mod written;

use std::io;
use std::path::PathBuf;

use tokio::time::Instant;

pub use folder::{SecretsFolder, SecretsFolderError};
pub use in_force::{KeysInForce, in_force};
pub use in_vain::InVain;
use judge::{KeyReply, judge};
pub use judge::{Refused, Verification};
pub use pace::Pace;
use pace::Tries;
pub use pairs::{PairAnswers, PairAsked, PairState, PairVerified, distinct_pairs};
use progress::{MintProgress, MintStep, Minted};
pub use progress::{Replaced, Unfinished};
pub use verifier::KeyVerifier;
pub use written::{WrittenPair, pair_of};

use crate::destination::KeyPair;
use crate::kaicalls::{Client, LiveKey, MintedKeys, NewConnection};
use crate::lead::SiteId;

/// Most mints of one site whose answer is lost before it is given up: each may leave a connection behind.
const LOST_MAX: u32 = 2;

/// Why a pair that is there isn't used.
const OTHER_BUSINESS: &str = "it is of another business than was asked for";

/// Makes pairs ready for use. All clones keep to one pace.
#[derive(Clone)]
pub struct Provisioner {
    client: Client,
    /// None: pairs can be adopted and verified only.
    operator_key: Option<LiveKey>,
    folder: SecretsFolder,
    pace: Pace,
}

/// What a pair is minted for.
#[derive(Clone, Debug, Default)]
pub struct MintRequest<'a> {
    /// Sent along, so that the dashboard shows which site a connection is for.
    pub url: Option<&'a str>,
    pub business_id: Option<&'a str>,
    /// The pair that this one takes the place of.
    pub replaces: Option<Replaced>,
}

/// A pair that KaiCalls has verified, with its secret on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyPair {
    pub public_key: String,
    pub secret_file: PathBuf,
    pub business_id: Option<String>,
    pub connection_id: Option<String>,
    pub replaces: Option<Replaced>,
    /// An earlier run had minted it.
    pub was_resumed: bool,
}

/// Why there is no pair.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("there is no key to mint with: [kaicalls].api_key is not set")]
    NoOperatorKey,
    /// Whatever is asked for next would be refused too.
    #[error("KaiCalls refuses [kaicalls].api_key: {0}")]
    OperatorKeyRefused(Refused),
    #[error("KaiCalls mints no key pair for this site: {0}")]
    MintRefused(Refused),
    #[error("KaiCalls minted a pair of business {minted}, not of {asked}")]
    OtherBusiness { minted: String, asked: String },
    #[error("KaiCalls refuses the pair that it has just minted: {0}")]
    NewPairRefused(Refused),
    #[error("KaiCalls refuses the key pair: {0}")]
    PairRefused(Refused),
    #[error("KaiCalls can't be asked: {0}")]
    Unreachable(String),
    #[error("the secrets folder can't be used")]
    Folder(#[from] io::Error),
}

impl Provisioner {
    pub fn new(client: Client, operator_key: Option<LiveKey>, folder: SecretsFolder, pace: Pace) -> Self {
        Self { client, operator_key, folder, pace }
    }

    /// Mints a pair for a site and verifies it; goes on with the pair that an earlier run had minted. Until
    /// [`Provisioner::in_use`] says that the site's file names it, another run would go on with this pair too.
    pub async fn mint(&self, site: &SiteId, request: &MintRequest<'_>) -> Result<ReadyPair, ProvisionError> {
        let resumed = self.resume(site, request)?;
        let was_resumed = resumed.is_some();
        let (progress, minted, keys) = match resumed {
            Some(resumed) => resumed,
            None => self.ask(site, request).await?,
        };
        let verified = match self.verify(&keys).await {
            Verification::Valid { business_id } => business_id,
            Verification::Refused(refused) => {
                self.give_up(site, &progress, &minted, "KaiCalls refused the new pair")?;
                return Err(ProvisionError::NewPairRefused(refused));
            }
            Verification::Unreachable(why) => return Err(ProvisionError::Unreachable(why)),
        };
        let business_id = verified.or(minted.business_id);
        Ok(ReadyPair {
            public_key: minted.public_key,
            secret_file: self.folder.path_of(&minted.secret_file),
            business_id,
            connection_id: minted.connection_id,
            replaces: progress.replaces,
            was_resumed,
        })
    }

    /// Takes a pair that the operator has: verifies it, and writes its secret into a file.
    pub async fn adopt(&self, site: &SiteId, keys: &KeyPair) -> Result<ReadyPair, ProvisionError> {
        let business_id = match self.verify(keys).await {
            Verification::Valid { business_id } => business_id,
            Verification::Refused(refused) => return Err(ProvisionError::PairRefused(refused)),
            Verification::Unreachable(why) => return Err(ProvisionError::Unreachable(why)),
        };
        let name = self.folder.adopt_secret(site, keys)?;
        Ok(ReadyPair {
            public_key: keys.public().to_owned(),
            secret_file: self.folder.path_of(&name),
            business_id,
            connection_id: None,
            replaces: None,
            was_resumed: false,
        })
    }

    /// Asks KaiCalls whether a pair is valid, again and again for a while where it can't be asked.
    pub async fn verify(&self, keys: &KeyPair) -> Verification {
        verify(&self.client, &self.pace, keys).await
    }

    /// The site's file names this pair: nothing is left to be done. Another that was on its way is named as minted in vain.
    pub fn in_use(&self, site: &SiteId, public_key: &str) -> Result<(), ProvisionError> {
        match self.folder.progress(site)? {
            Some(MintProgress { step: MintStep::Minted(minted), url, asked_at, replaces })
                if minted.public_key != public_key =>
            {
                let progress = MintProgress { step: MintStep::Asked, url, asked_at, replaces };
                self.give_up(site, &progress, &minted, "another pair was taken")?;
            }
            Some(MintProgress { step: MintStep::Asked, url, asked_at, .. }) => {
                let lost =
                    InVain::lost(site, url.as_deref(), asked_at, "the run was cut off, and another pair was taken");
                self.folder.add_in_vain(&lost)?;
            }
            _ => {}
        }
        Ok(self.folder.clear_progress(site)?)
    }

    /// Ends what an earlier run left unfinished where the site's file names its pair already, unless that pair takes the
    /// place of another, which may still be needed.
    pub fn finish(&self, site: &SiteId, public_key: &str) -> Result<(), ProvisionError> {
        let is_done = |it: &Unfinished| it.replaces.is_none() && it.public_key.as_deref() == Some(public_key);
        if self.unfinished(site)?.is_some_and(|it| is_done(&it)) { self.in_use(site, public_key) } else { Ok(()) }
    }

    /// Tells what an earlier run left unfinished for a site.
    pub fn unfinished(&self, site: &SiteId) -> Result<Option<Unfinished>, ProvisionError> {
        Ok(self.folder.progress(site)?.map(Unfinished::of))
    }

    /// Tells until when KaiCalls has asked to be left alone.
    pub fn waits_until(&self) -> Option<Instant> {
        self.pace.waits_until()
    }

    pub fn folder(&self) -> &SecretsFolder {
        &self.folder
    }

    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Goes on with the pair that an earlier run had minted. What can't be gone on with is named as minted in vain.
    fn resume(&self, site: &SiteId, request: &MintRequest<'_>) -> io::Result<Option<(MintProgress, Minted, KeyPair)>> {
        let Some(mut progress) = self.folder.progress(site)? else { return Ok(None) };
        let MintStep::Minted(minted) = progress.step.clone() else {
            let url = progress.url.as_deref();
            let asked_at = progress.asked_at;
            self.folder.add_in_vain(&InVain::lost(site, url, asked_at, "the run was cut off"))?;
            return Ok(None);
        };
        let Some(keys) = self.folder.pair(&minted)? else {
            self.give_up(site, &progress, &minted, "the run was cut off before its secret was written")?;
            return Ok(None);
        };
        if let (Some(asked), Some(found)) = (request.business_id, &minted.business_id)
            && asked != found
        {
            self.give_up(site, &progress, &minted, OTHER_BUSINESS)?;
            return Ok(None);
        }
        // What is in use now may be another pair than when this one was minted.
        if request.replaces.is_some() && progress.replaces != request.replaces {
            progress.replaces.clone_from(&request.replaces);
            self.folder.write_progress(site, &progress)?;
        }
        Ok(Some((progress, minted, keys)))
    }

    /// Asks for a pair until there is one, and writes its secret into a file.
    async fn ask(
        &self,
        site: &SiteId,
        request: &MintRequest<'_>,
    ) -> Result<(MintProgress, Minted, KeyPair), ProvisionError> {
        let Some(operator_key) = &self.operator_key else { return Err(ProvisionError::NoOperatorKey) };
        let url = request.url.map(str::to_owned);
        let connection = NewConnection { site_url: url.clone(), business_id: request.business_id.map(str::to_owned) };
        let mut tries = Tries::default();
        let mut lost = 0;
        loop {
            let turn = self.pace.turn().await.map_err(|left| ProvisionError::Unreachable(left.to_string()))?;
            let progress = MintProgress {
                step: MintStep::Asked,
                url: url.clone(),
                asked_at: self.pace.now(),
                replaces: request.replaces.clone(),
            };
            self.folder.write_progress(site, &progress)?;
            let reply = judge(self.client.create_keys(operator_key, &connection).await, self.pace.now());
            drop(turn);
            match reply {
                KeyReply::Success(minted) => return self.keep(site, progress, minted, request.business_id),
                KeyReply::Refused(refused) => {
                    self.folder.clear_progress(site)?;
                    let is_for_all = refused.status == 401;
                    return Err(match is_for_all {
                        true => ProvisionError::OperatorKeyRefused(refused),
                        false => ProvisionError::MintRefused(refused),
                    });
                }
                KeyReply::Later(later) => {
                    if later.may_have_happened {
                        lost += 1;
                        let in_vain = InVain::lost(site, progress.url.as_deref(), progress.asked_at, &later.why);
                        self.folder.add_in_vain(&in_vain)?;
                    }
                    self.folder.clear_progress(site)?;
                    let wait = tries.next(&later, &self.pace).filter(|_| lost < LOST_MAX);
                    tokio::time::sleep(wait.ok_or(ProvisionError::Unreachable(later.why))?).await;
                }
            }
        }
    }

    /// Writes down a pair that was just minted.
    fn keep(
        &self,
        site: &SiteId,
        progress: MintProgress,
        minted: MintedKeys,
        business_id: Option<&str>,
    ) -> Result<(MintProgress, Minted, KeyPair), ProvisionError> {
        let keys = minted.keys;
        let minted = Minted {
            public_key: keys.public().to_owned(),
            secret_file: self.folder.free_name(site, &keys),
            business_id: minted.business_id,
            connection_id: minted.connection_id,
        };
        if let (Some(asked), Some(found)) = (business_id, &minted.business_id)
            && asked != found
        {
            let error = ProvisionError::OtherBusiness { minted: found.clone(), asked: asked.to_owned() };
            self.give_up(site, &progress, &minted, OTHER_BUSINESS)?;
            return Err(error);
        }
        let progress = MintProgress { step: MintStep::Minted(minted.clone()), ..progress };
        // Before the secret: killed between the two, the next run knows which connection was minted in vain.
        let written = self.folder.write_progress(site, &progress);
        if let Err(error) = written.and_then(|()| self.folder.write_secret(&minted.secret_file, &keys)) {
            let in_vain =
                InVain::of(site, progress.url.as_deref(), progress.asked_at, &minted, "it can't be written down");
            // A full disk takes no line either; the run tells it all the same.
            drop(self.folder.add_in_vain(&in_vain));
            return Err(error.into());
        }
        Ok((progress, minted, keys))
    }

    /// Names a pair as minted in vain, and takes its secret away.
    fn give_up(&self, site: &SiteId, progress: &MintProgress, minted: &Minted, why: &str) -> io::Result<()> {
        self.folder.add_in_vain(&InVain::of(site, progress.url.as_deref(), progress.asked_at, minted, why))?;
        self.folder.remove_secret(&minted.secret_file)?;
        self.folder.clear_progress(site)
    }
}

/// Asks KaiCalls whether a pair is valid, again and again for a while where it can't be asked.
pub async fn verify(client: &Client, pace: &Pace, keys: &KeyPair) -> Verification {
    let mut tries = Tries::default();
    loop {
        let turn = match pace.turn().await {
            Ok(turn) => turn,
            Err(left) => return Verification::Unreachable(left.to_string()),
        };
        let reply = judge(client.verify(keys).await, pace.now());
        drop(turn);
        match reply {
            KeyReply::Success(verified) => return Verification::Valid { business_id: verified.business_id },
            KeyReply::Refused(refused) => return Verification::Refused(refused),
            KeyReply::Later(later) => match tries.next(&later, pace) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Verification::Unreachable(later.why),
            },
        }
    }
}

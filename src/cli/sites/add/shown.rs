//! What was added, and what to do next.

use std::path::Path;

use serde::Serialize;

use super::{Added, Adding};
use crate::cli::console::{Console, Format};
use crate::cli::error::Error;
use crate::cli::sites::new_site::{AssumedRegion, key_files};
use crate::cli::sites::plugins;
use crate::lead::SiteId;
use crate::operate::onboard::PluginSteps;

/// What is shown once. No `Debug`: it holds the token.
#[derive(Serialize)]
struct AddOutput<'a> {
    site: &'a SiteId,
    /// False: it was there already.
    added: bool,
    file: &'a Path,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_with_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// Only the URL's domain says the region.
    region_assumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<String>,
}

impl Added {
    pub(super) fn show(
        &self,
        adding: &Adding<'_>,
        url_with_token: &str,
        setup: Option<PluginSteps>,
        console: &mut Console,
    ) -> Result<(), Error> {
        if adding.args.output == Format::Json {
            return console.json(&AddOutput {
                site: &adding.args.id,
                added: self.token.is_some(),
                file: &self.file,
                url: &self.url,
                token: self.token.as_deref(),
                url_with_token: self.token.as_ref().map(|_| url_with_token),
                region: adding.region.map(|assumed| assumed.region.to_string()),
                region_assumed: adding.region.is_some_and(|assumed| assumed.is_assumed),
                public_key: self.pair.as_ref().map(|pair| pair.public_key.as_str()),
                business_id: self.pair.as_ref().and_then(|pair| pair.business_id.as_deref()),
                steps: setup.map(|setup| setup.steps).unwrap_or_default(),
            });
        }
        self.show_head(adding, console)?;
        match (setup, &self.token) {
            (Some(setup), _) => {
                console.data("")?;
                plugins::lines(&setup).try_for_each(|line| console.data(line))?;
            }
            (None, Some(token)) => self.show_url(token, url_with_token, console)?,
            (None, None) => {}
        }
        let id = &adding.args.id;
        console.say(match &self.token {
            Some(_) => format!(
                "\nThe token is shown only now. Then submit the form once, and run `formgate leads list --site {id}`"
            ),
            None => format!("its tokens are shown nowhere; `formgate sites token {id}` makes another"),
        });
        Ok(())
    }

    fn show_head(&self, adding: &Adding<'_>, console: &mut Console) -> Result<(), Error> {
        let id = &adding.args.id;
        let file = self.file.display();
        match (&self.token, &self.pair) {
            (Some(_), _) => {
                console.data(format!("{id} is added: {file}"))?;
                console.data(format!("  region  {}", region_words(adding.region)))?;
                console.data(format!("  keys    {}", self.keys_words(adding)))
            }
            (None, Some(_)) => console.data(format!("{id} has keys now: {file}")),
            (None, None) => console.data(format!("{id} is there already, and nothing was changed: {file}")),
        }
    }

    fn show_url(&self, token: &str, url_with_token: &str, console: &mut Console) -> Result<(), Error> {
        let url = console.paint().bold(url_with_token);
        console.data(format!("\nPaste into the plugin:\n\n  {url}\n\nor, if the plugin can send headers:\n"))?;
        console.data(format!("  {}\n  Authorization: Bearer {token}", self.url))
    }

    fn keys_words(&self, adding: &Adding<'_>) -> String {
        let Some(pair) = &self.pair else {
            let [public, secret] = key_files(&adding.loaded.secrets_folder, &adding.args.id);
            return format!(
                "none yet, so its leads wait in the queue: run `formgate keys mint {}`, or write the pair into {} and {}",
                adding.args.id,
                public.display(),
                secret.display()
            );
        };
        let business = pair.business_id.as_deref().map(|id| format!(", business {id}")).unwrap_or_default();
        format!("{}{business}, verified; its secret is in {}", pair.public_key, pair.secret_file.display())
    }
}

fn region_words(region: Option<AssumedRegion>) -> String {
    match region {
        Some(AssumedRegion { region, is_assumed: true }) => {
            format!("{region}, because of the URL; --region CC says another")
        }
        Some(AssumedRegion { region, .. }) => region.to_string(),
        None => "none: phone numbers without + are sent as typed; --region CC reads them as that country's".to_owned(),
    }
}

//! The web console, in a real browser and byte by byte.
//!
//! `operator` does what an operator does, `screens` looks at every page in every way people do, `guard` tries what nobody
//! may. A machine without Chromium fails here, and says how to get it.

mod guard;
mod operator;
mod scene;
mod screens;
pub(crate) mod stage;

use crate::chromium::driver::{Browser, Tab};
use stage::{ADMIN, Stage};

/// Opens a tab and logs in.
async fn logged_in<'b>(browser: &'b mut Browser, stage: &Stage, scripts: bool) -> Tab<'b> {
    let mut tab = browser.tab("en-GB", scripts).await;
    tab.open(&stage.url("/console/login")).await;
    tab.write("#token", ADMIN).await;
    tab.press("button.primary").await;
    assert_eq!(tab.url().await, stage.url("/console/"));
    tab
}

/// Returns the text of the first element, as it is read.
async fn text(tab: &mut Tab<'_>, selector: &str) -> String {
    tab.run(&format!("Promise.resolve(document.querySelector({selector:?})?.innerText ?? '')")).await
}

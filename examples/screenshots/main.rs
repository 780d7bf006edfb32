//! Takes a picture of each page of the console, in both themes and on a small screen.
//!
//!     cargo run --example screenshots [FOLDER]
//!
//! Needs a Chromium (`scripts/setup --test`). What is shown is invented.

#![expect(clippy::print_stdout, reason = "it is the program's data")]
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "it is a tool of this repository")]

#[path = "../../tests/it/chromium/driver.rs"]
#[expect(dead_code, reason = "the tests do more with it")]
mod driver;
#[path = "../../tests/it/console/scene.rs"]
mod scene;
#[path = "../../tests/it/console/stage.rs"]
#[expect(dead_code, reason = "the tests do more with it")]
mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use driver::{Browser, Tab};
use serde_json::json;
use stage::Stage;

/// Runs in the live view until something has arrived.
const ROWS_ARRIVED: &str = "new Promise(done => {
    const look = () => document.querySelectorAll('#stream tbody tr').length > 3 ? done('there') : setTimeout(look, 50);
    look();
})";

/// The size of a desk's screen and of a telephone's.
const DESK: (u32, u32) = (1280, 860);
const PHONE: (u32, u32) = (380, 800);

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("docs/screenshots"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("a folder for the pictures");
    let stage = scene::set().await;
    let lead = scene::held_lead(&stage).await;
    let pages = [
        ("overview", "/console/".to_owned()),
        ("leads", "/console/leads".to_owned()),
        ("lead", format!("/console/leads/{lead}")),
        ("sites", "/console/sites".to_owned()),
        ("site", "/console/sites/birch-law".to_owned()),
        ("live", "/console/live".to_owned()),
    ];
    let mut browser = Browser::start();
    for (theme, size, suffix) in [("light", DESK, ""), ("dark", DESK, "-dark"), ("light", PHONE, "-phone")] {
        let mut tab = browser.tab("en-GB", true).await;
        tab.look(theme, size).await;
        tab.open(&stage.url("/console/login")).await;
        save(&mut tab, &folder, &format!("login{suffix}")).await;
        tab.write("#token", stage::ADMIN).await;
        tab.press("button.primary").await;
        for (name, path) in &pages {
            tab.open(&stage.url(path)).await;
            if *name == "live" {
                happen(&stage).await;
                tab.run(ROWS_ARRIVED).await;
            }
            save(&mut tab, &folder, &format!("{name}{suffix}")).await;
        }
    }
    stage.stop().await;
    println!("pictures are in {}", folder.display());
}

async fn save(tab: &mut Tab<'_>, folder: &Path, name: &str) {
    let asked = json!({ "format": "png", "captureBeyondViewport": true });
    let taken = tab.call("Page.captureScreenshot", asked).await;
    let picture = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().expect("a picture"));
    let file = folder.join(format!("{name}.png"));
    std::fs::write(&file, picture.expect("base64")).expect("written");
    println!("{}", file.display());
}

/// Lets a few forms post while somebody looks.
async fn happen(stage: &Stage) {
    for (site, name, email, message) in scene::VISITORS.into_iter().take(4) {
        let body =
            serde_json::json!({ "your-name": name, "your-email": format!("new-{email}"), "your-message": message });
        stage.post(&format!("{site}/contact"), &body.to_string()).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    stage.post("birch-law/contact", r#"{"your-name":"Nobody","your-message":"?"}"#).await;
}

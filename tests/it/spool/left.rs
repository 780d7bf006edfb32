//! A spool that the configured store doesn't use any more.

use std::path::Path;

use formgate::app;
use formgate::config::{self, Sources};
use formgate::queue::{Appended, Store as _, StoreError};
use jiff::civil::date;

use super::spool_in;
use crate::store_contract::entry;

/// Checks the store of a configuration that stands in a folder.
async fn check(folder: &Path, config: &str) -> Result<(), StoreError> {
    let file = folder.join("config.toml");
    std::fs::write(&file, config).expect("written");
    let starting = config::start(&file, &Sources::with_environment([]), date(2026, 11, 30));
    let (config, origin) = starting.in_force.expect("it can be served");
    app::check_store(&config, &origin).await
}

#[tokio::test]
async fn a_start_that_would_forget_a_spool_is_refused_and_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (data, config) in [
        ("data", "[queue]\nurl = \"sqlite:store/formgate.db\""),
        ("data", "[queue]\nurl = \"memory:\""),
        ("elsewhere", "[server]\ndata = \"elsewhere\""),
    ] {
        let spool_folder = folder.join(data).join("spool");
        std::fs::create_dir_all(&spool_folder).expect("a folder");
        let spool = spool_in(&spool_folder, None);
        check(folder, config).await.expect("nothing lies in it");
        for number in [1, 2] {
            let new = entry(number, "acme");
            assert_eq!(spool.append(new.clone(), None).await.expect("appended"), Appended::New(new.id));
        }
        drop(spool);
        let refused = check(folder, config).await.expect_err("two leads lie in it");
        let file = spool_folder.join("spool.db");
        let said = format!("2 leads lie in the spool {}, which only a store in PostgreSQL uses", file.display());
        assert_eq!(refused.to_string(), said);
        std::fs::remove_dir_all(spool_folder).expect("removed");
        check(folder, config).await.expect("it is gone");
    }
}

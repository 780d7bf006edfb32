//! The checker of the documents' site (`scripts/check_site.py`): it passes a sound site and names each fault of another.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::python;

const SOUND: &[(&str, &str)] = &[
    (
        "index.html",
        r##"<link href="style.css"><h1 id="top-of-it">x</h1><a href="#top-of-it">a</a><a href="docs/page.html#b">b</a>"##,
    ),
    (
        "docs/page.html",
        r#"<h2 id="b">b</h2><a href="../index.html">up</a><a href="https://www.example.com/">away</a><img src="a.png">"#,
    ),
    ("docs/a.png", ""),
    ("style.css", "@font-face { src: url('docs/a.png') } b { background: url(data:image/png;base64,AA) }"),
    ("llms.txt", "# x\n- [page](docs/page.html#b): y\n"),
];

async fn check(folder: &Path) -> Output {
    let mut command = python::script("scripts/check_site.py");
    command.arg(folder).output().await.expect("it runs")
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(folder.join("docs")).expect("a folder");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("written");
    }
}

#[tokio::test]
async fn a_sound_site_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), SOUND);
    let checked = check(folder.path()).await;
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert_eq!(said, "docs: 2 pages; 7 links within the site, 0 of them broken; 1 to other sites, not looked at\n");
}

#[tokio::test]
async fn each_fault_is_named() {
    let faults = [
        ("docs/page.html", r#"<a href="gone.html">x</a>"#, "docs/page.html: gone.html leads nowhere"),
        ("docs/page.html", r#"<a href="../../x.html">x</a>"#, "docs/page.html: ../../x.html leads nowhere"),
        ("docs/page.html", r#"<a href="../docs/">x</a>"#, "docs/page.html: ../docs/ leads nowhere"),
        (
            "docs/page.html",
            r#"<a href="/index.html">x</a>"#,
            "docs/page.html: /index.html works only at the root of a host",
        ),
        ("index.html", r##"<a href="#b">x</a>"##, "index.html: #b: index.html has no such anchor"),
        (
            "index.html",
            r#"<a href="docs/page.html#c">x</a>"#,
            "index.html: docs/page.html#c: docs/page.html has no such anchor",
        ),
        (
            "index.html",
            r#"<script src="https://cdn.example/x.js">"#,
            "index.html: loads https://cdn.example/x.js from elsewhere",
        ),
        (
            "index.html",
            r#"<link href="//fonts.example/x.css">"#,
            "index.html: loads //fonts.example/x.css from elsewhere",
        ),
        ("style.css", "@import 'https://x.example/x.css';", "style.css: loads https://x.example/x.css from elsewhere"),
        ("style.css", "a { background: url(gone.png) }", "style.css: gone.png leads nowhere"),
        ("llms.txt", "[a](gone.md)", "llms.txt: gone.md leads nowhere"),
    ];
    for (file, text, fault) in faults {
        let folder = tempfile::tempdir().expect("a folder");
        let sound = SOUND.iter().find(|(name, _)| name == &file).map_or("", |(_, sound)| sound);
        write(folder.path(), SOUND);
        write(folder.path(), &[(file, &format!("{sound}{text}"))]);
        let checked = check(folder.path()).await;
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(1), "{text}: {said}");
        assert_eq!(said.lines().next(), Some(fault), "{text}");
    }
}

#[tokio::test]
async fn a_folder_without_pages_is_no_site() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(check(folder.path()).await.status.code(), Some(1));
}

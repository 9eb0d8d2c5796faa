//! A real browser: Chromium, driven by `tests/browser/journey.mjs`, against the demo.

use std::process::Command;

use serde_json::json;

use crate::support::program::Demo;

#[tokio::test]
async fn a_person_with_a_browser_signs_in_works_signs_out_and_leaves_nothing_behind() {
    let demo = Demo::start(&[]);
    let limited = Demo::start_with(&[], &[("SESSION__MAX_PER_USER", "1"), ("SESSION__ON_LIMIT", "refuse")]);
    let public = &demo.public;
    let options = json!({
        "base": public,
        "limited": limited.public,
        "provider": "demo",
        "screenshots": std::env::var_os("COUNTERFOIL_SCREENSHOTS").map(|folder| folder.to_string_lossy().into_owned()),
        "pages": [
            format!("{public}/sso/login?choose=1"),
            format!("{public}/sso/login?ended=1&return_to=/orders"),
            format!("{public}/sso/nothing-here"),
        ],
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/journey.mjs");
    let output = Command::new("node").arg(script).arg(options.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.lines().count() > 10, "{said}\n{errors}");
}

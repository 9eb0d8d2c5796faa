//! Signing out, as a person does it.

use super::browser::{Answer, Browser};

/// The page that asks.
pub const LOGOUT: &str = "https://app.example.test/sso/logout";

/// What a person does: the page, then its button.
pub async fn sign_out(browser: &Browser) -> Answer {
    let token = csrf_token(browser).await;
    browser.submit(LOGOUT, &[("csrf_token", &token)]).header("sec-fetch-site", "same-origin").send().await
}

/// The token in the form of the page.
pub async fn csrf_token(browser: &Browser) -> String {
    let page = browser.visit(LOGOUT).send().await;
    assert_eq!(page.status, 200);
    // With `no-referrer` browsers without Sec-Fetch-Site would send `Origin: null` with the form.
    assert_eq!(page.header("referrer-policy"), "same-origin");
    page.csrf_token()
}

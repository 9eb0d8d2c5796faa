//! The names of the broker's own cookies, beside the session's.

use super::public_url::PublicUrl;

pub use counterfoil_guard::cookies::{CookiePolicy, check_session_name};

/// Begins the name of a cookie that holds a pending login.
pub const PENDING: &str = "login-";
/// The cookie that lets a person with too many sessions end one.
pub const LIMIT: &str = "limit";
/// The cookie that counts a browser's recent logins by page.
pub const LANDINGS: &str = "landings";

/// The broker's policy: no upstream sees or sets any of its cookies.
pub fn policy(public_url: &PublicUrl, session_name: Option<String>) -> CookiePolicy {
    CookiePolicy::new(public_url, session_name).with_own(&[PENDING, LIMIT, LANDINGS])
}

//! What a provider tells the broker by itself: logout tokens and security events. No cookie, no header of a browser.

use http::Method;

use super::broker::{Broker, PUBLIC};
use super::browser::{Answer, Asking};

/// Tells of a logout by back channel.
pub async fn tell_of_logout(broker: &Broker, logout_token: &str) -> Answer {
    let asking = broker.browser().ask(Method::POST, &format!("{PUBLIC}/sso/backchannel-logout/company"));
    let asking = asking.header("content-type", "application/x-www-form-urlencoded");
    asking.body(&format!("logout_token={logout_token}")).send().await
}

/// Pushes a security event; nothing says yet who does.
pub fn push(broker: &Broker, event: &str) -> Asking {
    let asking = broker.browser().ask(Method::POST, &format!("{PUBLIC}/sso/security-events/company"));
    asking.header("content-type", "application/secevent+jwt").body(event)
}

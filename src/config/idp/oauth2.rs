//! The settings that only plain OAuth 2.0 providers have: their endpoints, since they publish no metadata.

use url::Url;

use crate::address::is_safe_address;
use crate::config::reader::Reader;
use crate::idp::{OAuth2Settings, check_authorization_endpoint};

pub(super) fn read(section: &mut Reader) -> Option<OAuth2Settings> {
    let mut endpoint = |key: &str| {
        section.checked(key, |url: &Url| {
            if is_safe_address(url) { Ok(url.clone()) } else { Err("must be https (http on loopback only)") }
        })
    };
    let authorization_endpoint = endpoint("authorization_endpoint");
    let token_endpoint = endpoint("token_endpoint");
    let profile_endpoint = endpoint("profile_endpoint");
    if let Some(Err(error)) = authorization_endpoint.as_ref().map(check_authorization_endpoint) {
        section.fault("authorization_endpoint", error.to_string());
    }
    let revocation_endpoint = read_endpoint(section, "revocation_endpoint");
    let pushed_authorization_request_endpoint = read_endpoint(section, "pushed_authorization_request_endpoint");
    Some(OAuth2Settings {
        issuer: read_plain_issuer(section),
        authorization_endpoint: authorization_endpoint?,
        token_endpoint: token_endpoint?,
        profile_endpoint: profile_endpoint?,
        revocation_endpoint,
        pushed_authorization_request_endpoint,
        scope_separator: section.or("scope_separator", " ".to_owned()),
        token_request_state: section.or("token_request_state", false),
    })
}

/// The provider's name for itself in its answers (RFC 9207). It keeps people of different providers apart, so it
/// must be a name.
fn read_plain_issuer(section: &mut Reader) -> Option<String> {
    let issuer = section.optional::<String>("issuer")?;
    if !Url::parse(&issuer).is_ok_and(|url| is_safe_address(&url)) {
        section.fault("issuer", "must be https, exactly as the provider writes it (http on loopback only)");
    }
    Some(issuer)
}

fn read_endpoint(section: &mut Reader, key: &str) -> Option<Url> {
    let url = section.optional::<Url>(key)?;
    if !is_safe_address(&url) {
        section.fault(key, "must be https (http on loopback only)");
    }
    Some(url)
}

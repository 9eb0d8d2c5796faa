//! `[idp.<name>]`: the identity providers, and `[login]`: which of them is meant when none is named.

use std::ops::RangeInclusive;
use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use super::reader::Reader;
use crate::idp::discovery::check_authorization_endpoint;
use crate::idp::http::is_safe_address;
use crate::idp::jwks::{self, ALGORITHMS};
use crate::idp::profile::ProfileMapping;
use crate::idp::token_exchange::ClientAuthentication;
use crate::idp::{IdpKind, IdpSettings, OAuth2Settings, OidcSettings};

const DEFAULT_TIMEOUT: StdDuration = StdDuration::from_secs(8);
const TIMEOUTS: RangeInclusive<StdDuration> = StdDuration::from_millis(100)..=StdDuration::from_mins(1);
const DEFAULT_SKEW: StdDuration = StdDuration::from_mins(1);
/// A clock further off than this is to be put right, not tolerated (R-P04).
const LARGEST_SKEW: StdDuration = StdDuration::from_mins(5);

pub(super) fn read(reader: &mut Reader) -> Vec<IdpSettings> {
    let sections = reader.named_sections("idp");
    if sections.is_empty() {
        reader.fault("idp", "is missing: nobody could sign in without an [idp.<name>] section");
    }
    sections.into_iter().filter_map(|(name, mut section)| read_one(name, &mut section)).collect()
}

pub(super) fn read_default(section: &mut Reader, names: &[String]) -> Option<String> {
    let default = section.optional::<String>("default_idp")?;
    if !names.contains(&default) {
        section.fault("default_idp", "names a provider that is not configured");
    }
    Some(default)
}

fn read_one(name: String, section: &mut Reader) -> Option<IdpSettings> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        section.fault("", "the provider's name is part of an address: lower-case letters, digits and `-` only");
    }
    let declared = section.required::<String>("kind");
    let is_oidc = declared.as_deref() == Some("oidc");
    let kind = match declared.as_deref() {
        Some("oidc") => read_oidc(section).map(IdpKind::Oidc),
        Some("oauth2") => read_oauth2(section).map(Box::new).map(IdpKind::OAuth2),
        Some(_) => {
            section.fault("kind", "must be \"oidc\" or \"oauth2\"");
            // What belongs to which kind cannot be told, so the rest is not judged.
            section.ignore_the_rest();
            return None;
        }
        None => {
            section.ignore_the_rest();
            return None;
        }
    };
    let scopes = if is_oidc { ["openid", "profile", "email"].map(str::to_owned).to_vec() } else { Vec::new() };
    let scopes = section.or("scopes", scopes);
    if is_oidc && !scopes.iter().any(|scope| scope == "openid") {
        section.fault("scopes", "must contain \"openid\"");
    }
    let client_id = section.required::<String>("client_id");
    // A secret whose file cannot be read is its own fault, not a missing one.
    let has_secret = section.has("client_secret") || section.has("client_secret_file");
    let client_secret = section.secret("client_secret");
    if client_id.as_deref() == Some("") {
        section.fault("client_id", "must not be empty");
    }
    if client_secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        section.fault("client_secret", "must not be empty");
    }
    let client_authentication = read_client_authentication(section, has_secret);
    let settings = IdpSettings {
        display_name: section.or("display_name", name.clone()),
        trust_email: section.or("trust_email", false),
        profile: read_mapping(&mut section.section("profile"), is_oidc),
        timeout: read_timeout(section),
        name,
        client_id: client_id.unwrap_or_default(),
        client_secret,
        client_authentication,
        scopes,
        kind: kind?,
    };
    Some(settings)
}

fn read_timeout(section: &mut Reader) -> StdDuration {
    let timeout = section.or("timeout", DEFAULT_TIMEOUT);
    if !TIMEOUTS.contains(&timeout) {
        section.fault("timeout", "must be between 100ms and 1m");
    }
    timeout
}

fn read_oidc(section: &mut Reader) -> Option<OidcSettings> {
    let issuer = section.checked("issuer", |issuer: &String| match Url::parse(issuer) {
        Ok(url) if is_safe_address(&url) && url.query().is_none() && url.fragment().is_none() => Ok(issuer.clone()),
        _ => Err("must be an https URL without query, exactly as the provider writes it (http on loopback only)"),
    });
    let algorithm = section.or("id_token_signed_response_alg", "RS256".to_owned());
    let algorithm = ALGORITHMS.into_iter().find(|known| jwks::name(*known) == algorithm);
    if algorithm.is_none() {
        let known = ALGORITHMS.map(jwks::name).join(", ");
        section.fault("id_token_signed_response_alg", format!("must be one of {known}"));
    }
    let skew = section.or("clock_skew", DEFAULT_SKEW);
    if skew > LARGEST_SKEW {
        section.fault("clock_skew", "must be at most 5m: put the clock right instead");
    }
    let logout_id_token_hint = section.or("logout_id_token_hint", false);
    let clock_skew = Duration::try_from(skew).ok()?;
    Some(OidcSettings { issuer: issuer?, algorithm: algorithm?, clock_skew, logout_id_token_hint })
}

fn read_oauth2(section: &mut Reader) -> Option<OAuth2Settings> {
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
    Some(OAuth2Settings {
        issuer: read_plain_issuer(section),
        authorization_endpoint: authorization_endpoint?,
        token_endpoint: token_endpoint?,
        profile_endpoint: profile_endpoint?,
    })
}

/// What the provider calls itself in its answers (RFC 9207). It keeps people of different providers apart, so it
/// must be a name.
fn read_plain_issuer(section: &mut Reader) -> Option<String> {
    let issuer = section.optional::<String>("issuer")?;
    if !Url::parse(&issuer).is_ok_and(|url| is_safe_address(&url)) {
        section.fault("issuer", "must be https, exactly as the provider writes it (http on loopback only)");
    }
    Some(issuer)
}

fn read_client_authentication(section: &mut Reader, has_secret: bool) -> ClientAuthentication {
    let method = section.optional::<String>("token_endpoint_auth_method");
    match (method.as_deref(), has_secret) {
        (None | Some("client_secret_basic"), true) => ClientAuthentication::Basic,
        (Some("client_secret_post"), true) => ClientAuthentication::Post,
        (Some("none"), false) => ClientAuthentication::None,
        (Some("client_secret_basic" | "client_secret_post") | None, false) => {
            section.fault("client_secret", "is missing (for a public client: token_endpoint_auth_method = \"none\")");
            ClientAuthentication::None
        }
        (Some(_), _) => {
            let problem = "must be client_secret_basic, client_secret_post, or none without client_secret";
            section.fault("token_endpoint_auth_method", problem);
            ClientAuthentication::None
        }
    }
}

fn read_mapping(section: &mut Reader, is_oidc: bool) -> ProfileMapping {
    let default = ProfileMapping::default();
    if is_oidc && section.has("subject") {
        section.fault("subject", "must not be set: with OpenID Connect the subject is always `sub`");
    }
    let subject = if is_oidc {
        section.optional("subject").unwrap_or(default.subject)
    } else {
        section.required("subject").unwrap_or_default()
    };
    ProfileMapping {
        subject,
        name: section.or("name", default.name),
        preferred_username: section.or("preferred_username", default.preferred_username),
        email: section.or("email", default.email),
        email_verified: section.or("email_verified", default.email_verified),
        groups: section.or("groups", default.groups),
    }
}

//! The settings that only OpenID Connect providers have: the issuer, and how its tokens are judged.

use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use crate::address::is_safe_address;
use crate::config::reader::Reader;
use crate::idp::{
    ANY_TENANT, Algorithm, AuthTime, GivenEndpoints, IssuerPattern, LogoutMethod, MetadataSource, OidcSettings,
    UserinfoUse, check_authorization_endpoint,
};

const AUTHORIZATION: &str = "authorization_endpoint";
/// Without these nobody can sign in.
const NEEDED: [&str; 3] = [AUTHORIZATION, "token_endpoint", "jwks_uri"];
const DEFAULT_SKEW: StdDuration = StdDuration::from_mins(1);
/// A clock further off than this is to be put right, not tolerated (R-P04).
const LARGEST_SKEW: StdDuration = StdDuration::from_mins(5);

pub(super) fn read(section: &mut Reader) -> Option<OidcSettings> {
    let issuer = section.checked("issuer", |issuer: &String| match Url::parse(issuer) {
        Ok(url) if is_safe_address(&url) && url.query().is_none() && url.fragment().is_none() => Ok(issuer.clone()),
        _ => Err("must be an https URL without query, exactly as the provider writes it (http on loopback only)"),
    });
    let algorithm = read_algorithm(section, "id_token_signed_response_alg").unwrap_or(Algorithm::RS256);
    let answer_algorithm = read_algorithm(section, "authorization_signed_response_alg").unwrap_or(algorithm);
    let skew = section.or("clock_skew", DEFAULT_SKEW);
    if skew > LARGEST_SKEW {
        section.fault("clock_skew", "must be at most 5m: put the clock right instead");
    }
    let metadata = read_metadata(section);
    let tenants = read_tenants(section, issuer.as_deref());
    let access_token_claims = section.or("access_token_claims", false);
    let userinfo = read_userinfo(section);
    let additional_audiences = read_audiences(section);
    let auth_time = read_auth_time(section);
    let logout_redirect_parameter = section.or("logout_redirect_parameter", "post_logout_redirect_uri".to_owned());
    let logout_id_token_hint = section.or("logout_id_token_hint", true);
    let logout_method = read_logout_method(section);
    let logout_token_typ_required = section.or("logout_token_typ_required", false);
    let clock_skew = Duration::try_from(skew).ok()?;
    Some(OidcSettings {
        issuer: IssuerPattern::new(issuer?, tenants),
        metadata: metadata?,
        additional_audiences,
        algorithm,
        answer_algorithm,
        clock_skew,
        auth_time,
        access_token_claims,
        userinfo,
        logout_id_token_hint,
        logout_method,
        logout_token_typ_required,
        logout_redirect_parameter,
    })
}

fn read_auth_time(section: &mut Reader) -> AuthTime {
    let Some(name) = section.optional::<String>("auth_time") else { return AuthTime::Auto };
    let known = AuthTime::ALL.into_iter().find(|(known, _)| *known == name);
    if known.is_none() {
        section.fault("auth_time", "must be auto, told or untold");
    }
    known.map_or(AuthTime::Auto, |(_, auth_time)| auth_time)
}

fn read_metadata(section: &mut Reader) -> Option<MetadataSource> {
    let discovery = section.or("discovery", true);
    let mut given = Vec::new();
    for name in GivenEndpoints::NAMES {
        let needed = !discovery && NEEDED.contains(&name);
        if needed && !section.has(name) {
            section.fault(name, "is missing: without discovery it has to be named here");
        }
        let Some(url) = section.optional::<Url>(name) else { continue };
        if !is_safe_address(&url) || url.fragment().is_some() {
            section.fault(name, "must be https, without a fragment (http on loopback only)");
        } else if let (AUTHORIZATION, Err(error)) = (name, check_authorization_endpoint(&url)) {
            section.fault(name, error.to_string());
        }
        given.push((name, url));
    }
    let given = GivenEndpoints::new(given);
    if discovery { Some(MetadataSource::Discovered(given)) } else { MetadataSource::given(&given).ok() }
}

fn read_userinfo(section: &mut Reader) -> UserinfoUse {
    // From a file it is a word or a truth value; from the environment a text in any case.
    let said = match section.table().get("userinfo") {
        Some(toml::Value::Boolean(said)) => Some(said.to_string()),
        Some(toml::Value::String(said)) => Some(said.clone()),
        _ => None,
    };
    let given = section.has("userinfo");
    section.table_mut().remove("userinfo");
    match said.as_deref() {
        Some("true") => UserinfoUse::Always,
        Some("false") => UserinfoUse::Never,
        Some("auto") => UserinfoUse::WhereNeeded,
        _ => {
            if given {
                section.fault("userinfo", "must be true, false or \"auto\"");
            }
            UserinfoUse::Always
        }
    }
}

fn read_logout_method(section: &mut Reader) -> LogoutMethod {
    match section.or("logout_request_method", "get".to_owned()).as_str() {
        "get" => LogoutMethod::Get,
        "post" => LogoutMethod::Post,
        _ => {
            section.fault("logout_request_method", "must be \"get\" or \"post\"");
            LogoutMethod::Get
        }
    }
}

/// The name of a signature algorithm, if one is given.
fn read_algorithm(section: &mut Reader, key: &str) -> Option<Algorithm> {
    let name = section.optional::<String>(key)?;
    let algorithm = Algorithm::named(&name);
    if algorithm.is_none() {
        section.fault(key, format!("must be one of {}", Algorithm::ALL.map(Algorithm::name).join(", ")));
    }
    algorithm
}

/// Audiences that may stand beside ours in ID tokens (Core 3.1.3.7 (3)).
fn read_audiences(section: &mut Reader) -> Vec<String> {
    let audiences = section.or("additional_audiences", Vec::<String>::new());
    if audiences.iter().any(String::is_empty) {
        section.fault("additional_audiences", "must name the audiences, exactly as they stand in the ID token");
    }
    audiences
}

/// The tenants of an application in several: their issuers differ by their IDs alone.
fn read_tenants(section: &mut Reader, issuer: Option<&str>) -> Vec<String> {
    let tenants = section.or("tenants", Vec::<String>::new());
    let has_place = issuer.is_some_and(|issuer| issuer.contains(ANY_TENANT));
    if has_place == tenants.is_empty() {
        section.fault("tenants", format!("and `{ANY_TENANT}` in the issuer belong together"));
    }
    if tenants.iter().any(|tenant| tenant.is_empty() || !tenant.bytes().all(is_tenant_byte)) {
        section.fault("tenants", "must be a list of tenant IDs");
    }
    tenants
}

fn is_tenant_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'-'
}

//! `[idp.<name>]`: the identity providers, and `[login]`: which of them is meant when none is named.
//!
//! The settings that all providers have stand here; one file beside it for each part of the section.

mod client;
mod mapping;
mod oauth2;
mod oidc;
mod request;
mod shared_signals;

use std::ops::RangeInclusive;
use std::time::Duration as StdDuration;

use time::Duration;

use super::presets;
use super::reader::Reader;
use crate::idp::{
    AuthTime, ClaimSettings, ClientSettings, DiscoverySettings, IdpKind, LoginSettings, NoticeSettings,
    ProviderSettings, RefreshSettings, UserinfoUse,
};

pub(super) use self::request::read_acr;

const DEFAULT_TIMEOUT: StdDuration = StdDuration::from_secs(8);
/// Shortest `refresh`: each renewal asks the provider twice.
const SHORTEST_PACE: StdDuration = StdDuration::from_secs(30);
/// The default grace of a session that the provider does not confirm while it serves others.
const DEFAULT_GRACE: StdDuration = StdDuration::from_hours(1);
/// The default time that a request waits for the provider to confirm a session that stands.
const DEFAULT_WAIT: StdDuration = StdDuration::from_millis(500);
const LONGEST_WAIT: StdDuration = StdDuration::from_mins(1);
const TIMEOUTS: RangeInclusive<StdDuration> = StdDuration::from_millis(100)..=StdDuration::from_mins(1);

/// Reads every provider. `is_https`: true if browsers reach us by HTTPS.
pub(super) fn read(reader: &mut Reader, is_https: bool, warnings: &mut Vec<String>) -> Vec<ProviderSettings> {
    let sections = reader.named_sections("idp");
    if sections.is_empty() {
        reader.fault("idp", "is missing: nobody could sign in without an [idp.<name>] section");
    }
    let read = |(name, mut section)| read_one(name, &mut section, is_https);
    let idps: Vec<_> = sections.into_iter().filter_map(read).collect();
    for idp in idps.iter().filter(|idp| idp.refresh.interval.is_some() && has_little_to_confirm_with(idp)) {
        warnings.push(format!(
            "idp.{}.refresh: with userinfo = false and without the scope \"offline_access\" most providers leave \
             nothing to ask with: people would have to sign in at that pace",
            idp.name
        ));
    }
    idps
}

fn has_little_to_confirm_with(idp: &ProviderSettings) -> bool {
    let asks_nobody = matches!(&idp.kind, IdpKind::Oidc(oidc) if oidc.userinfo == UserinfoUse::Never);
    asks_nobody && !idp.login.scopes.iter().any(|scope| scope == "offline_access")
}

pub(super) fn read_default(section: &mut Reader, names: &[String]) -> Option<String> {
    let default = section.optional::<String>("default_idp")?;
    if !names.contains(&default) {
        section.fault("default_idp", "names a provider that is not configured");
    }
    Some(default)
}

fn read_one(name: String, section: &mut Reader, is_https: bool) -> Option<ProviderSettings> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        section.fault("", "the provider's name is part of an address: lower-case letters, digits and `-` only");
    }
    presets::lay_under(section);
    let declared = section.required::<String>("kind");
    let is_oidc = declared.as_deref() == Some("oidc");
    let kind = match declared.as_deref() {
        Some("oidc") => oidc::read(section).map(Box::new).map(IdpKind::Oidc),
        Some("oauth2") => oauth2::read(section).map(Box::new).map(IdpKind::OAuth2),
        Some(_) => {
            let presets = presets::kinds().collect::<Vec<_>>().join(", ");
            section.fault("kind", format!("must be oidc, oauth2, or a preset: {presets}"));
            // It cannot be told which settings belong to which kind, so the rest is not judged.
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
        section
            .fault("scopes", "must contain \"openid\", as a list; in the environment with commas between the scopes");
    }
    let has_dpop_key = section.has("dpop_key_file");
    let client = client::read(section);
    let has_own_dpop_key = client.dpop.is_some() && !has_dpop_key;
    if matches!(&kind, Some(IdpKind::OAuth2(plain)) if plain.issuer.is_none()) && client.request_object_key.is_some() {
        section.fault("issuer", "is missing: a signed request has to name whom it is for");
    }
    let provider_api = mapping::read_profile_api(section);
    if client.dpop.is_some() && provider_api.is_some() {
        section.fault("dpop", "must not be set where there is a profile_api, which takes bearer tokens alone");
    }
    let request = request::read(section, is_oidc, is_https);
    if matches!(&kind, Some(IdpKind::Oidc(oidc)) if oidc.auth_time == AuthTime::Untold) && request.max_age.is_some() {
        section
            .fault("max_age", "cannot be checked beside auth_time = \"untold\": nothing says when somebody signed in");
    }
    let display_name = section.or("display_name", name.clone());
    let trust_email = section.or("trust_email", false);
    let mapping = mapping::read(&mut section.section("profile"), is_oidc);
    let interval = read_pace(section, has_own_dpop_key);
    let grace = Duration::try_from(section.or("refresh_grace", DEFAULT_GRACE)).unwrap_or(Duration::MAX);
    let wait = read_wait(section);
    let required = mapping::read_required_claims(&mut section.section("required_claims"));
    let timeout = read_timeout(section);
    let revoke_at_logout = section.or("revoke_tokens_at_logout", true);
    // An address that the configuration itself names is its own word.
    let private_addresses = is_oidc && section.or("private_addresses", false);
    let shared_signals = shared_signals::read(section, kind.as_ref(), &client.id);
    Some(ProviderSettings {
        name,
        display_name,
        client: ClientSettings {
            id: client.id,
            authentication: client.authentication,
            tls: client.tls,
            proxy: None,
            dpop: client.dpop,
            timeout,
        },
        login: LoginSettings {
            scopes,
            request,
            pushed_requests: client.pushed_requests,
            request_object_key: client.request_object_key,
        },
        claims: ClaimSettings { mapping, trust_email, required, provider_api },
        refresh: RefreshSettings { interval, grace, wait, revoke_at_logout },
        notices: NoticeSettings { shared_signals },
        discovery: DiscoverySettings { private_addresses },
        kind: kind?,
    })
}

fn read_pace(section: &mut Reader, has_own_dpop_key: bool) -> Option<Duration> {
    let pace = section.optional::<StdDuration>("refresh")?;
    if has_own_dpop_key {
        // A token that is bound to another replica's key is refused, as if the person were no longer known.
        section
            .fault("refresh", "needs dpop_key_file beside dpop = true: every replica must be able to show the tokens");
    }
    if pace < SHORTEST_PACE {
        section.fault("refresh", "must be at least 30s");
    }
    Duration::try_from(pace).ok()
}

fn read_wait(section: &mut Reader) -> StdDuration {
    let wait = section.or("refresh_wait", DEFAULT_WAIT);
    if wait > LONGEST_WAIT {
        section.fault("refresh_wait", "must be at most 1m");
    }
    wait
}

fn read_timeout(section: &mut Reader) -> StdDuration {
    let timeout = section.or("timeout", DEFAULT_TIMEOUT);
    if !TIMEOUTS.contains(&timeout) {
        section.fault("timeout", "must be between 100ms and 1m");
    }
    timeout
}

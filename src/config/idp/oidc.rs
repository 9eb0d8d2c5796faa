//! What only OpenID Connect providers have: the issuer, and how its tokens are judged.

use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use crate::config::reader::Reader;
use crate::idp::OidcSettings;
use crate::idp::http::is_safe_address;
use crate::idp::jwks::{self, ALGORITHMS};

const DEFAULT_SKEW: StdDuration = StdDuration::from_mins(1);
/// A clock further off than this is to be put right, not tolerated (R-P04).
const LARGEST_SKEW: StdDuration = StdDuration::from_mins(5);

pub(super) fn read(section: &mut Reader) -> Option<OidcSettings> {
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
    let logout_token_typ_required = section.or("logout_token_typ_required", false);
    let clock_skew = Duration::try_from(skew).ok()?;
    Some(OidcSettings {
        issuer: issuer?,
        algorithm: algorithm?,
        clock_skew,
        logout_id_token_hint,
        logout_token_typ_required,
    })
}

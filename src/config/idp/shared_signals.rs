//! The transmitter of a provider's security events (`[idp.<name>.shared_signals]`).

use url::Url;

use crate::address::is_safe_address;
use crate::config::reader::Reader;
use crate::idp::{Algorithm, IdpKind, SharedSignals};

const SECTION: &str = "shared_signals";

pub(super) fn read(section: &mut Reader, kind: Option<&IdpKind>, client_id: &str) -> Option<SharedSignals> {
    if !section.has(SECTION) {
        return None;
    }
    let mut section = section.section(SECTION);
    let of_provider = match kind {
        Some(IdpKind::Oidc(oidc)) => Some(oidc.issuer.configured().to_owned()),
        Some(IdpKind::OAuth2(_)) | None => None,
    };
    let issuer = section.optional::<String>("issuer");
    let audience = section.or("audience", client_id.to_owned());
    let jwks_uri = section.optional::<Url>("jwks_uri");
    if jwks_uri.as_ref().is_some_and(|url| !is_safe_address(url)) {
        section.fault("jwks_uri", "must be https (http on loopback only)");
    }
    let algorithm = section.or("signing_alg", "RS256".to_owned());
    let algorithm = Algorithm::named(&algorithm);
    if algorithm.is_none() {
        let known = Algorithm::ALL.map(Algorithm::name).join(", ");
        section.fault("signing_alg", format!("must be one of {known}"));
    }
    let bearer_token = section.secret("bearer_token");
    if bearer_token.as_ref().is_some_and(|token| token.expose().is_empty()) {
        section.fault("bearer_token", "must not be empty");
    }
    // Faults of the provider itself are reported elsewhere.
    kind?;
    let is_the_provider =
        of_provider.is_some() && issuer.as_ref().is_none_or(|issuer| Some(issuer) == of_provider.as_ref());
    if !is_the_provider && jwks_uri.is_none() {
        section.fault("jwks_uri", "is missing: whoever is not the provider itself has keys elsewhere");
    }
    let Some(issuer) = issuer.or(of_provider) else {
        section.fault("issuer", "is missing: who transmits?");
        return None;
    };
    Some(SharedSignals { issuer, audience, jwks_uri, algorithm: algorithm?, bearer_token })
}

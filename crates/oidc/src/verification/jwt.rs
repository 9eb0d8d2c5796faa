//! The signature of a JWT: is it the provider's, and what did it sign? (RFC 7515 5.2, RFC 8725)
//!
//! Pure. [`verify_signature`] checks the bytes before it reads what they say, after `header` has
//! found the header acceptable. What the claims must say depends on what the token is for: its reader checks that.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::answer::strict_json;
use crate::verification::fault::JwtFault;
use crate::verification::header::SignedHeader;
use crate::verification::issuer::IssuerPattern;
use crate::verification::jwks::KeySet;

/// Checks the signature against the keys that may have made it, and returns the payload (R-D01). Of several tenants
/// each may have keys of its own (R-D06).
///
/// # Errors
/// [`JwtFault::UnknownKey`] if no key may have made it, [`JwtFault::Signature`] if none did, and
/// [`JwtFault::MalformedClaims`] if one did but what it signed cannot be read; [`JwtFault::Claim`] if it may not sign for
/// the issuer that is named.
pub fn verify_signature(
    token: &str,
    header: &SignedHeader,
    keys: &KeySet,
    issuers: &IssuerPattern,
) -> Result<Map<String, Value>, JwtFault> {
    if !keys.has(header) {
        return Err(JwtFault::UnknownKey);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
    let mut made_by = keys.candidates(header).filter(|key| key.made(signature, message, header.algorithm)).peekable();
    made_by.peek().ok_or(JwtFault::Signature)?;
    let payload = signed_claims(message).map_err(|_| JwtFault::MalformedClaims)?;
    if made_by.any(|key| key.may_speak_for(&payload, issuers)) { Ok(payload) } else { Err(JwtFault::Claim("iss")) }
}

/// Reads the payload of a token that was verified when it came and was sealed from then on.
pub(crate) fn payload_of_verified(token: &str) -> Result<Map<String, Value>, JwtFault> {
    let (message, _) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
    signed_claims(message)
}

/// Reads the claims out of a header and a payload.
fn signed_claims(message: &str) -> Result<Map<String, Value>, JwtFault> {
    let (_, payload) = message.split_once('.').ok_or(JwtFault::Malformed)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| JwtFault::Malformed)?;
    strict_json::object(&payload).map_err(|_| JwtFault::Malformed)
}

//! The provider's public keys (RFC 7517), and which of them may have signed a token.
//!
//! Keys that cannot be meant (another use, symmetric, too short, unreadable) are skipped, so that one odd key
//! never voids the set (R-F05). Keys named inside a token (`jku`, `jwk`, `x5u`, `x5c`) are never looked at
//! (R-D04).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::verification::algorithm::{Algorithm, SHORTEST_RSA_MODULUS};
use crate::verification::header::SignedHeader;
use crate::verification::issuer::IssuerPattern;
use crate::verification::registered_claims::optional_text;

/// A document that is no key set, or one without a key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct KeySetError(pub(crate) &'static str);

/// Reads a key set. Pure.
///
/// # Errors
/// [`KeySetError`] if it is none, or has no key that can be used; one that cannot voids nothing.
pub fn read(document: &Map<String, Value>) -> Result<KeySet, KeySetError> {
    let keys = document.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(KeySetError("the key set has no list of keys"))?;
    let keys: Vec<_> = keys.iter().filter_map(VerificationKey::read).collect();
    // Somebody is at work at the provider: the last good set stays.
    if keys.is_empty() {
        return Err(KeySetError("the key set has no key that signatures can be checked with"));
    }
    Ok(KeySet { keys })
}

/// Keys that signatures can be checked with.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
}

/// A key that signatures can be checked with.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    kid: Option<String>,
    declared_algorithm: Option<String>,
    /// The one issuer whose tokens it may sign, where one set serves many tenants.
    issuer: Option<String>,
    jwk: Jwk,
    key: DecodingKey,
}

impl KeySet {
    /// Returns the keys that may have signed a token with this header: those it names, or all of the right kind if
    /// it names none (R-D03).
    pub(crate) fn candidates<'a>(&'a self, header: &'a SignedHeader) -> impl Iterator<Item = &'a VerificationKey> {
        let named = move |key: &&VerificationKey| header.kid.is_none() || key.kid == header.kid;
        self.keys.iter().filter(named).filter(move |key| key.fits(header.algorithm))
    }

    /// Is true if any key may have signed a token with this header.
    pub(crate) fn has(&self, header: &SignedHeader) -> bool {
        self.candidates(header).next().is_some()
    }
}

impl VerificationKey {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        // RFC 7517 4.2 and 4.3: the uses that a key declares have to include this.
        let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
        let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature))
            && jwk.common.key_operations.as_ref().is_none_or(verifies);
        let long_enough = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => modulus_bytes(&rsa.n)? >= SHORTEST_RSA_MODULUS,
            AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_) => true,
            // A symmetric key in a public document is nobody's secret; others are unknown kinds.
            _ => false,
        };
        if !for_signatures || !long_enough {
            return None;
        }
        Some(Self {
            kid: jwk.common.key_id.clone(),
            declared_algorithm: value.get("alg").and_then(Value::as_str).map(str::to_owned),
            issuer: optional_text(value.as_object()?, "issuer", ()).ok()?.map(str::to_owned),
            key: DecodingKey::from_jwk(&jwk).ok()?,
            jwk,
        })
    }

    /// Is true if a signature of these bytes is this key's.
    pub(crate) fn made(&self, signature: &str, message: &str, algorithm: Algorithm) -> bool {
        // The library is asked for the signature alone: what the bytes say is read by us, once and afterwards.
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm.for_library()).unwrap_or(false)
    }

    /// Is true if this key may have signed a token with these claims: a key of several tenants' set can be for the
    /// tokens of one issuer alone (Microsoft's `issuer` beside the key).
    pub(crate) fn may_speak_for(&self, payload: &Map<String, Value>, issuers: &IssuerPattern) -> bool {
        let said = payload.get("iss").and_then(Value::as_str);
        self.issuer.as_ref().is_none_or(|own| issuers.lets_sign(own, said))
    }

    /// Is true if a signature of this algorithm can be this key's: by type, curve and its own `alg`.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let declared = self.declared_algorithm.as_deref().is_none_or(|own| own == algorithm.name());
        declared
            && match (&self.jwk.algorithm, algorithm) {
                (
                    AlgorithmParameters::RSA(_),
                    Algorithm::RS256
                    | Algorithm::RS384
                    | Algorithm::RS512
                    | Algorithm::PS256
                    | Algorithm::PS384
                    | Algorithm::PS512,
                ) => true,
                (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
                (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
                (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
                _ => false,
            }
    }
}

/// Returns the length of an RSA modulus as JWKs write it, if it is one.
pub(crate) fn modulus_bytes(modulus: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    Some(bytes.iter().skip_while(|byte| **byte == 0).count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(kid: &str, bytes: usize) -> Value {
        let modulus = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        json!({ "kty": "RSA", "kid": kid, "n": modulus, "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = json!(value);
        key
    }

    fn for_operations(operations: Value) -> Value {
        let mut key = rsa("operations", 256);
        key["key_ops"] = operations;
        key
    }

    fn header(kid: Option<&str>, algorithm: Algorithm) -> SignedHeader {
        SignedHeader { kid: kid.map(str::to_owned), algorithm }
    }

    fn set(keys: &[Value]) -> KeySet {
        read(json!({ "keys": keys }).as_object().unwrap()).unwrap()
    }

    /// R-F05
    #[test]
    fn odd_keys_are_skipped_without_voiding_the_set() {
        let keys = set(&[
            json!({ "kty": "quantum", "kid": "odd" }),
            json!("not a key"),
            json!({ "kty": "oct", "kid": "shared", "k": "c2VjcmV0" }),
            json!({ "kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB" }),
            rsa("short", 128),
            with(rsa("encryption", 256), "use", "enc"),
            for_operations(json!(["encrypt"])),
            for_operations(json!(["wrapKey", "deriveBits"])),
            for_operations(json!(["sign"])),
            for_operations(json!([])),
            for_operations(json!("verify")),
            with(for_operations(json!(["verify"])), "use", "enc"),
            rsa("good", 256),
        ]);
        assert_eq!(keys.keys.len(), 1);
        let keys =
            set(&[for_operations(json!(["verify"])), for_operations(json!(["sign", "verify"])), rsa("good", 256)]);
        assert_eq!(keys.keys.len(), 3);
        assert!(keys.has(&header(Some("good"), Algorithm::RS256)));
    }

    /// R-F05: one line a set.
    #[test]
    fn a_set_without_a_key_that_can_be_used_is_none() {
        for keys in [
            json!([]),
            json!([{ "kty": "oct", "kid": "shared", "k": "c2VjcmV0" }]),
            json!([rsa("short", 128)]),
            json!([with(rsa("encryption", 256), "use", "enc")]),
        ] {
            let said = read(json!({ "keys": keys }).as_object().unwrap());
            assert!(matches!(said, Err(KeySetError(_))), "{keys}");
        }
    }

    /// R-D03
    #[test]
    fn a_key_must_have_the_name_the_type_and_the_algorithm() {
        let keys = set(&[rsa("a", 256), with(rsa("b", 256), "alg", "PS256")]);
        assert!(keys.has(&header(Some("a"), Algorithm::RS256)));
        assert!(!keys.has(&header(Some("b"), Algorithm::RS256)));
        assert!(keys.has(&header(Some("b"), Algorithm::PS256)));
        assert!(!keys.has(&header(Some("c"), Algorithm::RS256)));
        assert!(!keys.has(&header(Some("a"), Algorithm::ES256)));
        assert_eq!(keys.candidates(&header(None, Algorithm::PS256)).count(), 2);
    }
}

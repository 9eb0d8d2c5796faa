//! A private key of ours, read from PEM: proves who we are, signs request objects and DPoP proofs.
//!
//! Knows how to sign a JWT and how to show its public half; not what is signed. Keys that providers refuse, or should
//! refuse, are refused when they are read.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use counterfoil_core::secret::Secret;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, ThumbprintHash};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use thiserror::Error;

use crate::verification::algorithm::{Algorithm, SHORTEST_RSA_MODULUS};
use crate::verification::jwks;

/// The reason why a text is no key to sign with. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// Another document, another encoding, or another kind of key.
    #[error("is no private key in PKCS#8 PEM (RSA, EC P-256 or P-384, Ed25519)")]
    Unreadable,
    /// An RSA key that is too short (RFC 7518 3.3, RFC 8725 3.5).
    #[error("is an RSA key of fewer than 2048 bits")]
    TooShort,
    /// RSA keys sign RS256 to PS512, each curve its own algorithm.
    #[error("does not fit the algorithm")]
    Algorithm,
    /// The library would not sign.
    #[error("cannot sign")]
    Sign,
}

/// A private key, the algorithm it is used with, and its name. Cheap to clone; never printed.
#[derive(Debug, Clone)]
pub struct SigningKey(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    private: EncodingKey,
    public: Jwk,
    algorithm: Algorithm,
    kid: String,
}

impl SigningKey {
    /// Reads a PKCS#8 PEM. Without an algorithm the usual one of the key's kind is used (RS256, ES256, ES384, `EdDSA`);
    /// without a name the key's thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn from_pem(
        pem: &Secret<String>,
        algorithm: Option<Algorithm>,
        kid: Option<String>,
    ) -> Result<Self, SigningKeyError> {
        let pem = pem.expose().as_bytes();
        let private = EncodingKey::from_ed_pem(pem)
            .or_else(|_| EncodingKey::from_ec_pem(pem))
            .or_else(|_| EncodingKey::from_rsa_pem(pem))
            .map_err(|_| SigningKeyError::Unreadable)?;
        let natural = [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        let (natural, public) = natural
            .into_iter()
            .filter(|algorithm| private.family().algorithms().contains(&algorithm.for_library()))
            .find_map(|algorithm| Some((algorithm, Jwk::from_encoding_key(&private, algorithm.for_library()).ok()?)))
            .ok_or(SigningKeyError::Unreadable)?;
        if let AlgorithmParameters::RSA(rsa) = &public.algorithm {
            let long_enough = jwks::modulus_bytes(&rsa.n).is_some_and(|bytes| bytes >= SHORTEST_RSA_MODULUS);
            long_enough.then_some(()).ok_or(SigningKeyError::TooShort)?;
        }
        let algorithm = algorithm.unwrap_or(natural);
        if !fits(&public, algorithm) {
            return Err(SigningKeyError::Algorithm);
        }
        Self::new(private, public, algorithm, kid)
    }

    /// Makes a fresh P-256 key that lives as long as this process.
    ///
    /// # Errors
    /// [`SigningKeyError::Sign`] if the library makes none.
    pub fn generate() -> Result<Self, SigningKeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningKeyError::Sign)?;
        let der = pair.to_pkcs8v1().map_err(|_| SigningKeyError::Sign)?;
        let private = EncodingKey::from_ec_der(der.as_ref());
        let public =
            Jwk::from_encoding_key(&private, Algorithm::ES256.for_library()).map_err(|_| SigningKeyError::Sign)?;
        Self::new(private, public, Algorithm::ES256, None)
    }

    fn new(
        private: EncodingKey,
        mut public: Jwk,
        algorithm: Algorithm,
        kid: Option<String>,
    ) -> Result<Self, SigningKeyError> {
        public.common = jsonwebtoken::jwk::CommonParameters::default();
        let thumbprint = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| SigningKeyError::Unreadable)?;
        let key = Self(Arc::new(Inner { private, public, algorithm, kid: kid.unwrap_or(thumbprint) }));
        // A key that cannot sign fails here rather than at the first login.
        key.sign(None, &json!({}))?;
        Ok(key)
    }

    /// Returns the algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// Returns the public half, with its name, as it is registered at a provider (RFC 7517).
    pub fn registration(&self) -> Value {
        let mut jwk = json!(self.0.public);
        jwk["kid"] = json!(self.0.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.0.algorithm.name());
        jwk
    }

    /// Returns the thumbprint of the public half (RFC 7638).
    ///
    /// # Errors
    /// [`SigningKeyError::Unreadable`].
    pub fn thumbprint(&self) -> Result<String, SigningKeyError> {
        self.0.public.thumbprint(ThumbprintHash::SHA256).map_err(|_| SigningKeyError::Unreadable)
    }

    /// Signs a JWT of these claims that names the key.
    ///
    /// # Errors
    /// [`SigningKeyError::Sign`].
    pub fn sign(&self, kind: Option<&str>, claims: &Value) -> Result<String, SigningKeyError> {
        let header = Header { kid: Some(self.0.kid.clone()), ..self.header(kind.unwrap_or("JWT")) };
        self.encode(&header, claims)
    }

    /// Signs a JWT of these claims that holds the public key itself, for receivers that do not know it (RFC 9449 4.2).
    ///
    /// # Errors
    /// [`SigningKeyError::Sign`].
    pub fn sign_introducing_itself(&self, kind: &str, claims: &Value) -> Result<String, SigningKeyError> {
        let header = Header { jwk: Some(self.0.public.clone()), ..self.header(kind) };
        self.encode(&header, claims)
    }

    fn header(&self, kind: &str) -> Header {
        Header { typ: Some(kind.to_owned()), ..Header::new(self.0.algorithm.for_library()) }
    }

    fn encode(&self, header: &Header, claims: &Value) -> Result<String, SigningKeyError> {
        jsonwebtoken::encode(header, claims, &self.0.private).map_err(|_| SigningKeyError::Sign)
    }
}

fn fits(public: &Jwk, algorithm: Algorithm) -> bool {
    match &public.algorithm {
        AlgorithmParameters::RSA(_) => !matches!(algorithm, Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => algorithm == Algorithm::ES256,
            EllipticCurve::P384 => algorithm == Algorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, Ed25519KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    fn pem(der: &[u8]) -> Secret<String> {
        let text = STANDARD.encode(der);
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    fn rsa(size: KeySize) -> Secret<String> {
        use aws_lc_rs::encoding::AsDer;
        pem(KeyPair::generate(size).unwrap().as_der().unwrap().as_ref())
    }

    fn verifies(key: &SigningKey) {
        let token = key.sign(None, &json!({ "iss": "us" })).unwrap();
        let public: Jwk = serde_json::from_value(key.registration()).unwrap();
        let mut validation = Validation::new(key.algorithm().for_library());
        validation.required_spec_claims.clear();
        let verified = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(&public).unwrap(), &validation);
        assert_eq!(verified.unwrap().header.kid, public.common.key_id);
    }

    #[test]
    fn keys_of_every_kind_sign_what_their_public_half_verifies() {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let ed25519 = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let cases = [
            (rsa(KeySize::Rsa2048), None, Algorithm::RS256),
            (rsa(KeySize::Rsa2048), Some(Algorithm::PS512), Algorithm::PS512),
            (pem(p256.as_ref()), None, Algorithm::ES256),
            (pem(p384.as_ref()), None, Algorithm::ES384),
            (pem(ed25519.as_ref()), None, Algorithm::EdDSA),
        ];
        for (pem, wanted, algorithm) in cases {
            let key = SigningKey::from_pem(&pem, wanted, None).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            assert_eq!(key.registration()["kid"], json!(key.thumbprint().unwrap()));
            assert!(key.registration().get("d").is_none() && !format!("{key:?}").contains(pem.expose().as_str()));
            verifies(&key);
        }
        verifies(&SigningKey::generate().unwrap());
    }

    #[test]
    fn keys_that_providers_would_refuse_are_refused_when_they_are_read() {
        let read = |pem: &Secret<String>, algorithm| SigningKey::from_pem(pem, algorithm, None).map(|_| ());
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        let p256 = pem(p256.as_ref());
        for algorithm in [Algorithm::ES384, Algorithm::RS256, Algorithm::EdDSA] {
            assert_eq!(read(&p256, Some(algorithm)), Err(SigningKeyError::Algorithm));
        }
        assert_eq!(read(&Secret::new("secret".to_owned()), None), Err(SigningKeyError::Unreadable));
    }
}

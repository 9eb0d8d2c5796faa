//! The provider's RS256 key.
//!
//! Owns making it, signing with it, publishing it, and reading ID tokens that come back as hints. Does not know
//! what the tokens say. Called by `token`, `backchannel_logout`, `discovery`, `authorize` and `end_session`.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::errors::Error;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;
use serde_json::Value;

use counterfoil_core::secret::random_token;

/// The `typ` of ID tokens.
pub(super) const ID_TOKEN_TYPE: &str = "JWT";
/// The `typ` of logout tokens, OpenID Connect Back-Channel Logout 1.0 section 2.4.
pub(super) const LOGOUT_TOKEN_TYPE: &str = "logout+jwt";

/// A key pair that lives as long as the process.
pub(super) struct SigningKey {
    key_id: String,
    private: EncodingKey,
    public: DecodingKey,
    published: Jwk,
}

/// The content of an `id_token_hint`.
#[derive(Debug, Deserialize)]
pub(super) struct Hint {
    pub aud: String,
    pub sub: String,
    pub sid: String,
}

impl SigningKey {
    /// Makes a fresh RSA-2048 key.
    ///
    /// # Panics
    /// If the operating system has no entropy or no memory to give: a provider without a key is none.
    pub(super) fn generate() -> Self {
        Self::try_generate().unwrap_or_else(|| panic!("the cryptographic library could not make an RSA key"))
    }

    fn try_generate() -> Option<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let pkcs8 = STANDARD.encode(pair.as_der().ok()?.as_ref());
        // jsonwebtoken takes the inner RSAPrivateKey, which its PEM reader finds in a PKCS#8 key.
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).ok()?;
        let key_id = random_token::<8>();
        let mut published = Jwk::from_encoding_key(&private, Algorithm::RS256).ok()?;
        published.common.key_id = Some(key_id.clone());
        published.common.public_key_use = Some(PublicKeyUse::Signature);
        let public = DecodingKey::from_jwk(&published).ok()?;
        Some(Self { key_id, private, public, published })
    }

    /// Returns the public half as a key set.
    pub(super) fn published(&self) -> JwkSet {
        JwkSet { keys: vec![self.published.clone()] }
    }

    /// Signs a token with these claims.
    pub(super) fn sign(&self, token_type: &str, claims: &Value) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::RS256);
        header.typ = Some(token_type.to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.private)
    }

    /// Reads an ID token of this provider that a client sends back. It may have expired, OpenID Connect
    /// RP-Initiated Logout 1.0 section 4; a logout token with the same claims is not one.
    pub(super) fn read_hint(&self, token: &str, issuer: &str) -> Option<Hint> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.validate_exp = false;
        // The caller compares the audience with the client of the request, if there is one.
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Hint>(token, &self.public, &validation).ok()?;
        (decoded.header.typ.as_deref() == Some(ID_TOKEN_TYPE)).then_some(decoded.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hint_is_an_id_token_of_this_provider_even_an_old_one() {
        let (key, other_key) = (SigningKey::generate(), SigningKey::generate());
        let claims = json!({ "iss": "https://i", "aud": "c", "sub": "alice", "sid": "s", "exp": 1 });
        let token = key.sign(ID_TOKEN_TYPE, &claims).unwrap();
        assert_eq!(key.read_hint(&token, "https://i").unwrap().sid, "s");
        assert!(key.read_hint(&token, "https://other").is_none());
        assert!(other_key.read_hint(&token, "https://i").is_none());
        let logout_token = key.sign(LOGOUT_TOKEN_TYPE, &claims).unwrap();
        assert!(key.read_hint(&logout_token, "https://i").is_none());
    }
}

//! The scripted provider's keys: one of each kind for the whole binary, since making keys is slow.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use counterfoil::secret::random_token;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// Which of the provider's RSA keys signs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    First,
    AfterRotation,
    NeverPublished,
}

/// A private key and what is published of it.
#[derive(Clone)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl Key {
    /// The key for an algorithm.
    pub fn of(algorithm: Algorithm, which: Which) -> Self {
        static RSA: [LazyLock<Key>; 3] = [const { LazyLock::new(rsa) }; 3];
        static P256: LazyLock<Key> = LazyLock::new(p256);
        static P384: LazyLock<Key> = LazyLock::new(p384);
        static ED25519: LazyLock<Key> = LazyLock::new(ed25519);
        let key: &Key = match algorithm {
            Algorithm::ES256 => &P256,
            Algorithm::ES384 => &P384,
            Algorithm::EdDSA => &ED25519,
            _ => &RSA[which as usize],
        };
        Self { algorithm, ..key.clone() }
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half, as it stands in a key set.
    pub fn published(&self) -> Value {
        let mut published = self.public.clone();
        published["kid"] = json!(self.kid);
        published["use"] = json!("sig");
        published["alg"] = json!(format!("{:?}", self.algorithm));
        published
    }

    /// A JWS whose header and payload are exactly these; signed by this key's algorithm, whatever the header says.
    pub fn sign_text(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn key(private: EncodingKey, algorithm: Algorithm) -> Key {
    let public = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
    Key { kid: random_token::<8>(), algorithm, private, public }
}

fn rsa() -> Key {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = STANDARD.encode(pair.as_der().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
    key(EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), Algorithm::RS256)
}

fn p256() -> Key {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    key(EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), Algorithm::ES256)
}

fn p384() -> Key {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    key(EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), Algorithm::ES384)
}

fn ed25519() -> Key {
    let pair = Ed25519KeyPair::generate().unwrap();
    key(EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()), Algorithm::EdDSA)
}

//! Private keys of the broker's own, as its operator makes them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Header, Validation, decode, decode_header};
use serde_json::Value;

/// A key to sign with, as PEM (PKCS#8).
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

pub fn private_key(kind: Kind) -> String {
    // Making them is slow.
    static RSA: LazyLock<String> =
        LazyLock::new(|| pem(KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref()));
    match kind {
        Kind::Rsa => RSA.clone(),
        Kind::P256 => {
            pem(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap().as_ref())
        }
        Kind::P384 => {
            pem(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap().as_ref())
        }
        Kind::Ed25519 => pem(Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref()),
    }
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// Header and claims of a JWT that a registered public key verifies.
pub fn verified(token: &str, jwk: &Value) -> (Header, Value) {
    let header = decode_header(token).unwrap();
    let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    let claims = decode(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation).unwrap().claims;
    (header, claims)
}

/// A DPoP proof, verified with the key that it brings along: that key, and the claims (RFC 9449 4.3).
pub fn verified_proof(proof: &str) -> (Value, Value) {
    let header = URL_SAFE_NO_PAD.decode(proof.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&Value::from("dpop+jwt"), &Value::from("ES256")));
    assert!(header["jwk"].get("d").is_none(), "the private key stays here");
    let (_, claims) = verified(proof, &header["jwk"]);
    (header["jwk"].clone(), claims)
}

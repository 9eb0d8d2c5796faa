//! DPoP: access tokens bound to a key of ours (RFC 9449).
//!
//! Writes a proof for each request and remembers the nonces that servers hand out. Sends nothing itself.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil_core::lock;
use counterfoil_core::secret::{Secret, random_token};
use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;

use crate::client::json::json_object;
use crate::client::signing_key::{SigningKey, SigningKeyError};

/// Longest nonce that is sent back, in bytes; a longer one would make requests fail.
const LONGEST_NONCE: usize = 1024;
const NONCE_WANTED: &str = "use_dpop_nonce";

/// The settings behind `dpop = true`.
#[derive(Debug, Clone)]
pub struct DpopSettings {
    /// The key that tokens are bound to.
    pub key: SigningKey,
    /// Set if every replica has the same key, in this process and the next, so that codes and refresh tokens can be
    /// bound to it.
    pub key_is_shared: bool,
}

/// The key of one provider's tokens, and the latest nonces of its servers.
#[derive(Debug)]
pub(crate) struct Dpop {
    settings: DpopSettings,
    /// The nonces by origin: a provider's endpoints may be several servers (RFC 9449 8.2).
    nonces: Mutex<HashMap<String, String>>,
}

impl Dpop {
    pub(crate) fn new(settings: DpopSettings) -> Self {
        Self { settings, nonces: Mutex::default() }
    }

    /// Returns the thumbprint that binds a code to the key (RFC 9449 10), if every replica that may receive the
    /// callback has that key.
    pub(crate) fn code_binding(&self) -> Option<String> {
        self.settings.key.thumbprint().ok().filter(|_| self.settings.key_is_shared)
    }

    /// Signs a proof for one request, with the access token it is made for (RFC 9449 4.2).
    pub(crate) fn proof(
        &self,
        method: &Method,
        address: &Url,
        access_token: Option<&Secret<String>>,
        now: OffsetDateTime,
    ) -> Result<String, SigningKeyError> {
        let mut bare = address.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        let mut claims = json!({
            "jti": random_token::<16>(), "htm": method.as_str(), "htu": bare.as_str(), "iat": now.unix_timestamp(),
        });
        if let Some(nonce) = lock(&self.nonces).get(&origin(address)) {
            claims["nonce"] = json!(nonce);
        }
        if let Some(token) = access_token {
            let hash = digest::digest(&digest::SHA256, token.expose().as_bytes());
            claims["ath"] = json!(URL_SAFE_NO_PAD.encode(hash));
        }
        self.settings.key.sign_introducing_itself("dpop+jwt", &claims)
    }

    /// Keeps the nonce that an answer brought, if it brought one.
    pub(crate) fn remember_nonce(&self, address: &Url, headers: &HeaderMap) {
        let nonce = headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok());
        if let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty() && nonce.len() <= LONGEST_NONCE) {
            let mut nonces = lock(&self.nonces);
            nonces.insert(origin(address), nonce.to_owned());
        }
    }
}

/// Is true if an answer refuses a request only for want of a nonce, and brings one: nothing was used up, so the request
/// may be sent again (RFC 9449 8, 9).
pub(crate) fn wants_nonce(answer: &Response<Vec<u8>>) -> bool {
    let complained = match answer.status().as_u16() {
        400 => {
            json_object(answer.body()).is_ok_and(|body| body.get("error").and_then(Value::as_str) == Some(NONCE_WANTED))
        }
        401 => challenges_with(answer, NONCE_WANTED),
        _ => false,
    };
    complained && answer.headers().contains_key("dpop-nonce")
}

/// Is true if an answer refuses the DPoP proof, which says nothing of the token (RFC 9449 7.1).
pub(crate) fn is_unproven(answer: &Response<Vec<u8>>) -> bool {
    [NONCE_WANTED, "invalid_dpop_proof"].iter().any(|error| challenges_with(answer, error))
}

fn challenges_with(answer: &Response<Vec<u8>>, error: &str) -> bool {
    let says = format!("error=\"{error}\"");
    let mut challenges = answer.headers().get_all("www-authenticate").iter();
    challenges.any(|challenge| challenge.to_str().is_ok_and(|challenge| challenge.contains(&says)))
}

fn origin(address: &Url) -> String {
    address.origin().ascii_serialization()
}

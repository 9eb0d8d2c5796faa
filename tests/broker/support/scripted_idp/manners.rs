//! The deviations of products from the standard, as they were observed, each by the product's name.

use serde_json::json;

use super::ScriptedIdp;
use super::script::{Change, Misbehaviour, Script, set};

/// A product that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    Authelia,
    Casdoor,
    Dex,
    Gitea,
    Hydra,
    /// As `RefreshTokenRevoked` of league/oauth2-server 7 had it (issue 993 there).
    League,
    /// Authlib's refresh grant (issue 112 there).
    Authlib,
    /// The OAuth provider of better-auth (pull request 8103 there).
    BetterAuth,
}

/// What happened at the provider since somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    Nothing,
    /// The refresh token expired, or an administrator deleted it.
    RefreshTokenGone,
    PersonDeleted,
    KeyChanged,
    ClientDeleted,
    Overloaded,
}

fn refuses(status: u16, body: &'static str) -> Script {
    Script { at_refresh: Misbehaviour::Answer(status, "application/json", body), ..Script::default() }
}

/// Metadata that lists its claims, `auth_time` not among them, and ID tokens that keep to that.
fn untold() -> (Option<Change>, Option<Change>) {
    let listed = json!({ "claims_supported": ["aud", "exp", "iat", "iss", "sub", "name", "email", "groups"] });
    (set(listed), set(json!({ "auth_time": null })))
}

impl Product {
    /// How it behaves in a situation.
    pub fn manner(self, situation: Situation, idp: &ScriptedIdp) -> Script {
        let script = match (self, situation) {
            (Self::Dex, Situation::RefreshTokenGone) => {
                refuses(400, r#"{"error":"invalid_request","error_description":"Refresh token is invalid."}"#)
            }
            (Self::Dex, Situation::PersonDeleted) => refuses(500, r#"{"error":"server_error"}"#),
            (Self::Gitea, Situation::RefreshTokenGone | Situation::PersonDeleted) => {
                refuses(400, r#"{"error":"unauthorized_client","error_description":"unable to parse refresh token"}"#)
            }
            (Self::Hydra, Situation::ClientDeleted) => refuses(401, r#"{"error":"invalid_client"}"#),
            (Self::Authelia, Situation::KeyChanged) => {
                let header = set(json!({ "kid": idp.kid() }));
                idp.rotate_keys();
                Script { id_token_header: header, ..Script::default() }
            }
            (Self::League, Situation::RefreshTokenGone) => refuses(401, r#"{"error":"invalid_request"}"#),
            (Self::Authlib | Self::BetterAuth, Situation::RefreshTokenGone) => {
                refuses(400, r#"{"error":"invalid_request"}"#)
            }
            (_, Situation::RefreshTokenGone | Situation::PersonDeleted) => refuses(400, r#"{"error":"invalid_grant"}"#),
            (_, Situation::KeyChanged) => {
                idp.rotate_keys();
                Script::default()
            }
            (_, Situation::ClientDeleted) => refuses(400, r#"{"error":"invalid_client"}"#),
            (_, Situation::Overloaded) => refuses(503, ""),
            (_, Situation::Nothing) => Script::default(),
        };
        match self {
            Self::Gitea | Self::Casdoor => {
                let (metadata, id_token_claims) = untold();
                Script { metadata, id_token_claims, ..script }
            }
            _ => script,
        }
    }
}

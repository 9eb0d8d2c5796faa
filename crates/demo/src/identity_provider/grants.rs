//! Codes, access tokens and refresh tokens, and the grants they come from.
//!
//! Owns that a code works once, for its own client, redirect URI and verifier; that a refresh token is replaced
//! at every use; and that the reuse of either revokes everything from the same grant. Does not know HTTP and
//! does not make ID tokens. Called by `authorize`, `token`, `bearer`, `revoke` and `end_session`.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use counterfoil_core::secret::random_token;

use super::Protocol;
use super::accounts::Account;
use super::scopes::Scopes;
use super::table::Table;

/// Lifetime of an access token.
pub(super) const ACCESS_TOKEN_LIFETIME: Duration = Duration::minutes(5);
const CODE_LIFETIME: Duration = Duration::seconds(60);
/// A used code is remembered longer than it is valid, so that a late second use is still seen as one.
const CODE_MEMORY: Duration = Duration::minutes(10);
/// Lifetime of a refresh token, counted from the authorization; rotation does not prolong it.
const REFRESH_LIFETIME: Duration = Duration::hours(12);

/// One person's permission for one client, from one authorization.
#[derive(Clone)]
pub(super) struct Grant {
    pub protocol: Protocol,
    pub client_id: String,
    pub account: &'static Account,
    pub scopes: Scopes,
    pub nonce: Option<String>,
    pub session_key: String,
    pub sid: String,
    pub signed_in_at: OffsetDateTime,
    pub granted_at: OffsetDateTime,
}

/// The values that the client has to show again to redeem a code.
pub(super) struct Binding {
    pub redirect_uri: String,
    /// The S256 code challenge, RFC 7636 section 4.2.
    pub challenge: String,
}

/// A code as a client presents it.
pub(super) struct PresentedCode<'a> {
    pub protocol: Protocol,
    pub client_id: &'a str,
    pub code: &'a str,
    pub redirect_uri: &'a str,
    pub verifier: &'a str,
}

/// A refresh token as a client presents it.
pub(super) struct PresentedRefreshToken<'a> {
    pub protocol: Protocol,
    pub client_id: &'a str,
    pub refresh_token: &'a str,
    pub scope: Option<&'a str>,
}

/// Fresh tokens and what they stand for.
pub(super) struct Issued {
    pub grant: Arc<Grant>,
    pub scopes: Scopes,
    pub access_token: String,
    pub refresh_token: Option<String>,
}

/// An access token's meaning.
#[derive(Clone)]
pub(super) struct Access {
    pub grant: Arc<Grant>,
    pub scopes: Scopes,
}

/// The reason why a code or a refresh token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum GrantError {
    #[error("the code is unknown or was issued to another client")]
    UnknownCode,
    #[error("the code has expired")]
    ExpiredCode,
    #[error("the code was used before; the tokens issued from it are revoked")]
    CodeReused,
    #[error("the redirect_uri is not the one of the authorization request")]
    WrongRedirectUri,
    #[error("the code_verifier does not match the code_challenge")]
    WrongVerifier,
    #[error("the refresh token is unknown, expired, revoked or was issued to another client")]
    UnknownRefreshToken,
    #[error("the refresh token was used before; all tokens of its grant are revoked")]
    RefreshTokenReused,
    #[error("the scope goes beyond what was granted")]
    WiderScope,
    #[error("the token was issued to another client")]
    NotYourToken,
}

struct Code {
    grant: Arc<Grant>,
    binding: Binding,
    is_used: bool,
}

struct RefreshToken {
    grant: Arc<Grant>,
    is_used: bool,
}

/// All grants that are alive. A grant's identity is its allocation.
#[derive(Default)]
pub(super) struct Grants {
    codes: Table<Code>,
    access_tokens: Table<Access>,
    refresh_tokens: Table<RefreshToken>,
}

impl Grants {
    /// Issues a code for a fresh grant.
    pub(super) fn issue_code(&mut self, grant: Grant, binding: Binding, now: OffsetDateTime) -> String {
        let value = random_token::<32>();
        let code = Code { grant: Arc::new(grant), binding, is_used: false };
        self.codes.insert(value.clone(), code, now + CODE_MEMORY, now);
        value
    }

    /// Exchanges a code. A failed try by the code's own client uses it up as well, so that a verifier cannot be
    /// guessed; one by another client does not, so that it cannot spoil a code that is not its own.
    pub(super) fn redeem(&mut self, presented: &PresentedCode, now: OffsetDateTime) -> Result<Issued, GrantError> {
        let code = self.codes.get_mut(presented.code, now).ok_or(GrantError::UnknownCode)?;
        if code.grant.client_id != presented.client_id || code.grant.protocol != presented.protocol {
            return Err(GrantError::UnknownCode);
        }
        let was_used = std::mem::replace(&mut code.is_used, true);
        let grant = Arc::clone(&code.grant);
        if was_used {
            // RFC 6749 section 4.1.2: one of the two who used it is a thief.
            self.revoke_tokens(&grant);
            return Err(GrantError::CodeReused);
        }
        code.accepts(presented, now)?;
        Ok(self.issue_tokens(grant, None, now))
    }

    /// Exchanges a refresh token for its successor, RFC 9700 section 4.14.2.
    pub(super) fn refresh(
        &mut self,
        presented: &PresentedRefreshToken,
        now: OffsetDateTime,
    ) -> Result<Issued, GrantError> {
        let token = self.refresh_tokens.get_mut(presented.refresh_token, now).ok_or(GrantError::UnknownRefreshToken)?;
        let grant = Arc::clone(&token.grant);
        if grant.client_id != presented.client_id || grant.protocol != presented.protocol {
            return Err(GrantError::UnknownRefreshToken);
        }
        if token.is_used {
            self.revoke_tokens(&grant);
            return Err(GrantError::RefreshTokenReused);
        }
        let narrowed = match presented.scope {
            Some(scope) => Some(grant.scopes.narrowed_to(scope).ok_or(GrantError::WiderScope)?),
            None => None,
        };
        token.is_used = true;
        Ok(self.issue_tokens(grant, narrowed, now))
    }

    /// Returns the access that a token stands for, if it is alive and belongs to this protocol.
    pub(super) fn access(&self, token: &str, protocol: Protocol, now: OffsetDateTime) -> Option<Access> {
        self.access_tokens.get(token, now).filter(|access| access.grant.protocol == protocol).cloned()
    }

    /// Revokes a token, RFC 7009 section 2.1: a refresh token with all of its grant, an access token alone. An
    /// unknown token counts as revoked.
    pub(super) fn revoke(&mut self, token: &str, client_id: &str, now: OffsetDateTime) -> Result<(), GrantError> {
        if let Some(refresh) = self.refresh_tokens.get(token, now) {
            let grant = Arc::clone(&refresh.grant);
            require(grant.client_id == client_id, GrantError::NotYourToken)?;
            self.revoke_tokens(&grant);
        } else if let Some(access) = self.access_tokens.get(token, now) {
            require(access.grant.client_id == client_id, GrantError::NotYourToken)?;
            self.access_tokens.remove(token, now);
        }
        Ok(())
    }

    /// Ends what lives only as long as its session does: codes, and grants without `offline_access` (the rule of
    /// OpenID Connect Back-Channel Logout 1.0 section 2.7).
    pub(super) fn end_session(&mut self, session_key: &str) {
        self.codes.retain(|code| code.grant.session_key != session_key || code.is_used);
        self.access_tokens
            .retain(|access| access.grant.session_key != session_key || access.grant.scopes.contains("offline_access"));
    }

    fn issue_tokens(&mut self, grant: Arc<Grant>, narrowed: Option<Scopes>, now: OffsetDateTime) -> Issued {
        let scopes = narrowed.unwrap_or_else(|| grant.scopes.clone());
        let access_token = random_token::<32>();
        let access = Access { grant: Arc::clone(&grant), scopes: scopes.clone() };
        self.access_tokens.insert(access_token.clone(), access, now + ACCESS_TOKEN_LIFETIME, now);
        let refresh_token = grant.scopes.contains("offline_access").then(|| {
            let value = random_token::<32>();
            let token = RefreshToken { grant: Arc::clone(&grant), is_used: false };
            self.refresh_tokens.insert(value.clone(), token, grant.granted_at + REFRESH_LIFETIME, now);
            value
        });
        Issued { grant, scopes, access_token, refresh_token }
    }

    fn revoke_tokens(&mut self, grant: &Arc<Grant>) {
        self.access_tokens.retain(|access| !Arc::ptr_eq(&access.grant, grant));
        self.refresh_tokens.retain(|refresh| !Arc::ptr_eq(&refresh.grant, grant));
    }
}

impl Code {
    fn accepts(&self, presented: &PresentedCode, now: OffsetDateTime) -> Result<(), GrantError> {
        require(now < self.grant.granted_at + CODE_LIFETIME, GrantError::ExpiredCode)?;
        require(self.binding.redirect_uri == presented.redirect_uri, GrantError::WrongRedirectUri)?;
        let challenge = s256(presented.verifier);
        let is_match: bool = challenge.as_bytes().ct_eq(self.binding.challenge.as_bytes()).into();
        require(is_match, GrantError::WrongVerifier)
    }
}

/// Makes a challenge of a verifier by S256, RFC 7636 section 4.6.
fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

fn require(holds: bool, otherwise: GrantError) -> Result<(), GrantError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests {
    use super::super::accounts;
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn code(grants: &mut Grants) -> String {
        let grant = Grant {
            protocol: Protocol::OpenidConnect,
            client_id: "c".into(),
            account: accounts::find("alice").unwrap(),
            scopes: Scopes::granted("openid"),
            nonce: None,
            session_key: "k".into(),
            sid: "s".into(),
            signed_in_at: NOW,
            granted_at: NOW,
        };
        // The pair of RFC 7636 appendix B.
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into();
        grants.issue_code(grant, Binding { redirect_uri: "r".into(), challenge }, NOW)
    }

    fn presented(code: &str) -> PresentedCode<'_> {
        let protocol = Protocol::OpenidConnect;
        PresentedCode { protocol, client_id: "c", code, redirect_uri: "r", verifier: VERIFIER }
    }

    fn refusal(grants: &mut Grants, presented: &PresentedCode, now: OffsetDateTime) -> Option<GrantError> {
        grants.redeem(presented, now).err()
    }

    #[test]
    fn a_code_expires_after_a_minute_and_ends_with_its_session() {
        let mut grants = Grants::default();
        let (late, ended) = (code(&mut grants), code(&mut grants));
        assert_eq!(refusal(&mut grants, &presented(&late), NOW + CODE_LIFETIME), Some(GrantError::ExpiredCode));
        grants.end_session("k");
        assert_eq!(refusal(&mut grants, &presented(&ended), NOW), Some(GrantError::UnknownCode));
    }

    #[test]
    fn a_code_is_bound_to_its_client_protocol_redirect_uri_and_verifier() {
        let mut grants = Grants::default();
        let value = code(&mut grants);
        let other_client = PresentedCode { client_id: "d", ..presented(&value) };
        let other_protocol = PresentedCode { protocol: Protocol::PlainOauth, ..presented(&value) };
        assert_eq!(refusal(&mut grants, &other_client, NOW), Some(GrantError::UnknownCode));
        assert_eq!(refusal(&mut grants, &other_protocol, NOW), Some(GrantError::UnknownCode));
        assert_eq!(refusal(&mut grants, &presented(&value), NOW), None);

        let value = code(&mut grants);
        let other_place = PresentedCode { redirect_uri: "r/", ..presented(&value) };
        assert_eq!(refusal(&mut grants, &other_place, NOW), Some(GrantError::WrongRedirectUri));
        let value = code(&mut grants);
        let other_verifier = PresentedCode { verifier: "x", ..presented(&value) };
        assert_eq!(refusal(&mut grants, &other_verifier, NOW), Some(GrantError::WrongVerifier));
        assert_eq!(refusal(&mut grants, &presented(&value), NOW), Some(GrantError::CodeReused));
    }
}

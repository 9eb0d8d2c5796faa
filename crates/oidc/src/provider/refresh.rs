//! Renewal of a session: new tokens for old ones, and who the person is now (RFC 6749 6, OpenID Connect Core 12).
//!
//! Two requests, which the caller makes in this order, storing the answer of the first in between: a provider may
//! accept a refresh token once. [`Provider::refresh`] is the grant; [`Provider::confirm`] asks for the person's claims
//! again. Both classify the answer (`verdict`). Nothing is repeated here.

use counterfoil_core::identity::Identity;
use counterfoil_core::secret::Secret;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::claims::id_token::{ExpectedNonce, VerifiedClaims};
use crate::claims::mapping::ProfileFault;
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::provider::Provider;
use crate::provider::person::Evidence;
use crate::provider::settings::{IdpKind, OidcSettings};
use crate::provider::verdict::{RenewalError, Verdict};
use crate::tokens::provider_tokens::ProviderTokens;
use crate::tokens::refresh_grant::{self, RefreshFailure};
use crate::verification::fault::JwtFault;
use crate::verification::jwt;
use crate::verification::registered_claims;

/// The part of a session that comes from its provider.
#[derive(Debug, Clone)]
pub struct StoredGrant {
    /// The tokens of the login, or of the last refresh.
    pub tokens: ProviderTokens,
    /// The `nonce` of the login.
    pub nonce: Option<String>,
    /// The issuer whose word the session stands on.
    pub issuer: String,
    /// The subject that signed in.
    pub subject: String,
}

/// The result of a refresh.
#[derive(Debug)]
pub struct Refreshed {
    /// New tokens, and the old ones where the answer left something out.
    pub tokens: ProviderTokens,
    /// Time at which the provider wants the session to be over, if a new ID token says so.
    pub session_expiry: Option<OffsetDateTime>,
}

impl Provider {
    /// Is true if identities with this issuer are this provider's, as it is configured now.
    pub fn recognizes_issuer(&self, issuer: &str) -> bool {
        self.accepts_issuer(issuer)
    }

    /// Exchanges the refresh token for new tokens. What the answer leaves out stays as it was: the refresh token (RFC
    /// 6749 6) and the ID token. A new ID token is checked like the first one (Core 12.2, R-C13); if it is refused,
    /// the tokens that came with it are revoked.
    ///
    /// # Errors
    /// [`RenewalError`]. The refresh token may be used up all the same.
    pub async fn refresh(&self, held: &StoredGrant, refresh_token: &Secret<String>) -> Result<Refreshed, RenewalError> {
        let metadata = self.metadata().await.map_err(|cause| self.renewal_error(cause))?;
        let mut tokens = self.refresh_grant(&metadata, refresh_token).await?;
        let mut session_expiry = None;
        if let (IdpKind::Oidc(oidc), Some(_)) = (&self.0.settings.kind, &tokens.id_token) {
            let checked = self.check_refreshed(oidc, &metadata, held, &tokens).await;
            let claims = checked.map_err(|cause| {
                let error = self.renewal_error(cause);
                if error.verdict == Verdict::Denied {
                    self.revoke_tokens(tokens.refresh_token.clone(), tokens.access_token.clone());
                    return error;
                }
                RenewalError { rotated: tokens.refresh_token.clone(), ..error }
            })?;
            // A changed `sid` is ignored: the session stays indexed under the one of its login, which the provider's
            // own session keeps (Core 12.2: a refresh is no new authentication).
            session_expiry = claims.session_expiry();
        }
        tokens.refresh_token = tokens.refresh_token.or_else(|| Some(refresh_token.clone()));
        tokens.id_token = tokens.id_token.or_else(|| held.tokens.id_token.clone());
        Ok(Refreshed { tokens, session_expiry })
    }

    /// Asks who the person is now, with the access token that is held.
    ///
    /// # Errors
    /// [`RenewalError`].
    pub async fn confirm(&self, held: &StoredGrant) -> Result<Identity, RenewalError> {
        let identity = self.identity_now(held).await.map_err(|cause| self.renewal_error(cause))?;
        self.0.track_record.note(&identity, self.0.clock.now());
        Ok(identity)
    }

    /// Is true if the provider has completed an exchange or a renewal with this process.
    pub fn is_proven(&self) -> bool {
        self.0.track_record.is_proven()
    }

    /// Is true if the provider has completed an exchange or a renewal with this process for another person since a
    /// moment, so that its failure does not affect everybody.
    pub fn has_served_another(&self, identity: &Identity, since: OffsetDateTime) -> bool {
        self.0.track_record.has_served_another(identity, since)
    }

    /// Is true if the provider is asked who somebody is with the access token that is held.
    ///
    /// # Errors
    /// [`RenewalError`] if its metadata cannot be had.
    pub async fn can_confirm(&self, held: &StoredGrant) -> Result<bool, RenewalError> {
        match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => {
                let metadata = self.metadata().await.map_err(|cause| self.renewal_error(cause))?;
                let said = self.said_by_held(oidc, &metadata, held).await.map_err(|cause| self.renewal_error(cause))?;
                Ok(metadata.userinfo_endpoint.is_some() && self.asks_userinfo(oidc, &said))
            }
            IdpKind::OAuth2(_) => Ok(true),
        }
    }

    async fn said_by_held(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        held: &StoredGrant,
    ) -> Result<Map<String, Value>, IdpError> {
        let claims = &remembered_claims(held)?;
        self.said_by_tokens(Evidence { oidc, metadata, claims, tokens: &held.tokens }).await
    }

    fn renewal_error(&self, cause: IdpError) -> RenewalError {
        RenewalError::of(cause, self.0.track_record.is_proven())
    }

    async fn refresh_grant(
        &self,
        metadata: &Metadata,
        refresh_token: &Secret<String>,
    ) -> Result<ProviderTokens, RenewalError> {
        let granted = refresh_grant::refresh(self.token_requests(metadata), &self.0.redirect_uri, refresh_token).await;
        granted
            .map_err(|RefreshFailure { error, rotated }| RenewalError { rotated, ..self.renewal_error(error.into()) })
    }

    /// Checks that a new ID token is of the same provider and person, for us, and of this login if it names one
    /// (Core 12.2).
    async fn check_refreshed(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        held: &StoredGrant,
        tokens: &ProviderTokens,
    ) -> Result<VerifiedClaims, IdpError> {
        let nonce = ExpectedNonce::IfAny(held.nonce.as_deref());
        let claims = self.verify_id_token(oidc, metadata, nonce, None, tokens).await?;
        let issuer = registered_claims::text(claims.all(), "iss")?;
        if issuer != held.issuer {
            return Err(JwtFault::issuer(issuer, &held.issuer).into());
        }
        if claims.subject() == held.subject { Ok(claims) } else { Err(JwtFault::Claim("sub").into()) }
    }

    async fn identity_now(&self, held: &StoredGrant) -> Result<Identity, IdpError> {
        let metadata = self.metadata().await?;
        let identity = match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => {
                let claims = &remembered_claims(held)?;
                let evidence = Evidence { oidc, metadata: &metadata, claims, tokens: &held.tokens };
                self.identity_of_claims(evidence).await?
            }
            IdpKind::OAuth2(plain) => self.identity_of_profile(plain, &metadata, &held.tokens).await?,
        };
        let is_same = (&identity.issuer, &identity.subject) == (&held.issuer, &held.subject);
        if is_same { Ok(identity) } else { Err(ProfileFault::AnotherSubject.into()) }
    }
}

/// Returns the claims of the ID token that a session came from.
fn remembered_claims(held: &StoredGrant) -> Result<VerifiedClaims, JwtFault> {
    let id_token = held.tokens.id_token.as_ref().ok_or(JwtFault::Absent)?;
    VerifiedClaims::remembered(jwt::payload_of_verified(id_token.expose())?)
}

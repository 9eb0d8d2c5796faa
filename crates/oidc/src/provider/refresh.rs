//! Renewal of a session: new tokens for old ones, and who the person is now (RFC 6749 6, OpenID Connect Core 12).
//!
//! Two requests that the caller makes in this order, and stores the first's answer in between: a provider may accept a
//! refresh token once. [`Provider::refresh`] is the grant; [`Provider::confirm`] asks for the person's claims again.
//! Both tell apart what an answer says of the person (`verdict`). Nothing is tried twice here.

use std::pin::Pin;

use counterfoil_core::identity::Identity;
use counterfoil_core::secret::Secret;
use oauth2::http::{Request, Response};
use oauth2::{AsyncHttpClient, RefreshToken, TokenResponse};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::answer::provider_words::ProviderWords;
use crate::claims::id_token::{ExpectedNonce, VerifiedClaims};
use crate::claims::profile::ProfileFault;
use crate::client::back_channel::BackChannel;
use crate::client::http::{HttpError, json_object};
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::login::authorization::oauth_client;
use crate::provider::Provider;
use crate::provider::settings::IdpKind;
use crate::provider::settings::OidcSettings;
use crate::provider::verdict::{RenewalError, Verdict};
use crate::tokens::answer::says_away;
use crate::tokens::exchange::{self, ProviderTokens};
use crate::verification::jwt::{self, JwtFault};
use crate::verification::registered_claims;

/// The part of a session that comes from its provider.
#[derive(Debug, Clone)]
pub struct StoredGrant {
    /// The tokens of the login, or of the last refresh.
    pub tokens: ProviderTokens,
    /// The value that tied the ID token to the login.
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
        match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => oidc.accepts_issuer(issuer),
            IdpKind::OAuth2(_) => self.issuer() == issuer,
        }
    }

    /// Exchanges the refresh token for new tokens. What the answer leaves out stays as it was: the refresh token (RFC
    /// 6749 6) and the ID token. A new ID token is checked like the first one (Core 12.2, R-C13); if it is refused,
    /// what came with it is given back.
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
            // A changed `sid` is not taken over: the session stays to be found under the one of its login, which the
            // provider's own session keeps (Core 12.2: a refresh is no new authentication).
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

    /// Is true if the provider has completed an exchange or a renewal with this process for anybody but this person
    /// since a moment: what it fails at is not failing for everybody then.
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
        let id_token = held.tokens.id_token.as_ref().ok_or(JwtFault::Absent)?;
        let claims = VerifiedClaims::remembered(jwt::payload_of_verified(id_token.expose())?)?;
        self.said_by_tokens(oidc, metadata, &claims, &held.tokens).await
    }

    fn renewal_error(&self, cause: IdpError) -> RenewalError {
        RenewalError::of(cause, self.0.track_record.is_proven())
    }

    async fn refresh_grant(
        &self,
        metadata: &Metadata,
        refresh_token: &Secret<String>,
    ) -> Result<ProviderTokens, RenewalError> {
        let back_channel = self.back_channel(metadata);
        let answered = oauth_client(&self.0.settings, metadata, &self.0.redirect_uri)
            .exchange_refresh_token(&RefreshToken::new(refresh_token.expose().clone()))
            .request_async(&Telling(back_channel))
            .await;
        let answer = answered.map_err(|error| self.renewal_error(exchange::failure(error, back_channel).into()))?;
        let rotated = answer.refresh_token().map(|token| Secret::new(token.secret().clone()));
        let read = exchange::tokens(answer, back_channel);
        read.map_err(|cause| RenewalError { rotated, ..self.renewal_error(cause.into()) })
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
                let id_token = held.tokens.id_token.as_ref().ok_or(JwtFault::Absent)?;
                let claims = VerifiedClaims::remembered(jwt::payload_of_verified(id_token.expose())?)?;
                self.identity_of_claims(oidc, &metadata, &claims, &held.tokens).await?
            }
            IdpKind::OAuth2(plain) => self.identity_of_profile(plain, &metadata, &held.tokens).await?,
        };
        let is_same = (&identity.issuer, &identity.subject) == (&held.issuer, &held.subject);
        if is_same { Ok(identity) } else { Err(ProfileFault::AnotherSubject.into()) }
    }
}

/// Sends the crate's requests and tells it what refusals are: some providers say no with nothing that can be read,
/// which the crate takes for garbage.
struct Telling<'a>(BackChannel<'a>);

impl<'client> AsyncHttpClient<'client> for Telling<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'client>>;

    fn call(&'client self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move { told(self.0.call(request).await?) })
    }
}

fn told(answer: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
    let document = json_object(answer.body()).unwrap_or_default();
    let code = document.get("error").and_then(Value::as_str);
    match (answer.status().as_u16(), code) {
        _ if says_away(&document) => {
            return Err(HttpError::Status(503, ProviderWords::of_answer(&answer)));
        }
        (200 | 400, _) => {}
        // Other statuses say no only in words that are known.
        (_, Some(code)) if exchange::KNOWN_REFUSALS.contains(&code) => {}
        _ => return Err(HttpError::of(&answer)),
    }
    match (answer.status().as_u16(), code) {
        (400, None) => Err(HttpError::of(&answer)),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use oauth2::http;

    use super::*;

    fn answer(status: u16, body: &str) -> Result<u16, HttpError> {
        let answer = http::Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
        told(answer).map(|answer| answer.status().as_u16())
    }

    /// R-C12
    #[test]
    fn refusals_are_told_from_garbage_and_outages() {
        for (status, body, read) in [
            (200, r#"{"access_token":"a","token_type":"Bearer"}"#, Ok(200)),
            (400, r#"{"error":"invalid_grant"}"#, Ok(400)),
            (400, r#"{"error":"account_disabled"}"#, Ok(400)),
            (403, r#"{"error":"invalid_grant"}"#, Ok(403)),
            (401, r#"{"error":"invalid_client"}"#, Ok(401)),
            (400, "<html>", Err(400)),
            (400, r#"{"error":7}"#, Err(400)),
            (400, r#"{"error":"temporarily_unavailable"}"#, Err(503)),
            (400, r#"{"ok":false,"error":"internal_error"}"#, Err(503)),
            (401, "", Err(401)),
            (403, r#"{"error":"blocked by the firewall"}"#, Err(403)),
            (302, "", Err(302)),
            (429, "", Err(429)),
        ] {
            let said = answer(status, body).map_err(|error| match error {
                HttpError::Status(status, _) => status,
                other => panic!("{other}"),
            });
            assert_eq!(said, read, "{status} {body}");
        }
    }
}

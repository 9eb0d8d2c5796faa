//! Later in a session: new tokens for old ones, and who the person is now (RFC 6749 6, OpenID Connect Core 12).
//!
//! Two requests that the caller makes in this order, and stores the first's answer in between: a provider may accept a
//! refresh token once. [`Provider::refresh`] is the grant; [`Provider::confirm`] asks for the person's claims again.
//! Both tell apart who said no ([`RenewalError::Refused`]) from what says nothing about the person (R-C12). Nothing is
//! tried twice here.

use std::pin::Pin;

use oauth2::http::{Request, Response};
use oauth2::{AsyncHttpClient, RefreshToken, TokenResponse};
use serde_json::Value;
use thiserror::Error;
use time::OffsetDateTime;

use super::authorization::oauth_client;
use super::back_channel::BackChannel;
use super::discovery::Metadata;
use super::http::{HttpError, json_object};
use super::id_token::{ExpectedNonce, VerifiedClaims};
use super::jwt::{self, JwtFault};
use super::presets::ProfileApiError;
use super::profile::ProfileFault;
use super::token_answer::says_away;
use super::token_exchange::{self, ProviderTokens, TokenExchangeError};
use super::userinfo::UserinfoError;
use super::{IdpError, IdpKind, OidcSettings, Provider};
use crate::identity::Identity;
use crate::secret::Secret;

/// What a session holds of its provider.
#[derive(Debug, Clone)]
pub struct Held {
    /// The tokens of the login, or of the last refresh.
    pub tokens: ProviderTokens,
    /// What tied the ID token to the login.
    pub nonce: Option<String>,
    /// The issuer whose word the session stands on.
    pub issuer: String,
    /// Who signed in.
    pub subject: String,
}

/// What a refresh brought.
#[derive(Debug)]
pub struct Refreshed {
    /// New tokens, and the old ones where the answer left something out.
    pub tokens: ProviderTokens,
    /// When the provider wants the session to be over, if a new ID token says so.
    pub session_expiry: Option<OffsetDateTime>,
}

/// Why a session was not renewed.
#[derive(Debug, Error)]
pub enum RenewalError {
    /// The provider no longer stands by the person, or speaks of somebody else.
    #[error("the provider refused: {0}")]
    Refused(#[source] IdpError),
    /// No word about the person: the provider is away, or does not take our requests.
    #[error("{cause}")]
    Failed {
        /// What happened.
        cause: IdpError,
        /// The refresh token that takes the place of the one just used, if the answer got that far.
        rotated: Option<Secret<String>>,
    },
}

impl RenewalError {
    /// Whether the next attempt for anybody is bound to fail as well: the provider is away, or does not know us. What
    /// it answers to one person's access token concerns that person alone; that it does not answer at all does not.
    pub fn concerns_everybody(&self) -> bool {
        // Not 500: one person's data can do that.
        let away = |error: &HttpError| {
            matches!(error, HttpError::Unreachable(_) | HttpError::Timeout | HttpError::Status(429 | 502..=504))
        };
        let is_silent = |error: &HttpError| matches!(error, HttpError::Unreachable(_) | HttpError::Timeout);
        match self {
            Self::Failed {
                cause:
                    IdpError::Userinfo(UserinfoError::Http(error))
                    | IdpError::ProfileEndpoint(error)
                    | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }),
                ..
            } => is_silent(error),
            Self::Failed { cause: IdpError::TokenExchange(TokenExchangeError::Http(error)), .. } => away(error),
            Self::Failed { cause: IdpError::Unusable { cause, .. }, .. } => away(cause),
            Self::Failed { cause: IdpError::TokenExchange(TokenExchangeError::Refused { code }), .. } => {
                ["invalid_client", "unauthorized_client", "incorrect_client_credentials"].contains(code)
            }
            Self::Refused(_) | Self::Failed { .. } => false,
        }
    }

    fn of(cause: IdpError) -> Self {
        if is_refusal(&cause) { Self::Refused(cause) } else { Self::Failed { cause, rotated: None } }
    }
}

/// Whether a refusal speaks of the client or its request, and not of the person.
fn is_our_fault(code: &str) -> bool {
    let ours = ["invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "unsupported_grant_type"];
    let ours_elsewhere = ["incorrect_client_credentials", "use_dpop_nonce", "invalid_dpop_proof"];
    ours.contains(&code) || ours_elsewhere.contains(&code)
}

/// Whether an error is a word about the person. What an outage, our own credentials or a clock may cause is none.
fn is_refusal(error: &IdpError) -> bool {
    match error {
        IdpError::TokenExchange(TokenExchangeError::Refused { code }) => !is_our_fault(code),
        // An answer that says no without a word why.
        IdpError::TokenExchange(TokenExchangeError::Http(HttpError::Status(400)))
        | IdpError::Userinfo(UserinfoError::Http(HttpError::Status(401)) | UserinfoError::Subject)
        | IdpError::ProfileEndpoint(HttpError::Status(401))
        | IdpError::ProfileApi(
            ProfileApiError::Unanswered { cause: HttpError::Status(401), .. } | ProfileApiError::TooMany(_),
        )
        // With too many groups nobody could sign in, and whoever stayed would keep those they had, for good.
        | IdpError::Profile(ProfileFault::AnotherSubject | ProfileFault::RequiredClaim(_) | ProfileFault::Groups) => true,
        IdpError::IdToken(fault) => !matches!(fault, JwtFault::Clock(_) | JwtFault::NoKeys | JwtFault::UnknownKey),
        IdpError::TokenExchange(_)
        | IdpError::PushedRequest(_)
        | IdpError::RequestObject(_)
        | IdpError::Userinfo(_)
        | IdpError::ProfileEndpoint(_)
        | IdpError::ProfileApi(_)
        | IdpError::Profile(ProfileFault::Subject)
        | IdpError::Unusable { .. }
        | IdpError::Answer(_)
        | IdpError::Issuer(_) => false,
    }
}

impl Provider {
    /// Whether identities with this issuer are this provider's, as it is configured now.
    pub fn speaks_for(&self, issuer: &str) -> bool {
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
    /// [`RenewalError`]. After `Failed` the refresh token may be used up all the same.
    pub async fn refresh(&self, held: &Held, refresh_token: &Secret<String>) -> Result<Refreshed, RenewalError> {
        let metadata = self.metadata().await.map_err(RenewalError::of)?;
        let mut tokens = self.refresh_grant(&metadata, refresh_token).await?;
        let mut session_expiry = None;
        if let (IdpKind::Oidc(oidc), Some(_)) = (&self.0.settings.kind, &tokens.id_token) {
            let checked = self.check_refreshed(oidc, &metadata, held, &tokens).await;
            let claims = checked.map_err(|cause| match RenewalError::of(cause) {
                RenewalError::Failed { cause, .. } => {
                    RenewalError::Failed { cause, rotated: tokens.refresh_token.clone() }
                }
                refused @ RenewalError::Refused(_) => {
                    self.give_back(tokens.refresh_token.clone(), tokens.access_token.clone());
                    refused
                }
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
    pub async fn confirm(&self, held: &Held) -> Result<Identity, RenewalError> {
        self.identity_now(held).await.map_err(RenewalError::of)
    }

    /// Whether the provider says who somebody is to whoever shows an access token.
    ///
    /// # Errors
    /// [`RenewalError::Failed`] if its metadata cannot be had.
    pub async fn can_confirm(&self) -> Result<bool, RenewalError> {
        match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => {
                let metadata = self.metadata().await.map_err(RenewalError::of)?;
                Ok(oidc.userinfo && metadata.userinfo_endpoint.is_some())
            }
            IdpKind::OAuth2(_) => Ok(true),
        }
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
        let answer = answered.map_err(|error| RenewalError::of(token_exchange::failure(error).into()))?;
        let rotated = answer.refresh_token().map(|token| Secret::new(token.secret().clone()));
        let read = token_exchange::tokens(answer, back_channel);
        read.map_err(|cause| RenewalError::Failed { cause: cause.into(), rotated })
    }

    /// Core 12.2: of the same provider and person, for us, and of this login if it names one at all.
    async fn check_refreshed(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        held: &Held,
        tokens: &ProviderTokens,
    ) -> Result<VerifiedClaims, IdpError> {
        let nonce = ExpectedNonce::IfAny(held.nonce.as_deref());
        let claims = self.verify_id_token(oidc, metadata, nonce, None, tokens).await?;
        if jwt::text(claims.all(), "iss")? != held.issuer {
            return Err(JwtFault::Claim("iss").into());
        }
        if claims.subject() == held.subject { Ok(claims) } else { Err(JwtFault::Claim("sub").into()) }
    }

    async fn identity_now(&self, held: &Held) -> Result<Identity, IdpError> {
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
        _ if says_away(&document) => return Err(HttpError::Status(503)),
        (200 | 400, _) => {}
        // Other statuses say no only in words that are known.
        (_, Some(code)) if token_exchange::KNOWN_REFUSALS.contains(&code) => {}
        (other, _) => return Err(HttpError::Status(other)),
    }
    match (answer.status().as_u16(), code) {
        (400, None) => Err(HttpError::Status(400)),
        _ => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        ] {
            let said = answer(status, body).map_err(|error| match error {
                HttpError::Status(status) => status,
                other => panic!("{other}"),
            });
            assert_eq!(said, read, "{status} {body}");
        }
    }

    /// R-C12, R-E05
    #[test]
    fn only_a_word_about_the_person_is_a_refusal() {
        let refused = |code| IdpError::TokenExchange(TokenExchangeError::Refused { code });
        let token = |error| IdpError::TokenExchange(TokenExchangeError::Http(error));
        let userinfo = |error| IdpError::Userinfo(UserinfoError::Http(error));
        let away = || Arc::new(HttpError::Timeout);
        for (error, is_one) in [
            (refused("invalid_grant"), true),
            (refused("another error"), true),
            (refused("invalid_client"), false),
            (refused("unauthorized_client"), false),
            (refused("invalid_scope"), false),
            (token(HttpError::Status(400)), true),
            (token(HttpError::Status(401)), false),
            (token(HttpError::Status(429)), false),
            (token(HttpError::Status(503)), false),
            (token(HttpError::Timeout), false),
            (IdpError::TokenExchange(TokenExchangeError::Malformed), false),
            (userinfo(HttpError::Status(401)), true),
            (userinfo(HttpError::Status(403)), false),
            (userinfo(HttpError::Status(500)), false),
            (userinfo(HttpError::NotAnObject), false),
            (IdpError::Userinfo(UserinfoError::Subject), true),
            (IdpError::ProfileEndpoint(HttpError::Status(401)), true),
            (IdpError::ProfileEndpoint(HttpError::Status(403)), false),
            (IdpError::Profile(ProfileFault::AnotherSubject), true),
            (IdpError::Profile(ProfileFault::Groups), true),
            (IdpError::ProfileApi(ProfileApiError::TooMany("teams")), true),
            (IdpError::Profile(ProfileFault::Subject), false),
            (IdpError::IdToken(JwtFault::Claim("sub")), true),
            (IdpError::IdToken(JwtFault::Signature), true),
            (IdpError::IdToken(JwtFault::Clock("iat")), false),
            (IdpError::IdToken(JwtFault::UnknownKey), false),
            (IdpError::Unusable { what: "the provider's keys", cause: away() }, false),
        ] {
            assert_eq!(is_refusal(&error), is_one, "{error}");
        }
    }

    /// R-C12: one person's trouble is not everybody's. One line a case.
    #[test]
    fn what_a_provider_answers_to_one_person_concerns_nobody_else() {
        let refused = |code| IdpError::TokenExchange(TokenExchangeError::Refused { code });
        let token = |error| IdpError::TokenExchange(TokenExchangeError::Http(error));
        let userinfo = |error| IdpError::Userinfo(UserinfoError::Http(error));
        for (cause, everybody) in [
            (token(HttpError::Timeout), true),
            (token(HttpError::Status(503)), true),
            (token(HttpError::Status(500)), false),
            (token(HttpError::Status(429)), true),
            (refused("invalid_client"), true),
            (refused("unauthorized_client"), true),
            (refused("invalid_request"), false),
            (refused("invalid_scope"), false),
            (userinfo(HttpError::Timeout), true),
            (IdpError::ProfileEndpoint(HttpError::Timeout), true),
            (userinfo(HttpError::Status(429)), false),
            (userinfo(HttpError::Status(503)), false),
            (IdpError::ProfileEndpoint(HttpError::Status(503)), false),
        ] {
            let failed = RenewalError::Failed { cause, rotated: None };
            assert_eq!(failed.concerns_everybody(), everybody, "{failed}");
        }
    }
}

//! Finishes a login: from the code to who it is.
//!
//! Order matters: the code is exchanged, the ID token is judged, and only then is anything more asked. Renewals judge
//! what they get by the same parts.

use std::sync::atomic::Ordering;

use counterfoil_core::identity::Identity;
use counterfoil_core::printable::Printable;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use url::Url;

use crate::claims::id_token;
use crate::claims::id_token::{Expectation, ExpectedNonce, VerifiedClaims};
use crate::claims::profile;
use crate::claims::userinfo;
use crate::claims::userinfo::{UserinfoError, UserinfoUse};
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::login::authorization::Attempt;
use crate::provider::Provider;
use crate::provider::settings::IdpKind;
use crate::provider::settings::IdpSettings;
use crate::provider::settings::OAuth2Settings;
use crate::provider::settings::OidcSettings;
use crate::providers;
use crate::tokens::exchange;
use crate::tokens::exchange::ProviderTokens;
use crate::verification::jwt::JwtFault;
use crate::verification::registered_claims::text;

/// The result of a finished login.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The person's identity.
    pub identity: Identity,
    /// The time at which they last authenticated at the provider, if it says so.
    pub auth_time: Option<OffsetDateTime>,
    /// The authentication context class (`acr`), if it says so.
    pub acr: Option<String>,
    /// The time at which the provider wants the session to be over, if it says so.
    pub session_expiry: Option<OffsetDateTime>,
    /// The provider's name for its session (`sid`).
    pub provider_session: Option<String>,
    /// The provider's tokens.
    pub tokens: ProviderTokens,
}

impl Provider {
    /// Finishes a login: exchanges the code, verifies what comes back, and says who it is.
    ///
    /// # Errors
    /// [`IdpError`]; the code is used up in any case.
    pub async fn finish(&self, code: String, attempt: &Attempt) -> Result<SignedIn, IdpError> {
        let metadata = self.metadata().await?;
        let back_channel = self.back_channel(&metadata);
        let tokens = exchange::exchange(back_channel, &self.0.redirect_uri, code, attempt).await?;
        let signed_in = match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => self.finish_oidc(oidc, &metadata, attempt, tokens).await,
            IdpKind::OAuth2(plain) => self.finish_oauth2(plain, &metadata, tokens).await,
        }?;
        self.0.track_record.note(&signed_in.identity, self.0.clock.now());
        Ok(signed_in)
    }

    async fn finish_oidc(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        attempt: &Attempt,
        tokens: ProviderTokens,
    ) -> Result<SignedIn, IdpError> {
        let nonce = ExpectedNonce::Exactly(&attempt.nonce);
        let claims = self.verify_id_token(oidc, metadata, nonce, Some(attempt), &tokens).await?;
        let identity = self.identity_of_claims(oidc, metadata, &claims, &tokens).await?;
        Ok(SignedIn {
            identity,
            auth_time: claims.auth_time(),
            acr: claims.acr().map(str::to_owned),
            session_expiry: claims.session_expiry(),
            provider_session: claims.provider_session().map(str::to_owned),
            tokens,
        })
    }

    async fn finish_oauth2(
        &self,
        plain: &OAuth2Settings,
        metadata: &Metadata,
        tokens: ProviderTokens,
    ) -> Result<SignedIn, IdpError> {
        let identity = self.identity_of_profile(plain, metadata, &tokens).await?;
        Ok(SignedIn { identity, auth_time: None, acr: None, session_expiry: None, provider_session: None, tokens })
    }

    /// Returns the identity that the tokens, userinfo and the profile API add up to.
    pub(crate) async fn identity_of_claims(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        claims: &VerifiedClaims,
        tokens: &ProviderTokens,
    ) -> Result<Identity, IdpError> {
        let required = &self.0.settings.required_claims;
        profile::check_uncontradicted(required, claims.all())?;
        let mut attributes = self.said_by_tokens(oidc, metadata, claims, tokens).await?;
        if let Some(endpoint) = metadata.userinfo_endpoint.as_ref().filter(|_| self.asks_userinfo(oidc, &attributes)) {
            let more = self.userinfo(oidc, metadata, endpoint, claims, tokens).await?;
            userinfo::merge(&mut attributes, more, &self.0.settings.profile);
        }
        profile::check_required(required, &attributes)?;
        self.ask_profile_api(tokens, &mut attributes).await?;
        self.say_which_groups_were_dropped(&attributes);
        let issuer = text(claims.all(), "iss")?;
        Ok(profile::identity_from_claims(&self.0.settings, issuer, claims.subject(), &attributes)?)
    }

    /// Is true if userinfo is to be asked after the tokens said this much.
    pub(crate) fn asks_userinfo(&self, oidc: &OidcSettings, said: &Map<String, Value>) -> bool {
        let IdpSettings { profile, required_claims, .. } = &self.0.settings;
        match oidc.userinfo {
            UserinfoUse::Always => true,
            UserinfoUse::WhereNeeded => profile::lacks_something(said, profile, required_claims),
            UserinfoUse::Never => false,
        }
    }

    /// Returns the identity that the profile endpoint names.
    pub(crate) async fn identity_of_profile(
        &self,
        plain: &OAuth2Settings,
        metadata: &Metadata,
        tokens: &ProviderTokens,
    ) -> Result<Identity, IdpError> {
        let profile = self.back_channel(metadata).get_json(&plain.profile_endpoint, &tokens.access_token).await;
        let mut profile = profile.map_err(IdpError::ProfileEndpoint)?;
        profile::check_required(&self.0.settings.required_claims, &profile)?;
        self.ask_profile_api(tokens, &mut profile).await?;
        self.say_which_groups_were_dropped(&profile);
        Ok(profile::identity_from_profile(&self.0.settings, self.issuer(), &profile)?)
    }

    pub(crate) async fn verify_id_token(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        nonce: ExpectedNonce<'_>,
        attempt: Option<&Attempt>,
        tokens: &ProviderTokens,
    ) -> Result<VerifiedClaims, IdpError> {
        let id_token = tokens.id_token.as_ref().ok_or(JwtFault::Absent)?;
        let payload = self.signed_payload(oidc, metadata, id_token.expose()).await?;
        let issuer = providers::entra::issuer_of(&oidc.issuer, &oidc.tenants, &payload)?;
        let claims_supported = metadata.claims_supported.as_deref();
        let expectation = Expectation {
            issuer: &issuer,
            client_id: &self.0.settings.client_id,
            additional_audiences: &oidc.additional_audiences,
            nonce,
            access_token: tokens.access_token.expose(),
            max_age: attempt.and_then(|attempt| attempt.max_age),
            auth_time_required: !attempt
                .is_some_and(|attempt| attempt.fresh && !oidc.auth_time.is_told(claims_supported)),
            clock_skew: oidc.clock_skew,
            algorithm: oidc.algorithm,
        };
        Ok(id_token::check(payload, &expectation, self.0.clock.now())?)
    }

    /// Writes down that groups were said in a form that is not read, once for as long as this process lives: it is the
    /// same for everybody, and it is the configuration's to change.
    fn say_which_groups_were_dropped(&self, source: &Map<String, Value>) {
        let mapping = &self.0.settings.profile;
        let Some((path, why)) = profile::dropped_groups(source, mapping) else { return };
        if !self.0.groups_noted.swap(true, Ordering::Relaxed) {
            let (idp, path) = (&self.0.settings.name, Printable(path));
            tracing::warn!(idp, %path, "groups were left out: {why}");
        }
    }

    async fn userinfo(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        endpoint: &Url,
        claims: &VerifiedClaims,
        tokens: &ProviderTokens,
    ) -> Result<Map<String, Value>, IdpError> {
        let answer = userinfo::fetch(self.back_channel(metadata), endpoint, &tokens.access_token).await?;
        let payload = match answer {
            userinfo::Answer::Plain(payload) => payload,
            userinfo::Answer::Signed(token) => {
                let payload = self.signed_payload(oidc, metadata, token.expose()).await;
                let payload = payload.map_err(|error| match error {
                    IdpError::IdToken(fault) => UserinfoError::Token(fault).into(),
                    other => other,
                })?;
                let expectation = userinfo::Expectation {
                    issuer: text(claims.all(), "iss")?,
                    client_id: &self.0.settings.client_id,
                    clock_skew: oidc.clock_skew,
                };
                userinfo::check_signed(&payload, &expectation, self.0.clock.now()).map_err(UserinfoError::Token)?;
                payload
            }
        };
        userinfo::check_subject(&payload, claims.subject(), tokens.access_token.expose())?;
        Ok(payload)
    }
}

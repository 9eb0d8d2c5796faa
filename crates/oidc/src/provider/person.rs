//! Tells who a person is, at a login and at every refresh: by the tokens, userinfo, the profile and the provider's API.

use std::sync::atomic::Ordering;

use counterfoil_core::identity::Identity;
use counterfoil_core::printable::Printable;
use serde_json::{Map, Value};
use url::Url;

use crate::claims::id_token::{Expectation, ExpectedNonce, VerifiedClaims};
use crate::claims::userinfo::{UserinfoError, UserinfoUse};
use crate::claims::{access_token, groups, id_token, profile, userinfo};
use crate::discovery::attempts::AskedBy;
use crate::discovery::keys::{SignatureError, Wanted};
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::login::attempt::Attempt;
use crate::provider::Provider;
use crate::provider::settings::{OAuth2Settings, OidcSettings};
use crate::providers;
use crate::providers::api::Api;
use crate::tokens::provider_tokens::ProviderTokens;
use crate::verification::fault::JwtFault;
use crate::verification::header::JwtUse;
use crate::verification::registered_claims::text;

/// The parts of a login or a refresh with OpenID Connect that identify the person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub(crate) oidc: &'a OidcSettings,
    pub(crate) metadata: &'a Metadata,
    /// The claims of the ID token.
    pub(crate) claims: &'a VerifiedClaims,
    /// The tokens that are held now.
    pub(crate) tokens: &'a ProviderTokens,
}

impl Provider {
    /// Returns the identity from the tokens, userinfo and the provider's API.
    pub(crate) async fn identity_of_claims(&self, evidence: Evidence<'_>) -> Result<Identity, IdpError> {
        let Evidence { oidc, metadata, claims, tokens } = evidence;
        let settings = &self.0.settings.claims;
        profile::check_uncontradicted(&settings.required, claims.all())?;
        let mut attributes = self.said_by_tokens(evidence).await?;
        if let Some(endpoint) = metadata.userinfo_endpoint.as_ref().filter(|_| self.asks_userinfo(oidc, &attributes)) {
            let more = self.userinfo(evidence, endpoint).await?;
            userinfo::merge(&mut attributes, more, &settings.mapping);
        }
        profile::check_required(&settings.required, &attributes)?;
        self.ask_profile_api(tokens, &mut attributes).await?;
        self.say_which_groups_were_dropped(&attributes);
        let person = (text(claims.all(), "iss")?, claims.subject());
        Ok(profile::identity_from_claims(self.name(), settings, person, &attributes)?)
    }

    /// Is true if userinfo is to be asked after the tokens said this much.
    pub(crate) fn asks_userinfo(&self, oidc: &OidcSettings, said: &Map<String, Value>) -> bool {
        let settings = &self.0.settings.claims;
        match oidc.userinfo {
            UserinfoUse::Always => true,
            UserinfoUse::WhereNeeded => profile::lacks_something(said, &settings.mapping, &settings.required),
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
        let settings = &self.0.settings.claims;
        let profile = self.back_channel(metadata).get_json(&plain.profile_endpoint, &tokens.access_token).await;
        let mut profile = profile.map_err(IdpError::ProfileEndpoint)?;
        profile::check_required(&settings.required, &profile)?;
        self.ask_profile_api(tokens, &mut profile).await?;
        self.say_which_groups_were_dropped(&profile);
        Ok(profile::identity_from_profile(self.name(), settings, self.issuer(), &profile)?)
    }

    /// Verifies the ID token that came with a login, or with a refresh if there is no `attempt`.
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
        let issuer = oidc.issuer.of_token(&payload)?;
        let claims_supported = metadata.claims_supported.as_deref();
        let expectation = Expectation {
            issuer: &issuer,
            client_id: &self.0.settings.client.id,
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

    /// Returns what the tokens of a login or a refresh say of the person: the ID token, and the access token beside it.
    pub(crate) async fn said_by_tokens(&self, evidence: Evidence<'_>) -> Result<Map<String, Value>, IdpError> {
        let mut attributes = evidence.claims.all().clone();
        if evidence.oidc.access_token_claims {
            match self.claims_of_access_token(evidence).await {
                Ok(more) => access_token::add(&mut attributes, more, &self.0.settings.claims.mapping),
                // It may be opaque, or a JWT that only its API can verify.
                Err(SignatureError::Token(fault)) => {
                    tracing::info!(idp = self.name(), %fault, "the access token says nothing of the person");
                }
                Err(SignatureError::Keys(unavailable)) => return Err(unavailable.into()),
            }
        }
        Ok(attributes)
    }

    async fn claims_of_access_token(&self, evidence: Evidence<'_>) -> Result<Map<String, Value>, SignatureError> {
        let Evidence { oidc, metadata, claims, tokens } = evidence;
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(JwtFault::NoKeys)?;
        let (algorithm, kind, by) = (oidc.algorithm, JwtUse::AccessToken, AskedBy::Provider);
        let (token, wanted) = (tokens.access_token.expose(), Wanted { algorithm, kind, issuers: &oidc.issuer, by });
        let payload = self.0.keys.verify_without_refetch(self.keys_at(jwks_uri), token, wanted).await?;
        let expected = access_token::Expectation {
            issuer: text(claims.all(), "iss")?,
            subject: claims.subject(),
            client_id: &self.0.settings.client.id,
            clock_skew: oidc.clock_skew,
        };
        access_token::check(&payload, &expected, self.0.clock.now())?;
        Ok(payload)
    }

    /// Verifies a token that came from the provider over TLS, and returns its claims.
    async fn signed_payload(
        &self,
        oidc: &OidcSettings,
        metadata: &Metadata,
        token: &str,
    ) -> Result<Map<String, Value>, SignatureError> {
        let jwks_uri = metadata.jwks_uri.as_ref().ok_or(JwtFault::NoKeys)?;
        let (algorithm, kind, by) = (oidc.algorithm, JwtUse::Claims, AskedBy::Provider);
        let wanted = Wanted { algorithm, kind, issuers: &oidc.issuer, by };
        self.0.keys.verify(self.keys_at(jwks_uri), token, wanted).await
    }

    async fn userinfo(&self, evidence: Evidence<'_>, endpoint: &Url) -> Result<Map<String, Value>, IdpError> {
        let Evidence { oidc, metadata, claims, tokens } = evidence;
        let answer = userinfo::fetch(self.back_channel(metadata), endpoint, &tokens.access_token).await?;
        let payload = match answer {
            userinfo::Answer::Plain(payload) => payload,
            userinfo::Answer::Signed(token) => {
                let payload = self.signed_payload(oidc, metadata, token.expose()).await;
                let payload = payload.map_err(|error| match error {
                    SignatureError::Token(fault) => UserinfoError::Token(fault).into(),
                    SignatureError::Keys(unavailable) => IdpError::from(unavailable),
                })?;
                let expectation = userinfo::Expectation {
                    issuer: text(claims.all(), "iss")?,
                    client_id: &self.0.settings.client.id,
                    clock_skew: oidc.clock_skew,
                };
                userinfo::check_signed(&payload, &expectation, self.0.clock.now()).map_err(UserinfoError::Token)?;
                payload
            }
        };
        userinfo::check_subject(&payload, claims.subject(), tokens.access_token.expose())?;
        Ok(payload)
    }

    /// Adds what only the provider's own API knows.
    async fn ask_profile_api(&self, tokens: &ProviderTokens, profile: &mut Map<String, Value>) -> Result<(), IdpError> {
        let Some(api) = &self.0.settings.claims.provider_api else { return Ok(()) };
        let (http, access_token, scopes) = (&self.0.http, &tokens.access_token, &self.0.settings.login.scopes[..]);
        let person = Api { http, base_url: &api.base_url, access_token, scopes };
        Ok(providers::complete(api.kind, person, profile).await?)
    }

    /// Logs that groups came in a form that is not read, once in the life of this process: it is the same for
    /// everybody, and a matter of the configuration.
    fn say_which_groups_were_dropped(&self, source: &Map<String, Value>) {
        let mapping = &self.0.settings.claims.mapping;
        let Some((path, why)) = groups::dropped_groups(source, mapping) else { return };
        if !self.0.groups_noted.swap(true, Ordering::Relaxed) {
            let (idp, path) = (self.name(), Printable(path));
            tracing::warn!(idp, %path, "groups were left out: {why}");
        }
    }
}

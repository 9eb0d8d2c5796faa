//! The configuration of one provider. Data alone; each part belongs to the file that uses it.

use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use crate::claims::profile::{ProfileMapping, RequiredClaim};
use crate::claims::userinfo::UserinfoUse;
use crate::client::address_class::AddressGuard;
use crate::client::client_authentication::ClientAuthentication;
use crate::client::dpop::DpopSettings;
use crate::client::http::TlsSettings;
use crate::client::proxy::ProviderProxy;
use crate::client::signing_key::SigningKey;
use crate::discovery::metadata::MetadataSource;
use crate::login::pushed_request::PushedRequests;
use crate::login::request_parameters::RequestSettings;
use crate::notices::security_event::SharedSignals;
use crate::provider::end_session::LogoutMethod;
use crate::providers::ProfileApi;
use crate::providers::entra::{is_issuer, published_under};

/// One `[idp.<name>]` of the configuration.
#[derive(Debug, Clone)]
pub struct IdpSettings {
    /// Part of the callback URL.
    pub name: String,
    /// Name that people know it by.
    pub display_name: String,
    /// Our name at the provider.
    pub client_id: String,
    /// Proof that it is us.
    pub client_authentication: ClientAuthentication,
    /// Certificates that we trust, and that we show, on the connection itself.
    pub tls: TlsSettings,
    /// Proxy between us and the provider, if there is one.
    pub proxy: Option<ProviderProxy>,
    /// Set if tokens are bound to a key of ours (RFC 9449).
    pub dpop: Option<DpopSettings>,
    /// Scopes that are asked for.
    pub scopes: Vec<String>,
    /// True if an e-mail address counts as verified although the provider does not say so.
    pub trust_email: bool,
    /// Places of the attributes in the claims or the profile.
    pub profile: ProfileMapping,
    /// Policy on pushing authorization requests (RFC 9126).
    pub pushed_requests: PushedRequests,
    /// Signs authorization requests, if they are to be signed (RFC 9101).
    pub request_object_key: Option<SigningKey>,
    /// Claims that the ID token or the profile must have.
    pub required_claims: Vec<RequiredClaim>,
    /// API of the provider that knows what the claims or the profile do not say.
    pub profile_api: Option<ProfileApi>,
    /// Additions to authorization requests beyond the protocol's own.
    pub request: RequestSettings,
    /// Interval at which the provider is asked whether it still confirms a person; never, unless configured.
    pub refresh: Option<Duration>,
    /// Grace period of a session that the provider does not confirm while it serves others.
    pub refresh_grace: Duration,
    /// Longest wait of a request for the provider to confirm a session that stands.
    pub refresh_wait: StdDuration,
    /// Longest wait for one answer of the provider.
    pub timeout: StdDuration,
    /// True if the provider is told at logout that the session's tokens are no longer needed.
    pub revoke_tokens_at_logout: bool,
    /// Transmitter of security events, if there is one.
    pub shared_signals: Option<SharedSignals>,
    /// True if the metadata may name addresses of other networks than the issuer's.
    pub private_addresses: bool,
    /// OpenID Connect or plain OAuth 2.0.
    pub kind: IdpKind,
}

/// The protocol that a provider speaks.
#[derive(Debug, Clone)]
pub enum IdpKind {
    /// OpenID Connect.
    Oidc(Box<OidcSettings>),
    /// OAuth 2.0 without ID tokens: a profile endpoint says who somebody is.
    OAuth2(Box<OAuth2Settings>),
}

/// The settings that only OpenID Connect providers have.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer identifier, compared byte for byte; with `tenants`, `{tenantid}` stands for each of them in it.
    pub issuer: String,
    /// Source of the endpoints.
    pub metadata: MetadataSource,
    /// Tenants whose tokens are accepted, at a provider of many.
    pub tenants: Vec<String>,
    /// Audiences that may stand beside `client_id` in tokens for us.
    pub additional_audiences: Vec<String>,
    /// The one algorithm ID tokens are signed with.
    pub algorithm: jsonwebtoken::Algorithm,
    /// The one algorithm answers to the browser are signed with, where they are signed at all.
    pub answer_algorithm: jsonwebtoken::Algorithm,
    /// Tolerated error of the provider's clock.
    pub clock_skew: Duration,
    /// Expectation that its ID tokens say when somebody signed in.
    pub auth_time: AuthTime,
    /// True if the access token, if it is a JWT of the provider, is one more source of attributes.
    pub access_token_claims: bool,
    /// Policy on asking userinfo, if there is any.
    pub userinfo: UserinfoUse,
    /// True if the ID token is handed to the browser as `id_token_hint` at logout.
    pub logout_id_token_hint: bool,
    /// Way in which the browser brings a logout there.
    pub logout_method: LogoutMethod,
    /// The provider's name for the address that the browser comes back to after a logout.
    pub logout_redirect_parameter: String,
    /// True if logout tokens have to say that they are such (`typ`).
    pub logout_token_typ_required: bool,
}

/// Presence of `auth_time` (Core 2), the time of the login, in ID tokens. One that comes is checked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthTime {
    /// They do, unless the metadata lists the claims there are and leaves it out.
    Auto,
    /// They do.
    Told,
    /// They do not.
    Untold,
}

impl AuthTime {
    /// Every value, by its name in the configuration.
    pub const ALL: [(&'static str, Self); 3] = [("auto", Self::Auto), ("told", Self::Told), ("untold", Self::Untold)];

    /// Is true if it is told by a provider whose metadata lists these claims, if any.
    pub(crate) fn is_told(self, claims_supported: Option<&[String]>) -> bool {
        match self {
            Self::Told => true,
            Self::Untold => false,
            Self::Auto => claims_supported.is_none_or(|listed| listed.iter().any(|claim| claim == "auth_time")),
        }
    }
}

/// The settings that only plain OAuth 2.0 providers have.
#[derive(Debug, Clone)]
pub struct OAuth2Settings {
    /// The issuer identifier for RFC 9207, if the provider has one.
    pub issuer: Option<String>,
    /// Address that the browser is sent to.
    pub authorization_endpoint: Url,
    /// Address at which the code is exchanged.
    pub token_endpoint: Url,
    /// Address that says who somebody is, as JSON.
    pub profile_endpoint: Url,
    /// Address at which tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Address that authorization requests are pushed to (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// Separator of scopes: a space (RFC 6749 3.3), unless the provider wants something else.
    pub scope_separator: String,
    /// True if the token request repeats `state`.
    pub token_request_state: bool,
}

impl OidcSettings {
    /// Is true if an issuer is this provider's: byte for byte, or that of an allowed tenant.
    pub fn accepts_issuer(&self, issuer: &str) -> bool {
        is_issuer(&self.issuer, &self.tenants, issuer)
    }
}

impl IdpSettings {
    /// Is true if the provider speaks plain OAuth 2.0, and so cannot say when somebody authenticated.
    pub fn is_plain_oauth2(&self) -> bool {
        matches!(self.kind, IdpKind::OAuth2(_))
    }

    /// Is true if the configuration rules out that the provider says when somebody signed in.
    pub fn never_tells_auth_time(&self) -> bool {
        match &self.kind {
            IdpKind::Oidc(oidc) => oidc.auth_time == AuthTime::Untold,
            IdpKind::OAuth2(_) => true,
        }
    }

    /// Returns the tenants whose tokens are accepted, at a provider of many.
    pub(crate) fn tenants(&self) -> &[String] {
        match &self.kind {
            IdpKind::Oidc(oidc) => &oidc.tenants,
            IdpKind::OAuth2(_) => &[],
        }
    }

    /// Returns the guard that says which hosts may be called that only the provider's metadata name.
    pub(crate) fn address_guard(&self) -> AddressGuard {
        let IdpKind::Oidc(oidc) = &self.kind else { return AddressGuard::open() };
        let given = match &oidc.metadata {
            MetadataSource::Given(_) => return AddressGuard::open(),
            MetadataSource::Discovered(given) => given.urls(),
        };
        let api = self.profile_api.iter().map(|api| &api.base_url);
        let signals = self.shared_signals.iter().filter_map(|signals| signals.jwks_uri.as_ref());
        let issuer = published_under(&oidc.issuer);
        let judged_by = Some(issuer.as_str()).filter(|_| !self.private_addresses);
        AddressGuard::new(judged_by, given.chain(api).chain(signals))
    }

    /// Returns the one name that the provider calls itself by: with several tenants it has several, and plain OAuth 2.0
    /// providers may have none.
    pub fn declared_issuer(&self) -> Option<&str> {
        match &self.kind {
            IdpKind::Oidc(oidc) => Some(oidc.issuer.as_str()).filter(|_| oidc.tenants.is_empty()),
            IdpKind::OAuth2(plain) => plain.issuer.as_deref(),
        }
    }

    /// Is true if people of this provider can authenticate in one of these ways (`acr`), or if none is wanted.
    pub fn can_meet(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || (!self.is_plain_oauth2() && self.request.accepts_any(wanted))
    }

    /// Returns the proxy that the provider is asked through, without its password.
    pub fn proxy_on_the_way(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref()?;
        match &self.kind {
            IdpKind::Oidc(oidc) => proxy.on_the_way_to(&Url::parse(&oidc.issuer).ok()?),
            IdpKind::OAuth2(plain) => proxy.on_the_way_to(&plain.token_endpoint),
        }
    }

    /// Returns the separator of scopes.
    pub(crate) fn scope_separator(&self) -> &str {
        match &self.kind {
            IdpKind::Oidc(_) => " ",
            IdpKind::OAuth2(plain) => &plain.scope_separator,
        }
    }

    /// Returns the tolerated error of the provider's clock; plain OAuth 2.0 providers show none.
    pub fn clock_skew(&self) -> Option<Duration> {
        match &self.kind {
            IdpKind::Oidc(oidc) => Some(oidc.clock_skew),
            IdpKind::OAuth2(_) => None,
        }
    }
}

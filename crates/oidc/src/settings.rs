//! What the configuration says about a provider. Data alone; each part belongs to the file that uses it.

use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use super::address_class::AddressGuard;
use super::client_authentication::ClientAuthentication;
use super::discovery::MetadataSource;
use super::dpop::DpopSettings;
use super::end_session::LogoutMethod;
use super::http::TlsSettings;
use super::presets::ProfileApi;
use super::presets::entra::{is_issuer, published_under};
use super::profile::{ProfileMapping, RequiredClaim};
use super::proxy::ProviderProxy;
use super::pushed_request::PushedRequests;
use super::request_parameters::RequestSettings;
use super::security_event::SharedSignals;
use super::signing_key::SigningKey;
use super::userinfo::UserinfoUse;

/// One `[idp.<name>]` of the configuration.
#[derive(Debug, Clone)]
pub struct IdpSettings {
    /// Part of the callback URL.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// Our name at the provider.
    pub client_id: String,
    /// How we prove that it is us.
    pub client_authentication: ClientAuthentication,
    /// Whom we believe, and who we are, on the connection itself.
    pub tls: TlsSettings,
    /// What stands between us and the provider.
    pub proxy: Option<ProviderProxy>,
    /// Whether tokens are bound to a key of ours (RFC 9449).
    pub dpop: Option<DpopSettings>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Whether an e-mail address counts as verified although the provider does not say so.
    pub trust_email: bool,
    /// Where in the claims or the profile the attributes stand.
    pub profile: ProfileMapping,
    /// Whether authorization requests are pushed (RFC 9126).
    pub pushed_requests: PushedRequests,
    /// Signs authorization requests, if they are to be signed (RFC 9101).
    pub request_object_key: Option<SigningKey>,
    /// What the ID token or the profile must say.
    pub required_claims: Vec<RequiredClaim>,
    /// Which API of the provider knows what the claims or the profile do not say.
    pub profile_api: Option<ProfileApi>,
    /// What authorization requests say beyond the protocol's own.
    pub request: RequestSettings,
    /// How often the provider is asked whether it still stands by a person; never, unless configured.
    pub refresh: Option<Duration>,
    /// How long a session goes on that the provider does not confirm while it serves others.
    pub refresh_grace: Duration,
    /// How long a request waits for the provider to confirm a session that stands.
    pub refresh_wait: StdDuration,
    /// Longest wait for one answer of the provider.
    pub timeout: StdDuration,
    /// Whether the provider is told at logout that the session's tokens are no longer needed.
    pub revoke_tokens_at_logout: bool,
    /// Who transmits security events, if anybody does.
    pub shared_signals: Option<SharedSignals>,
    /// Whether the metadata may name addresses of other networks than the issuer's.
    pub private_addresses: bool,
    /// OpenID Connect or plain OAuth 2.0.
    pub kind: IdpKind,
}

/// Which protocol a provider speaks.
#[derive(Debug, Clone)]
pub enum IdpKind {
    /// OpenID Connect.
    Oidc(Box<OidcSettings>),
    /// OAuth 2.0 without ID tokens: a profile endpoint says who somebody is.
    OAuth2(Box<OAuth2Settings>),
}

/// What only OpenID Connect providers have.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The issuer identifier, compared byte for byte; with `tenants`, `{tenantid}` stands for each of them in it.
    pub issuer: String,
    /// Where the endpoints are.
    pub metadata: MetadataSource,
    /// Whose tokens are accepted, at a provider of many tenants.
    pub tenants: Vec<String>,
    /// Audiences that may stand beside `client_id` in tokens for us.
    pub additional_audiences: Vec<String>,
    /// The one algorithm ID tokens are signed with.
    pub algorithm: jsonwebtoken::Algorithm,
    /// The one algorithm answers to the browser are signed with, where they are signed at all.
    pub answer_algorithm: jsonwebtoken::Algorithm,
    /// How far the provider's clock may be off.
    pub clock_skew: Duration,
    /// Whether its ID tokens say when somebody signed in.
    pub auth_time: AuthTime,
    /// Whether the access token, if it is a JWT of the provider, is one more source of attributes.
    pub access_token_claims: bool,
    /// When userinfo is asked, if there is any.
    pub userinfo: UserinfoUse,
    /// Whether the ID token is handed to the browser as `id_token_hint` at logout.
    pub logout_id_token_hint: bool,
    /// How the browser brings a logout there.
    pub logout_method: LogoutMethod,
    /// What the provider calls the address that the browser comes back to after a logout.
    pub logout_redirect_parameter: String,
    /// Whether logout tokens have to say that they are such (`typ`).
    pub logout_token_typ_required: bool,
}

/// Whether a provider's ID tokens say when somebody signed in (`auth_time`, Core 2). One that comes is checked in any case.
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

    /// Whether it is told by a provider whose metadata lists these claims, if any.
    pub(super) fn is_told(self, claims_supported: Option<&[String]>) -> bool {
        match self {
            Self::Told => true,
            Self::Untold => false,
            Self::Auto => claims_supported.is_none_or(|listed| listed.iter().any(|claim| claim == "auth_time")),
        }
    }
}

/// What only plain OAuth 2.0 providers have.
#[derive(Debug, Clone)]
pub struct OAuth2Settings {
    /// The issuer identifier for RFC 9207, if the provider has one.
    pub issuer: Option<String>,
    /// Where the browser is sent.
    pub authorization_endpoint: Url,
    /// Where the code is exchanged.
    pub token_endpoint: Url,
    /// Who somebody is, as JSON.
    pub profile_endpoint: Url,
    /// Where tokens are given back (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Where authorization requests are pushed (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// What stands between scopes: a space (RFC 6749 3.3), unless the provider wants something else.
    pub scope_separator: String,
    /// Whether the token request repeats `state`.
    pub token_request_state: bool,
}

impl OidcSettings {
    /// Whether an issuer is this provider's: byte for byte, or that of an allowed tenant.
    pub fn accepts_issuer(&self, issuer: &str) -> bool {
        is_issuer(&self.issuer, &self.tenants, issuer)
    }
}

impl IdpSettings {
    /// Whether the provider speaks plain OAuth 2.0, and so cannot say when somebody authenticated.
    pub fn is_plain_oauth2(&self) -> bool {
        matches!(self.kind, IdpKind::OAuth2(_))
    }

    /// Whether the configuration rules out that the provider says when somebody signed in.
    pub fn never_tells_auth_time(&self) -> bool {
        match &self.kind {
            IdpKind::Oidc(oidc) => oidc.auth_time == AuthTime::Untold,
            IdpKind::OAuth2(_) => true,
        }
    }

    /// Whose tokens are accepted, at a provider of many tenants.
    pub(super) fn tenants(&self) -> &[String] {
        match &self.kind {
            IdpKind::Oidc(oidc) => &oidc.tenants,
            IdpKind::OAuth2(_) => &[],
        }
    }

    /// Which hosts may be called that only the provider's metadata name.
    pub(super) fn address_guard(&self) -> AddressGuard {
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

    /// The one name that the provider calls itself by: with several tenants it has several, and plain OAuth 2.0
    /// providers may have none.
    pub fn declared_issuer(&self) -> Option<&str> {
        match &self.kind {
            IdpKind::Oidc(oidc) => Some(oidc.issuer.as_str()).filter(|_| oidc.tenants.is_empty()),
            IdpKind::OAuth2(plain) => plain.issuer.as_deref(),
        }
    }

    /// Whether people of this provider can authenticate in one of these ways (`acr`); any will do if there is none.
    pub fn can_meet(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || (!self.is_plain_oauth2() && self.request.accepts_any(wanted))
    }

    /// The proxy that the provider is asked through, without its password.
    pub fn proxy_on_the_way(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref()?;
        match &self.kind {
            IdpKind::Oidc(oidc) => proxy.on_the_way_to(&Url::parse(&oidc.issuer).ok()?),
            IdpKind::OAuth2(plain) => proxy.on_the_way_to(&plain.token_endpoint),
        }
    }

    /// What stands between scopes.
    pub(super) fn scope_separator(&self) -> &str {
        match &self.kind {
            IdpKind::Oidc(_) => " ",
            IdpKind::OAuth2(plain) => &plain.scope_separator,
        }
    }

    /// How far the provider's clock may be off; plain OAuth 2.0 providers show none.
    pub fn clock_skew(&self) -> Option<Duration> {
        match &self.kind {
            IdpKind::Oidc(oidc) => Some(oidc.clock_skew),
            IdpKind::OAuth2(_) => None,
        }
    }
}

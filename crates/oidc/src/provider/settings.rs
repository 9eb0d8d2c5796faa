//! The configuration of one provider. Data alone; each part belongs to the step of the protocol that uses it.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use time::Duration;
use url::Url;

use crate::claims::settings::ClaimSettings;
use crate::claims::userinfo::UserinfoUse;
use crate::client::address_class::AddressGuard;
use crate::client::settings::ClientSettings;
use crate::discovery::document::{DocumentSource, MetadataSource};
use crate::discovery::metadata::Metadata;
use crate::discovery::metadata_cache::MetadataCache;
use crate::discovery::offers::Offers;
use crate::discovery::settings::DiscoverySettings;
use crate::login::logout_request::LogoutMethod;
use crate::login::settings::LoginSettings;
use crate::notices::settings::NoticeSettings;
use crate::verification::algorithm::Algorithm;
use crate::verification::issuer::IssuerPattern;

/// One `[idp.<name>]` of the configuration.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Part of the callback URL.
    pub name: String,
    /// Name that people know it by.
    pub display_name: String,
    /// Our side: name, proof, connection.
    pub client: ClientSettings,
    /// The content of authorization requests, and the way that they travel.
    pub login: LoginSettings,
    /// A person's attributes.
    pub claims: ClaimSettings,
    /// A session's refreshes, and its end.
    pub refresh: RefreshSettings,
    /// Notices that the provider sends by itself.
    pub notices: NoticeSettings,
    /// The documents that the provider publishes.
    pub discovery: DiscoverySettings,
    /// OpenID Connect or plain OAuth 2.0.
    pub kind: IdpKind,
}

/// One provider's part in sessions that stand.
#[derive(Debug, Clone, Copy)]
pub struct RefreshSettings {
    /// Interval at which the provider is asked whether it still confirms a person; never, unless configured.
    pub interval: Option<Duration>,
    /// Grace period of a session that the provider does not confirm although it serves other people.
    pub grace: Duration,
    /// Longest wait of a request while a live session is revalidated.
    pub wait: StdDuration,
    /// True if the session's tokens are revoked at logout.
    pub revoke_at_logout: bool,
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
    /// The issuer identifiers whose tokens are accepted.
    pub issuer: IssuerPattern,
    /// Source of the endpoints.
    pub metadata: MetadataSource,
    /// Audiences that may stand beside `client_id` in tokens for us.
    pub additional_audiences: Vec<String>,
    /// The one algorithm ID tokens are signed with.
    pub algorithm: Algorithm,
    /// The one algorithm answers to the browser are signed with, where they are signed at all.
    pub answer_algorithm: Algorithm,
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
    /// Expected, unless the metadata lists claims without it.
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
    /// Endpoint that revokes tokens (RFC 7009).
    pub revocation_endpoint: Option<Url>,
    /// Address that authorization requests are pushed to (RFC 9126).
    pub pushed_authorization_request_endpoint: Option<Url>,
    /// Separator of scopes: a space (RFC 6749 3.3), unless the provider wants something else.
    pub scope_separator: String,
    /// True if the token request repeats `state`.
    pub token_request_state: bool,
}

impl OAuth2Settings {
    /// Returns the issuer that identities carry: the provider's own name, or the address that stands for one.
    fn name_for_issuer(&self) -> &str {
        self.issuer.as_deref().unwrap_or(self.authorization_endpoint.as_str())
    }

    /// Returns the configuration in the form of metadata, which such a provider does not publish.
    fn metadata(&self) -> Metadata {
        Metadata {
            authorization_endpoint: self.authorization_endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            userinfo_endpoint: None,
            jwks_uri: None,
            end_session_endpoint: None,
            revocation_endpoint: self.revocation_endpoint.clone(),
            pushed_authorization_request_endpoint: self.pushed_authorization_request_endpoint.clone(),
            pushed_requests_demanded: false,
            response_issuer_promised: false,
            claims_supported: None,
            offers: Offers::default(),
        }
    }
}

impl ProviderSettings {
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

    /// Returns the issuers that identities of this provider carry.
    pub(crate) fn issuers(&self) -> IssuerPattern {
        match &self.kind {
            IdpKind::Oidc(oidc) => oidc.issuer.clone(),
            IdpKind::OAuth2(plain) => IssuerPattern::One(plain.name_for_issuer().to_owned()),
        }
    }

    /// Returns the guard over hosts that only the provider's metadata name.
    pub(crate) fn address_guard(&self) -> AddressGuard {
        let IdpKind::Oidc(oidc) = &self.kind else { return AddressGuard::open() };
        let given = match &oidc.metadata {
            MetadataSource::Given(_) => return AddressGuard::open(),
            MetadataSource::Discovered(given) => given.urls(),
        };
        let api = self.claims.provider_api.iter().map(|api| &api.base_url);
        let signals = self.notices.shared_signals.iter().filter_map(|signals| signals.jwks_uri.as_ref());
        let issuer = oidc.issuer.published_under();
        let judged_by = Some(issuer.as_str()).filter(|_| !self.discovery.private_addresses);
        AddressGuard::new(judged_by, given.chain(api).chain(signals))
    }

    /// Returns the metadata, as far as they are known or where they are had.
    pub(crate) fn metadata(&self, addresses: AddressGuard) -> MetadataCache {
        match &self.kind {
            IdpKind::Oidc(oidc) => match &oidc.metadata {
                MetadataSource::Given(metadata) => MetadataCache::given(metadata.clone()),
                MetadataSource::Discovered(given) => {
                    let (issuer, mutual_tls) = (oidc.issuer.clone(), self.client.tls.identity.is_some());
                    let source = DocumentSource { issuer, given: given.clone(), mutual_tls };
                    MetadataCache::discovered(&self.name, source, addresses)
                }
            },
            IdpKind::OAuth2(plain) => MetadataCache::given(Arc::new(plain.metadata())),
        }
    }

    /// Returns the one name that the provider calls itself by: with several tenants it has several, and plain OAuth 2.0
    /// providers may have none.
    pub fn declared_issuer(&self) -> Option<&str> {
        match &self.kind {
            IdpKind::Oidc(oidc) => oidc.issuer.only(),
            IdpKind::OAuth2(plain) => plain.issuer.as_deref(),
        }
    }

    /// Is true if people of this provider can authenticate in one of these ways (`acr`), or if none is wanted.
    pub fn can_meet(&self, wanted: &[String]) -> bool {
        wanted.is_empty() || (!self.is_plain_oauth2() && self.login.request.accepts_any(wanted))
    }

    /// Returns the proxy that the provider is asked through, without its password.
    pub fn proxy_on_the_way(&self) -> Option<&str> {
        let proxy = self.client.proxy.as_ref()?;
        match &self.kind {
            IdpKind::Oidc(oidc) => proxy.on_the_way_to(&Url::parse(oidc.issuer.configured()).ok()?),
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

    /// Returns the tolerated clock skew of the provider; zero for plain OAuth 2.0 providers, which state no times.
    pub fn clock_skew(&self) -> Option<Duration> {
        match &self.kind {
            IdpKind::Oidc(oidc) => Some(oidc.clock_skew),
            IdpKind::OAuth2(_) => None,
        }
    }
}

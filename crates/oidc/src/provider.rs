//! One configured identity provider: the entry point of every conversation with it.
//!
//! Each conversation has its file: `start` and `finish` a login, `refresh` a session, `notices` that the provider sends,
//! `revocation` of tokens, `end_session` at the provider. Holds what they share: the settings, the documents that the
//! provider publishes, the HTTP client. Knows nothing of browsers, cookies or sessions.

pub(crate) mod authorization_answer;
pub(crate) mod end_session;
pub(crate) mod finish;
pub(crate) mod misfits;
pub(crate) mod notices;
pub(crate) mod pending_revocations;
pub(crate) mod person;
pub(crate) mod refresh;
pub(crate) mod revocation;
pub(crate) mod settings;
pub(crate) mod start;
pub(crate) mod track_record;
pub(crate) mod trial;
pub(crate) mod verdict;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration as StdDuration;

use counterfoil_core::clock::SharedClock;
use time::Duration;
use tokio::sync::Semaphore;
use url::Url;

use crate::client::back_channel::BackChannel;
use crate::client::dpop::Dpop;
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;
use crate::discovery::keys::{KeyCache, KeySource};
use crate::discovery::metadata::Metadata;
use crate::discovery::metadata_cache::MetadataCache;
use crate::discovery::moved::{EndpointWatch, MoveObserver, MovedEndpoint};
use crate::error::IdpError;
use crate::login::pushed_request;
use crate::login::request_settings::Prompt;
use crate::provider::pending_revocations::PendingRevocations;
use crate::provider::settings::{IdpKind, ProviderSettings};
use crate::provider::track_record::TrackRecord;
use crate::tokens::token_request::TokenRequests;
use crate::verification::issuer::IssuerPattern;

/// Shortest time between two requests to a provider that are made for [`Provider::health`] alone.
const HEALTH_INTERVAL: Duration = Duration::seconds(30);

/// The state of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered when it was last asked.
    Ok,
    /// It did not answer, or was never asked.
    Unreachable,
    /// Its answer cannot be used: metadata of another issuer, for example.
    Faulty,
}

/// One configured identity provider. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Provider(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: ProviderSettings,
    pub(crate) issuers: IssuerPattern,
    pub(crate) redirect_uri: Url,
    pub(crate) http: ProviderHttp,
    pub(crate) dpop: Option<Dpop>,
    pub(crate) metadata: MetadataCache,
    pub(crate) keys: KeyCache,
    /// The keys of a transmitter of security events that is not the provider itself.
    pub(crate) signal_keys: KeyCache,
    /// Bounds how many authorization requests are pushed at once.
    pub(crate) pushes: Semaphore,
    /// Tokens on their way back.
    pub(crate) revocations: PendingRevocations,
    /// Set once it was logged that ID tokens are too large for the address of a logout.
    pub(crate) large_hint_noted: AtomicBool,
    pub(crate) track_record: TrackRecord,
    /// Set once it was logged that groups are said in a form that is not read.
    pub(crate) groups_noted: AtomicBool,
    pub(crate) clock: SharedClock,
}

impl Provider {
    /// Makes a provider that answers browsers at `redirect_uri`. No request is made before it is needed.
    ///
    /// # Errors
    /// [`HttpError`] if no HTTPS client can be built on this machine.
    pub fn new(settings: ProviderSettings, redirect_uri: Url, clock: SharedClock) -> Result<Self, HttpError> {
        let (addresses, client) = (settings.address_guard(), &settings.client);
        let http = ProviderHttp::guarded(client.timeout, &client.tls, client.proxy.as_ref(), &addresses)?;
        let (dpop, issuers) = (client.dpop.clone().map(Dpop::new), settings.issuers());
        let metadata = settings.metadata(addresses);
        let keys = KeyCache::new(&settings.name, "keys");
        let signal_keys = KeyCache::new(&settings.name, "keys for security events");
        Ok(Self(Arc::new(Inner {
            settings,
            issuers,
            redirect_uri,
            http,
            dpop,
            metadata,
            keys,
            signal_keys,
            pushes: Semaphore::new(pushed_request::MOST_AT_ONCE),
            revocations: PendingRevocations::default(),
            large_hint_noted: AtomicBool::new(false),
            track_record: TrackRecord::default(),
            groups_noted: AtomicBool::new(false),
            clock,
        })))
    }

    /// Returns the configured name.
    pub fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// Returns the name that people know it by.
    pub fn display_name(&self) -> &str {
        &self.0.settings.display_name
    }

    /// Is true if people of this provider can authenticate in one of these ways (`acr`); or if the list is empty.
    pub fn can_meet(&self, wanted: &[String]) -> bool {
        self.0.settings.can_meet(wanted)
    }

    /// Is true if the provider says when somebody authenticated, as far as is known: its metadata may say it does not.
    pub fn tells_authentication_time(&self) -> bool {
        match &self.0.settings.kind {
            IdpKind::Oidc(oidc) => {
                let metadata = self.0.metadata.known();
                oidc.auth_time.is_told(metadata.as_ref().and_then(|metadata| metadata.claims_supported.as_deref()))
            }
            IdpKind::OAuth2(_) => false,
        }
    }

    /// Is true if the provider speaks plain OAuth 2.0.
    pub fn is_plain_oauth2(&self) -> bool {
        self.0.settings.is_plain_oauth2()
    }

    /// Is true if every login makes the person authenticate at the provider (`prompt=login`, Core 3.1.2.1).
    pub fn always_asks_who_it_is(&self) -> bool {
        self.0.settings.login.request.prompt.contains(&Prompt::Login)
    }

    /// Returns the oldest authentication that the configuration accepts at any login with this provider, in seconds.
    pub fn max_age(&self) -> Option<u64> {
        self.0.settings.login.request.max_age
    }

    /// Returns the interval at which the provider is asked whether it still confirms a person.
    pub fn refresh_interval(&self) -> Option<Duration> {
        self.0.settings.refresh.interval
    }

    /// Returns the grace period of a session that the provider does not confirm although it serves other people.
    pub fn refresh_grace(&self) -> Duration {
        self.0.settings.refresh.grace
    }

    /// Returns the longest wait of a request while a live session is revalidated.
    pub fn refresh_wait(&self) -> StdDuration {
        self.0.settings.refresh.wait
    }

    /// Returns the tolerated clock skew of the provider; zero if it states no times.
    pub fn clock_skew(&self) -> Duration {
        self.0.settings.clock_skew().unwrap_or_default()
    }

    /// Returns the longest wait for one answer.
    pub fn timeout(&self) -> StdDuration {
        self.0.settings.client.timeout
    }

    /// Returns the issuer that identities of this provider carry; with several tenants, the pattern of theirs
    /// ([`Provider::accepts_issuer`]).
    pub fn issuer(&self) -> &str {
        self.0.issuers.configured()
    }

    /// Is true if an issuer is this provider's: byte for byte, or that of an allowed tenant.
    pub fn accepts_issuer(&self, issuer: &str) -> bool {
        self.0.issuers.accepts(issuer)
    }

    /// Fetches the provider's metadata, unless they are cached.
    ///
    /// # Errors
    /// [`IdpError::Unusable`] if it cannot be had, [`IdpError::PushedRequest`] if it rules out what is configured.
    pub async fn probe(&self) -> Result<(), IdpError> {
        let metadata = self.metadata().await?;
        pushed_request::endpoint(self.0.settings.login.pushed_requests, &metadata)?;
        self.verification_keys(&metadata).await
    }

    /// Fetches everything that a login needs besides its code, unless it is cached: a code is sent once, so a failure
    /// should come before.
    ///
    /// # Errors
    /// [`IdpError::Unusable`] if it cannot be had.
    pub async fn prepare_to_finish(&self) -> Result<(), IdpError> {
        let metadata = self.metadata().await?;
        self.verification_keys(&metadata).await
    }

    async fn verification_keys(&self, metadata: &Metadata) -> Result<(), IdpError> {
        if let Some(jwks_uri) = &metadata.jwks_uri {
            self.0.keys.current(self.keys_at(jwks_uri)).await?;
        }
        Ok(())
    }

    /// Returns the state of the provider as of its last answer; refreshes it in the background.
    pub fn health(&self) -> Health {
        let Inner { metadata, keys, http, clock, .. } = &*self.0;
        match metadata.checked(http, clock, HEALTH_INTERVAL).or_else(|| keys.failure()) {
            Some(failure) if failure.is_outage() => Health::Unreachable,
            Some(_) => Health::Faulty,
            None if self.is_known() => Health::Ok,
            None => Health::Unreachable,
        }
    }

    /// Is true if logins can start without a request to the provider.
    pub fn is_known(&self) -> bool {
        self.0.metadata.known().is_some()
    }

    /// Fetches metadata and keys anew, and accepts endpoints on other hosts whose move was refused before: an operator
    /// confirms them.
    pub async fn renew_documents(&self) {
        let Inner { http, metadata, keys, signal_keys, settings, clock, .. } = &*self.0;
        metadata.renew(http, clock).await;
        if let Some(jwks_uri) = metadata.known().and_then(|known| known.jwks_uri.clone()) {
            keys.renew(self.keys_at(&jwks_uri)).await;
        }
        if let Some(jwks_uri) = settings.notices.shared_signals.as_ref().and_then(|signals| signals.jwks_uri.as_ref()) {
            signal_keys.renew(self.keys_at(jwks_uri)).await;
        }
    }

    /// Returns the endpoints that the provider's metadata now name another host for, which was refused.
    pub fn refused_moves(&self) -> Vec<MovedEndpoint> {
        self.0.metadata.watch().map(EndpointWatch::refused).unwrap_or_default()
    }

    /// Tells `observer` from now on of endpoints that are to move to other hosts.
    pub fn report_moves(&self, observer: MoveObserver) {
        if let Some(watch) = self.0.metadata.watch() {
            watch.report_to(observer);
        }
    }

    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, IdpError> {
        let fetched = self.0.metadata.current(&self.0.http, &self.0.clock).await;
        fetched.map_err(|cause| IdpError::Unusable { what: "the provider's metadata", cause })
    }

    /// Returns the place where keys are published, for one of the caches.
    pub(crate) fn keys_at<'a>(&'a self, jwks_uri: &'a Url) -> KeySource<'a> {
        KeySource { http: &self.0.http, jwks_uri, clock: &self.0.clock }
    }

    /// Makes the way to the endpoints that want to know who asks.
    pub(crate) fn back_channel<'a>(&'a self, metadata: &'a Metadata) -> BackChannel<'a> {
        let Inner { http, settings, dpop, clock, .. } = &*self.0;
        let (issuer, token_endpoint) = (settings.declared_issuer(), &metadata.token_endpoint);
        BackChannel { http, client: &settings.client, issuer, token_endpoint, dpop: dpop.as_ref(), clock }
    }

    /// Makes the way to the token endpoint.
    pub(crate) fn token_requests<'a>(&'a self, metadata: &'a Metadata) -> TokenRequests<'a> {
        TokenRequests { channel: self.back_channel(metadata), is_plain: self.is_plain_oauth2() }
    }
}

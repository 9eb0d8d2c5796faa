//! The keys that a provider publishes: fetched, kept, and fetched again for a token that none of them signed.
//!
//! The one place where keys are fetched for a token. Its claims are for the token's reader to check.

use std::sync::Arc;

use counterfoil_core::clock::SharedClock;
use serde_json::{Map, Value};
use thiserror::Error;
use time::Duration;
use url::Url;

use crate::client::document::{Caches, FetchFailure, Fetched};
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;
use crate::discovery::attempts::AskedBy;
use crate::discovery::cached_document::{CachedDocument, Lifetimes, Refetched, asked_just_now};
use crate::verification::algorithm::Algorithm;
use crate::verification::fault::JwtFault;
use crate::verification::header::{JwtUse, read_header};
use crate::verification::issuer::IssuerPattern;
use crate::verification::jwks::{self, KeySet, KeySetError};
use crate::verification::jwt::verify_signature;

/// Withdrawn keys stop counting within an hour, whatever TTL the provider states (15 minutes if it states none), as
/// long as it publishes any; those of a provider that publishes none or cannot be reached count for up to a week.
const LIFETIMES: Lifetimes = Lifetimes {
    unless_said: Duration::minutes(15),
    shortest: Duration::MINUTE,
    longest: Duration::HOUR,
    usable: Duration::HOUR,
};

/// The demands on a signed token, and the party that brought it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The one algorithm that counts.
    pub(crate) algorithm: Algorithm,
    /// The kind of token it has to be.
    pub(crate) kind: JwtUse,
    /// The issuers whose keys may be published.
    pub(crate) issuers: &'a IssuerPattern,
    /// The party that brought it.
    pub(crate) by: AskedBy,
}

/// The provider's keys cannot be had.
#[derive(Debug, Error)]
#[error("the provider's keys cannot be had: {0}")]
pub struct KeysUnavailable(pub(crate) Arc<HttpError>);

/// The reason why a signature could not be verified.
#[derive(Debug, Error)]
pub(crate) enum SignatureError {
    /// It cannot be told.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
    /// It is not acceptable.
    #[error(transparent)]
    Token(#[from] JwtFault),
}

/// The place where keys are published, and the means to fetch them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySource<'a> {
    pub(crate) http: &'a ProviderHttp,
    pub(crate) jwks_uri: &'a Url,
    pub(crate) clock: &'a SharedClock,
}

/// The keys of one provider.
#[derive(Debug)]
pub(crate) struct KeyCache(CachedDocument<KeySet>);

impl KeyCache {
    /// Makes a cache for keys of this provider, none of them fetched yet.
    pub(crate) fn new(idp: &str, document: &'static str) -> Self {
        Self(CachedDocument::new(LIFETIMES, idp, document))
    }

    /// Returns the failure to fetch keys, if there are none because of it.
    pub(crate) fn failure(&self) -> Option<Arc<HttpError>> {
        self.0.failure().filter(|_| self.0.known().is_none())
    }

    /// Returns the keys; fetches them if there are none or they are not fresh.
    ///
    /// # Errors
    /// [`KeysUnavailable`].
    pub(crate) async fn current(&self, source: KeySource<'_>) -> Result<Arc<KeySet>, KeysUnavailable> {
        self.0.current(source.clock, source.fetch(Caches::MayAnswer)).await.map_err(KeysUnavailable)
    }

    /// Fetches the keys anew, whatever is known.
    pub(crate) async fn renew(&self, source: KeySource<'_>) {
        self.0.renew(source.clock, source.fetch(Caches::AskAgain)).await;
    }

    /// Verifies a token and returns its claims. A signature that none of the known keys made may be that of a new key,
    /// under a new name or an old one, so the keys are fetched again, once: at most once per window and asker, so that
    /// a rotation works at once and tokens with unknown key names cause no further requests (R-D05). If the keys cannot
    /// be fetched, the token is neither accepted nor refused.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub(crate) async fn verify(
        &self,
        source: KeySource<'_>,
        token: &str,
        wanted: Wanted<'_>,
    ) -> Result<Map<String, Value>, SignatureError> {
        let header = read_header(token, wanted.algorithm, wanted.kind)?;
        let verify = |keys: &KeySet| verify_signature(token, &header, keys, wanted.issuers);
        let seen = self.current(source).await?;
        let first = verify(&seen);
        if !first.as_ref().is_err_and(is_about_keys) {
            return Ok(first?);
        }
        let fetch = source.fetch(Caches::AskAgain);
        let refetched = self.0.refetched(wanted.by, &seen, source.clock, fetch).await.map_err(KeysUnavailable)?;
        match refetched {
            Refetched::Anew(keys) => Ok(verify(&keys)?),
            // Fetched for another token, perhaps before this one was signed.
            Refetched::Meanwhile(keys) => match verify(&keys) {
                Err(fault) if is_about_keys(&fault) => Err(KeysUnavailable(Arc::new(asked_just_now())).into()),
                verified => Ok(verified?),
            },
        }
    }

    /// Verifies a token by the keys that are known, fetched only if there are none or they are not fresh.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub(crate) async fn verify_without_refetch(
        &self,
        source: KeySource<'_>,
        token: &str,
        wanted: Wanted<'_>,
    ) -> Result<Map<String, Value>, SignatureError> {
        let header = read_header(token, wanted.algorithm, wanted.kind)?;
        Ok(verify_signature(token, &header, &*self.current(source).await?, wanted.issuers)?)
    }
}

impl KeySource<'_> {
    fn fetch(self, caches: Caches) -> impl Future<Output = Result<Fetched<KeySet>, FetchFailure>> + Send + 'static {
        let (http, jwks_uri) = (self.http.clone(), self.jwks_uri.clone());
        async move {
            let Fetched { document, max_age } = http.get_document(&jwks_uri, caches).await?;
            let document =
                jwks::read(&document).map_err(|KeySetError(complaint)| HttpError::Unacceptable(complaint))?;
            Ok(Fetched { document, max_age })
        }
    }
}

/// Is true if other keys may make it good.
fn is_about_keys(fault: &JwtFault) -> bool {
    matches!(fault, JwtFault::UnknownKey | JwtFault::Signature)
}

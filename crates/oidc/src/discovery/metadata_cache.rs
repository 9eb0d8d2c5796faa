//! The metadata of a provider: given by the configuration, or fetched from its issuer, kept and watched.
//!
//! [`crate::discovery::moved`] says which changes a later document may make.

use std::sync::Arc;

use counterfoil_core::clock::SharedClock;
use time::Duration;
use url::Url;

use crate::client::address_class::AddressGuard;
use crate::client::document::{Caches, FetchFailure, Fetched};
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;
use crate::discovery::cached_document::{CachedDocument, Lifetimes};
use crate::discovery::document::{DocumentSource, read};
use crate::discovery::metadata::Metadata;
use crate::discovery::moved::EndpointWatch;

/// Endpoints hardly ever change.
const LIFETIMES: Lifetimes = Lifetimes {
    unless_said: Duration::HOUR,
    shortest: Duration::minutes(5),
    longest: Duration::DAY,
    usable: Duration::DAY,
};

/// The metadata of one provider.
#[derive(Debug)]
pub(crate) enum MetadataCache {
    /// Written in the configuration.
    Given(Arc<Metadata>),
    /// Fetched from the issuer.
    Discovered(Discovered),
}

/// Metadata that is fetched, and watched.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    source: Arc<DocumentSource>,
    document: CachedDocument<Metadata>,
    watch: Arc<EndpointWatch>,
    addresses: AddressGuard,
}

impl MetadataCache {
    /// Makes metadata that the configuration gives.
    pub(crate) fn given(metadata: Arc<Metadata>) -> Self {
        Self::Given(metadata)
    }

    /// Makes metadata of the provider `idp` that were never fetched.
    pub(crate) fn discovered(idp: &str, source: DocumentSource, addresses: AddressGuard) -> Self {
        let watch = EndpointWatch::new(idp.to_owned(), &source.issuer.published_under());
        Self::Discovered(Discovered {
            source: Arc::new(source),
            document: CachedDocument::new(LIFETIMES, idp, "metadata"),
            watch: Arc::new(watch),
            addresses,
        })
    }

    pub(crate) async fn current(
        &self,
        http: &ProviderHttp,
        clock: &SharedClock,
    ) -> Result<Arc<Metadata>, Arc<HttpError>> {
        match self {
            Self::Given(metadata) => Ok(metadata.clone()),
            Self::Discovered(discovered) => {
                discovered.document.current(clock, discovered.clone().fetch(http.clone(), false)).await
            }
        }
    }

    /// Fetches the metadata anew, whatever is cached, and accepts endpoints on other hosts whose move was refused
    /// before: an operator confirms them.
    pub(crate) async fn renew(&self, http: &ProviderHttp, clock: &SharedClock) {
        if let Self::Discovered(discovered) = self {
            discovered.document.renew(clock, discovered.clone().fetch(http.clone(), true)).await;
        }
    }

    /// Returns the failure of the last fetch, if it failed; starts another in the background if that was a while ago.
    pub(crate) fn checked(
        &self,
        http: &ProviderHttp,
        clock: &SharedClock,
        distance: Duration,
    ) -> Option<Arc<HttpError>> {
        let Self::Discovered(discovered) = self else { return None };
        discovered.document.fetch_now_and_then(clock, distance, discovered.clone().fetch(http.clone(), false));
        discovered.document.failure()
    }

    pub(crate) fn known(&self) -> Option<Arc<Metadata>> {
        match self {
            Self::Given(metadata) => Some(metadata.clone()),
            Self::Discovered(Discovered { document, .. }) => document.known(),
        }
    }

    /// Returns the watch for endpoints that move, where they can.
    pub(crate) fn watch(&self) -> Option<&EndpointWatch> {
        match self {
            Self::Given(_) => None,
            Self::Discovered(Discovered { watch, .. }) => Some(watch),
        }
    }
}

impl Discovered {
    async fn fetch(self, http: ProviderHttp, confirmed: bool) -> Result<Fetched<Metadata>, FetchFailure> {
        // Discovery 4: the path is appended to the issuer, whose own path is kept.
        let issuer = self.source.issuer.published_under();
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|_| HttpError::Unacceptable("the issuer is not a URL"))?;
        let Fetched { document, max_age } = http.get_document(&address, Caches::MayAnswer).await?;
        let metadata = read(&self.source, document)?;
        let judged = self.addresses.judge(metadata.endpoints_of_ours()).await;
        judged.map_err(|_| HttpError::Unacceptable(FOREIGN_NETWORK))?;
        let document = match self.document.known() {
            Some(known) => self.watch.choose(&known, metadata, confirmed),
            None => metadata,
        };
        Ok(Fetched { document, max_age })
    }
}

const FOREIGN_NETWORK: &str = "the metadata names an address of another network than the issuer's (a private one, or this \
                               machine's): private_addresses = true lets that be";

//! The one HTTP client towards providers: no redirects, bounded waiting, bounded answers.
//!
//! Used by every file of this crate that asks the provider something (R-C07, R-F03, R-P02); through `back_channel`
//! where credentials go with it. The one place that knows of certificates.

use std::sync::Arc;
use std::time::Duration;

use counterfoil_core::secret::Secret;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity};
use rustls_native_certs::load_native_certs;

use crate::answer::sent::Sent;
use crate::client::address_class::AddressGuard;
use crate::client::http_error::{HttpError, LARGEST_ANSWER};
use crate::client::proxy::ProviderProxy;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The trusted certificate authorities of a connection, and our client certificate.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// The trusted authorities (PEM), instead of the system's.
    pub authorities: Option<String>,
    /// Our certificate with its chain, and its key (PEM; RFC 8705).
    pub identity: Option<Secret<String>>,
}

/// The client of one provider.
#[derive(Debug, Clone)]
pub struct ProviderHttp {
    client: reqwest::Client,
    believes_somebody: bool,
    timeout: Duration,
}

impl ProviderHttp {
    /// Makes a client that waits at most `timeout` for each whole answer and uses the proxy, if there is one. Without
    /// authorities of its own or of the system's it refuses HTTPS, and needs none for plain HTTP on this machine.
    ///
    /// # Errors
    /// [`HttpError::Client`] if the certificates are none.
    pub fn new(timeout: Duration, tls: &TlsSettings, proxy: Option<&ProviderProxy>) -> Result<Self, HttpError> {
        Self::guarded(timeout, tls, proxy, &AddressGuard::open())
    }

    /// Makes the same, restricted to hosts that `addresses` allows.
    ///
    /// # Errors
    /// As [`ProviderHttp::new`].
    pub(crate) fn guarded(
        timeout: Duration,
        tls: &TlsSettings,
        proxy: Option<&ProviderProxy>,
        addresses: &AddressGuard,
    ) -> Result<Self, HttpError> {
        let builder = |tls: &TlsSettings| -> Result<reqwest::ClientBuilder, HttpError> {
            Ok(client_builder(timeout, tls, proxy)?.dns_resolver(Arc::new(addresses.clone())))
        };
        let client = builder(tls)?.build();
        if client.is_err() && tls.authorities.is_none() && load_native_certs().certs.is_empty() {
            let bare = TlsSettings { authorities: Some(String::new()), identity: tls.identity.clone() };
            let client = builder(&bare)?.build().map_err(HttpError::client)?;
            return Ok(Self { client, timeout, believes_somebody: false });
        }
        Ok(Self { client: client.map_err(HttpError::client)?, timeout, believes_somebody: true })
    }

    /// Sends a request and reads a bounded answer. A safe request whose connection broke before there was an answer is
    /// made and sent once more (RFC 9112 9.3.1, RFC 9110 9.2.2), within the same time: providers close connections that
    /// they just answered on. A request that redeems a code or a token is never repeated (R-C08).
    ///
    /// # Errors
    /// [`HttpError`] if there is no complete answer; any status is an answer.
    pub(crate) async fn ask(
        &self,
        request: impl Fn() -> Result<http::Request<Vec<u8>>, HttpError>,
    ) -> Result<http::Response<Vec<u8>>, HttpError> {
        let answered = async {
            let first = request()?;
            let is_safe = first.method().is_safe();
            match self.execute(first).await {
                Err(error) if is_safe && error.is_broken_connection() => self.execute(request()?).await,
                answered => answered,
            }
        };
        tokio::time::timeout(self.timeout, answered).await.unwrap_or(Err(HttpError::Timeout))
    }

    /// Sends a request once and reads a bounded answer, which keeps the secrets to be removed from it.
    ///
    /// # Errors
    /// [`HttpError`] if there is no complete answer; any status is an answer.
    async fn execute(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let sent = Sent::with(&request);
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Request)?;
        if !self.believes_somebody && request.url().scheme() == "https" {
            return Err(HttpError::NoAuthorities);
        }
        let mut answer = self.client.execute(request).await.map_err(HttpError::sending)?;
        let mut response = http::Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            response = response.header(name, value);
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(HttpError::sending)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = response.body(body).map_err(|_| HttpError::Request)?;
        response.extensions_mut().insert(sent);
        Ok(response)
    }
}

fn client_builder(
    timeout: Duration,
    tls: &TlsSettings,
    proxy: Option<&ProviderProxy>,
) -> Result<reqwest::ClientBuilder, HttpError> {
    let mut client = reqwest::Client::builder();
    if let Some(pem) = &tls.authorities {
        client = client.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes()).map_err(HttpError::client)?);
    }
    if let Some(pem) = &tls.identity {
        client = client.identity(Identity::from_pem(pem.expose().as_bytes()).map_err(HttpError::client)?);
    }
    let client = client
        .redirect(Policy::none())
        // A code or a refresh token must never be sent twice (R-C08).
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // The environment's proxies were read with the configuration. This drops every proxy, so ours comes later.
        .no_proxy()
        .user_agent(concat!("counterfoil/", env!("CARGO_PKG_VERSION")));
    Ok(match proxy {
        Some(proxy) => client.proxy(proxy.for_client().map_err(HttpError::client)?),
        None => client,
    })
}

//! One request to its upstream, and the answer back.
//!
//! Bodies stream in both directions. A request is sent once: after a failure the person decides whether to
//! send it again (R-K12).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Version, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;

use super::headers::{Hop, towards_client, towards_upstream};
use crate::guard::current_user::CurrentUser;
use crate::guard::request_target::RequestTarget;
use crate::guard::route::Route;
use crate::web::client_address::ClientAddress;
use crate::web::cookies::CookiePolicy;
use crate::web::failure::{Failure, FailureKind};
use crate::web::public_url::PublicUrl;

/// Longest wait for a connection to an upstream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the head of an answer. Bodies may take their time.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long an idle connection is kept for the next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// What forwarding works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proxy {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    cookies: Arc<CookiePolicy>,
    public_url: Arc<PublicUrl>,
}

/// Why a request cannot be forwarded.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The route is for applications in front of which another proxy stands, or in this process.
    #[error("the route has no upstream")]
    NoUpstream,
    /// The upstream's address and the path do not make an address.
    #[error("the upstream's address cannot be built: {0}")]
    Address(#[from] http::uri::InvalidUriParts),
    /// The path is no part of an address.
    #[error("the path cannot be forwarded: {0}")]
    Path(#[from] http::uri::InvalidUri),
    /// No connection, or none that lasted until the answer.
    #[error("the upstream does not answer: {0}")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// No answer in time.
    #[error("the upstream took longer than {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
}

impl Proxy {
    /// A proxy with a connection pool of its own.
    ///
    /// # Errors
    /// If this machine has no root certificates to verify upstreams with.
    pub fn new(cookies: Arc<CookiePolicy>, public_url: Arc<PublicUrl>) -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .retry_canceled_requests(false)
            .build(connector);
        Ok(Self { client, cookies, public_url })
    }

    async fn send(&self, mut request: Request, route: &Route) -> Result<Response, ForwardError> {
        let target = request.extensions().get::<RequestTarget>().cloned();
        let path = target.map(|target| target.path_and_query()).unwrap_or_default();
        *request.uri_mut() = upstream_address(route, &path)?;
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().clear();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client.request(request)).await;
        let answer = answer.map_err(|_| ForwardError::Timeout)??;
        Ok(answer.map(Body::new))
    }
}

/// Forwards a request that the guard let pass.
///
/// # Errors
/// [`Failure`]: 404 for routes without upstream, 502 and 504 for upstreams that do not answer.
pub async fn forward(
    State(proxy): State<Proxy>,
    Extension(route): Extension<Arc<Route>>,
    Extension(address): Extension<ClientAddress>,
    mut request: Request,
) -> Result<Response, Failure> {
    let user = request.extensions().get::<CurrentUser>().cloned();
    let hop = Hop { address, public_url: &proxy.public_url, cookies: &proxy.cookies };
    towards_upstream(request.headers_mut(), hop, user.as_ref());
    // The browser's name for us, in its one spelling: applications build links with it.
    if let Ok(host) = HeaderValue::try_from(proxy.public_url.authority()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let mut answer = proxy.send(request, &route).await.map_err(|error| {
        let kind = match &error {
            ForwardError::NoUpstream => FailureKind::NotFound,
            ForwardError::Address(_) | ForwardError::Path(_) => FailureKind::BadRequest,
            ForwardError::Unreachable(_) => FailureKind::UpstreamUnavailable,
            ForwardError::Timeout => FailureKind::UpstreamTimeout,
        };
        Failure::caused(kind, error)
    })?;
    towards_client(answer.headers_mut(), &proxy.cookies, !route.access.public);
    Ok(answer)
}

/// Scheme, host and port of the configuration, path and query of the request.
fn upstream_address(route: &Route, path: &str) -> Result<Uri, ForwardError> {
    let mut parts = route.upstream.clone().ok_or(ForwardError::NoUpstream)?.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    Ok(Uri::from_parts(parts)?)
}

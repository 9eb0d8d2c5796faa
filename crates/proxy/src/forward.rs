//! One request to its upstream, and the answer back.
//!
//! Bodies stream in both directions. A request that changes something is sent once: after a failure the person
//! decides whether to send it again (R-K12).

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::answer::{self, UntrustedAnswer};
use crate::caching::{Audience, keep_private};
use crate::expectation::{self, Heard};
use crate::headers::{Hop, set_access_token, towards_client, towards_upstream};
use crate::names::StrippedNames;
use counterfoil_guard::client_address::ClientAddress;
use counterfoil_guard::cookies::CookiePolicy;
use counterfoil_guard::current_user::Admitted;
use counterfoil_guard::failure::is_body_timeout;
use counterfoil_guard::failure::{Failure, FailureKind, causes};
use counterfoil_guard::public_url::PublicUrl;
use counterfoil_guard::request_id::RequestId;
use counterfoil_guard::route::{Caching, Route};

/// Longest wait for a TCP connection, shared by the addresses of an upstream's name, so that a dead one is passed over.
const TCP_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for a connection to an upstream, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that an idle connection is kept for the next request: less than the five seconds after which common
/// application servers close it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The state behind forwarding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proxy {
    client: Client<TimeoutConnector<HttpsConnector<HttpConnector>>, Body>,
    timeout: Duration,
    cookies: Arc<CookiePolicy>,
    public_url: Arc<PublicUrl>,
    stripped: Arc<StrippedNames>,
}

/// The reason that a request cannot be forwarded.
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
    #[error("the upstream took longer than {0:?}")]
    Timeout(Duration),
    /// An answer that can be read in two ways, or that nobody asked for.
    #[error(transparent)]
    Untrusted(#[from] UntrustedAnswer),
}

impl Proxy {
    /// A proxy with a connection pool of its own. An upstream may take `timeout` to begin its answer once it has
    /// the request, and as long between two pieces of a request that it reads. `https`: true if any is reached by TLS.
    ///
    /// # Errors
    /// If one is, and this machine has no root certificates to verify it with.
    pub fn new(
        cookies: Arc<CookiePolicy>,
        public_url: Arc<PublicUrl>,
        timeout: Duration,
        https: bool,
        stripped: StrippedNames,
    ) -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TCP_TIMEOUT));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let builder = HttpsConnectorBuilder::new();
        let builder = if https { builder.with_native_roots()? } else { builder.with_tls_config(believing_nobody()?) };
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let mut connector = TimeoutConnector::new(connector);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_write_timeout(Some(timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A proxy has to mend answers: a blank before the colon (RFC 9112 5.1), lines that go on (5.2).
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_max_headers(answer::MOST_FIELDS)
            .build(connector);
        Ok(Self { client, timeout, cookies, public_url, stripped: Arc::new(stripped) })
    }

    /// Sends a request once. One that is safe to repeat and has no body is sent once more if its connection ended
    /// before an answer began: keep-alive ends without notice (RFC 9112 9.3.1).
    async fn send(&self, mut request: Request<Option<Body>>, admitted: &Admitted) -> Result<Response, ForwardError> {
        *request.uri_mut() = upstream_address(&admitted.route, &admitted.target.path_and_query())?;
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().clear();
        let (head, body) = request.into_parts();
        let repeatable = body.is_none() && matches!(head.method, Method::GET | Method::HEAD);
        match self.try_once(Request::from_parts(head.clone(), body.unwrap_or_default())).await {
            Err(ForwardError::Unreachable(error)) if repeatable && ended_early(&error) => {
                self.try_once(Request::from_parts(head, Body::empty())).await
            }
            outcome => outcome,
        }
    }

    /// The time for an answer begins when the request's body has been sent: uploads may take theirs.
    async fn try_once(&self, request: Request) -> Result<Response, ForwardError> {
        let (unsent, sent) = oneshot::channel::<Infallible>();
        let (mut request, heard) = hold_expected_content(request);
        request = request.map(|body| {
            Body::new(body.map_frame(move |frame| {
                // Dropped with the body, which is when it has been sent.
                let _ = &unsent;
                frame
            }))
        });
        let connection = capture_connection(&mut request);
        let too_late = async {
            let _ = sent.await;
            tokio::time::sleep(self.timeout).await;
        };
        let answer = tokio::select! {
            answer = self.client.request(request) => answer?.map(Body::new),
            () = too_late => return Err(ForwardError::Timeout(self.timeout)),
        };
        let checked = self.check(answer, &connection).await?;
        let Some(heard) = heard else { return Ok(checked) };
        heard.answered();
        // Kept with the answer's body: once that is through, unwanted content is given up.
        Ok(checked.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &heard;
                frame
            }))
        }))
    }

    /// Lets an answer go on whose head says one thing. The connection of any other is not used again.
    async fn check(&self, answer: Response, connection: &CaptureConnection) -> Result<Response, ForwardError> {
        let (mut head, body) = answer.into_parts();
        let checked = answer::check(&mut head);
        if (checked.is_err() || answer::may_be_followed(&head))
            && let Some(connection) = &*connection.connection_metadata()
        {
            connection.poison();
        }
        checked?;
        if head.status != StatusCode::RESET_CONTENT {
            return Ok(Response::from_parts(head, body));
        }
        // Its length may be left open, and then says nothing of content (RFC 9110 15.3.6).
        match tokio::time::timeout(self.timeout, has_content(body)).await {
            Ok(false) => Ok(Response::from_parts(head, Body::empty())),
            Ok(true) => Err(UntrustedAnswer::Content(head.status.as_u16()).into()),
            Err(_) => Err(ForwardError::Timeout(self.timeout)),
        }
    }
}

/// Content that the client sends only if it is asked to waits for the upstream.
fn hold_expected_content(request: Request) -> (Request, Option<Heard>) {
    if !request.headers().contains_key(EXPECT) {
        return (request, None);
    }
    let (parts, body) = request.into_parts();
    let (body, heard) = expectation::hold(body);
    let mut request = Request::from_parts(parts, body);
    let said = heard.clone();
    hyper::ext::on_informational(&mut request, move |word| {
        if word.status() == StatusCode::CONTINUE {
            said.go_on();
        }
    });
    (request, Some(heard))
}

/// Is true if the body brings bytes, or fails, before its end.
async fn has_content(mut body: Body) -> bool {
    while let Some(frame) = body.frame().await {
        if !frame.is_ok_and(|frame| frame.data_ref().is_none_or(Bytes::is_empty)) {
            return true;
        }
    }
    false
}

/// Forwards a request that the guard let pass.
///
/// # Errors
/// [`Failure`]: 404 for routes without upstream, 502 and 504 for upstreams that do not answer, 502 for an access token
/// that cannot be passed on.
pub async fn forward(
    State(proxy): State<Proxy>,
    Extension(admitted): Extension<Admitted>,
    Extension(address): Extension<ClientAddress>,
    Extension(request_id): Extension<RequestId>,
    mut request: Request,
) -> Result<Response, Failure> {
    // It is the head that announces a body (RFC 9112 6.3); layers in between may hide the body's own word.
    let has_body = [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| request.headers().contains_key(name));
    if !expectation::is_expected(request.headers(), request.version(), has_body) {
        request.headers_mut().remove(EXPECT);
    }
    let Proxy { public_url, cookies, stripped, .. } = &proxy;
    let hop = Hop { address, public_url, cookies, request_id: &request_id, stripped };
    towards_upstream(request.headers_mut(), hop, admitted.user.as_ref());
    if let Some(token) = &admitted.access_token {
        let set = set_access_token(request.headers_mut(), token);
        // A request never goes without its token: the upstream would take the request for somebody else's.
        set.map_err(|error| Failure::caused(FailureKind::UpstreamUnavailable, error))?;
    }
    // The browser's name for us, in its one spelling: applications build links with it.
    if let Ok(host) = HeaderValue::try_from(proxy.public_url.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    if has_body {
        frame_anew(request.headers_mut());
    }
    let mut answer = proxy.send(request.map(|body| has_body.then_some(body)), &admitted).await.map_err(|error| {
        let kind = match &error {
            ForwardError::Unreachable(cause) if is_body_timeout(cause) => FailureKind::RequestTimeout,
            ForwardError::Unreachable(cause) if request_broke(cause) => FailureKind::BadRequest,
            ForwardError::NoUpstream => FailureKind::NotFound,
            ForwardError::Address(_) | ForwardError::Path(_) => FailureKind::BadRequest,
            ForwardError::Unreachable(_) | ForwardError::Untrusted(_) => FailureKind::UpstreamUnavailable,
            ForwardError::Timeout(_) => FailureKind::UpstreamTimeout,
        };
        Failure::caused(kind, error)
    })?;
    *answer.version_mut() = Version::HTTP_11;
    towards_client(answer.headers_mut(), &proxy.cookies, &proxy.stripped);
    let status = answer.status();
    keep_private(answer.headers_mut(), status, audience(&admitted));
    Ok(answer.map(tell_of_early_end))
}

/// Announces a request's body in the broker's own spelling: what the server took for a length may be one of another size
/// to the upstream (`010`), and the rest of the body the next person's request (R-K08).
fn frame_anew(headers: &mut HeaderMap) {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    } else {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The people an answer is for, as far as caches are concerned.
fn audience(admitted: &Admitted) -> Audience {
    match (admitted.route.caching, admitted.route.access.public) {
        (Caching::Private, false) => Audience::Guarded,
        (Caching::Private, true) if admitted.user.is_some() => Audience::Known,
        (Caching::Private, true) | (Caching::AsTheUpstreamSays, _) => Audience::Public,
    }
}

/// Writes down that an upstream broke off its answer: its status has long gone out by then.
fn tell_of_early_end(body: Body) -> Body {
    let span = tracing::Span::current();
    Body::new(body.map_err(move |error| {
        span.in_scope(|| tracing::warn!(%error, "an upstream ended in the middle of its answer"));
        error
    }))
}

/// TLS for nobody: where every upstream is plain HTTP, the system's authorities are not needed.
fn believing_nobody() -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(io::Error::other)?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Is true if an upstream's connection ended before an answer began, or was never used.
fn ended_early(error: &hyper_util::client::legacy::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    causes(error).any(|cause| {
        let message = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        message.is_some_and(|error| error.is_incomplete_message() || error.is_canceled())
            || matches!(io, Some(ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof))
    })
}

/// Is true if the request's own body could not be read to its end.
fn request_broke(error: &hyper_util::client::legacy::Error) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user))
}

/// Scheme, host and port of the configuration, path and query of the request.
fn upstream_address(route: &Route, path: &str) -> Result<Uri, ForwardError> {
    let mut parts = route.upstream.clone().ok_or(ForwardError::NoUpstream)?.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    Ok(Uri::from_parts(parts)?)
}

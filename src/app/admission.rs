//! The two layers that every request goes through: [`identify`] outermost, [`admit`] innermost before the routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;
use tracing::Instrument;

use super::access_log::AccessLine;
use crate::guard::visitor::Visitor;
use crate::web::client_address::TrustedProxies;
use crate::web::failure::{Failure, FailureKind};
use crate::web::public_url::PublicUrl;
use crate::web::request_id::{self, RequestId};

/// Longest path and query, in bytes.
const LONGEST_TARGET: usize = 24 * 1024;
/// Largest header lines together, in bytes.
const LARGEST_HEADERS: usize = 32 * 1024;
/// The methods that are served at all.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The same as a header says it.
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The state of the outer layers.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    pub(super) public_url: Arc<PublicUrl>,
    pub(super) trusted_proxies: Arc<TrustedProxies>,
    /// Set if a trusted proxy may name requests.
    pub(super) takes_request_ids: bool,
}

/// The reason that a request is not let in; for the log.
#[derive(Debug, Error)]
enum NotAdmitted {
    #[error("its address has {0} bytes, more than {LONGEST_TARGET}")]
    Target(usize),
    #[error("its header fields have {0} bytes, more than {LARGEST_HEADERS}")]
    Headers(usize),
    #[error("its method is {0}")]
    Method(Method),
    #[error("it names a whole URL ({0}), as to a proxy of its own")]
    AbsoluteForm(String),
    #[error(
        "it is for the host {received}, and this is {expected} (public_url): a proxy in front has to pass on the browser's Host"
    )]
    Host { received: String, expected: String },
    #[error("a trusted proxy says that the browser came by plain http, and this is {0} (public_url)")]
    PlainHttp(String),
    #[error("its Transfer-Encoding is {0}, not one `chunked`")]
    Coding(String),
}

/// The outermost layer: finds the sender, names the request, and logs the outcome.
pub(super) async fn identify(State(admission): State<Admission>, mut request: Request, next: Next) -> Response {
    let unknown = ([0, 0, 0, 0], 0).into();
    let peer = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>().map_or(unknown, |info| info.0);
    let address = admission.trusted_proxies.client_address(peer, request.headers());
    let may_name = admission.takes_request_ids && admission.trusted_proxies.contains(address.peer);
    let given = may_name.then(|| RequestId::given(request.headers())).flatten();
    let id = given.unwrap_or_else(RequestId::generate);
    let visitor = Visitor::default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(address);
    request.extensions_mut().insert(visitor.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // Bytes after a body that was not understood, or not asked for, are no request (RFC 9110 10.1.1, RFC 9112 6.1).
    let is_understood = transfer_coding_fault(request.headers()).is_none();
    let (request, is_touched) = watch_expected_content(request);
    let span = tracing::info_span!("request", id = id.as_str());
    let line = AccessLine::new(method, path, address, visitor, span.clone());
    async move {
        let mut response = next.run(request).await;
        response.headers_mut().insert(request_id::HEADER, id.header_value());
        if !is_understood || is_touched.is_some_and(|touched| !touched.load(Ordering::Relaxed)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        line.follow(response)
    }
    .instrument(span)
    .await
}

/// Watches whether the content of a request that waits for 100 (Continue) is asked for, which is when that is sent.
fn watch_expected_content(request: Request) -> (Request, Option<Arc<AtomicBool>>) {
    if !request.headers().contains_key(EXPECT) || request.body().is_end_stream() {
        return (request, None);
    }
    let touched = Arc::new(AtomicBool::new(false));
    let noted = touched.clone();
    let request = request.map(|mut body| {
        let frames = futures_util::stream::poll_fn(move |context| {
            noted.store(true, Ordering::Relaxed);
            std::pin::Pin::new(&mut body).poll_frame(context)
        });
        Body::new(http_body_util::StreamBody::new(frames))
    });
    (request, Some(touched))
}

/// The innermost layer before the routes: refuses requests that are not for us, or not of this world.
pub(super) async fn admit(
    State(admission): State<Admission>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let peer = request.extensions().get::<ConnectInfo<std::net::SocketAddr>>();
    let is_plain = peer.is_some_and(|peer| admission.trusted_proxies.says_plain_http(peer.0.ip(), request.headers()));
    match fault(&admission.public_url, &request, is_plain) {
        Some((kind @ FailureKind::MethodNotAllowed, why)) => Err(Failure::caused(kind, why).with_allow(ALLOW)),
        Some((kind, why)) => Err(Failure::caused(kind, why)),
        None => Ok(next.run(request).await),
    }
}

fn fault(public_url: &PublicUrl, request: &Request, is_plain: bool) -> Option<(FailureKind, NotAdmitted)> {
    let (uri, headers) = (request.uri(), request.headers());
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > LONGEST_TARGET {
        return Some((FailureKind::TargetTooLong, NotAdmitted::Target(target)));
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let size = headers.iter().map(size).sum::<usize>();
    if size > LARGEST_HEADERS {
        return Some((FailureKind::HeadersTooLarge, NotAdmitted::Headers(size)));
    }
    if !METHODS.contains(request.method()) {
        return Some((FailureKind::MethodNotAllowed, NotAdmitted::Method(request.method().clone())));
    }
    if let Some(authority) = uri.authority() {
        // Absolute form is for proxies of clients, which this is not (R-K07).
        return Some((FailureKind::BadRequest, NotAdmitted::AbsoluteForm(authority.to_string())));
    }
    if let Some(fault) = transfer_coding_fault(headers) {
        return Some(fault);
    }
    let expected = public_url.authority().to_owned();
    if !public_url.is_named_by(headers) {
        return Some((FailureKind::WrongHost, NotAdmitted::Host { received: listed(headers, &HOST), expected }));
    }
    // Nothing is done for a browser that others can listen to (R-B11).
    (is_plain && public_url.is_https())
        .then(|| (FailureKind::WrongHost, NotAdmitted::PlainHttp(public_url.origin().to_owned())))
}

/// A fault in the way a request frames its body: anything but one `chunked` (RFC 9112 6.1). The server that
/// reads the body looks at the end of the list alone, and what it then hands on would go to the upstream as something
/// that it is not.
fn transfer_coding_fault(headers: &HeaderMap) -> Option<(FailureKind, NotAdmitted)> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let first = lines.next()?;
    if lines.next().is_none() && first.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return None;
    }
    let codings =
        headers.get_all(TRANSFER_ENCODING).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut others = codings.filter(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    let is_unknown = others.any(|coding| !coding.trim_ascii().is_empty());
    // One that is not known may be a good one; `chunked` twice or an empty place in the list is never right.
    let kind = if is_unknown { FailureKind::UnknownCoding } else { FailureKind::BadRequest };
    Some((kind, NotAdmitted::Coding(listed(headers, &TRANSFER_ENCODING))))
}

/// A field's values as they came, for the log.
fn listed(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    if values.is_empty() { "missing".to_owned() } else { values.join(" and ") }
}

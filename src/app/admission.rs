//! The id and the client address of a request, and the checks before routing: host, scheme, framing.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;

use super::access_log;
use crate::guard::methods::METHODS;
use crate::guard::visitor::Visitor;
use crate::web::client_address::TrustedProxies;
use crate::web::failure::{Failure, FailureKind};
use crate::web::public_url::PublicUrl;
use crate::web::request_context::RequestContext;
use crate::web::request_id::{self, RequestId};

/// Longest path and query, in bytes.
const LONGEST_TARGET: usize = 24 * 1024;
/// Largest header lines together, in bytes.
const LARGEST_HEADERS: usize = 32 * 1024;
/// Begins the addresses of what pages are drawn with.
const ASSETS: &str = "/sso/assets/";
/// [`METHODS`] as a header says it.
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

/// The facts about a request that its answer depends on.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) context: RequestContext,
    /// A trusted proxy reports that the browser came by plain HTTP.
    is_plain: bool,
    /// The body is framed in a way that is understood.
    is_understood: bool,
    /// Set when the content is asked for that waits for 100 (Continue).
    touched: Option<Arc<AtomicBool>>,
}

impl Begun {
    /// Names the request in its answer, and ends the connection if what follows on it cannot be told.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        response.headers_mut().insert(request_id::HEADER, self.context.id.header_value());
        // Bytes after a body that was not understood, or not asked for, are no request (RFC 9110 10.1.1, RFC 9112 6.1).
        let is_untouched = self.touched.as_ref().is_some_and(|touched| !touched.load(Ordering::Relaxed));
        if !self.is_understood || is_untouched {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Admission {
    /// Finds the sender of a request and names it.
    pub(super) fn context(&self, mut request: Request) -> (Begun, Request) {
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(unknown, |info| info.0);
        let headers = request.headers();
        let address = self.trusted_proxies.client_address(peer, headers);
        let may_name = self.takes_request_ids && self.trusted_proxies.contains(address.peer);
        let given = may_name.then(|| RequestId::given(headers)).flatten();
        let id = given.unwrap_or_else(RequestId::generate);
        let visitor = access_log::is_written().then(Visitor::default);
        let context = RequestContext { id, address, visitor };
        let is_plain = self.trusted_proxies.says_plain_http(address.peer, headers);
        let is_understood = transfer_coding_fault(headers).is_none();
        request.extensions_mut().insert(context.clone());
        let (request, touched) = watch_expected_content(request);
        (Begun { context, is_plain, is_understood, touched }, request)
    }

    /// The refusal of a request for another host, or with invalid framing.
    pub(super) fn refusal(&self, begun: &Begun, request: &Request) -> Option<Failure> {
        let (kind, why) = fault(&self.public_url, request, begun.is_plain)?;
        let failure = Failure::caused(kind, why);
        Some(if kind == FailureKind::MethodNotAllowed { failure.with_allow(ALLOW) } else { failure })
    }
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
    // What our pages are drawn with is the same for everybody, and the page about the wrong host needs it.
    if !public_url.is_named_by(headers) && !uri.path().starts_with(ASSETS) {
        let expected = public_url.authority().to_owned();
        return Some((FailureKind::WrongHost, NotAdmitted::Host { received: listed(headers, &HOST), expected }));
    }
    // A browser on plain HTTP is served nothing, since others can read along (R-B11).
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
    // An unknown coding may be valid; `chunked` twice or an empty list element is never valid.
    let kind = if is_unknown { FailureKind::UnknownCoding } else { FailureKind::BadRequest };
    Some((kind, NotAdmitted::Coding(listed(headers, &TRANSFER_ENCODING))))
}

/// A field's values as they came, for the log.
fn listed(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    if values.is_empty() { "missing".to_owned() } else { values.join(" and ") }
}

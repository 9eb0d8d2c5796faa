//! One request to its upstream, and the answer back.
//!
//! Bodies stream in both directions. A request that changes something is sent once: after a failure the person
//! decides whether to send it again (R-K12).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use thiserror::Error;

use crate::answer::{self, UntrustedAnswer};
use crate::answer_stream::AnswerStream;
use crate::error::{ProxyError, ProxyErrorKind, causes, is_body_timeout};
use crate::expectation::{self, Heard};
use crate::headers::{Hop, PublicName, set_access_token, towards_client, towards_upstream};
use crate::identity::{GroupWarnings, IdentityHeaders};
use crate::names::StrippedNames;
use crate::paths::AmbiguousPath;
use crate::pool::{AnswerBody, Content, PoolError};
use crate::streams::{StreamLimits, Streams};
use crate::upgrade::{HandsOver, Handshake};
use crate::upstream::{Upstream, UpstreamSettings, Upstreams};
use counterfoil_guard::client_address::ClientAddress;
use counterfoil_guard::cookies::CookiePolicy;
use counterfoil_guard::current_user::Admitted;
use counterfoil_guard::public_url::PublicUrl;
use counterfoil_guard::request_id::RequestId;

/// The state behind forwarding. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proxy {
    upstreams: Arc<Upstreams>,
    cookies: Arc<CookiePolicy>,
    public_name: Arc<PublicName>,
    stripped: Arc<StrippedNames>,
    group_warnings: Arc<GroupWarnings>,
    streams: Streams,
}

/// The reason that a request cannot be forwarded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// The request's body has more bytes than its route allows.
    #[error("the request's body is larger than {0} bytes")]
    BodyTooLarge(u64),
    /// The upstream's path cannot be told.
    #[error(transparent)]
    Path(#[from] AmbiguousPath),
    /// The route is for applications in front of which another proxy stands, or in this process.
    #[error("the route has no upstream")]
    NoUpstream,
    /// There was no connection, it broke before the answer, or the answer timed out.
    #[error("the upstream does not answer: {0}")]
    Unreachable(#[from] PoolError),
    /// No end of an answer in time.
    #[error("the upstream took longer than {0:?}")]
    Timeout(Duration),
    /// An answer that can be read in two ways, or that nobody asked for.
    #[error(transparent)]
    Untrusted(#[from] UntrustedAnswer),
}

impl Proxy {
    /// Ends every connection that switched to another protocol, one after the other within so long: the process ends.
    pub fn end_streams(&self, within: Duration) {
        self.streams.leave(within);
    }

    /// A proxy to these upstreams, in a Tokio runtime if their health is checked. One may take `timeout` to begin its
    /// answer once it has the request, and as long between two pieces of a request that it reads.
    ///
    /// # Errors
    /// If one is reached by TLS, and this machine has no root certificates to verify it with.
    pub fn new(
        cookies: Arc<CookiePolicy>,
        public_url: &PublicUrl,
        timeout: Duration,
        upstreams: Vec<UpstreamSettings>,
        stripped: StrippedNames,
        streams: StreamLimits,
    ) -> std::io::Result<Self> {
        let public_name = PublicName::new(public_url).map_err(std::io::Error::other)?;
        let upstreams = Upstreams::new(upstreams, timeout, public_name.authority())?;
        Ok(Self {
            upstreams: Arc::new(upstreams),
            cookies,
            public_name: Arc::new(public_name),
            stripped: Arc::new(stripped),
            group_warnings: Arc::default(),
            streams: Streams::new(streams),
        })
    }

    async fn send(
        &self,
        upstream: &Upstream,
        mut request: Request<Content>,
        handshake: Option<&Handshake>,
    ) -> Result<Response, ForwardError> {
        let target = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let target = upstream.paths.as_ref().map_or_else(|| Ok(target.clone()), |map| map.towards_upstream(&target))?;
        *request.uri_mut() = Uri::from(target);
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().clear();
        let (request, heard) = hold_expected_content(request);
        let answer = upstream.send(request).await?;
        if let Some(handshake) = handshake.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
            return handshake.switch(answer, upstream.timeout).await;
        }
        let (mut parts, mut body) = answer.into_parts();
        answer::check(&mut parts)?;
        if let Some(heard) = &heard {
            heard.answered();
        }
        if !answer::may_be_followed(&parts) {
            body.keep_connection();
        }
        if parts.status == StatusCode::RESET_CONTENT {
            expect_no_content(body, upstream.timeout).await?;
            return Ok(Response::from_parts(parts, Body::empty()));
        }
        let span = tracing::Span::current();
        let body = body.map_err(move |error| {
            // Kept with the body: when that ends, content that the upstream did not ask for is dropped.
            let _ = &heard;
            // Its status was sent long before.
            span.in_scope(|| tracing::warn!(%error, "an upstream ended in the middle of its answer"));
            error
        });
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}

/// Reads the body of a 205, whose length may be left open, and then says nothing of content (RFC 9110 15.3.6).
async fn expect_no_content(body: AnswerBody, timeout: Duration) -> Result<(), ForwardError> {
    match tokio::time::timeout(timeout, has_content(body)).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(UntrustedAnswer::Content(StatusCode::RESET_CONTENT.as_u16()).into()),
        Err(_) => Err(ForwardError::Timeout(timeout)),
    }
}

/// Content that the client sends only if it is asked to waits for the upstream.
fn hold_expected_content(request: Request<Content>) -> (Request<Content>, Option<Heard>) {
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
async fn has_content(mut body: AnswerBody) -> bool {
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
/// [`ProxyError`]: 400 for a path that cannot be cut or joined, 404 for routes without upstream, 413 for too large a body,
/// 502 and 504 for upstreams that do not answer, 502 for an access token that cannot be passed on.
pub async fn forward(
    State(proxy): State<Proxy>,
    Extension(admitted): Extension<Admitted>,
    address: ClientAddress,
    request_id: RequestId,
    mut request: Request,
) -> Result<Response, ProxyError> {
    let has_body = announces_content(&request);
    if !expectation::is_expected(request.headers(), request.version(), has_body) {
        request.headers_mut().remove(EXPECT);
    }
    let upstream = admitted.route.upstream.and_then(|id| proxy.upstreams.get(id));
    let upstream = upstream.ok_or_else(|| ProxyError::new(ProxyErrorKind::NoUpstream, ForwardError::NoUpstream))?;
    let paths = upstream.paths.as_ref();
    let is_too_large = |most: &u64| announced_length(request.headers()).is_some_and(|length| length > *most);
    if let Some(most) = upstream.max_body.filter(is_too_large) {
        return Err(ProxyError::new(ProxyErrorKind::BodyTooLarge, ForwardError::BodyTooLarge(most)));
    }
    let hands_over = request.extensions().get::<HandsOver>().is_some();
    let handshake = match admitted.upgrade.clone().filter(|_| hands_over) {
        Some(protocol) => {
            let entered = proxy.streams.enter(admitted.route.clone(), admitted.recheck.as_ref());
            let entered = entered.map_err(|error| ProxyError::new(ProxyErrorKind::TooManyStreams, error))?;
            Some(Handshake::of(protocol, request.headers(), entered))
        }
        None => None,
    };
    let Proxy { public_name, cookies, stripped, .. } = &proxy;
    let hop = Hop { address, public_name, cookies, request_id: &request_id, stripped, paths };
    let identity = admitted.user.as_ref().map(IdentityHeaders::of);
    towards_upstream(request.headers_mut(), hop, identity.as_deref());
    if let Some(handshake) = &handshake {
        handshake.set(request.headers_mut());
    }
    if let (Some(identity), Some(user)) = (&identity, &admitted.user) {
        proxy.group_warnings.warn_once(identity, user);
    }
    if let Some(token) = &admitted.access_token {
        let set = set_access_token(request.headers_mut(), token);
        // A request is never forwarded without its access token.
        set.map_err(|error| ProxyError::new(ProxyErrorKind::UpstreamUnavailable, error))?;
    }
    if has_body {
        frame_anew(request.headers_mut());
    }
    let request = request.map(|body| if has_body { content(body, upstream.max_body) } else { Content::none() });
    let mut answer = proxy.send(upstream, request, handshake.as_ref()).await.map_err(|error| {
        let kind = match &error {
            ForwardError::Unreachable(cause) if is_body_timeout(cause) => ProxyErrorKind::BodyTimeout,
            ForwardError::Unreachable(cause) if is_too_large_by_count(cause) => ProxyErrorKind::BodyTooLarge,
            ForwardError::Unreachable(cause) if request_broke(cause) => ProxyErrorKind::BrokenRequest,
            ForwardError::NoUpstream => ProxyErrorKind::NoUpstream,
            ForwardError::BodyTooLarge(_) => ProxyErrorKind::BodyTooLarge,
            ForwardError::Path(_) => ProxyErrorKind::AmbiguousPath,
            ForwardError::Unreachable(PoolError::Timeout(_)) | ForwardError::Timeout(_) => {
                ProxyErrorKind::UpstreamTimeout
            }
            ForwardError::Unreachable(cause) if timed_out(cause) => ProxyErrorKind::UpstreamTimeout,
            ForwardError::Unreachable(_) | ForwardError::Untrusted(_) => ProxyErrorKind::UpstreamUnavailable,
        };
        ProxyError::new(kind, error)
    })?;
    *answer.version_mut() = Version::HTTP_11;
    towards_client(answer.headers_mut(), hop);
    if let Some(recheck) = admitted.recheck.clone().filter(|_| handshake.is_none()) {
        let (parts, body) = answer.into_parts();
        let body = AnswerStream::new(body, &parts.headers, &proxy.streams, &admitted.route, recheck);
        answer = Response::from_parts(parts, Body::new(body));
    }
    if let Some(handshake) = handshake.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
        handshake.set(answer.headers_mut());
    }
    Ok(answer)
}

/// Writes the framing of a request's body anew: another spelling of a length (`010`) might be another number to the
/// upstream, and the rest of the body would become the next request (request smuggling, R-K08).
fn frame_anew(headers: &mut HeaderMap) {
    if let Some(length) = announced_length(headers) {
        headers.insert(CONTENT_LENGTH, length.into());
    } else {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The length of a request's body, if its head tells one.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A request's content, which fails beyond so many bytes.
fn content(body: Body, most: Option<u64>) -> Content {
    Content::of(match most {
        Some(most) => Body::new(Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX))),
        None => body,
    })
}

/// Is true if the request's body turned out to be larger than its route allows.
fn is_too_large_by_count(error: &PoolError) -> bool {
    causes(error).any(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Is true if the request's own body could not be read to its end.
fn request_broke(error: &PoolError) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user))
}

/// Is true if connecting, or the upstream's reading of a request, took too long.
fn timed_out(error: &PoolError) -> bool {
    let kinds = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>().map(io::Error::kind));
    kinds.into_iter().any(|kind| kind == io::ErrorKind::TimedOut)
}

/// Is true if a request has content. In HTTP/1.1 its head says so (RFC 9112 6.3), and layers in between may hide the body's own
/// word; from HTTP/2 on a body needs no such field.
fn announces_content(request: &Request) -> bool {
    let is_announced = [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| request.headers().contains_key(name));
    is_announced || request.version() >= Version::HTTP_2 && !request.body().is_end_stream()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn content_is_announced_by_the_head_or_from_http_2_on_by_the_body() {
        for (version, field, body, expected) in [
            (Version::HTTP_11, None, Body::empty(), false),
            (Version::HTTP_11, None, Body::from("x"), false),
            (Version::HTTP_11, Some("content-length"), Body::from("x"), true),
            (Version::HTTP_11, Some("transfer-encoding"), Body::empty(), true),
            (Version::HTTP_2, None, Body::empty(), false),
            (Version::HTTP_2, None, Body::from("x"), true),
        ] {
            let mut request = Request::post("/").version(version).body(body).unwrap();
            request
                .headers_mut()
                .extend(field.map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))));
            assert_eq!(announces_content(&request), expected, "{version:?} {field:?}");
        }
    }
}

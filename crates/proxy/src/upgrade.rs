//! Upgrades of a connection to another protocol, from the request to the tunnel behind the 101 (RFC 9110 7.8).
//!
//! The request goes on with `Upgrade` only if the guard let it ask, and if the client's server can hand its connection over
//! ([`HandsOver`]). The upstream's 101 counts only if it is for that protocol and, for a WebSocket, proves that it is the
//! answer to this very handshake: an upstream that can be made to answer 101 would else be handed whatever the client
//! sends next. Any other answer is an ordinary one. With the 101 the client's server gets a [`Tunnel`], and runs it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::body::{Body, Bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil_core::lock;
use counterfoil_guard::upgrade::{Protocol, is_upgrade};
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Span;

use crate::answer::UntrustedAnswer;
use crate::forward::ForwardError;
use crate::pool::{AnswerBody, PoolError, taken_apart};
use crate::streams::Entered;
use crate::tunnel::Ends;

/// The text that a handshake's key is hashed with (RFC 6455 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Marks a request whose server takes the [`Tunnel`] from its answer, and runs it on the client's connection once the 101
/// has been sent. Stands in the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct HandsOver;

/// A request's wish for another protocol.
#[derive(Debug)]
pub(crate) struct Handshake {
    protocol: Protocol,
    /// The `Sec-WebSocket-Accept` of the right answer.
    accept: Option<String>,
    /// Its place among the streams.
    entered: Arc<Entered>,
}

impl Handshake {
    /// The handshake with these fields, which has its place among the streams.
    pub(crate) fn of(protocol: Protocol, headers: &HeaderMap, entered: Entered) -> Self {
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| protocol.is_websocket());
        Self { accept: key.map(accept), protocol, entered: Arc::new(entered) }
    }

    /// Takes the upstream's connection out of its 101, for the client's server to join it to the client's.
    ///
    /// # Errors
    /// [`ForwardError`] if the 101 is not the answer to this handshake, or if its connection does not come.
    pub(crate) async fn switch(
        &self,
        mut answer: Response<AnswerBody>,
        timeout: Duration,
    ) -> Result<Response<Body>, ForwardError> {
        self.check(answer.headers_mut())?;
        let upgraded = hyper::upgrade::on(&mut answer);
        let (parts, _no_content) = answer.into_parts();
        let upgraded = tokio::time::timeout(timeout, upgraded).await;
        let upgraded = upgraded.map_err(|_| ForwardError::Timeout(timeout))?.map_err(PoolError::Exchange)?;
        let (upstream, received) = taken_apart(upgraded);
        let (protocol, entered, span) = (self.protocol.clone(), self.entered.clone(), Span::current());
        let mut answer = Response::from_parts(parts, Body::empty());
        answer.extensions_mut().insert(Tunnel::new(Ends { upstream, received, protocol, entered, span }));
        Ok(answer)
    }

    /// Asks the next hop for the protocol.
    pub(crate) fn set(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, self.protocol.header_value());
    }

    /// Checks the head of a 101, which has no content (RFC 9110 15.2), and so no framing.
    ///
    /// # Errors
    /// [`UntrustedAnswer`] if it is not the answer to this handshake.
    pub(crate) fn check(&self, headers: &mut HeaderMap) -> Result<(), UntrustedAnswer> {
        let is_named = only(headers, &UPGRADE).is_some_and(|name| self.protocol.is_named_by(name.as_bytes()));
        if !is_named || !is_upgrade(headers) {
            return Err(UntrustedAnswer::OtherProtocol);
        }
        let is_proven = |accept: &String| only(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|said| said == accept);
        if !self.accept.as_ref().is_none_or(is_proven) {
            return Err(UntrustedAnswer::Unproven);
        }
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        Ok(())
    }
}

/// The upstream's end of an upgraded connection. Stands in the extensions of the 101.
#[derive(Debug, Clone)]
pub struct Tunnel(Arc<Mutex<Option<Ends>>>);

impl Tunnel {
    pub(crate) fn new(ends: Ends) -> Self {
        Self(Arc::new(Mutex::new(Some(ends))))
    }

    /// Takes the tunnel from an answer, if it is a 101 that has one.
    pub fn of<B>(answer: &mut Response<B>) -> Option<Self> {
        answer.extensions_mut().remove()
    }

    /// Carries bytes between a client's connection and the upstream's, until either closes. `received`: the client's bytes
    /// behind the head of its request.
    pub async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin, received: Bytes) {
        let ends = lock(&self.0).take();
        if let Some(ends) = ends {
            ends.carry(client, received).await;
        }
    }
}

fn accept(key: &HeaderValue) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), ACCEPT_SUFFIX].concat()))
}

/// Returns a field's value if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use counterfoil_guard::access::AccessRule;
    use counterfoil_guard::route::{PathRule, Route};

    use super::*;
    use crate::streams::{StreamLimits, Streams};

    /// RFC 6455 1.3 has the key and its answer. One line a case.
    #[test]
    fn a_101_counts_only_as_the_answer_to_this_very_handshake() {
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let asked = HeaderMap::from_iter([field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]);
        let route = Route::new(PathRule::parse("/").unwrap(), AccessRule::default());
        let entered = || Streams::new(StreamLimits::default()).enter(route.clone().into(), None).unwrap();
        let websocket = Handshake::of(Protocol::websocket(), &asked, entered());
        let spdy = Handshake::of(Protocol::parse("spdy/3.1").unwrap(), &asked, entered());
        let (connection, upgrade) = (("connection", "upgrade"), ("upgrade", "WebSocket"));
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (handshake, lines, expected) in [
            (&websocket, &[connection, upgrade, accept][..], Ok(())),
            (&websocket, &[connection, upgrade, accept, ("content-length", "5")], Ok(())),
            (&websocket, &[connection, upgrade], Err(UntrustedAnswer::Unproven)),
            (&websocket, &[connection, upgrade, accept, accept], Err(UntrustedAnswer::Unproven)),
            (&websocket, &[connection, upgrade, ("sec-websocket-accept", "AAAA")], Err(UntrustedAnswer::Unproven)),
            (&websocket, &[connection, ("upgrade", "h2c"), accept], Err(UntrustedAnswer::OtherProtocol)),
            (&websocket, &[connection, upgrade, upgrade, accept], Err(UntrustedAnswer::OtherProtocol)),
            (&websocket, &[connection, accept], Err(UntrustedAnswer::OtherProtocol)),
            (&websocket, &[upgrade, accept], Err(UntrustedAnswer::OtherProtocol)),
            (&spdy, &[connection, ("upgrade", "SPDY/3.1")], Ok(())),
            (&spdy, &[connection, upgrade, accept], Err(UntrustedAnswer::OtherProtocol)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(handshake.check(&mut headers), expected, "{lines:?}");
            assert!(expected.is_err() || !headers.contains_key(CONTENT_LENGTH));
        }
    }
}

//! The facts of a request that are known before anybody decides on it: one entry of its extensions, made by the server
//! in front of the guard.
//!
//! Handlers take a [`ClientAddress`] or a [`RequestId`] from it. The guard works without one.

use axum::extract::FromRequestParts;
use http::Extensions;
use http::request::Parts;

use crate::client_address::ClientAddress;
use crate::refusal::{Refusal, RefusalKind};
use crate::request_id::RequestId;
use crate::visitor::Visitor;

/// The name, the sender and, once they are found, the person of a request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The name in logs, answers and towards upstreams.
    pub id: RequestId,
    /// The addresses that it came from.
    pub address: ClientAddress,
    /// The session behind it, for the access log.
    pub visitor: Option<Visitor>,
}

impl RequestContext {
    /// The context of a request, if a server of ours received it.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// The place to note the session behind a request, if the access log wants one.
    pub fn visitor_of(extensions: &Extensions) -> Option<&Visitor> {
        Self::of(extensions)?.visitor.as_ref()
    }

    /// The context that a handler depends on; a site without one is assembled wrongly.
    fn demanded(parts: &Parts) -> Result<&Self, Refusal> {
        Self::of(&parts.extensions).ok_or_else(|| RefusalKind::Internal.into())
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Ok(RequestContext::demanded(parts)?.address)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        Ok(RequestContext::demanded(parts)?.id.clone())
    }
}

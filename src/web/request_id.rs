//! The name of a request in logs, pages, problem documents and towards upstreams.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::secret::random_token;

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// One request's name, made by the broker whatever a client sends.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A fresh one.
    pub fn generate() -> Self {
        Self(random_token::<12>().into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a header's value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::try_from(self.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

//! The name of a request in logs, pages, problem documents and towards upstreams.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use counterfoil_core::secret::random_token;

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name that is taken over.
const LONGEST: usize = 128;

/// One request's name: made by the broker, or by a trusted proxy in front of it.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A fresh one.
    pub fn generate() -> Self {
        Self(random_token::<12>().into())
    }

    /// The one that a proxy in front has given the request, if it is one: a single field of at most 128 letters, digits and
    /// `-._~+/=:@`, which is what makers of such names use and what no log or page reads as anything else.
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(HEADER).iter();
        let (Some(id), None) = (given.next(), given.next()) else { return None };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(&byte);
        let id = id.to_str().ok().filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(plain))?;
        Some(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a header's value.
    pub fn header_value(&self) -> HeaderValue {
        HeaderValue::try_from(self.as_str()).unwrap_or(HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a case: what nginx, AWS, Heroku and Envoy make, and what is none.
    #[test]
    fn a_name_of_plain_characters_is_taken_over_and_nothing_else() {
        let given = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(HEADER, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            RequestId::given(&headers).map(|id| id.as_str().to_owned())
        };
        for id in [
            "8f14e45fceea167a5a36dedd4bea2543",
            "1-67891233-abcdef012345678912345678",
            "01234567-89ab-cdef-0123-456789abcdef",
            "host:4711/req=YWJj+w==",
            &"x".repeat(128),
        ] {
            assert_eq!(given(&[id]).as_deref(), Some(id));
        }
        for bad in [
            &[][..],
            &[""],
            &["a b"],
            &["a,b"],
            &["<script>"],
            &["a\"b"],
            &["é"],
            &["a", "a"],
            &["x".repeat(129).as_str()],
        ] {
            assert_eq!(given(bad), None, "{bad:?}");
        }
    }
}

//! The name of a request in logs, pages, problem documents and towards upstreams.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use counterfoil_core::secret::random_bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest name that is taken over.
const LONGEST: usize = 128;

/// The source of this process's names: a random start, from which it counts on. A name is no secret, so the random
/// generator is asked once and not for each request.
static NAMES: LazyLock<Names> =
    LazyLock::new(|| Names { process: random_bytes(), next: AtomicU64::new(u64::from_ne_bytes(random_bytes())) });

/// One request's name: made by the broker, or by a trusted proxy in front of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A fresh one: 16 characters of base64url, 96 bits.
    pub fn generate() -> Self {
        NAMES.next()
    }

    /// The one that a proxy in front has given the request, if it is one: a single field of at most 128 letters, digits and
    /// `-._~+/=:@`, which is what makers of such names use and what no log or page reads as anything else.
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(HEADER).iter();
        let (Some(id), None) = (given.next(), given.next()) else { return None };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(&byte);
        let id = id.to_str().ok().filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(plain))?;
        HeaderValue::from_str(id).ok().map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Both makers of it let only visible ASCII in.
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a header's value.
    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// A counter that starts somewhere else in each process.
struct Names {
    process: [u8; 4],
    next: AtomicU64,
}

impl Names {
    fn next(&self) -> RequestId {
        let mut name = [0; 12];
        let (process, count) = name.split_at_mut(4);
        process.copy_from_slice(&self.process);
        count.copy_from_slice(&scattered(self.next.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
        let mut text = [0; 16];
        let written = URL_SAFE_NO_PAD.encode_slice(name, &mut text);
        debug_assert_eq!(written, Ok(16), "twelve bytes are sixteen characters");
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        RequestId(value.unwrap_or(HeaderValue::from_static("")))
    }
}

/// Maps numbers to numbers one to one, and neighbours to dissimilar ones (the finalizer of `SplitMix64`, a bijection).
/// So names of one process never repeat, and people can tell two of them apart.
fn scattered(count: u64) -> u64 {
    let mixed = (count ^ (count >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn generated_names_are_short_plain_and_never_the_same() {
        let names: Vec<_> = (0..10_000).map(|_| RequestId::generate().as_str().to_owned()).collect();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(names.iter().all(|name| name.len() == 16 && name.bytes().all(plain)), "{names:?}");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        let alike = names.windows(2).filter(|pair| pair[0][..14] == pair[1][..14]).count();
        assert_eq!(alike, 0, "neighbours begin alike");
    }

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

//! The caching of answers: one to an authenticated request must not be served to anybody else (RFC 9111 3, R-K11).
//!
//! A shared cache stores whatever is not `private` or `no-store`: a lifetime, a `no-cache`, or nothing at all is
//! enough. It then serves the next person without asking the broker, or asks it only whether the answer is still good.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Response;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use crate::route::{Caching, Route};
use crate::security_headers::TARGETED;

/// The people an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever passed the guard.
    Guarded,
    /// A signed-in person on a public route: the upstream learns who they are.
    Known,
    /// Everybody.
    Public,
}

impl Audience {
    /// The people whom an answer on a route is for, as far as caches are concerned.
    pub(crate) fn of(route: &Route, is_known: bool) -> Self {
        match (route.caching, route.access.public) {
            (Caching::Private, false) => Self::Guarded,
            (Caching::Private, true) if is_known => Self::Known,
            (Caching::Private, true) | (Caching::AsTheUpstreamSays, _) => Self::Public,
        }
    }
}

pin_project! {
    /// An answer of the back office on its way, which gets its caching headers.
    #[derive(Debug)]
    pub struct KeptPrivate<F> {
        #[pin]
        answer: F,
        audience: Audience,
    }
}

impl<F> KeptPrivate<F> {
    /// The answer that a service gives, for these people.
    pub(crate) fn new(answer: F, audience: Audience) -> Self {
        Self { answer, audience }
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for KeptPrivate<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.answer.poll(context).map_ok(|mut answer| {
            let status = answer.status();
            keep_private(answer.headers_mut(), status, *this.audience);
            answer
        })
    }
}

/// Sets the caching headers of an answer.
///
/// A guarded answer never stays in a shared cache. Without caching headers of the upstream it becomes `no-store`, so
/// that the Back button shows nothing after a logout, unless it is a style, a script, a picture or a font. To a
/// signed-in person on a public route it becomes `private`. A 304 without caching headers stays as it is: it leaves the
/// stored answer unchanged (RFC 9111 4.3.4).
pub(crate) fn keep_private(headers: &mut HeaderMap, status: StatusCode, audience: Audience) {
    let is_told = headers.contains_key(CACHE_CONTROL);
    match audience {
        Audience::Public => {}
        Audience::Known if is_told || status == StatusCode::NOT_MODIFIED => {}
        Audience::Known => {
            remove_targeted(headers);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        Audience::Guarded => {
            remove_targeted(headers);
            if is_told {
                if let Some(line) = private_line(headers) {
                    headers.insert(CACHE_CONTROL, line);
                }
            } else if status != StatusCode::NOT_MODIFIED {
                headers.insert(CACHE_CONTROL, unless_told(headers));
            }
        }
    }
}

/// Removes what is for some caches alone, which obey it instead of `Cache-Control` (RFC 9213).
fn remove_targeted(headers: &mut HeaderMap) {
    // Most answers have none of these, and one pass over their names says so.
    if headers.keys().any(|name| TARGETED.contains(name)) {
        for name in TARGETED {
            headers.remove(name);
        }
    }
}

fn unless_told(headers: &HeaderMap) -> HeaderValue {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default().to_ascii_lowercase();
    let is_static = [&b"text/css"[..], b"text/javascript", b"application/javascript", b"image/", b"font/"];
    if is_static.iter().any(|prefix| kind.starts_with(prefix)) {
        HeaderValue::from_static("private")
    } else {
        HeaderValue::from_static("no-store")
    }
}

/// The `Cache-Control` instead of one by which a shared cache might keep the answer; `None` if none might.
fn private_line(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: SmallVec<[&[u8]; 4]> = headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    let whole = match *lines {
        [line] => Cow::Borrowed(line),
        _ => Cow::Owned(lines.join(&b","[..])),
    };
    let directives: SmallVec<[&[u8]; 8]> = directives(&whole).collect();
    let has = |name: &str| directives.iter().any(|directive| directive.eq_ignore_ascii_case(name.as_bytes()));
    // `must-understand` lets a cache that knows the status ignore `no-store` (RFC 9111 5.2.2.3).
    if has("private") || (has("no-store") && !has("must-understand")) {
        return None;
    }
    let kept = directives.iter().copied().filter(|directive| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        // `private="set-cookie"` keeps that field private and the answer public (RFC 9111 5.2.2.7).
        !["public", "s-maxage", "private", "proxy-revalidate"]
            .iter()
            .any(|gone| name.eq_ignore_ascii_case(gone.as_bytes()))
    });
    let line = std::iter::once(&b"private"[..]).chain(kept).collect::<Vec<_>>().join(&b", "[..]);
    Some(HeaderValue::from_bytes(&line).unwrap_or(HeaderValue::from_static("private")))
}

/// The elements of a list, with commas inside quotation marks left alone (RFC 9110 5.6.1).
fn directives(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    let elements = whole.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if in_quotes && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => in_quotes = !in_quotes,
            b',' => return !in_quotes,
            _ => {}
        }
        false
    });
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderName;

    use super::*;

    fn kept(status: u16, audience: Audience, lines: &[(&str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        keep_private(&mut headers, StatusCode::from_u16(status).unwrap(), audience);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    /// R-K11. One line a case: what an upstream says, and what goes on. The first was seen; the others are every
    /// way in which RFC 9111 3 and RFC 9213 let a shared cache keep an answer.
    #[test]
    fn no_shared_cache_may_keep_a_guarded_answer() {
        for (told, expected) in [
            ("public", "private"),
            ("public, max-age=60", "private, max-age=60"),
            ("max-age=60", "private, max-age=60"),
            ("s-maxage=600, max-age=0", "private, max-age=0"),
            ("S-MaxAge=600", "private"),
            ("no-cache", "private, no-cache"),
            ("must-revalidate, proxy-revalidate", "private, must-revalidate"),
            ("must-understand, no-store", "private, must-understand, no-store"),
            ("private=\"set-cookie, public\", max-age=9", "private, max-age=9"),
            ("x=\"a\\\", private, b\"", "private, x=\"a\\\", private, b\""),
            ("immutable,,PUBLIC ,", "private, immutable"),
            ("", "private"),
            ("no-store", "no-store"),
            ("no-store, public", "no-store, public"),
            ("Private, max-age=60", "Private, max-age=60"),
        ] {
            let expected = format!("cache-control: {expected}");
            assert_eq!(
                kept(200, Audience::Guarded, &[("cache-control", told)]),
                std::slice::from_ref(&expected),
                "{told}"
            );
            assert_eq!(kept(304, Audience::Guarded, &[("cache-control", told)]), [expected], "304 {told}");
        }
        let two_lines = [("cache-control", "max-age=60"), ("cache-control", "public")];
        assert_eq!(kept(200, Audience::Guarded, &two_lines), ["cache-control: private, max-age=60"]);
        for name in TARGETED {
            let told = [(name.as_str(), "max-age=600"), ("cache-control", "private")];
            assert_eq!(kept(200, Audience::Guarded, &told), ["cache-control: private"]);
        }
    }

    /// RFC 9111 4.3.4: a 304 brings what the browser holds up to date; what it does not name stays.
    #[test]
    fn a_304_leaves_freshness_as_it_is() {
        for lines in [
            &[][..],
            &[("etag", "\"a\"")],
            &[("expires", "Thu, 01 Dec 2094 16:00:00 GMT")],
            &[("content-type", "text/html"), ("vary", "accept")],
        ] {
            let unchanged: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            for audience in [Audience::Guarded, Audience::Known, Audience::Public] {
                assert_eq!(kept(304, audience, lines), unchanged);
            }
        }
    }

    /// The Back button after a logout.
    #[test]
    fn an_answer_of_which_nothing_is_said_is_kept_by_its_kind() {
        for (audience, kind, expected) in [
            (Audience::Guarded, "text/html", "no-store"),
            (Audience::Guarded, "application/json", "no-store"),
            (Audience::Guarded, "text/css", "private"),
            (Audience::Guarded, "Image/PNG", "private"),
            (Audience::Known, "text/html", "private"),
            (Audience::Known, "text/css", "private"),
        ] {
            let expected = format!("cache-control: {expected}");
            assert_eq!(kept(200, audience, &[("content-type", kind)])[1], expected, "{audience:?} {kind}");
        }
        assert_eq!(kept(200, Audience::Public, &[("content-type", "text/html")]), ["content-type: text/html"]);
        let public = [("cache-control", "public, max-age=60")];
        assert_eq!(kept(200, Audience::Known, &public), ["cache-control: public, max-age=60"]);
    }
}

//! The methods that a route covers, and the method by which a request is judged.
//!
//! `HEAD` counts as `GET`, whose head it asks for (RFC 9110 9.3.2). A CORS preflight asks whether a later request may be
//! sent, so it is judged by the method of that one. Nothing else of a request names a method: fields and parameters by
//! which some applications let another be named are not read (R-I05).

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_LENGTH, COOKIE, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, Method};
use thiserror::Error;

/// The methods that are served at all.
pub const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// The methods that a route covers; by default all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodRule {
    /// None stands for all. `HEAD` is in none, because it counts as `GET`.
    named: Vec<Method>,
}

/// A list that is no method rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidMethodRule {
    /// No method at all.
    #[error("must not be empty: leave it out if the route covers every method")]
    Empty,
    /// A method that is not served, or not in capital letters.
    #[error("must hold methods in capital letters, any of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS; {0} is none")]
    NotServed(String),
    /// `HEAD` alone.
    #[error("must hold GET beside HEAD, which counts as GET")]
    HeadAlone,
}

impl MethodRule {
    /// Reads a rule from the names of methods.
    ///
    /// # Errors
    /// [`InvalidMethodRule`] if a request could never be judged by one of them.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, InvalidMethodRule> {
        let served = |name: &S| {
            let method = METHODS.into_iter().find(|method| method.as_str() == name.as_ref());
            method.ok_or_else(|| InvalidMethodRule::NotServed(name.as_ref().to_owned()))
        };
        let mut methods = names.iter().map(served).collect::<Result<Vec<_>, _>>()?;
        if methods.is_empty() {
            return Err(InvalidMethodRule::Empty);
        }
        if methods.contains(&Method::HEAD) && !methods.contains(&Method::GET) {
            return Err(InvalidMethodRule::HeadAlone);
        }
        methods.retain(|method| *method != Method::HEAD);
        Ok(Self { named: methods })
    }

    /// Is true if requests are covered that are judged by a method.
    pub(crate) fn covers(&self, judged: &Method) -> bool {
        self.named.is_empty() || self.named.contains(judged)
    }

    /// Is true if every method of another rule is one of this.
    pub fn covers_all_of(&self, other: &Self) -> bool {
        self.named.is_empty() || !other.named.is_empty() && other.named.iter().all(|method| self.named.contains(method))
    }
}

/// The method by which a request is judged.
pub(crate) fn judged(method: &Method, headers: &HeaderMap) -> Method {
    let asked_about = (*method == Method::OPTIONS).then(|| asked_about(headers)).flatten();
    match asked_about.unwrap_or_else(|| method.clone()) {
        Method::HEAD => Method::GET,
        method => method,
    }
}

/// The method that a preflight asks about (Fetch 4.8). `OPTIONS` without `Origin`, with two methods, or with a method that
/// is not served, is none; nor is what no browser sends as one: with cookies, credentials or content.
fn asked_about(headers: &HeaderMap) -> Option<Method> {
    headers.get(ORIGIN)?;
    if [COOKIE, AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let mut named = headers.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
    let (Some(method), None) = (named.next(), named.next()) else { return None };
    Method::from_bytes(method.as_bytes()).ok().filter(|method| METHODS.contains(method))
}

/// The methods that any of some rules covers, as `Allow` lists them (RFC 9110 10.2.1).
pub(crate) fn allow(rules: &[&MethodRule]) -> String {
    let is_covered = |method: &&Method| {
        let judged = if **method == Method::HEAD { &Method::GET } else { *method };
        rules.iter().any(|rule| rule.covers(judged))
    };
    METHODS.iter().filter(is_covered).map(Method::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_rule_names_methods_by_which_requests_are_judged() {
        let rule = |names: &[&str]| MethodRule::parse(names);
        assert_eq!(rule(&[]), Err(InvalidMethodRule::Empty));
        assert_eq!(rule(&["HEAD", "POST"]), Err(InvalidMethodRule::HeadAlone));
        for name in ["get", "TRACE", "CONNECT", "", "GET "] {
            assert_eq!(rule(&["GET", name]), Err(InvalidMethodRule::NotServed(name.to_owned())));
        }
        let reads = rule(&["GET", "HEAD"]).unwrap();
        assert_eq!(reads, rule(&["GET"]).unwrap());
        assert!(reads.covers(&Method::GET) && !reads.covers(&Method::POST) && !reads.covers(&Method::OPTIONS));
        let (all, both) = (MethodRule::default(), rule(&["GET", "POST"]).unwrap());
        assert!(all.covers_all_of(&both) && both.covers_all_of(&reads) && all.covers_all_of(&all));
        assert!(!reads.covers_all_of(&both) && !both.covers_all_of(&all));
        assert_eq!(allow(&[&reads, &rule(&["DELETE"]).unwrap()]), "GET, HEAD, DELETE");
    }

    /// R-I05: one line a request.
    #[test]
    fn a_request_is_judged_by_its_own_method_and_a_preflight_by_the_one_it_asks_about() {
        const ORIGIN: (&str, &str) = ("origin", "https://a.example");
        const DELETE: (&str, &str) = ("access-control-request-method", "DELETE");
        for (method, fields, expected) in [
            ("GET", &[][..], "GET"),
            ("HEAD", &[], "GET"),
            ("POST", &[("x-http-method-override", "DELETE"), ("x-method-override", "PUT")], "POST"),
            ("POST", &[ORIGIN, DELETE], "POST"),
            ("OPTIONS", &[], "OPTIONS"),
            ("OPTIONS", &[ORIGIN], "OPTIONS"),
            ("OPTIONS", &[DELETE], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "PURGE")], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, DELETE, ("cookie", "a=b")], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, DELETE, ("authorization", "Basic eDp5")], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, DELETE, ("content-length", "0")], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, DELETE, ("transfer-encoding", "chunked")], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, DELETE], "DELETE"),
            ("OPTIONS", &[ORIGIN, DELETE, DELETE], "OPTIONS"),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "HEAD")], "GET"),
            ("OPTIONS", &[ORIGIN, ("access-control-request-method", "a b")], "OPTIONS"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(judged(&method, &headers).as_str(), expected, "{method} {fields:?}");
        }
    }
}

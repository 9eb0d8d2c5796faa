//! The headers of everything the broker itself answers (R-M03). Upstreams' answers keep their own.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, header};

/// Fields that speak to shared caches alone, past `Cache-Control` (RFC 9213 and before it).
pub const TARGETED: [HeaderName; 5] = [
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("cloudflare-cdn-cache-control"),
    HeaderName::from_static("edge-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
];

/// The policy of pages without a form: nothing but our own style and images.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

const FRAME_ANCESTORS: &str = "frame-ancestors";
const NEVER_FRAMED: &str = "frame-ancestors 'none'";
/// The policy of pages with a form. Its answer may lead to the provider and on from there, and browsers apply
/// `form-action` to each hop, so only the rest of the policy stands.
const POLICY_WITH_FORM: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
    base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

/// Allows forms on the page that carries these headers. Its referrer policy lets browsers without
/// `Sec-Fetch-Site` send our own origin with the form, which `no-referrer` would make `null`.
pub fn allow_form(headers: &mut HeaderMap) {
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_WITH_FORM));
}

/// Allows a form on the page that carries these headers, to these origins and our own. Nothing says where the person
/// came from.
pub fn allow_form_to(headers: &mut HeaderMap, origins: &[String]) {
    let policy = POLICY.replace("form-action 'none'", &format!("form-action 'self' {}", origins.join(" ")));
    // Origins are ASCII; should one not be, the form goes nowhere.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Lets pages of these origins, and no others, frame the page that carries these headers.
pub fn allow_framing_by(headers: &mut HeaderMap, origins: &[String]) {
    let ancestors = format!("{FRAME_ANCESTORS} {}", origins.join(" "));
    let policy = POLICY.replace(NEVER_FRAMED, &ancestors);
    // Origins are ASCII; should one not be, the page cannot be framed.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Is true if a page may be framed. `X-Frame-Options` cannot name those who may, so it stays away then.
fn may_be_framed(headers: &HeaderMap) -> bool {
    let policy = headers.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    policy.is_some_and(|policy| policy.contains(FRAME_ANCESTORS) && !policy.contains(NEVER_FRAMED))
}

/// Adds whatever is not there yet.
pub fn apply(headers: &mut HeaderMap, https: bool) {
    if !may_be_framed(headers) {
        headers.entry(X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("DENY"));
    }
    let always = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let is_for_everybody = headers.get(CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"public"));
    if !is_for_everybody {
        headers.entry(header::VARY).or_insert(HeaderValue::from_static("Cookie, Accept-Language"));
    }
    for (name, value) in always {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if https {
        let two_years = HeaderValue::from_static("max-age=63072000; includeSubDomains");
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(two_years);
    }
}

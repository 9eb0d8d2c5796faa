//! Reads an answer's headers about time: how long it is fresh, and when to come back.
//!
//! Pure. The caller bounds the values (`discovery::cached_document`).

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, HeaderName, RETRY_AFTER};
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

/// Returns an answer's remaining freshness (RFC 9111 4.2), if it says so: `max-age` less the time it spent in caches.
pub(crate) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<_> = fields.flat_map(|field| field.split(',')).map(str::trim).collect();
    let is = |name: &str| directives.iter().any(|one| one.eq_ignore_ascii_case(name));
    if is("no-store") || is("no-cache") {
        return Some(Duration::ZERO);
    }
    let said = directives.iter().find_map(|one| {
        let (name, value) = one.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| seconds(value.trim().trim_matches('"')))
    })??;
    let age = text(headers, &AGE).and_then(seconds).unwrap_or_default();
    Some((said - age).max(Duration::ZERO))
}

/// Returns the wait before a retry (RFC 9110 10.2.3), if the answer names it: in seconds, or by the provider's clock.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = text(headers, &RETRY_AFTER)?;
    seconds(said).or_else(|| Some(moment(said)? - moment(text(headers, &DATE)?)?))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Reads `delta-seconds` (RFC 9111 1.2.2): a number too large for the type becomes its maximum (saturates).
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::seconds(text.parse::<u32>().unwrap_or(u32::MAX).into()))
}

/// Reads an `IMF-fixdate` (RFC 9110 5.6.7), which is a date of RFC 2822.
fn moment(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    /// One line a case. Found in what Google, Microsoft, Keycloak and caches in front of them send.
    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (fields, seconds) in [
            (vec![(CACHE_CONTROL, "public, max-age=22446, must-revalidate, no-transform")], Some(22_446)),
            (vec![(CACHE_CONTROL, "max-age=86400, private")], Some(86_400)),
            (vec![(CACHE_CONTROL, "Max-Age=\"600\"")], Some(600)),
            (vec![(CACHE_CONTROL, "public"), (CACHE_CONTROL, "max-age=60")], Some(60)),
            (vec![(CACHE_CONTROL, "max-age=600"), (AGE, "500")], Some(100)),
            (vec![(CACHE_CONTROL, "max-age=600"), (AGE, "700")], Some(0)),
            (vec![(CACHE_CONTROL, "no-cache")], Some(0)),
            (vec![(CACHE_CONTROL, "no-store, max-age=600")], Some(0)),
            (vec![(CACHE_CONTROL, "max-age=99999999999999999999")], Some(i64::from(u32::MAX))),
            (vec![(CACHE_CONTROL, "s-maxage=600")], None),
            (vec![(CACHE_CONTROL, "max-age=-1")], None),
            (vec![(CACHE_CONTROL, "max-age=soon")], None),
            (vec![(CACHE_CONTROL, "max-age")], None),
            (vec![], None),
        ] {
            assert_eq!(max_age(&headers(&fields)), seconds.map(Duration::seconds), "{fields:?}");
        }
    }

    /// One line a case.
    #[test]
    fn an_answer_says_when_to_come_back_in_seconds_or_by_its_own_clock() {
        let date = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        for (fields, seconds) in [
            (vec![(RETRY_AFTER, "120")], Some(120)),
            (vec![(RETRY_AFTER, " 0 ")], Some(0)),
            (vec![(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT"), date.clone()], Some(60)),
            (vec![(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:07 GMT"), date], Some(-30)),
            (vec![(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT")], None),
            (vec![(RETRY_AFTER, "-5")], None),
            (vec![(RETRY_AFTER, "1.5")], None),
            (vec![(RETRY_AFTER, "later")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&fields)), seconds.map(Duration::seconds), "{fields:?}");
        }
    }
}

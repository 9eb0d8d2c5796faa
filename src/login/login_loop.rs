//! Detects login loops by a count of a browser's recent logins for one page (R-I09).
//!
//! A page that sends everybody back to the sign-in, or a session cookie that is set and never comes back, would make a
//! redirect loop, because the provider answers without asking the person. After [`MOST`] completed logins for one page
//! within [`WINDOW`] the next one ends in a page that says so. Pages are counted apart, so that many tabs that are
//! restored together are no loop. Kept in a cookie: changing the count affects only one's own browser. Only values that
//! this file could have written are sent back.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use time::{Duration, OffsetDateTime};

use crate::web::cookies::{CookiePolicy, LANDINGS};
use crate::web::return_to::ReturnTo;

/// The time for which a completed login counts, from the first of them.
const WINDOW: Duration = Duration::seconds(30);
/// Most completed logins for one page in that time.
const MOST: u32 = 5;
/// The length of the piece of a page's hash that names it: in bytes, and as base64url.
const NAME_BYTES: usize = 9;
const NAME_LENGTH: usize = 12;
/// Most pages that are remembered.
const MOST_PAGES: usize = 12;

/// The completed logins of one browser within the window, by page.
#[derive(Debug, Default)]
pub(super) struct LoginLoopDetector(Vec<Landing>);

#[derive(Debug)]
struct Landing {
    /// A piece of the page's hash.
    page: String,
    count: u32,
    /// The first of them, in seconds since 1970.
    since: i64,
}

impl LoginLoopDetector {
    /// The landings that the browser remembers and that still count.
    pub(super) fn read(cookies: &CookiePolicy, headers: &HeaderMap, now: OffsetDateTime) -> Self {
        let name = cookies.own_name(LANDINGS);
        let text = cookies.values(&name, headers).next().and_then(|value| std::str::from_utf8(value).ok());
        Self::remembered(text.unwrap_or_default(), now)
    }

    /// The landings that were written down ([`Self::text`]) and still count.
    pub(super) fn remembered(text: &str, now: OffsetDateTime) -> Self {
        let words: Vec<_> = text.split('.').collect();
        let is_name = |word: &str| {
            word.len() == NAME_LENGTH && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let landing = |words: &[&str]| {
            let (page, count, since): (_, u32, i64) = (words[0], words[1].parse().ok()?, words[2].parse().ok()?);
            let age = now.unix_timestamp().checked_sub(since)?;
            let is_current = is_name(page) && (0..WINDOW.whole_seconds()).contains(&age);
            is_current.then(|| Landing { page: page.to_owned(), count, since })
        };
        Self(words.chunks_exact(3).take(MOST_PAGES).filter_map(landing).collect())
    }

    /// The text for the cookie.
    pub(super) fn text(&self) -> String {
        let words = self.0.iter().map(|landing| format!("{}.{}.{}", landing.page, landing.count, landing.since));
        words.collect::<Vec<_>>().join(".")
    }

    /// Is true if a login that leads to this page is one too many.
    pub(super) fn are_a_loop(&self, page: &ReturnTo) -> bool {
        let page = name_of(page);
        self.0.iter().any(|landing| landing.page == page && landing.count >= MOST)
    }

    /// The cookie that counts one more.
    pub(super) fn one_more(mut self, page: &ReturnTo, cookies: &CookiePolicy, now: OffsetDateTime) -> HeaderValue {
        let page = name_of(page);
        match self.0.iter_mut().find(|landing| landing.page == page) {
            Some(landing) => landing.count = landing.count.saturating_add(1),
            None => self.0.insert(0, Landing { page, count: 1, since: now.unix_timestamp() }),
        }
        self.0.truncate(MOST_PAGES);
        cookies.set(&cookies.own_name(LANDINGS), &self.text(), Some(WINDOW))
    }
}

fn name_of(page: &ReturnTo) -> String {
    let hash = digest::digest(&digest::SHA256, page.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash.as_ref()[..NAME_BYTES])
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use time::macros::datetime;

    use super::*;
    use crate::web::paths::PATHS;
    use crate::web::public_url::PublicUrl;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn cookies() -> CookiePolicy {
        CookiePolicy::new(&PublicUrl::parse("https://a.example").unwrap(), None)
    }

    /// Lands on these pages one after the other; true if one of them was one too many.
    fn lands(pages: impl Iterator<Item = (String, OffsetDateTime)>) -> bool {
        let mut headers = HeaderMap::new();
        for (page, at) in pages {
            let page = ReturnTo::parse(&page, &PATHS).unwrap();
            let landings = LoginLoopDetector::read(&cookies(), &headers, at);
            if landings.are_a_loop(&page) {
                return true;
            }
            let set = landings.one_more(&page, &cookies(), at);
            headers.insert(COOKIE, set.to_str().unwrap().split(';').next().unwrap().parse().unwrap());
        }
        false
    }

    /// R-I09
    #[test]
    fn many_logins_for_one_page_at_once_are_a_loop_and_those_for_many_pages_are_not() {
        let same = |seconds: i64, times: i64| {
            lands((0..times).map(|index| ("/x".into(), NOW + Duration::seconds(index * seconds))))
        };
        assert!(!same(0, 5));
        assert!(same(0, 6));
        assert!(same(5, 6));
        assert!(!same(6, 50));
        assert!(!lands((0..40).map(|index| (format!("/tab-{}", index % 10), NOW))));
        // A loop of one tab among others.
        assert!(lands((0..40).map(|index| (if index % 2 == 0 { "/x".into() } else { format!("/{index}") }, NOW))));
    }

    #[test]
    fn what_the_browser_made_up_counts_nothing() {
        let page = ReturnTo::parse("/x", &PATHS).unwrap();
        for value in ["", ".", "..", "a.b.c", "a.1", "x.99999999999.1", "x.5.-1", &"9.".repeat(4_000)] {
            let headers = HeaderMap::from_iter([(COOKIE, format!("__Host-landings={value}").parse().unwrap())]);
            assert!(!LoginLoopDetector::read(&cookies(), &headers, NOW).are_a_loop(&page), "{value}");
        }
        let now = NOW.unix_timestamp();
        for text in [format!("x.5.{}", i64::MIN), format!("x\u{1f}.5.{now}"), format!("{}.5.{now}", "é".repeat(6))] {
            assert_eq!(LoginLoopDetector::remembered(&text, NOW).text(), "", "{text}");
        }
        let most = format!("{}.{}.{now}", name_of(&page), u32::MAX);
        LoginLoopDetector::remembered(&most, NOW).one_more(&page, &cookies(), NOW);
    }
}

//! The return path, sealed into the `state` of a login.
//!
//! A pending login is kept in a cookie, and cookies may be gone: evicted by those of other tabs, expired, or deleted by
//! the callback. The return path must survive that, so the `state` carries it through the provider, sealed and so
//! neither readable nor forgeable. It proves nothing about the browser that brings it, which is merely redirected to a
//! page of this site.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::keyring::{Keyring, Sealer};
use crate::web::paths::PATHS;
use crate::web::return_to::ReturnTo;

/// Longest page that is carried, in bytes. With its seal and the random part the `state` stays below 500 characters,
/// which is what the strictest providers take, and the answer's head below what proxies take.
const LONGEST_PAGE: usize = 300;

/// The subject that each box is sealed for.
const SUBJECT: &[u8] = b"state";

/// The page somebody was going to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayBack {
    /// The page they came for.
    pub page: ReturnTo,
    /// True if the login had been begun again by itself, which happens once.
    pub begun_again: bool,
}

/// Seals ways back for a `state` to carry, and reads them again.
#[derive(Debug)]
pub struct WaysBack {
    sealer: Sealer,
}

impl WaysBack {
    /// Ways back under the server's keys.
    pub fn new(keyring: &Keyring) -> Self {
        Self { sealer: keyring.sealer("counterfoil way back v1", &[]) }
    }

    /// Seals the page for a `state`. One that is too long goes without its query, or gives way to the start page.
    pub fn seal(&self, page: &ReturnTo, begun_again: bool) -> String {
        let candidates = [page.as_str(), page.path()];
        let page = candidates.into_iter().find(|page| page.len() <= LONGEST_PAGE).unwrap_or("/");
        let text = format!("{}{page}", u8::from(begun_again));
        URL_SAFE_NO_PAD.encode(self.sealer.seal(SUBJECT, text.as_bytes()))
    }

    /// The way back of a `state` that this site made; `None` of any other.
    pub fn read(&self, state: &str) -> Option<WayBack> {
        let (_, carried) = state.split_once('.')?;
        let opened = self.sealer.open(SUBJECT, &URL_SAFE_NO_PAD.decode(carried).ok()?).ok()?;
        let (begun_again, page) = std::str::from_utf8(&opened).ok()?.split_at_checked(1)?;
        Some(WayBack { page: ReturnTo::parse(page, &PATHS)?, begun_again: begun_again == "1" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::random_token;

    fn carried(ways: &WaysBack, page: &str, begun_again: bool) -> String {
        let carried = ways.seal(&ReturnTo::parse(page, &PATHS).unwrap(), begun_again);
        format!("{}.{carried}", random_token::<32>())
    }

    #[test]
    fn a_state_carries_the_way_back_and_shows_nothing_of_it() {
        let ways = WaysBack::new(&Keyring::ephemeral());
        for (page, begun_again) in [("/", false), ("/orders?status=open#top", false), ("/caf%C3%A9", true)] {
            let state = carried(&ways, page, begun_again);
            assert!(!state.contains("orders"));
            assert_eq!(ways.read(&state), Some(WayBack { page: ReturnTo::parse(page, &PATHS).unwrap(), begun_again }));
        }
    }

    #[test]
    fn a_state_stays_short_however_long_the_page_is() {
        let ways = WaysBack::new(&Keyring::ephemeral());
        for (page, kept) in [
            (format!("/{}", "x".repeat(LONGEST_PAGE - 1)), format!("/{}", "x".repeat(LONGEST_PAGE - 1))),
            (format!("/orders?q={}", "x".repeat(LONGEST_PAGE)), "/orders".to_owned()),
            (format!("/{}", "x".repeat(LONGEST_PAGE)), "/".to_owned()),
        ] {
            let state = carried(&ways, &page, false);
            assert!(state.len() < 500, "{}", state.len());
            assert_eq!(ways.read(&state).unwrap().page.as_str(), kept);
        }
    }

    /// Values of other sites, of an older format, and forged ones.
    #[test]
    fn a_state_that_was_made_elsewhere_carries_nothing() {
        let ways = WaysBack::new(&Keyring::ephemeral());
        let stranger = carried(&WaysBack::new(&Keyring::ephemeral()), "/orders", false);
        let cut = carried(&ways, "/orders", false);
        for state in
            ["", ".", "x", "x.", "x.y", "x.L29yZGVycw", &random_token::<32>(), &stranger, &cut[..cut.len() - 4]]
        {
            assert_eq!(ways.read(state), None, "{state}");
        }
    }
}

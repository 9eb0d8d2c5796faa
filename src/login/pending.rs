//! Pending logins: the state between the authorization request and the callback.
//!
//! Kept by the browser alone, in one sealed cookie for each login, so anonymous traffic writes nothing to
//! the store, a callback works only in the browser that began (R-M05), and tabs do not disturb each other
//! (R-A11). Bounded: ten minutes, and so many bytes of cookies a browser. Used once: the callback claims the
//! `state` in the store before it does anything.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use crate::idp::Attempt;
use crate::secret::keyring::{Keyring, Sealer};
use crate::session::key::SessionHandle;
use crate::session::store::log::LogNumber;
use crate::web::cookies::{CookiePolicy, PENDING};
use crate::web::paths::PATHS;
use crate::web::return_to::ReturnTo;

/// The longest time that a login may take.
pub const LIFETIME: Duration = Duration::minutes(10);
/// Lifetime of the cookie in the browser: an expired login is begun again for the same page.
const KEPT_FOR: Duration = Duration::HOUR;
/// Most bytes of pending cookies a browser is left with: well below what servers allow for all headers.
const MOST_BYTES: usize = 5 * 1024;
/// Most pending logins of a browser.
const MOST_LOGINS: usize = 8;

/// One login under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PendingLogin {
    /// The provider it was begun with.
    pub idp: String,
    /// The page the person lands on; checked when it was sealed, and again when it is used.
    return_to: String,
    #[serde(with = "time::serde::timestamp::milliseconds")]
    started_at: OffsetDateTime,
    /// The newest number of the cut-off log at that moment: orders of a higher one refuse the login.
    begun: LogNumber,
    /// The secrets of the authorization request.
    pub attempt: Attempt,
    #[serde(default)]
    answered_by_form: Option<LeftBehind>,
    /// Set if it was begun automatically in place of a failed one.
    #[serde(default)]
    pub begun_again: bool,
}

/// The content of the browser's `Lax` cookies when a login was begun whose answer comes in another site's form: they do
/// not come along with that.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LeftBehind {
    /// The sessions that the browser had; a new login ends them all the same (R-B09).
    sessions: Vec<String>,
    /// The pages that it had landed on lately.
    landings: String,
}

impl PendingLogin {
    /// A login that begins now.
    pub fn new(idp: &str, return_to: &ReturnTo, attempt: Attempt, begun: LogNumber, now: OffsetDateTime) -> Self {
        Self {
            idp: idp.to_owned(),
            return_to: return_to.to_string(),
            started_at: now,
            begun,
            attempt,
            answered_by_form: None,
            begun_again: false,
        }
    }

    /// The same, begun in place of another.
    #[must_use]
    pub fn begun_again(mut self, begun_again: bool) -> Self {
        self.begun_again = begun_again;
        self
    }

    /// The same, its answer coming in another site's form; it replaces these sessions, and these `landings` count.
    #[must_use]
    pub fn answered_by_form(mut self, replaces: impl IntoIterator<Item = SessionHandle>, landings: String) -> Self {
        let sessions = replaces.into_iter().map(|handle| handle.to_string()).collect();
        self.answered_by_form = Some(LeftBehind { sessions, landings });
        self
    }

    /// The pages that the browser had landed on, if its own word does not come along with the answer.
    pub fn landings(&self) -> Option<&str> {
        self.answered_by_form.as_ref().map(|left| left.landings.as_str())
    }

    /// Sessions that the login replaces, besides those whose cookies come along with the answer.
    pub fn replaces(&self) -> impl Iterator<Item = SessionHandle> {
        self.answered_by_form.iter().flat_map(|left| &left.sessions).filter_map(|handle| handle.parse().ok())
    }

    /// The cookie that it lies in. Of another site's form it has to come along; otherwise `Lax` will do.
    fn set(&self, name: &str, value: &str, cookies: &CookiePolicy) -> HeaderValue {
        match &self.answered_by_form {
            Some(_) => cookies.set_cross_site(name, value, Some(KEPT_FOR)),
            None => cookies.set(name, value, Some(KEPT_FOR)),
        }
    }

    /// Deletes the cookie that it lies in, with every attribute it was set with (R-H04).
    pub fn clear(&self, name: &str, cookies: &CookiePolicy) -> HeaderValue {
        if self.answered_by_form.is_some() { cookies.clear_cross_site(name) } else { cookies.clear(name) }
    }

    /// The same login, leading somewhere else.
    #[must_use]
    pub fn leading_to(mut self, return_to: &ReturnTo) -> Self {
        self.return_to = return_to.to_string();
        self
    }

    /// The page the person lands on.
    pub fn return_to(&self) -> ReturnTo {
        ReturnTo::parse(&self.return_to, &PATHS).unwrap_or_else(ReturnTo::home)
    }

    /// The name that is taken in the store so that this login is finished at most once.
    pub fn claim_name(&self) -> String {
        format!("login:{}", hash(&self.attempt.state))
    }

    /// The newest number of the cut-off log when the login was begun.
    pub fn begun(&self) -> LogNumber {
        self.begun
    }

    fn is_current(&self, now: OffsetDateTime) -> bool {
        // The clocks of two replicas may differ by a minute.
        (-Duration::MINUTE..LIFETIME).contains(&(now - self.started_at))
    }
}

/// Seals pending logins into cookies and finds them again.
#[derive(Debug)]
pub struct PendingLogins {
    sealer: Sealer,
}

impl PendingLogins {
    /// Pending logins under the server's keys.
    pub fn new(keyring: &Keyring) -> Self {
        Self { sealer: keyring.sealer("counterfoil pending login v1", &[]) }
    }

    /// The cookies that leave a login in the browser, and remove the oldest if it holds too many.
    pub fn remember(
        &self,
        login: &PendingLogin,
        cookies: &CookiePolicy,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Vec<HeaderValue> {
        let name = cookie_name(cookies, &login.attempt.state);
        let value = URL_SAFE_NO_PAD.encode(self.sealer.seal_json(name.as_bytes(), login));
        let mut set = self.crowded_out(cookies, headers, name.len() + value.len(), now);
        set.push(login.set(&name, &value, cookies));
        set
    }

    /// The pending login that an answer with this `state` belongs to, and its cookie's name.
    pub fn find(
        &self,
        state: &str,
        cookies: &CookiePolicy,
        headers: &HeaderMap,
        now: OffsetDateTime,
    ) -> Option<(String, PendingLogin)> {
        self.find_whenever(state, cookies, headers).filter(|(_, login)| login.is_current(now))
    }

    /// The same, however long ago it was begun: only for the return path.
    pub fn find_whenever(
        &self,
        state: &str,
        cookies: &CookiePolicy,
        headers: &HeaderMap,
    ) -> Option<(String, PendingLogin)> {
        let name = cookie_name(cookies, state);
        let mut values =
            cookies.beginning(PENDING, headers).filter(|(found, _)| *found == name).map(|(_, value)| value);
        let login = values.find_map(|value| self.open(&name, value))?;
        let same_state = bool::from(login.attempt.state.as_bytes().ct_eq(state.as_bytes()));
        same_state.then_some((name, login))
    }

    /// Is true if the browser keeps a login of this site's, so that it keeps our cookies and has begun one lately.
    pub fn are_in(&self, cookies: &CookiePolicy, headers: &HeaderMap) -> bool {
        cookies.beginning(PENDING, headers).any(|(name, value)| self.open(name, value).is_some())
    }

    fn open(&self, name: &str, value: &[u8]) -> Option<PendingLogin> {
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        self.sealer.open_json(name.as_bytes(), &sealed).ok()
    }

    /// Deletions of what is over, unreadable, or too old to keep beside a new cookie of `new_bytes`.
    fn crowded_out(
        &self,
        cookies: &CookiePolicy,
        headers: &HeaderMap,
        new_bytes: usize,
        now: OffsetDateTime,
    ) -> Vec<HeaderValue> {
        let mut known: Vec<_> =
            cookies.beginning(PENDING, headers).map(|(n, v)| (self.open(n, v), n, n.len() + v.len())).collect();
        known.sort_by_key(|(login, ..)| std::cmp::Reverse(login.as_ref().map(|login| login.started_at)));
        let (mut bytes, mut logins) = (new_bytes, 1);
        let mut deletions = Vec::new();
        for (login, name, size) in known {
            let is_current = login.as_ref().is_some_and(|login| login.is_current(now));
            if is_current && logins < MOST_LOGINS && bytes + size <= MOST_BYTES {
                (bytes, logins) = (bytes + size, logins + 1);
            } else {
                deletions.push(login.map_or_else(|| cookies.clear(name), |login| login.clear(name, cookies)));
            }
        }
        deletions
    }
}

/// One cookie a login; the name shows nothing of the `state`, which is a secret until it is used.
fn cookie_name(cookies: &CookiePolicy, state: &str) -> String {
    cookies.own_name(&format!("{}{}", PENDING, &hash(state)[..16]))
}

fn hash(state: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, state.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use time::macros::datetime;

    use super::*;
    use crate::secret::Secret;
    use crate::web::public_url::PublicUrl;

    const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);

    fn cookies() -> CookiePolicy {
        CookiePolicy::new(&PublicUrl::parse("https://a.example").unwrap(), None)
    }

    fn login(state: &str, path: &str, at: OffsetDateTime) -> PendingLogin {
        let attempt = Attempt {
            state: state.into(),
            nonce: "n".into(),
            verifier: Secret::new("v".into()),
            max_age: None,
            fresh: false,
            acr_values: vec![],
        };
        PendingLogin::new("company", &ReturnTo::parse(path, &PATHS).unwrap(), attempt, LogNumber::BEGINNING, at)
    }

    /// A browser's cookies after these `Set-Cookie`s.
    fn apply(jar: &mut Vec<(String, String)>, set: &[HeaderValue]) {
        for value in set {
            let (name, rest) = value.to_str().unwrap().split_once('=').unwrap();
            jar.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                jar.push((name.into(), rest.split(';').next().unwrap().into()));
            }
        }
    }

    fn headers(jar: &[(String, String)]) -> HeaderMap {
        let line = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(COOKIE, line.parse().unwrap())])
    }

    /// R-A11: five hundred tabs.
    #[test]
    fn a_browser_keeps_its_newest_logins_and_never_too_many() {
        let pending = PendingLogins::new(&Keyring::ephemeral());
        let mut jar = Vec::new();
        for tab in 0..500 {
            let at = NOW + Duration::seconds(tab);
            let login = login(&format!("state-{tab}"), &format!("/{}", "x".repeat(600)), at);
            let set = pending.remember(&login, &cookies(), &headers(&jar), at);
            apply(&mut jar, &set);
            assert!(headers(&jar)[COOKIE].len() < 8 * 1024);
        }
        let now = NOW + Duration::seconds(500);
        for tab in 497..500 {
            assert!(pending.find(&format!("state-{tab}"), &cookies(), &headers(&jar), now).is_some());
        }
    }

    #[test]
    fn a_login_is_found_by_its_state_within_its_time() {
        let pending = PendingLogins::new(&Keyring::ephemeral());
        let mut jar = Vec::new();
        apply(&mut jar, &pending.remember(&login("state", "/orders?x=1", NOW), &cookies(), &headers(&[]), NOW));
        let find = |state: &str, at| pending.find(state, &cookies(), &headers(&jar), at);
        assert_eq!(find("state", NOW).unwrap().1.return_to().as_str(), "/orders?x=1");
        assert!(find("other", NOW).is_none());
        assert!(find("state", NOW + LIFETIME).is_none());
        assert!(find("state", NOW - Duration::minutes(2)).is_none());
        let stranger = PendingLogins::new(&Keyring::ephemeral());
        assert!(stranger.find("state", &cookies(), &headers(&jar), NOW).is_none());
    }
}

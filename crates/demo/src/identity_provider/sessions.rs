//! The provider's own sign-in sessions and their cookie.
//!
//! Owns who is signed in in which browser and which clients took part. Does not decide when to ask again; that
//! is `authorize`. Called by `authorize`, `token` and `end_session`.

use http::{HeaderMap, header};
use time::{Duration, OffsetDateTime};

use counterfoil_core::secret::random_token;

use super::accounts::Account;
use super::table::Table;

const COOKIE: &str = "demo_idp_session";
const LIFETIME: Duration = Duration::hours(8);

/// One browser in which somebody is signed in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Names this browser's session for as long as it lasts, whoever is signed in. Never leaves the provider.
    pub key: String,
    /// The `sid` claim: names the session of this account, and is told to clients.
    pub sid: String,
    pub account: &'static Account,
    pub signed_in_at: OffsetDateTime,
    /// Clients that have to hear of the end of this session.
    pub participants: Vec<Participant>,
}

/// A client that got an ID token in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Participant {
    pub client_id: String,
    pub subject: &'static str,
    pub sid: String,
}

/// The sessions by their cookies' values.
#[derive(Default)]
pub(super) struct Sessions(Table<Session>);

impl Sessions {
    /// Signs somebody in and returns the cookie's new value, which is always a fresh one: a value that was known
    /// before signing in is worth nothing after it. Another account gets another `sid`, but the clients of the
    /// former one stay participants, so that signing out reaches them as well.
    pub(super) fn sign_in(
        &mut self,
        account: &'static Account,
        former_cookie: Option<&str>,
        now: OffsetDateTime,
    ) -> (String, Session) {
        let former = former_cookie.and_then(|cookie| self.0.remove(cookie, now));
        let session = match former {
            Some(former) if former.account == account => Session { signed_in_at: now, ..former },
            Some(former) => Session { sid: random_token::<16>(), account, signed_in_at: now, ..former },
            None => Session {
                key: random_token::<16>(),
                sid: random_token::<16>(),
                account,
                signed_in_at: now,
                participants: Vec::new(),
            },
        };
        let cookie = random_token::<32>();
        self.0.insert(cookie.clone(), session.clone(), now + LIFETIME, now);
        (cookie, session)
    }

    /// Finds the live session of this cookie.
    pub(super) fn find(&self, cookie: &str, now: OffsetDateTime) -> Option<&Session> {
        self.0.get(cookie, now)
    }

    /// Notes that a client got an ID token in the session with this key.
    pub(super) fn join(&mut self, key: &str, participant: Participant) {
        if let Some(session) = self.0.values_mut().find(|session| session.key == key)
            && !session.participants.contains(&participant)
        {
            session.participants.push(participant);
        }
    }

    /// Ends the session of this cookie and returns what it was.
    pub(super) fn end(&mut self, cookie: &str, now: OffsetDateTime) -> Option<Session> {
        self.0.remove(cookie, now)
    }
}

/// Returns the session cookie's value in a request.
pub(super) fn cookie_in(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Returns the `Set-Cookie` value that keeps somebody signed in until the browser closes.
pub(super) fn cookie_set(value: &str, issuer: &str) -> String {
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax{}", secure_for(issuer))
}

/// Returns the `Set-Cookie` value that makes the browser forget.
pub(super) fn cookie_cleared(issuer: &str) -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{}", secure_for(issuer))
}

/// Returns `Secure` for HTTPS alone: on plain HTTP on the own machine not every browser would keep such a cookie.
fn secure_for(issuer: &str) -> &'static str {
    if issuer.starts_with("https://") { "; Secure" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::accounts;
    use super::*;

    #[test]
    fn another_account_gets_another_sid_and_keeps_the_participants() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let (alice, bob) = (accounts::find("alice").unwrap(), accounts::find("bob").unwrap());
        let mut sessions = Sessions::default();
        let (first_cookie, first) = sessions.sign_in(alice, None, now);
        let participant = Participant { client_id: "c".into(), subject: "alice", sid: first.sid.clone() };
        sessions.join(&first.key, participant.clone());
        let (second_cookie, again) = sessions.sign_in(alice, Some(&first_cookie), now);
        assert_eq!(again.sid, first.sid);
        let (third_cookie, second) = sessions.sign_in(bob, Some(&second_cookie), now);
        assert_ne!(second.sid, first.sid);
        assert_eq!(second.participants, [participant]);
        assert!(sessions.find(&first_cookie, now).is_none() && sessions.find(&third_cookie, now).is_some());
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=1; demo_idp_session=abc; b=2".parse().unwrap());
        assert_eq!(cookie_in(&headers), Some("abc"));
    }
}

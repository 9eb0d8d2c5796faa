//! The session a request presents by its cookie.
//!
//! The cookie is the only carrier (R-G06). A browser may send several of the name (an old one of another
//! path, one planted by a neighbour); the one that is live counts, and two that are live are refused, so that
//! two people are never mixed up (R-H05).

use counterfoil_session::audit::{AuditEvent, audit};
use counterfoil_session::ending::Tombstone;
use counterfoil_session::key::SessionKey;
use counterfoil_session::policy::Binding;
use counterfoil_session::{Check, LiveSession, SessionReader};
use http::HeaderMap;
use http::header::USER_AGENT;
use thiserror::Error;

use crate::cookies::CookiePolicy;
use crate::refusal::{Refusal, RefusalKind};

/// Most cookies of the name that are looked at.
const MOST_CANDIDATES: usize = 4;
/// Most values of the name whose tag is computed.
const MOST_VALUES: usize = 16;

/// The outcome of looking a request's cookie up.
#[derive(Debug, Clone)]
pub enum SessionLookup {
    /// A live session.
    Live(SessionKey, LiveSession),
    /// No cookie of the form we issue.
    Nothing,
    /// A cookie of our form whose session is over; how it ended, if that is known.
    Ended(Option<Tombstone>),
}

impl SessionLookup {
    /// The live session, if there is one.
    pub fn live(&self) -> Option<(&SessionKey, &LiveSession)> {
        match self {
            Self::Live(key, session) => Some((key, session)),
            Self::Nothing | Self::Ended(_) => None,
        }
    }

    /// The reason why there is no live session.
    pub fn why_not(&self) -> RefusalKind {
        match self {
            Self::Ended(Some(tombstone)) => RefusalKind::SessionEnded(tombstone.cause),
            Self::Live(..) | Self::Nothing | Self::Ended(None) => RefusalKind::SessionMissing,
        }
    }
}

/// Two cookies of one request name two live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("two session cookies of one request are live")]
pub struct TwoSessions;

/// Every distinct session key among a request's cookies that this server made.
pub fn candidates(sessions: &SessionReader, cookies: &CookiePolicy, headers: &HeaderMap) -> Vec<SessionKey> {
    let mut keys: Vec<SessionKey> = Vec::new();
    for key in cookies.session_values(headers).filter_map(SessionKey::parse).take(MOST_VALUES) {
        if keys.len() < MOST_CANDIDATES
            && sessions.is_ours(&key)
            && keys.iter().all(|known| known.handle() != key.handle())
        {
            keys.push(key);
        }
    }
    keys
}

/// The session that a request presents, if that is clear without asking the store: no cookie, or one whose session the
/// near cache knows to live.
pub(crate) fn lookup_cached(
    sessions: &SessionReader,
    cookies: &CookiePolicy,
    headers: &HeaderMap,
) -> Option<SessionLookup> {
    let mut values = cookies.session_values(headers);
    let Some(value) = values.next() else { return Some(SessionLookup::Nothing) };
    let key = SessionKey::parse(value).filter(|_| values.next().is_none())?;
    let session = sessions.check_cached(&key)?;
    (!is_bound_elsewhere(sessions, &session, headers)).then_some(SessionLookup::Live(key, session))
}

/// Asks for the session that a request presents.
///
/// # Errors
/// A [`Refusal`] if the store cannot be asked, or if two sessions are live.
pub async fn look_up(
    sessions: &SessionReader,
    cookies: &CookiePolicy,
    headers: &HeaderMap,
) -> Result<SessionLookup, Refusal> {
    let keys = candidates(sessions, cookies, headers);
    if keys.is_empty() && cookies.session_values(headers).any(|value| SessionKey::parse(value).is_some()) {
        // A key may have been tagged by other replicas: if the store is theirs (another server key), this replica
        // cannot tell whether the session is live.
        sessions.ensure_store_is_ours().await?;
        return Ok(SessionLookup::Ended(None));
    }
    let mut found = SessionLookup::Nothing;
    for key in keys {
        match sessions.check(&key).await? {
            Check::Live(_) if found.live().is_some() => {
                return Err(Refusal::caused(RefusalKind::TwoSessions, TwoSessions));
            }
            Check::Live(session) if is_bound_elsewhere(sessions, &session, headers) => {
                let subject = &session.record().identity.subject;
                audit(&AuditEvent::BindingMismatch { session: session.handle(), subject });
                found = SessionLookup::Ended(None);
            }
            Check::Live(session) => found = SessionLookup::Live(key, session),
            _ if found.live().is_some() => {}
            Check::Absent => found = SessionLookup::Ended(None),
            Check::Ended(tombstone) => found = SessionLookup::Ended(Some(tombstone)),
        }
    }
    Ok(found)
}

/// Is true if a session is bound to another browser than the one that sent the request.
fn is_bound_elsewhere(sessions: &SessionReader, session: &LiveSession, headers: &HeaderMap) -> bool {
    let user_agent = || headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    sessions.binding() == Binding::UserAgent && !session.record().client.is_same_browser(user_agent())
}

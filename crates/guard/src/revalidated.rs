//! The session behind a request as its provider sees it now: revalidate, then load again what that may have changed.

use counterfoil_session::key::SessionKey;
use counterfoil_session::{LiveSession, SessionReader};
use http::HeaderMap;

use crate::cookies::CookiePolicy;
use crate::refusal::Refusal;
use crate::revalidation::{Need, Revalidation, Revalidator};
use crate::session_lookup::{SessionLookup, look_up};

/// A session that was looked up and revalidated.
#[derive(Debug, Clone)]
pub enum Revalidated {
    /// It lives and counts.
    Session(SessionKey, LiveSession),
    /// It is live, but rejected until its next login.
    Reauthenticate(SessionKey, LiveSession),
    /// There is none, for this reason.
    Anonymous(SessionLookup),
}

impl Revalidated {
    /// Judges a session without a request to its provider.
    pub fn as_it_stands(revalidator: &dyn Revalidator, found: SessionLookup) -> Self {
        match found {
            SessionLookup::Live(key, session) if revalidator.requires_reauthentication(&session) => {
                Self::Reauthenticate(key, session)
            }
            SessionLookup::Live(key, session) => Self::Session(key, session),
            none @ (SessionLookup::Nothing | SessionLookup::Ended(_)) => Self::Anonymous(none),
        }
    }
}

/// Revalidates the session that was found behind a request, if that is due, and loads it again if it may have changed
/// since.
///
/// # Errors
/// A [`Refusal`] if the store cannot be asked, or if two sessions are live.
pub async fn revalidated(
    revalidator: &dyn Revalidator,
    (sessions, cookies): (&SessionReader, &CookiePolicy),
    headers: &HeaderMap,
    found: SessionLookup,
    need: Need,
) -> Result<Revalidated, Refusal> {
    let SessionLookup::Live(key, session) = found else { return Ok(Revalidated::Anonymous(found)) };
    Ok(match revalidator.revalidate_if_due(&key, &session, need).await? {
        Revalidation::Fresh => Revalidated::Session(key, session),
        Revalidation::Reload => Revalidated::as_it_stands(revalidator, look_up(sessions, cookies, headers).await?),
        Revalidation::Reauthenticate => Revalidated::Reauthenticate(key, session),
    })
}

//! Signing in: from the login address to the provider, and from the callback to a session.
//!
//! [`start`] sends the browser to the provider and leaves a pending login in it ([`pending`]); [`callback`] takes the
//! provider's answer, matches it to the pending login before anything else, and establishes the session; [`limit`]
//! helps those who have too many, `landings` those who come back too often. [`third_party`]: logins that begin
//! elsewhere. All are handlers that `routes` mounts.

mod answer;
pub mod callback;
mod landings;
pub mod limit;
pub mod pending;
pub mod start;
pub mod third_party;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::USER_AGENT;

use crate::clock::SharedClock;
use crate::guard::route::RouteTable;
use crate::idp::http::HttpError;
use crate::idp::jwt::JwtFault;
use crate::idp::presets::ProfileApiError;
use crate::idp::profile::ProfileFault;
use crate::idp::pushed_request::PushedRequestError;
use crate::idp::token_exchange::TokenExchangeError;
use crate::idp::userinfo::UserinfoError;
use crate::idp::{IdpError, Provider};
use crate::session::Sessions;
use crate::session::record::ClientTraits;
use crate::web::branding::Branding;
use crate::web::cookies::CookiePolicy;
use crate::web::csrf::CsrfTokens;
use crate::web::failure::FailureKind;
use crate::web::public_url::PublicUrl;

use self::limit::Tickets;
use self::pending::PendingLogins;

/// What signing in works with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Login {
    /// Every configured provider, in the order of the chooser page.
    pub providers: Arc<[Provider]>,
    /// The provider that is meant when none is named; without one, people choose.
    pub default_provider: Option<Arc<str>>,
    /// What is remembered between start and callback.
    pub pending: Arc<PendingLogins>,
    /// Who may end a session of theirs without having one.
    pub tickets: Arc<Tickets>,
    /// Proves that a form is our own.
    pub csrf: Arc<CsrfTokens>,
    /// Where our own pages are.
    pub public_url: Arc<PublicUrl>,
    /// Where sessions are established.
    pub sessions: Sessions,
    /// How cookies are written.
    pub cookies: Arc<CookiePolicy>,
    /// Which routes demand a recent authentication.
    pub routes: Arc<RouteTable>,
    /// What the pages say.
    pub branding: Arc<Branding>,
    /// Judges how old a pending login is.
    pub clock: SharedClock,
}

impl Login {
    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name() == name)
    }
}

/// Whose fault a provider's error is: the provider's being away, the clocks', or the answer's.
fn failure_kind(error: &IdpError) -> FailureKind {
    let by_answer = |error: &HttpError| {
        if error.is_outage() { FailureKind::IdpUnavailable } else { FailureKind::LoginFailed }
    };
    match error {
        IdpError::Unusable { cause, .. } => by_answer(cause),
        IdpError::TokenExchange(TokenExchangeError::Http(error))
        | IdpError::Userinfo(UserinfoError::Http(error))
        | IdpError::PushedRequest(PushedRequestError::Http(error))
        | IdpError::ProfileEndpoint(error)
        | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }) => by_answer(error),
        IdpError::PushedRequest(PushedRequestError::TooMany) => FailureKind::IdpUnavailable,
        // Somebody else's person, from our point of view: an everyday refusal.
        IdpError::Profile(ProfileFault::RequiredClaim(_)) => FailureKind::LoginRefused,
        IdpError::IdToken(JwtFault::Clock(_)) | IdpError::Answer(JwtFault::Clock(_)) => FailureKind::LoginClock,
        IdpError::Issuer(_)
        | IdpError::PushedRequest(_)
        | IdpError::RequestObject(_)
        | IdpError::TokenExchange(_)
        | IdpError::Answer(_)
        | IdpError::IdToken(_)
        | IdpError::Userinfo(_)
        | IdpError::ProfileApi(_)
        | IdpError::Profile(ProfileFault::Subject | ProfileFault::AnotherSubject | ProfileFault::Groups) => {
            FailureKind::LoginFailed
        }
    }
}

fn client_traits(address: IpAddr, headers: &HeaderMap) -> ClientTraits {
    ClientTraits::new(address, headers.get(USER_AGENT).and_then(|value| value.to_str().ok()))
}

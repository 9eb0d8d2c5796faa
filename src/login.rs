//! Signing in: from the login address to the provider, and from the callback to a session.
//!
//! [`start`] sends the browser to the provider and leaves a pending login in it ([`pending`]); [`callback`] takes the
//! provider's answer, matches it to the pending login before anything else, and establishes the session;
//! [`session_limit`] is for people with too many sessions, `login_loop` detects login loops, and `lost` handles answers
//! without a pending login, by the [`way_back`] in their `state`. [`third_party`]: logins that begin elsewhere;
//! [`signed_in`]: logins for the sake of another tab. All are handlers that `routes` mounts.

mod answer;
mod asks;
pub mod callback;
mod code;
mod fault;
mod login_loop;
mod lost;
pub mod pending;
pub mod session_limit;
pub mod signed_in;
pub mod start;
pub mod third_party;
pub mod way_back;

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::USER_AGENT;

use crate::clock::SharedClock;
use crate::guard::route::RouteTable;
use crate::idp::{ErrorClass, IdpError, Provider};
use crate::session::record::ClientTraits;
use crate::session::{LiveSession, Sessions};
use crate::web::branding::Branding;
use crate::web::cookies::CookiePolicy;
use crate::web::csrf::CsrfTokens;
use crate::web::failure::{FailureKind, SignedInAs};
use crate::web::paths::PATHS;
use crate::web::public_url::PublicUrl;
use crate::web::return_to::ReturnTo;

use self::pending::PendingLogins;
use self::session_limit::GrantSealer;
use self::way_back::WaysBack;

/// The state behind signing in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Login {
    /// Every configured provider, in the order of the chooser page.
    pub providers: Arc<[Provider]>,
    /// The provider that is meant when none is named; without one, people choose.
    pub default_provider: Option<Arc<str>>,
    /// The logins between start and callback.
    pub pending: Arc<PendingLogins>,
    /// Seals the return path into `state`.
    pub ways_back: Arc<WaysBack>,
    /// Seals the grants of people at the session limit.
    pub grants: Arc<GrantSealer>,
    /// Proves that a form is our own.
    pub csrf: Arc<CsrfTokens>,
    /// The address of our own pages.
    pub public_url: Arc<PublicUrl>,
    /// Establishes sessions.
    pub sessions: Sessions,
    /// Names and writes cookies.
    pub cookies: Arc<CookiePolicy>,
    /// The routes, some of which demand a recent authentication.
    pub routes: Arc<RouteTable>,
    /// The operator's words for the pages.
    pub branding: Arc<Branding>,
    /// Judges how old a pending login is.
    pub clock: SharedClock,
}

impl Login {
    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    /// The person who is signed in, on the page about a failed login. They go on to the page the login was for, unless
    /// that would only begin it again.
    fn account_of(&self, session: &LiveSession, page: &ReturnTo) -> SignedInAs {
        let demanding = self.route_behind(page).is_some_and(|route| route.demands_of_login());
        let go_on = if demanding { ReturnTo::home() } else { page.clone() };
        SignedInAs::new(&session.record().identity, &go_on, page, &PATHS)
    }
}

/// The failure for a provider's error, by its class.
fn failure_kind(error: &IdpError) -> FailureKind {
    match error.class() {
        ErrorClass::Unavailable => FailureKind::IdpUnavailable,
        ErrorClass::Ours | ErrorClass::RequestOrPerson | ErrorClass::Denied | ErrorClass::Indeterminate => {
            FailureKind::LoginFailed
        }
        // The person is not one whom the configuration admits: routine.
        ErrorClass::NotAdmitted => FailureKind::LoginRefused,
        ErrorClass::Spent | ErrorClass::LateAnswer => FailureKind::LoginExpired,
        ErrorClass::NotFresh => FailureKind::LoginNotFresh,
        ErrorClass::Clock => FailureKind::LoginClock,
        // The browser brought it, and it is not verified.
        ErrorClass::UnprovenAnswer => FailureKind::AnswerRefused,
    }
}

fn client_traits(address: IpAddr, headers: &HeaderMap) -> ClientTraits {
    ClientTraits::new(address, headers.get(USER_AGENT).and_then(|value| value.to_str().ok()))
}

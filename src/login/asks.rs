//! The demands on how and when the person authenticates in a login, and their origin: a revocation, the page's route,
//! or the provider's section of the configuration. For the log, which has to name them, and for the page.

use thiserror::Error;

use super::callback::Finished;
use super::pending::PendingLogin;
use crate::guard::route::{PathRule, Route};
use crate::identity::Identity;
use crate::idp::{ErrorClass, IdpError, Provider};
use crate::web::failure::{Failure, FailureKind, SignedInAs};
use crate::web::paths::PATHS;
use crate::web::return_to::ReturnTo;

/// Longest `acr` that the log repeats, in characters.
const LONGEST_ACR: usize = 100;

/// One login with the sources of its demands.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    pub(super) provider: &'a Provider,
    pub(super) pending: &'a PendingLogin,
    /// The route of the page that the person came for.
    pub(super) route: Option<&'a Route>,
}

/// The error of a failed login, and the origin of the demand that it failed at.
#[derive(Debug, Error)]
#[error("{cause}{asked}")]
pub(super) struct Explained {
    #[source]
    cause: IdpError,
    asked: String,
}

/// The person authenticated in another way than was asked for, twice.
#[derive(Debug, Error)]
#[error(
    "asked for was an authentication by {wanted} (acr), {by}; the provider said {received}, also with prompt=login"
)]
struct WeakLogin {
    wanted: String,
    received: String,
    by: String,
}

impl Asks<'_> {
    /// The error with the origin of the demand that it failed at, where that is not plain from itself.
    pub(super) fn explain(&self, cause: IdpError) -> Explained {
        let asked =
            if is_about_auth_time(&cause) { format!("; asked for {}", self.moment_asked_by()) } else { String::new() };
        Explained { cause, asked }
    }

    /// Answers an authentication in another way than asked for: with one more login, in which the provider has to ask
    /// who it is, and then with a page.
    pub(super) fn stronger_login(&self, identity: &Identity, acr: Option<&str>) -> Result<Finished, Failure> {
        if !self.pending.attempt.fresh {
            return Ok(Finished::WeakLogin);
        }
        let received = acr.map_or_else(|| "none".to_owned(), |acr| acr.chars().take(LONGEST_ACR).collect());
        let wanted = self.pending.attempt.acr_values.join(" or ");
        let cause = WeakLogin { wanted, received, by: self.way_asked_by() };
        let account = SignedInAs::new(identity, &ReturnTo::home(), &self.pending.return_to(), &PATHS);
        Err(Failure::caused(FailureKind::StrongerLoginNeeded, cause).with_account(account))
    }

    /// The origin of the demand on how long ago the person authenticated.
    fn moment_asked_by(&self) -> String {
        let idp = self.provider.name();
        let remedy = format!(
            "where the provider never tells, idp.{idp}.auth_time = \"untold\" lets a login with prompt=login do"
        );
        match (self.pending.attempt.fresh, self.route) {
            (true, Some(route)) if !route.acr.is_empty() => {
                format!(
                    "by a revocation, or by acr of the route {}, after a weaker login; {remedy}",
                    named(&route.path)
                )
            }
            (true, _) => {
                format!("by a revocation, which wants a fresh login, or by whoever wants another account; {remedy}")
            }
            (false, Some(route)) if route.max_auth_age.is_some() => {
                format!("by max_auth_age of the route {}", named(&route.path))
            }
            (false, _) => format!("by idp.{idp}.max_age"),
        }
    }

    /// The origin of the demand on the way in which the person authenticates.
    fn way_asked_by(&self) -> String {
        match self.route.filter(|route| !route.acr.is_empty()) {
            Some(route) => format!("by acr of the route {}", named(&route.path)),
            None => format!("by idp.{}.acr_values", self.provider.name()),
        }
    }
}

fn named(path: &PathRule) -> String {
    match path {
        PathRule::Exact(path) => format!("= {path}"),
        PathRule::Prefix(path) if path.is_empty() => "/".to_owned(),
        PathRule::Prefix(path) => path.clone(),
    }
}

/// Is true if a provider did not say that somebody signed in as lately as was asked for.
pub(super) fn is_about_auth_time(error: &IdpError) -> bool {
    error.class() == ErrorClass::NotFresh
}

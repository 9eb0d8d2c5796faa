//! Logins that somebody else's page starts: the provider's portal, a link in a mail (OpenID Connect Core 4, R-M06).
//!
//! `GET /sso/login?iss=…&target_link_uri=…&login_hint=…`, or the same by POST. Whoever sent the browser here may say
//! which of our providers is meant, which page of ours, and who is probably signing in: nothing else is taken from
//! them. The login itself is like any other, begun by this broker in this browser.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use http::HeaderMap;
use thiserror::Error;
use url::form_urlencoded::Serializer;

use super::Login;
use crate::idp::Provider;
use crate::web::failure::{Failure, FailureKind};
use crate::web::form;
use crate::web::paths::PATHS;
use crate::web::query::Parameters;
use crate::web::redirect::see_other;
use crate::web::return_to::ReturnTo;

/// The parameters that are read of such a request.
const READ: [&str; 3] = ["iss", "target_link_uri", "login_hint"];

/// The reason that such a login does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum ThirdPartyFault {
    /// None of our providers is called that.
    #[error("`iss` is the issuer of no configured provider")]
    UnknownIssuer,
    /// Refused rather than replaced by the start page: such a link is a mistake that somebody has to hear of, or the
    /// beginning of an attack.
    #[error("`target_link_uri` is no page of this site")]
    ForeignTarget,
}

impl From<ThirdPartyFault> for Failure {
    fn from(fault: ThirdPartyFault) -> Self {
        Failure::caused(FailureKind::BadRequest, fault)
    }
}

impl Login {
    /// The provider and the page that such a request means.
    pub(super) fn third_party_target(
        &self,
        iss: &str,
        query: &Parameters,
    ) -> Result<(&Provider, ReturnTo), ThirdPartyFault> {
        let is_meant = |provider: &&Provider| provider.accepts_issuer(iss);
        let meant = self.providers.iter().find(is_meant).ok_or(ThirdPartyFault::UnknownIssuer)?;
        let target = match query.get("target_link_uri") {
            None => ReturnTo::home(),
            Some(address) => self.own_page(address).ok_or(ThirdPartyFault::ForeignTarget)?,
        };
        // Several clients of one issuer: the one whose people the page admits.
        let fitting = self.providers_for(self.route_behind(&target).as_deref()).into_iter().find(is_meant);
        Ok((fitting.unwrap_or(meant), target))
    }

    /// The page of ours that an absolute address names, by our origin as browsers write it.
    fn own_page(&self, address: &str) -> Option<ReturnTo> {
        match address.strip_prefix(self.public_url.origin())? {
            "" => Some(ReturnTo::home()),
            path => ReturnTo::parse(path, &PATHS),
        }
    }
}

/// `POST /sso/login`: the same as GET (Core 4). The browser sends no `Lax` cookies along with another site's form, so
/// it is sent on to the address, where it does.
///
/// # Errors
/// [`Failure`]: 4xx for a body that is no form, or without `iss`.
pub async fn start_by_form(headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let form = form::read_foreign(&headers, body)?;
    if form.get("iss").is_none() {
        return Err(FailureKind::BadRequest.into());
    }
    let known = READ.into_iter().filter_map(|name| Some((name, form.get(name)?)));
    let query = Serializer::new(String::new()).extend_pairs(known).finish();
    see_other(&format!("/sso/login?{query}"))
}

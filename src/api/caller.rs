//! The callers of the API, and their rights (R-N03).
//!
//! A machine shows a token as `Authorization: Bearer`. A browser shows its session, whose groups decide, and the
//! header `X-CSRF-Token` that only our own pages can know. The `Authorization` header alone decides between them, so
//! neither can be mixed with the other.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::Api;
use crate::audit::{AuditEvent, audit};
use crate::guard::revalidated::{Revalidated, revalidated};
use crate::guard::revalidation::Need;
use crate::guard::session_lookup::look_up;
use crate::session::LiveSession;
use crate::web::csrf;
use crate::web::failure::{Failure, FailureKind, RefusalKind};
use crate::web::request_context::RequestContext;

/// The header that carries the anti-forgery token.
const CSRF_HEADER: &str = "x-csrf-token";
const NO_CSRF_TOKEN: &str = "The header X-CSRF-Token is missing: GET /sso/session gives its value, in the same header.";
const NO_BEARER: &str = "The header Authorization has to say Bearer, a space, and a token.";

/// Somebody who may look at sessions and end them.
#[derive(Debug)]
pub struct Reviewer(pub Caller);

/// Somebody who may change timeouts.
#[derive(Debug)]
pub struct Operator(pub Caller);

/// Somebody who may see timeouts: a reviewer or an operator.
#[derive(Debug)]
pub struct ReviewerOrOperator(pub Caller);

/// Whoever calls, for the audit trail.
#[derive(Debug)]
pub struct Caller {
    /// Their name: of a person, provider and subject.
    pub name: String,
    /// The address that the call comes from.
    pub client: IpAddr,
}

/// A caller's rights.
#[derive(Debug, Clone, Copy, Default)]
struct Rights {
    review: bool,
    operate: bool,
}

impl Api {
    /// The revalidated session behind a request, so that a person who is no reviewer any more is refused.
    async fn vouched_for(&self, headers: &HeaderMap) -> Result<LiveSession, Failure> {
        let found = look_up(&self.reader, &self.cookies, headers).await?;
        let place = (&self.reader, &*self.cookies);
        match revalidated(&self.renewals, place, headers, found, Need::Person).await? {
            Revalidated::Session(_, session) => Ok(session),
            Revalidated::Reauthenticate(..) => Err(RefusalKind::Reauthenticate.into()),
            Revalidated::Anonymous(found) => Err(found.why_not().into()),
        }
    }

    async fn caller(&self, parts: &Parts) -> Result<(Caller, Rights), Failure> {
        let unknown = Ipv4Addr::UNSPECIFIED.into();
        let client = RequestContext::of(&parts.extensions).map_or(unknown, |context| context.address.client);
        let admin = self.rights.load();
        if let Some(authorization) = parts.headers.get(AUTHORIZATION) {
            let token = authorization.to_str().ok().and_then(|value| value.split_once(' '));
            let token =
                token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
            if let Some(name) = token.and_then(|token| admin.tokens.name_of(token)) {
                return Ok((Caller { name, client }, Rights { review: true, operate: true }));
            }
            let denied = denied("a bearer token", parts, client, FailureKind::TokenInvalid);
            return Err(if token.is_some() { denied } else { denied.with_detail(NO_BEARER.into()) });
        }
        let session = self.vouched_for(&parts.headers).await?;
        let identity = &session.record().identity;
        let name = format!("{}:{}", identity.idp, identity.subject);
        if !csrf::is_same_origin(&parts.headers, &self.public_url) {
            return Err(denied(&name, parts, client, FailureKind::CrossSite));
        }
        let token = parts.headers.get(CSRF_HEADER).map(|value| value.to_str().unwrap_or_default());
        if !self.csrf.verify(&session.handle().to_string(), token.unwrap_or_default()) {
            let denied = denied(&name, parts, client, FailureKind::CsrfTokenInvalid);
            return Err(if token.is_some() { denied } else { denied.with_detail(NO_CSRF_TOKEN.into()) });
        }
        let is_believed = admin.idps.is_empty() || admin.idps.contains(&identity.idp);
        let is_in = |groups: &[String]| is_believed && groups.iter().any(|group| identity.groups.contains(group));
        Ok((Caller { name, client }, Rights { review: is_in(&admin.groups), operate: is_in(&admin.ops_groups) }))
    }

    async fn caller_with(&self, parts: &Parts, may: impl Fn(Rights) -> bool) -> Result<Caller, Failure> {
        let (caller, rights) = self.caller(parts).await?;
        if may(rights) {
            Ok(caller)
        } else {
            Err(denied(&caller.name, parts, caller.client, RefusalKind::Forbidden.into()))
        }
    }
}

fn denied(by: &str, parts: &Parts, client: IpAddr, kind: FailureKind) -> Failure {
    audit(&AuditEvent::AdministrationDenied { by, path: parts.uri.path(), client });
    kind.into()
}

impl FromRequestParts<Api> for Reviewer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        api.caller_with(parts, |rights| rights.review).await.map(Self)
    }
}

impl FromRequestParts<Api> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        api.caller_with(parts, |rights| rights.operate).await.map(Self)
    }
}

impl FromRequestParts<Api> for ReviewerOrOperator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        api.caller_with(parts, |rights| rights.review || rights.operate).await.map(Self)
    }
}

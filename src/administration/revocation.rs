//! The words and events of every revocation, by API and terminal alike: what it audits, and what a fresh login means.

use std::net::IpAddr;

use super::durations;
use crate::audit::{AuditEvent, audit};
use crate::session::blocks::{Lifted, Meant};
use crate::session::revocation::{MOST_WRITTEN, Order, Revoked, Selection};

/// The explanation of a fresh login, for reviewers.
pub const FRESH_LOGIN: &str = "A fresh login is asked for: the next session needs a sign-in in which the provider asked \
    who it is, later than this revocation. Providers that do not say when somebody signed in (idp.*.auth_time) are sent \
    prompt=login for that, and nothing proves that they asked.";

/// Writes down an order that means many, which is in force before what came of it is known.
pub fn audit_order(selection: &Selection, order: &Order, client: Option<IpAddr>) {
    let Order { reason, by, .. } = order;
    let block = order.block_for.map(durations::write);
    let (selection, block) = (&selection.to_string(), block.as_deref());
    audit(&AuditEvent::RevocationOrdered { by, selection, reason, block, client });
}

/// Writes down what was ordered, and each session that it ended, unless those are many: also if not all could be done.
pub fn audit_revocation(selection: &Selection, order: &Order, revoked: &Revoked, client: Option<IpAddr>) {
    let Order { reason, by, .. } = order;
    let (matched, ended, complete) =
        (revoked.matched.len(), revoked.ended.len(), revoked.failure.is_none() && !revoked.goes_on);
    let (selection, lifted) = (&selection.to_string(), revoked.blocks.lifted.len());
    let block = order.block_for.map(durations::write);
    let block = block.as_deref();
    audit(&AuditEvent::SessionsRevoked { by, selection, reason, block, lifted, matched, ended, complete, client });
    for session in revoked.ended.iter().copied().filter(|_| ended <= MOST_WRITTEN) {
        audit(&AuditEvent::SessionRevoked { session, by });
    }
}

/// Writes down whose blocks were to be lifted, and how many were: also if not all could be.
pub fn audit_lifted(meant: &Meant, by: &str, reason: &str, lifted: &Lifted, client: Option<IpAddr>) {
    let (selection, complete) = (&meant.to_string(), lifted.failure.is_none());
    let lifted = lifted.lifted.len();
    audit(&AuditEvent::BlocksLifted { by, selection, reason, lifted, complete, client });
}

//! The words and events of every revocation, by API and terminal alike: what it audits, and what a fresh login means.

use std::net::IpAddr;

use time::Duration;

use super::durations;
use crate::audit::{AuditEvent, audit};
use crate::session::blocks::{Lifted, Meant};
use crate::session::revocation::{BlockOrder, Order, Revoked, Selection};

/// The explanation of a fresh login, for reviewers.
pub const FRESH_LOGIN: &str = "A fresh login is asked for: the next session needs a sign-in in which the provider asked \
    who it is, later than this revocation. Providers that do not say when somebody signed in (idp.*.auth_time) are sent \
    prompt=login for that, and nothing proves that they asked.";

/// Reads the length of a block, as API and terminal take it: no length at all lifts what the same words blocked.
pub fn block_order(length: Option<Duration>) -> BlockOrder {
    match length {
        None => BlockOrder::Keep,
        Some(length) if length.is_positive() => BlockOrder::LayDown(length),
        Some(_) => BlockOrder::Lift,
    }
}

fn length(block: BlockOrder) -> Option<String> {
    match block {
        BlockOrder::Keep => None,
        BlockOrder::LayDown(length) => Some(durations::write(length)),
        BlockOrder::Lift => Some(durations::write(Duration::ZERO)),
    }
}

/// Writes down an order that means many, which is in force before what came of it is known.
pub fn audit_order(selection: &Selection, order: &Order, client: Option<IpAddr>) {
    let Order { reason, by, .. } = order;
    let (selection, block) = (&selection.to_string(), length(order.block));
    audit(&AuditEvent::RevocationOrdered { by, selection, reason, block: block.as_deref(), client });
}

/// Writes down what was ordered and what came of it.
pub fn audit_revocation(selection: &Selection, order: &Order, revoked: &Revoked, client: Option<IpAddr>) {
    revoked.audit(selection, &order.by, &order.reason, length(order.block).as_deref(), client);
}

/// Writes down whose blocks were to be lifted, and how many were: also if not all could be.
pub fn audit_lifted(meant: &Meant, by: &str, reason: &str, lifted: &Lifted, client: Option<IpAddr>) {
    let (selection, complete) = (&meant.to_string(), lifted.failure.is_none());
    let lifted = lifted.lifted.len();
    audit(&AuditEvent::BlocksLifted { by, selection, reason, lifted, complete, client });
}

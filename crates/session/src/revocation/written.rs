//! The audit events of what came of an order, whoever gave it and whoever carried it out.

use std::net::IpAddr;

use super::{Revoked, Selection};
use crate::audit::{AuditEvent, audit};

/// Most sessions that are written down one by one: an order that ends more is one line.
const MOST_WRITTEN: usize = 1_000;

impl Revoked {
    /// Writes down whose sessions were to end, and each session that did, unless those are many: also if not all could be
    /// done.
    pub fn audit(&self, selection: &Selection, by: &str, reason: &str, block: Option<&str>, client: Option<IpAddr>) {
        let (matched, ended) = (self.matched.len(), self.ended.len());
        let (lifted, complete) = (self.blocks.lifted.len(), self.failure.is_none() && !self.goes_on);
        let selection = &selection.to_string();
        audit(&AuditEvent::SessionsRevoked { by, selection, reason, block, lifted, matched, ended, complete, client });
        for session in self.ended.iter().copied().filter(|_| ended <= MOST_WRITTEN) {
            audit(&AuditEvent::SessionRevoked { session, by });
        }
    }
}

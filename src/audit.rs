//! The audit trail: who signed in, who was refused, whose session ended (R-O02).
//!
//! One writer, [`audit`]: structured events under the log target `audit`, so that operators can keep them
//! apart. Handles name sessions; secrets never come here.

use std::net::IpAddr;

use crate::session::LiveSession;
use crate::session::key::SessionHandle;
use crate::telemetry::Printable;

/// Something that a security review asks for.
#[derive(Debug)]
pub enum AuditEvent<'a> {
    /// A login was completed.
    LoginCompleted {
        /// The new session.
        session: SessionHandle,
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// Where the login came from.
        client: IpAddr,
    },
    /// A login was not completed.
    LoginFailed {
        /// The provider's configured name.
        idp: &'a str,
        /// Why, without anything the provider or the browser wrote.
        reason: &'a str,
        /// Where the login came from.
        client: IpAddr,
    },
    /// Somebody signed out.
    LoggedOut {
        /// The session that ended.
        session: SessionHandle,
        /// The provider's name for the person.
        subject: &'a str,
    },
    /// Somebody with a session was not allowed to pass.
    AccessDenied {
        /// The caller's session.
        session: Option<&'a LiveSession>,
        /// What they asked for.
        path: &'a str,
    },
    /// A configuration was loaded.
    ConfigurationLoaded {
        /// How many providers it has.
        idps: usize,
        /// How many routes it has.
        routes: usize,
    },
}

/// Writes an event.
pub fn audit(event: &AuditEvent<'_>) {
    match event {
        AuditEvent::LoginCompleted { session, idp, subject, client } => {
            let subject = Printable(subject);
            tracing::info!(target: "audit", event = "login_completed", %session, idp, %subject, %client);
        }
        AuditEvent::LoginFailed { idp, reason, client } => {
            let (idp, reason) = (Printable(idp), Printable(reason));
            tracing::warn!(target: "audit", event = "login_failed", %idp, %reason, %client);
        }
        AuditEvent::LoggedOut { session, subject } => {
            tracing::info!(target: "audit", event = "logged_out", %session, subject = %Printable(subject));
        }
        AuditEvent::AccessDenied { session: caller, path } => {
            let session = caller.map(|session| session.handle().to_string());
            let subject = caller.map(|session| session.record().identity.subject.as_str()).unwrap_or_default();
            let (subject, path) = (Printable(subject), Printable(path));
            tracing::warn!(target: "audit", event = "access_denied", session, %subject, %path);
        }
        AuditEvent::ConfigurationLoaded { idps, routes } => {
            tracing::info!(target: "audit", event = "configuration_loaded", idps, routes);
        }
    }
}

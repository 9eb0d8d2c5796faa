//! The audit trail: who signed in, who was refused, whose session ended (R-O02).
//!
//! One writer, [`audit`]: structured events under the log target `audit`, so that operators can keep them
//! apart. Handles name sessions; secrets never come here.

use std::fmt;
use std::net::IpAddr;

use counterfoil_core::printable::Printable;

use crate::LiveSession;
use crate::key::SessionHandle;

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
        /// The number of groups that the provider named.
        groups: usize,
        /// Set if the provider named an e-mail address that counts for nothing, because it does not vouch for it.
        address_dropped: bool,
        /// The address that the login came from.
        client: IpAddr,
    },
    /// A login was not completed.
    LoginFailed {
        /// The provider's configured name.
        idp: &'a str,
        /// The reason; with the one that was given, marked with whose word it is.
        reason: &'a str,
        /// Set if nothing but the browser's word stands behind it.
        by_browser: bool,
        /// The address that the login came from.
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
        /// The path they asked for.
        path: &'a str,
        /// The route that covers it, as the configuration writes it.
        route: &'a str,
        /// The route's demand.
        rule: &'a str,
        /// Everything about the person that a rule looks at, in the same words.
        has: &'a str,
    },
    /// A session that is bound to its browser was presented by another one.
    BindingMismatch {
        /// The session.
        session: &'a LiveSession,
    },
    /// A reviewer looked at sessions.
    SessionsViewed {
        /// The reviewer.
        by: &'a str,
        /// The request, in words.
        what: &'a str,
        /// The address they came from.
        client: IpAddr,
    },
    /// One session that a reviewer ended.
    SessionRevoked {
        /// The session.
        session: SessionHandle,
        /// The reviewer who ended it.
        by: &'a str,
    },
    /// A reviewer ended sessions.
    SessionsRevoked {
        /// The reviewer.
        by: &'a str,
        /// The sessions they meant.
        selection: &'a str,
        /// The reason, in their words.
        reason: &'a str,
        /// The time for which the persons concerned may have no session; nothing if no block was ordered.
        block: Option<&'a str>,
        /// The number of blocks that this lifted.
        lifted: usize,
        /// The number of sessions that there were.
        matched: usize,
        /// The number of them that this ended.
        ended: usize,
        /// Set if all was done that was ordered.
        complete: bool,
        /// The address they came from; `None` at a terminal.
        client: Option<IpAddr>,
    },
    /// A reviewer let persons back in who were blocked.
    BlocksLifted {
        /// The reviewer.
        by: &'a str,
        /// The blocks they meant.
        selection: &'a str,
        /// The reason, in their words.
        reason: &'a str,
        /// The number of blocks that this lifted.
        lifted: usize,
        /// Set if all was done that was ordered.
        complete: bool,
        /// The address they came from; `None` at a terminal.
        client: Option<IpAddr>,
    },
    /// An operator changed the timeouts.
    TimeoutsChanged {
        /// The operator.
        by: &'a str,
        /// The new timeouts.
        timeouts: &'a str,
        /// Set if the store surely took it; if not, it may have.
        complete: bool,
        /// The address they came from.
        client: IpAddr,
    },
    /// Somebody was refused by the administration API.
    AdministrationDenied {
        /// The caller's name, as far as they said.
        by: &'a str,
        /// The path they asked for.
        path: &'a str,
        /// The address they came from.
        client: IpAddr,
    },
    /// Somebody proved who they are and got no session all the same.
    SessionRefused {
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason.
        reason: &'a str,
        /// The address that the login came from.
        client: IpAddr,
    },
    /// The provider no longer confirms a person: their session ended.
    RenewalRefused {
        /// The session.
        session: SessionHandle,
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason; with the one that the provider gave.
        reason: &'a str,
    },
    /// A session could not be renewed with its provider, and lives on.
    RenewalFailed {
        /// The session.
        session: SessionHandle,
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason; with the one that the provider gave.
        reason: &'a str,
    },
    /// A provider said that sessions are over.
    ProviderEnded {
        /// The provider's configured name.
        idp: &'a str,
        /// The way it said so.
        way: NoticeWay,
        /// The sessions it meant.
        selection: &'a str,
        /// The provider's word, in our words.
        reason: &'a str,
        /// The number of sessions that this ended.
        ended: usize,
        /// Set if all was done.
        complete: bool,
        /// The address it came from; for a front-channel logout, the browser's.
        client: IpAddr,
    },
    /// Something that claims to be a provider's word was not believed.
    ProviderNoticeRefused {
        /// The provider's configured name.
        idp: &'a str,
        /// The way it came.
        way: NoticeWay,
        /// The reason, without anything the sender wrote.
        reason: &'a str,
        /// The address it came from.
        client: IpAddr,
        /// The number of those refused before it that have no event of their own.
        unsaid: u64,
    },
    /// A provider's metadata name another host for an endpoint than before.
    EndpointMoved {
        /// The provider's configured name.
        idp: &'a str,
        /// The endpoint, by its name in the metadata.
        endpoint: &'a str,
        /// Its origin before (scheme, host and port); `None` if it is new.
        from: Option<&'a str>,
        /// Its origin now, as the metadata say.
        to: &'a str,
        /// Set if that was taken over, because somebody who may said so; refused otherwise.
        confirmed: bool,
    },
    /// A configuration was loaded.
    ConfigurationLoaded {
        /// The number of providers it has.
        idps: usize,
        /// The number of routes it has.
        routes: usize,
    },
}

/// The way in which a provider says that a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeWay {
    /// A logout token.
    BackChannel,
    /// A call through the person's browser.
    FrontChannel,
    /// A security event token.
    SecurityEvent,
}

impl fmt::Display for NoticeWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BackChannel => "back_channel",
            Self::FrontChannel => "front_channel",
            Self::SecurityEvent => "security_event",
        })
    }
}

/// Writes an event.
pub fn audit(event: &AuditEvent<'_>) {
    match event {
        AuditEvent::LoginCompleted { session, idp, subject, groups, address_dropped, client } => {
            let subject = Printable(subject);
            tracing::info!(
                target: "audit", event = "login_completed", %session, idp, %subject, groups, address_dropped, %client
            );
        }
        AuditEvent::LoginFailed { idp, reason, by_browser, client } => {
            let (idp, reason) = (Printable(idp), Printable(reason));
            // An event that anybody can make up rouses nobody.
            if *by_browser {
                tracing::info!(target: "audit", event = "login_failed", %idp, %reason, by_browser, %client);
            } else {
                tracing::warn!(target: "audit", event = "login_failed", %idp, %reason, by_browser, %client);
            }
        }
        AuditEvent::LoggedOut { session, subject } => {
            tracing::info!(target: "audit", event = "logged_out", %session, subject = %Printable(subject));
        }
        AuditEvent::AccessDenied { session: caller, path, route, rule, has } => {
            let session = caller.map(|session| session.handle().to_string());
            let subject = caller.map(|session| session.record().identity.subject.as_str()).unwrap_or_default();
            let (subject, path, route) = (Printable(subject), Printable(path), Printable(route));
            let (rule, has) = (Printable(rule), Printable(has));
            tracing::warn!(target: "audit", event = "access_denied", session, %subject, %path, %route, %rule, %has);
        }
        AuditEvent::SessionRefused { idp, subject, reason, client } => {
            let (idp, subject, reason) = (Printable(idp), Printable(subject), Printable(reason));
            tracing::warn!(target: "audit", event = "session_refused", %idp, %subject, %reason, %client);
        }
        AuditEvent::BindingMismatch { session: live } => {
            let (session, subject) = (live.handle(), Printable(&live.record().identity.subject));
            tracing::warn!(target: "audit", event = "binding_mismatch", %session, %subject);
        }
        AuditEvent::SessionsViewed { by, what, client } => {
            let (by, what) = (Printable(by), Printable(what));
            tracing::info!(target: "audit", event = "sessions_viewed", %by, %what, %client);
        }
        AuditEvent::SessionRevoked { session, by } => {
            tracing::warn!(target: "audit", event = "session_revoked", %session, by = %Printable(by));
        }
        AuditEvent::SessionsRevoked { by, selection, reason, block, lifted, matched, ended, complete, client } => {
            let (by, selection, reason) = (Printable(by), Printable(selection), Printable(reason));
            let client = client.map(|client| client.to_string());
            tracing::warn!(
                target: "audit", event = "sessions_revoked", %by, %selection, %reason, block, lifted, matched, ended,
                complete, client
            );
        }
        AuditEvent::BlocksLifted { by, selection, reason, lifted, complete, client } => {
            let (by, selection, reason) = (Printable(by), Printable(selection), Printable(reason));
            let client = client.map(|client| client.to_string());
            tracing::warn!(
                target: "audit", event = "blocks_lifted", %by, %selection, %reason, lifted, complete, client
            );
        }
        AuditEvent::TimeoutsChanged { by, timeouts, complete, client } => {
            let (by, timeouts) = (Printable(by), Printable(timeouts));
            tracing::warn!(target: "audit", event = "timeouts_changed", %by, %timeouts, complete, %client);
        }
        AuditEvent::AdministrationDenied { by, path, client } => {
            let (by, path) = (Printable(by), Printable(path));
            tracing::warn!(target: "audit", event = "administration_denied", %by, %path, %client);
        }
        AuditEvent::RenewalRefused { session, idp, subject, reason } => {
            let (subject, reason) = (Printable(subject), Printable(reason));
            tracing::warn!(target: "audit", event = "renewal_refused", %session, idp, %subject, %reason);
        }
        AuditEvent::RenewalFailed { session, idp, subject, reason } => {
            let (subject, reason) = (Printable(subject), Printable(reason));
            tracing::warn!(target: "audit", event = "renewal_failed", %session, idp, %subject, %reason);
        }
        AuditEvent::ProviderEnded { idp, way, selection, reason, ended, complete, client } => {
            let (idp, selection, reason) = (Printable(idp), Printable(selection), Printable(reason));
            // A notice that follows a logout by itself is everyday life; so is word of a session that is over already.
            if *complete && (*way != NoticeWay::SecurityEvent || *ended == 0) {
                tracing::info!(
                    target: "audit", event = "provider_ended", %idp, %way, %selection, %reason, ended, complete, %client
                );
            } else {
                tracing::warn!(
                    target: "audit", event = "provider_ended", %idp, %way, %selection, %reason, ended, complete, %client
                );
            }
        }
        AuditEvent::ProviderNoticeRefused { idp, way, reason, client, unsaid } => {
            let (idp, reason) = (Printable(idp), Printable(reason));
            tracing::warn!(target: "audit", event = "provider_notice_refused", %idp, %way, %reason, %client, unsaid);
        }
        AuditEvent::EndpointMoved { idp, endpoint, from, to, confirmed } => {
            let (from, to) = (Printable(from.unwrap_or("nowhere")), Printable(to));
            let event = if *confirmed { "endpoint_moved" } else { "endpoint_move_refused" };
            tracing::warn!(target: "audit", event, idp, endpoint, %from, %to);
        }
        AuditEvent::ConfigurationLoaded { idps, routes } => {
            tracing::info!(target: "audit", event = "configuration_loaded", idps, routes);
        }
    }
}

//! The audit trail: who signed in, who was refused, whose session ended (R-O02).
//!
//! Each event is written once, in the list below: its name, its fields, their types. From that list come the type
//! [`AuditEvent`], its serialized form (tagged with `event`) and its line in the log, under the target `audit` so that
//! operators can keep the lines apart. Handles name sessions; secrets never come here.

use std::fmt;
use std::net::IpAddr;

use counterfoil_core::printable::Printable;
use serde::Serialize;
use tracing::Level;
use tracing::field::{DisplayValue, display};

use crate::key::SessionHandle;

/// Makes the type of all events and the writer of their lines from one list.
macro_rules! events {
    ($($(#[$about:meta])* $event:ident = $name:literal { $($(#[$what:meta])* $field:ident: $kind:ty,)* })*) => {
        /// Something that a security review asks for.
        #[derive(Debug, Clone, Copy, Serialize)]
        #[serde(tag = "event")]
        #[non_exhaustive]
        pub enum AuditEvent<'a> {$(
            $(#[$about])*
            #[serde(rename = $name)]
            $event {$(
                $(#[$what])*
                $field: $kind,
            )*},
        )*}

        /// Writes an event.
        pub fn audit(event: &AuditEvent<'_>) {
            let is_warning = event.level() == Level::WARN;
            match event {$(
                AuditEvent::$event { $($field),* } => if is_warning {
                    tracing::warn!(target: "audit", event = $name, $($field = $field.logged()),*);
                } else {
                    tracing::info!(target: "audit", event = $name, $($field = $field.logged()),*);
                }
            )*}
        }
    };
}

events! {
    /// A login was completed.
    LoginCompleted = "login_completed" {
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
    }
    /// A login was not completed.
    LoginFailed = "login_failed" {
        /// The provider's configured name.
        idp: &'a str,
        /// The reason; with the one that was given, marked with whose word it is.
        reason: &'a str,
        /// Set if nothing but the browser's word stands behind it.
        by_browser: bool,
        /// The address that the login came from.
        client: IpAddr,
    }
    /// Somebody signed out.
    LoggedOut = "logged_out" {
        /// The session that ended.
        session: SessionHandle,
        /// The provider's name for the person.
        subject: &'a str,
    }
    /// Somebody with a session was not allowed to pass.
    AccessDenied = "access_denied" {
        /// The caller's session.
        session: Option<SessionHandle>,
        /// The provider's name for the person; empty without a session.
        subject: &'a str,
        /// The path they asked for.
        path: &'a str,
        /// The route that covers it, as the configuration writes it.
        route: &'a str,
        /// The route's demand.
        rule: &'a str,
        /// Everything about the person that a rule looks at, in the same words.
        has: &'a str,
    }
    /// A session that is bound to its browser was presented by another one.
    BindingMismatch = "binding_mismatch" {
        /// The session.
        session: SessionHandle,
        /// The provider's name for the person.
        subject: &'a str,
    }
    /// A reviewer looked at sessions.
    SessionsViewed = "sessions_viewed" {
        /// The reviewer.
        by: &'a str,
        /// The request, in words.
        what: &'a str,
        /// The address they came from.
        client: IpAddr,
    }
    /// A reviewer gave an order that means many; it is in force.
    RevocationOrdered = "revocation_ordered" {
        /// The reviewer.
        by: &'a str,
        /// The sessions they mean.
        selection: &'a str,
        /// The reason, in their words.
        reason: &'a str,
        /// The time for which the persons concerned may have no session; nothing if no block was ordered.
        block: Option<&'a str>,
        /// The reviewer's address, if it is known.
        client: Option<IpAddr>,
    }
    /// One session that a reviewer ended.
    SessionRevoked = "session_revoked" {
        /// The session.
        session: SessionHandle,
        /// The reviewer who ended it.
        by: &'a str,
    }
    /// A reviewer ended sessions.
    SessionsRevoked = "sessions_revoked" {
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
    }
    /// A reviewer let persons back in who were blocked.
    BlocksLifted = "blocks_lifted" {
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
    }
    /// An operator changed the timeouts.
    TimeoutsChanged = "timeouts_changed" {
        /// The operator.
        by: &'a str,
        /// The new timeouts.
        timeouts: &'a str,
        /// Set if the store surely took it; if not, it may have.
        complete: bool,
        /// The address they came from.
        client: IpAddr,
    }
    /// Somebody was refused by the administration API.
    AdministrationDenied = "administration_denied" {
        /// The caller's name, as far as they said.
        by: &'a str,
        /// The path they asked for.
        path: &'a str,
        /// The address they came from.
        client: IpAddr,
    }
    /// Somebody proved who they are and got no session all the same.
    SessionRefused = "session_refused" {
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason.
        reason: &'a str,
        /// The address that the login came from.
        client: IpAddr,
    }
    /// The provider no longer confirms a person: their session ended.
    RenewalRefused = "renewal_refused" {
        /// The session.
        session: SessionHandle,
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason; with the one that the provider gave.
        reason: &'a str,
    }
    /// A session could not be renewed with its provider, and lives on.
    RenewalFailed = "renewal_failed" {
        /// The session.
        session: SessionHandle,
        /// The provider's configured name.
        idp: &'a str,
        /// The provider's name for the person.
        subject: &'a str,
        /// The reason; with the one that the provider gave.
        reason: &'a str,
    }
    /// A provider said that sessions are over.
    ProviderEnded = "provider_ended" {
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
    }
    /// Something that claims to be a provider's word was not believed.
    ProviderNoticeRefused = "provider_notice_refused" {
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
    }
    /// A provider's metadata name another host for an endpoint than before, and somebody who may has confirmed it.
    EndpointMoved = "endpoint_moved" {
        /// The provider's configured name.
        idp: &'a str,
        /// The endpoint, by its name in the metadata.
        endpoint: &'a str,
        /// Its origin before (scheme, host and port); `nowhere` if it is new.
        from: &'a str,
        /// Its origin now, as the metadata say.
        to: &'a str,
    }
    /// A provider's metadata name another host for an endpoint than before, which nobody has confirmed.
    EndpointMoveRefused = "endpoint_move_refused" {
        /// The provider's configured name.
        idp: &'a str,
        /// The endpoint, by its name in the metadata.
        endpoint: &'a str,
        /// Its origin before (scheme, host and port); `nowhere` if it is new.
        from: &'a str,
        /// The origin that the metadata name.
        to: &'a str,
    }
    /// A configuration was loaded.
    ConfigurationLoaded = "configuration_loaded" {
        /// The number of providers it has.
        idps: usize,
        /// The number of routes it has.
        routes: usize,
    }
}

impl AuditEvent<'_> {
    /// Returns the level of the event's line.
    const fn level(&self) -> Level {
        match self {
            Self::LoginCompleted { .. }
            | Self::LoggedOut { .. }
            | Self::SessionsViewed { .. }
            | Self::ConfigurationLoaded { .. }
            // An event that anybody can make up alerts nobody.
            | Self::LoginFailed { by_browser: true, .. }
            // A notice that follows a logout by itself is routine; so is one about a session that is over already.
            | Self::ProviderEnded { way: NoticeWay::BackChannel | NoticeWay::FrontChannel, complete: true, .. }
            | Self::ProviderEnded { ended: 0, complete: true, .. } => Level::INFO,
            _ => Level::WARN,
        }
    }
}

/// The way in which a provider says that a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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

/// A field of an event, as the log takes it: numbers and flags as they are, all else as text; `None` is left out.
trait Logged {
    type Value<'v>: tracing::Value
    where
        Self: 'v;

    fn logged(&self) -> Self::Value<'_>;
}

/// Text may come from outside.
impl Logged for &str {
    type Value<'v>
        = DisplayValue<Printable<'v>>
    where
        Self: 'v;

    fn logged(&self) -> Self::Value<'_> {
        display(Printable(self))
    }
}

impl<T: Logged> Logged for Option<T> {
    type Value<'v>
        = Option<T::Value<'v>>
    where
        Self: 'v;

    fn logged(&self) -> Self::Value<'_> {
        self.as_ref().map(Logged::logged)
    }
}

macro_rules! logged {
    (as text: $($text:ty),+; as is: $($value:ty),+) => {
        $(impl Logged for $text {
            type Value<'v> = DisplayValue<Self>;

            fn logged(&self) -> Self::Value<'_> {
                display(*self)
            }
        })+
        $(impl Logged for $value {
            type Value<'v> = Self;

            fn logged(&self) -> Self::Value<'_> {
                *self
            }
        })+
    };
}

logged!(as text: SessionHandle, IpAddr, NoticeWay; as is: bool, usize, u64);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::key::SessionKey;

    type Line = (Level, BTreeMap<String, Value>);

    /// A subscriber that keeps the fields of each line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Line>>>);

    struct Fields(BTreeMap<String, Value>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}").into());
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.into());
        }

        fn record_bool(&mut self, field: &Field, value: bool) {
            self.0.insert(field.name().to_owned(), value.into());
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "audit"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push((*event.metadata().level(), fields.0));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn line_of(event: &AuditEvent<'_>) -> Line {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || audit(event));
        let mut lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn the_line_of_an_event_has_the_fields_of_its_serialized_form() {
        let (session, client) = (SessionKey::generate().handle(), IpAddr::from(Ipv4Addr::LOCALHOST));
        let (by, reason, selection) = ("carol", "lost laptop", "user bob");
        let (block, lifted, matched, ended, complete) = (None, 1, 3, 2, true);
        let client_of = Some(client);
        let events = [
            AuditEvent::LoginCompleted { session, idp: "a", subject: "b", groups: 2, address_dropped: true, client },
            AuditEvent::AccessDenied { session: None, subject: "", path: "/", route: "/", rule: "r", has: "h" },
            AuditEvent::SessionsRevoked {
                by,
                selection,
                reason,
                block,
                lifted,
                matched,
                ended,
                complete,
                client: client_of,
            },
            AuditEvent::ProviderNoticeRefused { idp: "a", way: NoticeWay::FrontChannel, reason, client, unsaid: 7 },
        ];
        for event in events {
            let Value::Object(serialized) = serde_json::to_value(event).unwrap() else { panic!("no object") };
            let serialized: BTreeMap<_, _> = serialized.into_iter().filter(|(_, value)| !value.is_null()).collect();
            let (_, line) = line_of(&event);
            assert_eq!(line, serialized);
        }
    }

    #[test]
    fn text_from_outside_is_printable_in_the_line() {
        let event = AuditEvent::LoggedOut { session: SessionKey::generate().handle(), subject: "a\nb" };
        assert_eq!(line_of(&event).1["subject"], "a\\u{a}b");
    }

    #[test]
    fn routine_is_information_and_the_rest_a_warning() {
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        let failed = |by_browser| AuditEvent::LoginFailed { idp: "a", reason: "r", by_browser, client };
        let ended = |way, ended, complete| {
            let (idp, selection, reason) = ("a", "s", "r");
            AuditEvent::ProviderEnded { idp, way, selection, reason, ended, complete, client }
        };
        let information = [
            failed(true),
            ended(NoticeWay::BackChannel, 1, true),
            ended(NoticeWay::FrontChannel, 1, true),
            ended(NoticeWay::SecurityEvent, 0, true),
            AuditEvent::ConfigurationLoaded { idps: 1, routes: 1 },
        ];
        for event in information {
            assert_eq!(line_of(&event).0, Level::INFO, "{event:?}");
        }
        let warnings = [
            failed(false),
            ended(NoticeWay::BackChannel, 1, false),
            ended(NoticeWay::SecurityEvent, 1, true),
            ended(NoticeWay::SecurityEvent, 0, false),
            AuditEvent::SessionRevoked { session: SessionKey::generate().handle(), by: "carol" },
        ];
        for event in warnings {
            assert_eq!(line_of(&event).0, Level::WARN, "{event:?}");
        }
    }
}

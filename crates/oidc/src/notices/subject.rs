//! The subject of a security event (RFC 9493, and the complex subjects of the Shared Signals Framework).
//!
//! Pure. The subject may be widened: devices are not known here, so an event about a person's device is about the
//! person. An unknown format, or a person of another issuer, is none of ours.

use serde_json::{Map, Value};

use crate::notices::event_type::EventType;
use crate::verification::fault::JwtFault;
use crate::verification::registered_claims::optional_text;

/// The people or sessions of an event, by the provider's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// Everything of one person.
    Person {
        /// The person's issuer.
        issuer: String,
        /// The issuer's name for them.
        subject: String,
    },
    /// All sessions of the people with this verified address.
    Address {
        /// The issuer whose people are meant.
        issuer: String,
        /// The address.
        email: String,
    },
    /// One session at the provider, and whose it is, if that is said as well.
    ProviderSession {
        /// The session's issuer.
        issuer: String,
        /// The issuer's name for it.
        sid: String,
        /// The issuer's name for the person.
        subject: Option<String>,
    },
}

/// The thing that one identifier names.
enum Named {
    /// Somebody who may be ours.
    Ours(Meant),
    /// Somebody of another issuer.
    Foreign,
    /// It is of a format that says nothing to us.
    Unknown,
}

/// The kind of thing that an identifier without further context names.
#[derive(Debug, Clone, Copy)]
enum Role {
    Person,
    Session,
}

/// Most names that one subject may have; each of them may be looked for.
const MOST_ALIASES: usize = 16;

/// Reads a subject identifier and returns every subject of ours that it may mean. `is_ours` accepts the issuers of our
/// people; an identifier without an issuer may belong to any of `unnamed`.
pub(crate) fn read(
    value: &Value,
    is_ours: impl Fn(&str) -> bool,
    unnamed: &[String],
    event_type: EventType,
) -> Result<Vec<Meant>, JwtFault> {
    let mut everybody = Vec::new();
    for identifier in aliases(object(value)?)? {
        let read = unnamed.iter().map(|unnamed| read_one(identifier, &is_ours, unnamed, event_type));
        let (fitting, faults): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        // A user and a session may belong to different people under one issuer, and to the same person under another.
        if let (Some(Err(fault)), true) = (faults.into_iter().next(), fitting.is_empty()) {
            return Err(fault);
        }
        for meant in fitting.into_iter().flatten().flatten() {
            if !everybody.contains(&meant) {
                everybody.push(meant);
            }
        }
    }
    Ok(everybody)
}

/// Returns the names of one subject (RFC 9493 3.2.8), which have none themselves.
fn aliases(identifier: &Map<String, Value>) -> Result<Vec<&Map<String, Value>>, JwtFault> {
    const ALIASES: Option<&str> = Some("aliases");
    if format(identifier)? != ALIASES {
        return Ok(vec![identifier]);
    }
    let names = identifier.get("identifiers").and_then(Value::as_array).ok_or(FAULT)?;
    if names.is_empty() || names.len() > MOST_ALIASES {
        return Err(FAULT);
    }
    let name = |name| object(name).and_then(|name| if format(name)? == ALIASES { Err(FAULT) } else { Ok(name) });
    names.iter().map(name).collect()
}

/// Reads one name of a subject; `None` if it is none of ours.
fn read_one(
    identifier: &Map<String, Value>,
    is_ours: impl Fn(&str) -> bool,
    unnamed: &str,
    event_type: EventType,
) -> Result<Option<Meant>, JwtFault> {
    let simple = |identifier: &Map<String, Value>, role| simple(identifier, &is_ours, unnamed, role);
    let part = |name: &str| identifier.get(name).map(object).transpose();
    let (user, session) = (part("user")?, part("session")?);
    let is_complex = format(identifier)?.is_none_or(|format| format == "complex");
    if !is_complex {
        // A revoked session is named by itself; a credential belongs to a person.
        let role = match event_type {
            EventType::SessionRevoked => Role::Session,
            EventType::CredentialChange => Role::Person,
        };
        return Ok(match simple(identifier, role)? {
            Named::Ours(meant) => Some(meant),
            Named::Foreign | Named::Unknown => None,
        });
    }
    if user.is_none() && session.is_none() && format(identifier)?.is_none() {
        return Err(FAULT);
    }
    let session = session.map(|session| simple(session, Role::Session)).transpose()?;
    let user = user.map(|user| simple(user, Role::Person)).transpose()?;
    match (user, session) {
        // A person or a session that is none of ours.
        (Some(Named::Foreign | Named::Unknown), _)
        | (_, Some(Named::Foreign))
        | (None, Some(Named::Unknown) | None) => Ok(None),
        (Some(Named::Ours(user)), Some(Named::Unknown) | None) => Ok(Some(user)),
        (None, Some(Named::Ours(session))) => Ok(Some(session)),
        (Some(Named::Ours(user)), Some(Named::Ours(session))) => both(user, session, event_type).map(Some),
    }
}

/// Joins a user and a session, which must belong to the same person.
fn both(user: Meant, session: Meant, event_type: EventType) -> Result<Meant, JwtFault> {
    match (user, session) {
        (Meant::Person { issuer, subject }, Meant::ProviderSession { sid, .. }) => Ok(match event_type {
            EventType::SessionRevoked => Meant::ProviderSession { issuer, sid, subject: Some(subject) },
            // A new credential concerns each of the person's sessions.
            EventType::CredentialChange => Meant::Person { issuer, subject },
        }),
        // An address does not prove whose the session is, so all sessions of the person are meant.
        (user @ Meant::Address { .. }, Meant::ProviderSession { .. }) => Ok(user),
        (user, session) if user == session => Ok(user),
        _ => Err(FAULT),
    }
}

const FAULT: JwtFault = JwtFault::Claim("sub_id");

fn simple(
    identifier: &Map<String, Value>,
    is_ours: impl Fn(&str) -> bool,
    unnamed: &str,
    role: Role,
) -> Result<Named, JwtFault> {
    let member = |name: &str| match optional_text(identifier, name, FAULT)? {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(FAULT),
    };
    let issuer = unnamed.to_owned();
    Ok(match (format(identifier)?.ok_or(FAULT)?, role) {
        ("iss_sub", _) => {
            let (issuer, subject) = (member("iss")?, member("sub")?);
            if is_ours(&issuer) { Named::Ours(Meant::Person { issuer, subject }) } else { Named::Foreign }
        }
        ("opaque", Role::Person) => Named::Ours(Meant::Person { issuer, subject: member("id")? }),
        ("opaque", Role::Session) => Named::Ours(Meant::ProviderSession { issuer, sid: member("id")?, subject: None }),
        ("email", _) => Named::Ours(Meant::Address { issuer, email: member("email")? }),
        _ => Named::Unknown,
    })
}

/// Returns the identifier's format; early drafts called it `subject_type`.
fn format(identifier: &Map<String, Value>) -> Result<Option<&str>, JwtFault> {
    match optional_text(identifier, "format", FAULT)? {
        Some(format) => Ok(Some(format)),
        None => optional_text(identifier, "subject_type", FAULT),
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, JwtFault> {
    value.as_object().ok_or(FAULT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const IDP: &str = "https://idp.example.test";

    /// One line a case.
    #[test]
    fn subject_identifiers_name_persons_addresses_and_sessions() {
        use EventType::{CredentialChange, SessionRevoked};
        let issuer = || IDP.to_owned();
        let person = || Some(Meant::Person { issuer: issuer(), subject: "a".into() });
        let address = || Some(Meant::Address { issuer: issuer(), email: "a@example.com".into() });
        let email = || json!({ "format": "email", "email": "a@example.com" });
        let session = |subject: Option<&str>| {
            Some(Meant::ProviderSession { issuer: issuer(), sid: "s".into(), subject: subject.map(Into::into) })
        };
        let foreign = || json!({ "format": "iss_sub", "iss": "https://evil.example", "sub": "a" });
        let iss_sub = || json!({ "format": "iss_sub", "iss": IDP, "sub": "a" });
        let opaque = |id: &str| json!({ "format": "opaque", "id": id });
        let aliases = |identifiers: Value| json!({ "format": "aliases", "identifiers": identifiers });
        for (event_type, identifier, meant) in [
            (SessionRevoked, iss_sub(), person()),
            (SessionRevoked, foreign(), None),
            (SessionRevoked, opaque("s"), session(None)),
            (CredentialChange, opaque("a"), person()),
            (SessionRevoked, email(), address()),
            (SessionRevoked, json!({ "format": "phone_number", "phone_number": "+1" }), None),
            (SessionRevoked, json!({ "format": "complex", "user": iss_sub() }), person()),
            (SessionRevoked, json!({ "user": iss_sub(), "session": opaque("s") }), session(Some("a"))),
            (SessionRevoked, json!({ "format": "complex", "session": opaque("s") }), session(None)),
            (SessionRevoked, json!({ "user": iss_sub(), "device": opaque("d") }), person()),
            (SessionRevoked, json!({ "user": { "format": "did", "url": "x" }, "session": opaque("s") }), None),
            (SessionRevoked, json!({ "format": "complex", "device": opaque("d") }), None),
            (SessionRevoked, json!({ "user": iss_sub(), "session": foreign() }), None),
            (SessionRevoked, json!({ "user": foreign(), "session": opaque("s") }), None),
            (SessionRevoked, json!({ "user": iss_sub(), "session": iss_sub() }), person()),
            (SessionRevoked, json!({ "user": email(), "session": opaque("s") }), address()),
            (CredentialChange, json!({ "user": iss_sub(), "session": opaque("s") }), person()),
            (CredentialChange, json!({ "session": opaque("s") }), session(None)),
            (SessionRevoked, aliases(json!([foreign(), { "format": "account", "uri": "acct:a@x" }])), None),
            (SessionRevoked, aliases(json!([foreign(), iss_sub(), iss_sub()])), person()),
            (SessionRevoked, json!({ "user": aliases(json!([iss_sub()])) }), None),
        ] {
            let read = read(&identifier, |said| said == IDP, &[issuer()], event_type);
            assert_eq!(read, Ok(meant.into_iter().collect()), "{event_type:?} {identifier}");
        }
        for broken in [
            json!("a"),
            json!({}),
            json!({ "format": 1 }),
            json!({ "format": "iss_sub", "iss": IDP }),
            json!({ "format": "iss_sub", "iss": IDP, "sub": 1 }),
            json!({ "format": "opaque", "id": "" }),
            json!({ "format": "email", "email": ["a@example.com"] }),
            json!({ "user": "a" }),
            json!({ "user": {} }),
            aliases(json!([])),
            aliases(json!(["a"])),
            aliases(json!([iss_sub(), aliases(json!([iss_sub()]))])),
            aliases(vec![iss_sub(); MOST_ALIASES + 1].into()),
            json!({ "format": "aliases" }),
            // Two people, or what may be two people.
            json!({ "user": iss_sub(), "session": { "format": "iss_sub", "iss": IDP, "sub": "b" } }),
            json!({ "user": email(), "session": iss_sub() }),
            json!({ "user": iss_sub(), "session": email() }),
        ] {
            assert_eq!(read(&broken, |said| said == IDP, &[issuer()], SessionRevoked), Err(FAULT), "{broken}");
        }
        let both = read(&aliases(json!([iss_sub(), email()])), |said| said == IDP, &[issuer()], SessionRevoked);
        assert_eq!(both.unwrap(), [person(), address()].into_iter().flatten().collect::<Vec<_>>());
    }

    /// R-D06: a person belongs to the tenant that is named, otherwise to the tenant that issued the token.
    #[test]
    fn persons_of_several_tenants_are_each_tenants_own() {
        let is_ours = |said: &str| ["https://one.test", "https://other.test"].contains(&said);
        let person = |issuer: &str| Meant::Person { issuer: issuer.into(), subject: "a".into() };
        let of = |issuer: &str| vec![person(issuer)];
        let iss_sub = |issuer: &str| json!({ "format": "iss_sub", "iss": issuer, "sub": "a" });
        let opaque = json!({ "format": "opaque", "id": "a" });
        for (identifier, meant) in [
            (iss_sub("https://one.test"), of("https://one.test")),
            (iss_sub("https://other.test"), of("https://other.test")),
            (iss_sub("https://third.test"), vec![]),
            (opaque.clone(), of("https://one.test")),
        ] {
            let read = read(&identifier, is_ours, &["https://one.test".into()], EventType::CredentialChange);
            assert_eq!(read, Ok(meant), "{identifier}");
        }
        // Somebody else tells of all tenants.
        let both = ["https://one.test".to_owned(), "https://other.test".to_owned()];
        for (identifier, meant) in [
            (opaque.clone(), vec![person(&both[0]), person(&both[1])]),
            (iss_sub("https://other.test"), of("https://other.test")),
            (json!({ "user": opaque, "session": iss_sub("https://other.test") }), of("https://other.test")),
        ] {
            let read = read(&identifier, is_ours, &both, EventType::CredentialChange);
            assert_eq!(read, Ok(meant), "{identifier}");
        }
    }
}

//! Who a security event is about (RFC 9493, and the complex subjects of the Shared Signals Framework).
//!
//! Pure. What is meant may be more than what is said: a device or a tenant cannot be told apart here, so an event about a
//! person's device is one about the person. A format that is not known, or another issuer's person, is nobody of ours.

use serde_json::{Map, Value};

use super::Occurrence;
use crate::idp::jwt::{JwtFault, optional_text};

/// Who is meant, in the provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// Everything of one person.
    Person(String),
    /// Everything of whoever has this verified address.
    Address(String),
    /// One session at the provider, and whose it is, if that is said as well.
    ProviderSession {
        /// The provider's name for it.
        sid: String,
        /// The provider's name for the person.
        subject: Option<String>,
    },
}

/// What an identifier without further context names.
#[derive(Debug, Clone, Copy)]
enum Role {
    Person,
    Session,
}

/// Reads a subject identifier; `None` is nobody of ours.
pub(super) fn read(value: &Value, issuer: &str, occurrence: Occurrence) -> Result<Option<Meant>, JwtFault> {
    let identifier = object(value)?;
    let part = |name: &str| identifier.get(name).map(object).transpose();
    let (user, session) = (part("user")?, part("session")?);
    let is_complex = format(identifier)?.is_none_or(|format| format == "complex");
    if !is_complex {
        // A session has a name; a credential is a person's.
        let role = match occurrence {
            Occurrence::SessionRevoked => Role::Session,
            Occurrence::CredentialChange => Role::Person,
        };
        return simple(identifier, issuer, role);
    }
    if user.is_none() && session.is_none() && format(identifier)?.is_none() {
        return Err(FAULT);
    }
    let session = session.map(|session| simple(session, issuer, Role::Session)).transpose()?;
    let user = user.map(|user| simple(user, issuer, Role::Person)).transpose()?;
    Ok(match (user, session) {
        // Somebody, but nobody of ours; or a session that is none of ours.
        (Some(None), _) | (None, Some(None) | None) => None,
        // A new credential concerns each of the person's sessions.
        (Some(user), _) if occurrence == Occurrence::CredentialChange => user,
        (Some(Some(Meant::Person(person))), Some(Some(Meant::ProviderSession { sid, .. }))) => {
            Some(Meant::ProviderSession { sid, subject: Some(person) })
        }
        (Some(user), Some(None) | None) => user,
        (_, Some(session)) => session,
    })
}

const FAULT: JwtFault = JwtFault::Claim("sub_id");

fn simple(identifier: &Map<String, Value>, issuer: &str, role: Role) -> Result<Option<Meant>, JwtFault> {
    let member = |name: &str| match optional_text(identifier, name, FAULT)? {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(FAULT),
    };
    match (format(identifier)?.ok_or(FAULT)?, role) {
        ("iss_sub", _) => {
            let (said, subject) = (member("iss")?, member("sub")?);
            Ok((said == issuer).then_some(Meant::Person(subject)))
        }
        ("opaque", Role::Person) => Ok(Some(Meant::Person(member("id")?))),
        ("opaque", Role::Session) => Ok(Some(Meant::ProviderSession { sid: member("id")?, subject: None })),
        ("email", _) => Ok(Some(Meant::Address(member("email")?))),
        _ => Ok(None),
    }
}

/// Early drafts called it `subject_type`.
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
        use Occurrence::{CredentialChange, SessionRevoked};
        let person = || Some(Meant::Person("a".into()));
        let session =
            |subject: Option<&str>| Some(Meant::ProviderSession { sid: "s".into(), subject: subject.map(Into::into) });
        let iss_sub = || json!({ "format": "iss_sub", "iss": IDP, "sub": "a" });
        let opaque = |id: &str| json!({ "format": "opaque", "id": id });
        for (occurrence, identifier, meant) in [
            (SessionRevoked, iss_sub(), person()),
            (SessionRevoked, json!({ "format": "iss_sub", "iss": "https://evil.example", "sub": "a" }), None),
            (SessionRevoked, opaque("s"), session(None)),
            (CredentialChange, opaque("a"), person()),
            (
                SessionRevoked,
                json!({ "format": "email", "email": "a@example.com" }),
                Some(Meant::Address("a@example.com".into())),
            ),
            (SessionRevoked, json!({ "format": "phone_number", "phone_number": "+1" }), None),
            (SessionRevoked, json!({ "format": "complex", "user": iss_sub() }), person()),
            (SessionRevoked, json!({ "user": iss_sub(), "session": opaque("s") }), session(Some("a"))),
            (SessionRevoked, json!({ "format": "complex", "session": opaque("s") }), session(None)),
            (SessionRevoked, json!({ "user": iss_sub(), "device": opaque("d") }), person()),
            (SessionRevoked, json!({ "user": { "format": "did", "url": "x" }, "session": opaque("s") }), None),
            (SessionRevoked, json!({ "format": "complex", "device": opaque("d") }), None),
            (CredentialChange, json!({ "user": iss_sub(), "session": opaque("s") }), person()),
        ] {
            assert_eq!(read(&identifier, IDP, occurrence), Ok(meant), "{occurrence:?} {identifier}");
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
        ] {
            assert_eq!(read(&broken, IDP, SessionRevoked), Err(FAULT), "{broken}");
        }
    }
}

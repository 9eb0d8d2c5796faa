//! A session as reviewers see it, by API and terminal alike.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::session::LiveSession;

/// A live session, as reviewers see it. No key, no token.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Its public name, which is also its key in Redis.
    #[schema(example = "cf-8QzvTn2LmX0aPq4RsWg")]
    handle: String,
    idp: String,
    issuer: String,
    subject: String,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    groups: Vec<String>,
    /// The address that the login came from.
    client_address: Option<String>,
    user_agent: Option<String>,
    /// The kind of browser that this names, as the filter by browser takes it.
    #[schema(example = "Chrome on Windows")]
    browser: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    auth_time: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    idle_expires_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    absolute_expires_at: OffsetDateTime,
    /// The time from which on the provider has been asked about the person without confirming them.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    indeterminate_since: Option<OffsetDateTime>,
}

impl SessionView {
    /// A session as reviewers see it.
    pub fn of(session: &LiveSession) -> Self {
        let (record, identity) = (session.record(), session.record().identity.clone());
        Self {
            handle: session.handle().to_string(),
            idp: identity.idp,
            issuer: identity.issuer,
            subject: identity.subject,
            name: identity.name,
            preferred_username: identity.preferred_username,
            email: identity.email,
            groups: identity.groups,
            client_address: record.client.address.clone(),
            user_agent: record.client.user_agent.clone(),
            browser: record.client.browser().to_string(),
            created_at: record.created_at,
            auth_time: record.auth_time,
            last_seen_at: session.last_seen_at(),
            idle_expires_at: session.idle_expires_at(),
            absolute_expires_at: session.absolute_expires_at(),
            indeterminate_since: record.indeterminate_since,
        }
    }
}

//! What is remembered of a session.
//!
//! Two halves with two readers: [`SessionRecord`] is what checks and lists need; [`Tokens`] open only with the
//! key from the cookie. The layout of both in the store belongs to `store::sealed`.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::identity::Identity;
use crate::secret::{Secret, serialize_exposed};

/// Who, since when, from where.
///
/// It holds moments, never a deadline: the policy of the moment judges them, so a changed timeout reaches live
/// sessions at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Who signed in.
    pub identity: Identity,
    /// The provider's name for its own session (`sid`), if it gave one.
    pub provider_session: Option<String>,
    /// When the session was established.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub created_at: OffsetDateTime,
    /// When the person last proved who they are to the provider, if it said so. A login alone proves nothing of
    /// the kind: it may have been answered from the provider's own session.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub auth_time: Option<OffsetDateTime>,
    /// When the session was last noted to be in use.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub last_seen_at: OffsetDateTime,
    /// Where the login came from.
    pub client: ClientTraits,
}

/// What the login's request showed of the browser. Recorded, not proof of anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTraits {
    /// The client's address, as far as the trusted proxies tell.
    pub address: Option<String>,
    /// The `User-Agent`, shortened.
    pub user_agent: Option<String>,
}

/// The provider's tokens. Never sent to a browser, logged or shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// For the provider's own endpoints.
    #[serde(serialize_with = "serialize_exposed")]
    pub access_token: Secret<String>,
    /// When the access token expires, if the provider said so in a way that can be understood.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub access_token_expires_at: Option<OffsetDateTime>,
    /// For new access tokens.
    pub refresh_token: Option<ExposedSecret>,
    /// What the provider asserted at the login.
    pub id_token: Option<ExposedSecret>,
}

/// A secret inside a struct that is sealed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExposedSecret(#[serde(serialize_with = "serialize_exposed")] pub Secret<String>);

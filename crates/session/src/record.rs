//! The stored facts of a session.
//!
//! Two halves with two readers: [`SessionRecord`] is what checks and lists need; [`Tokens`] open only with the
//! key from the cookie. The layout of both in the store belongs to `store::sealed`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::browser::BrowserKind;
use super::store::log::LogNumber;
use counterfoil_core::identity::Identity;
use counterfoil_core::secret::{Secret, serialize_exposed};

/// The person, the moments and the client of a session. Only a renewal with the provider changes it; when the session
/// was last used is noted beside it.
///
/// It holds moments, and no deadline of ours: the policy of the moment judges them, so a changed timeout reaches live
/// sessions at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The person who signed in.
    pub identity: Identity,
    /// The provider's name for its own session (`sid`), if it gave one.
    pub provider_session: Option<String>,
    /// The moment the session was established.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub created_at: OffsetDateTime,
    /// The moment the person last proved who they are to the provider, if it said so. A login alone proves nothing of
    /// the kind: it may have been answered from the provider's own session.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub auth_time: Option<OffsetDateTime>,
    /// The authentication context class (`acr`), if the provider said so.
    pub acr: Option<String>,
    /// The moment by which the provider wants the session to be over, if it said so.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub ends_by: Option<OffsetDateTime>,
    /// The moment the provider last said who this is: at the login, or since.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub renewed_at: OffsetDateTime,
    /// The provider's access token expires at this moment, if it said so; here as well, so that nobody opens tokens.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub access_token_expires_at: Option<OffsetDateTime>,
    /// The client that the login came from.
    pub client: ClientTraits,
    /// Set if the provider was asked since and gave an indeterminate answer, neither confirming nor denying the person: where it
    /// has to, nothing but its word or a login helps.
    #[serde(default)]
    pub unconfirmed: bool,
    /// The moment since which the provider has been asked about the person without confirming them: it fails, answers
    /// nothing that says anything of them, or cannot be asked. `None` since it last did.
    #[serde(default, with = "time::serde::timestamp::milliseconds::option")]
    pub indeterminate_since: Option<OffsetDateTime>,
    /// The same, of a provider that answers others: an outage for everybody does not begin it.
    #[serde(default, with = "time::serde::timestamp::milliseconds::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// The same, with tokens that no published key signed: for a while that may be a cache's fault.
    #[serde(default, with = "time::serde::timestamp::milliseconds::option")]
    pub unverifiable_since: Option<OffsetDateTime>,
    /// The newest number of the cut-off log that the person is known to stand after: of when their login began, or of when
    /// their provider was last asked. Orders of a higher number that fit them end the session.
    #[serde(default)]
    pub confirmed: LogNumber,
}

impl SessionRecord {
    /// The record of a session of which nothing but the person is known, for tests.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn for_test(identity: Identity, created_at: OffsetDateTime) -> Self {
        Self {
            identity,
            provider_session: None,
            created_at,
            auth_time: None,
            acr: None,
            ends_by: None,
            renewed_at: created_at,
            access_token_expires_at: None,
            client: ClientTraits::default(),
            unconfirmed: false,
            indeterminate_since: None,
            failing_since: None,
            unverifiable_since: None,
            confirmed: LogNumber::BEGINNING,
        }
    }

    /// The address the login came from.
    pub fn came_from(&self) -> Option<IpAddr> {
        self.client.address.as_deref()?.parse().ok().map(|address: IpAddr| address.to_canonical())
    }
}

/// The browser's traits, as the login's request showed them. Recorded, not proof of anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTraits {
    /// The client's address, as far as the trusted proxies tell.
    pub address: Option<String>,
    /// The `User-Agent`, shortened.
    pub user_agent: Option<String>,
}

/// Longest `User-Agent` kept, in characters.
const LONGEST_USER_AGENT: usize = 256;

impl ClientTraits {
    /// Traits of a request.
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        let user_agent = user_agent.map(|text| text.chars().take(LONGEST_USER_AGENT).collect());
        Self { address: Some(address.to_string()), user_agent }
    }

    /// Returns the kind of browser that the `User-Agent` names.
    pub fn browser(&self) -> BrowserKind {
        BrowserKind::of(self.user_agent.as_deref().unwrap_or_default())
    }

    /// Is true if a request names the same browser. Digits do not count: browsers update themselves in the middle
    /// of a working day.
    pub fn is_same_browser(&self, user_agent: Option<&str>) -> bool {
        let letters = |text: &str| -> Vec<char> {
            text.chars().take(LONGEST_USER_AGENT).filter(|character| !character.is_ascii_digit()).collect()
        };
        self.user_agent.as_deref().map(letters) == user_agent.map(letters)
    }
}

/// The provider's tokens. Never sent to a browser, logged or shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The token for the provider's own endpoints.
    #[serde(serialize_with = "serialize_exposed")]
    pub access_token: Secret<String>,
    /// The moment the access token expires, if the provider said so in a way that can be understood.
    #[serde(with = "time::serde::timestamp::milliseconds::option")]
    pub access_token_expires_at: Option<OffsetDateTime>,
    /// The moment the provider issued it.
    #[serde(with = "time::serde::timestamp::milliseconds")]
    pub issued_at: OffsetDateTime,
    /// The token that brings new access tokens.
    pub refresh_token: Option<ExposedSecret>,
    /// The provider's last assertion.
    pub id_token: Option<ExposedSecret>,
    /// The value that tied the ID token to the login: a later one may repeat it, no other (OpenID Connect Core 12.2).
    pub nonce: Option<String>,
}

/// A secret inside a struct that is sealed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExposedSecret(#[serde(serialize_with = "serialize_exposed")] pub Secret<String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_updated_itself_is_the_same_and_another_one_is_not() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36";
        let login = ClientTraits::new([192, 0, 2, 1].into(), Some(chrome));
        assert!(login.is_same_browser(Some(chrome)));
        assert!(login.is_same_browser(Some(&chrome.replace("126.0.0.0", "131.0.6778.85"))));
        for other in [None, Some("curl/8.5.0"), Some("Mozilla/5.0 (Macintosh) Safari/605.1.15")] {
            assert!(!login.is_same_browser(other), "{other:?}");
        }
        assert!(ClientTraits::new([192, 0, 2, 1].into(), None).is_same_browser(None));
    }
}

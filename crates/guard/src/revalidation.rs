//! Revalidation: whether a session is still what its identity provider says.
//!
//! The guard asks a [`Revalidator`] before it lets a session pass, and knows nothing of providers. [`NoRevalidation`]
//! is for applications whose sessions are never revalidated.

use async_trait::async_trait;
use counterfoil_core::secret::Secret;
use counterfoil_session::LiveSession;
use counterfoil_session::key::SessionKey;
use counterfoil_session::store::StoreError;
use thiserror::Error;

/// A demand on the session behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// That the provider still confirms the person.
    Person,
    /// Besides, an access token that lasts.
    AccessToken,
}

/// The outcome of revalidating a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Revalidation {
    /// Nothing was due, or the provider is backing off: no request was made.
    Fresh,
    /// It may have been renewed or ended, here or elsewhere: load it again.
    Reload,
    /// The provider's answer was indeterminate; only a login can tell.
    Reauthenticate,
}

/// There is no access token to pass on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoAccessToken {
    /// It has expired, and only a login brings another.
    #[error("the access token has expired and there is no refresh token")]
    LoginNeeded,
    /// It has expired, and the provider cannot be asked for another.
    #[error("the access token has expired and the provider does not renew it now")]
    Unavailable,
    /// The session's store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks the provider behind a session.
#[async_trait]
pub trait Revalidator: std::fmt::Debug + Send + Sync {
    /// Is true if a session has to be revalidated before it counts. Called for every request: must be cheap.
    fn is_due(&self, session: &LiveSession) -> bool;

    /// Is true if a session is rejected until its next login. Makes no request.
    fn requires_reauthentication(&self, session: &LiveSession) -> bool;

    /// Revalidates a session if that is due. Single-flight: concurrent callers wait for the revalidation under way.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    async fn revalidate_if_due(
        &self,
        key: &SessionKey,
        session: &LiveSession,
        need: Need,
    ) -> Result<Revalidation, StoreError>;

    /// Returns the provider's access token of a session, for an upstream that it is passed to.
    ///
    /// # Errors
    /// [`NoAccessToken`].
    async fn access_token(&self, key: &SessionKey) -> Result<Secret<String>, NoAccessToken>;
}

/// Sessions stand until they end.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRevalidation;

#[async_trait]
impl Revalidator for NoRevalidation {
    fn is_due(&self, _: &LiveSession) -> bool {
        false
    }

    fn requires_reauthentication(&self, _: &LiveSession) -> bool {
        false
    }

    async fn revalidate_if_due(&self, _: &SessionKey, _: &LiveSession, _: Need) -> Result<Revalidation, StoreError> {
        Ok(Revalidation::Fresh)
    }

    async fn access_token(&self, _: &SessionKey) -> Result<Secret<String>, NoAccessToken> {
        Err(NoAccessToken::LoginNeeded)
    }
}

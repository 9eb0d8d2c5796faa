//! The faults of an answer to a login.

use thiserror::Error;

use crate::web::failure::{Failure, FailureKind};

/// The reason that an answer that belongs to a pending login brings no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum CallbackFault {
    #[error("no login with this state is pending in this browser")]
    NotPending,
    #[error("the login was finished or refused before")]
    UsedBefore,
    #[error("the answer came by another provider's callback address")]
    OtherProvider,
    #[error("the provider refused: access_denied")]
    Denied,
    #[error("the provider is temporarily unavailable")]
    Unavailable,
    #[error("the provider wants to ask the person something first")]
    NotWithoutThePerson,
    #[error("the provider does not take our request: are the client's scopes and registration right?")]
    Misconfigured,
    #[error("the provider answered with another error")]
    ProviderError,
    #[error("the same page was signed in to again and again within half a minute")]
    Loop,
    #[error("the answer has neither a code nor an error")]
    NoCode,
}

/// The failure of a login by a fault of its answer.
pub(super) fn refused(kind: FailureKind, fault: CallbackFault) -> Failure {
    Failure::caused(kind, fault)
}

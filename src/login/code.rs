//! The code in a provider's answer, or the reason that there is none.

use thiserror::Error;

use super::fault::CallbackFault;
use crate::idp::{AuthorizationAnswer, ProviderWords};
use crate::web::failure::{Failure, FailureKind};

/// Is true if the provider says that its page had been left open for too long: nobody refused anything. These are the
/// words of Keycloak.
pub(super) fn says_that_its_form_expired(answer: &AuthorizationAnswer) -> bool {
    answer.error.as_deref() == Some("temporarily_unavailable")
        && answer.error_description.as_deref() == Some("authentication_expired")
}

/// The code of a good answer, or why there is none (RFC 6749 4.1.2). It is the browser that brings it, and it can bring
/// anything, so no fault in it is the broker's or the provider's.
pub(super) fn code_of(answer: AuthorizationAnswer) -> Result<String, NoCode> {
    let refused = |kind, fault| NoCode { kind, fault };
    match (answer.error.as_deref(), answer.code) {
        (Some("access_denied"), _) => Err(refused(FailureKind::LoginRefused, CallbackFault::Denied)),
        (Some("temporarily_unavailable" | "server_error"), _) => {
            Err(refused(FailureKind::LoginPutOff, CallbackFault::Unavailable))
        }
        (Some("login_required" | "consent_required" | "interaction_required" | "account_selection_required"), _) => {
            Err(refused(FailureKind::LoginRefused, CallbackFault::NotWithoutThePerson))
        }
        (Some("invalid_scope" | "invalid_request" | "unauthorized_client" | "unsupported_response_type"), _) => {
            Err(refused(FailureKind::AnswerRefused, CallbackFault::Misconfigured))
        }
        (Some(_), _) => Err(refused(FailureKind::AnswerRefused, CallbackFault::ProviderError)),
        (None, Some(code)) if !code.is_empty() => Ok(code),
        (None, _) => Err(refused(FailureKind::AnswerRefused, CallbackFault::NoCode)),
    }
}

/// An answer that brings no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCode {
    kind: FailureKind,
    fault: CallbackFault,
}

impl NoCode {
    /// The failure with its reason, for the log and the audit trail; never for the page (RFC 6749 4.1.2.1).
    pub(super) fn told(self, said: ProviderWords) -> Failure {
        Failure::caused(self.kind, Told { fault: self.fault, said })
    }
}

/// The reason that there is no code, and the provider's words about it.
#[derive(Debug, Error)]
#[error("{fault}{said}")]
struct Told {
    fault: CallbackFault,
    said: ProviderWords,
}

//! The provider's answer, as the browser brings it: by the method and in the form that is configured for the provider.
//!
//! Reads, and matches nothing: [`super::callback`] asks for the pending login before anything of this is believed.

use thiserror::Error;

use super::{Login, failure_kind};
use crate::idp::authorization::AuthorizationAnswer;
use crate::idp::provider_words::{ProviderWords, Spoken};
use crate::idp::response_token::peek_state;
use crate::idp::{IdpError, Provider};
use crate::web::failure::{Failure, FailureKind};
use crate::web::query::Parameters;

/// How an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// In the callback address.
    Address,
    /// In a form.
    Form,
}

/// Why a login was not finished, and whether it can still be.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) failure: Failure,
    /// Whether the same answer may be brought again: nothing of it was used up.
    pub(super) may_be_repeated: bool,
}

impl Unfinished {
    /// The provider's fault before it was sent the code: what cannot be had now may be there in a moment.
    pub(super) fn before_the_exchange(error: IdpError) -> Self {
        let may_be_repeated = matches!(error, IdpError::Unusable { .. });
        Self { failure: Failure::caused(failure_kind(&error), error), may_be_repeated }
    }

    /// A fault after the provider may have been sent the code, which is used up (R-C08).
    pub(super) fn after_the_exchange(failure: Failure) -> Self {
        Self { failure, may_be_repeated: false }
    }
}

impl From<Failure> for Unfinished {
    /// A store that cannot be asked has used nothing up.
    fn from(failure: Failure) -> Self {
        Self { may_be_repeated: failure.kind == FailureKind::StoreUnavailable, failure }
    }
}

/// The provider's answers are signed, and this one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the answer is not signed although the provider's answers are")]
struct Unsigned;

impl Login {
    /// Serves the method that is configured for the provider, and no other (R-B01).
    pub(super) fn refuse_unless_served(&self, idp: &str, carrier: Carrier) -> Result<(), Failure> {
        let by_form = self.provider(idp).is_some_and(Provider::answers_by_form);
        if by_form == (carrier == Carrier::Form) { Ok(()) } else { Err(self.refuse_method(idp)) }
    }

    /// Says which method the callback address of a provider serves.
    pub(super) fn refuse_method(&self, idp: &str) -> Failure {
        let by_form = self.provider(idp).is_some_and(Provider::answers_by_form);
        Failure::from(FailureKind::MethodNotAllowed).with_allow(if by_form { "POST" } else { "GET" })
    }

    /// The `state` of an answer; of a signed one, what it claims to be. Empty if there is none.
    pub(super) fn state_of(&self, idp: &str, brought: &Parameters) -> String {
        if self.provider(idp).is_some_and(Provider::answers_signed) {
            brought.get("response").and_then(peek_state).unwrap_or_default()
        } else {
            brought.get("state").unwrap_or_default().to_owned()
        }
    }

    /// What the provider answers, verified if its answers are signed; then nothing outside the signed part counts.
    pub(super) async fn answer_of(
        &self,
        provider: &Provider,
        brought: &Parameters,
    ) -> Result<AuthorizationAnswer, Unfinished> {
        let answer = if provider.answers_signed() {
            let token = brought.get("response").ok_or_else(|| Failure::caused(FailureKind::AnswerRefused, Unsigned))?;
            provider.open_answer(token).await.map_err(Unfinished::before_the_exchange)?
        } else {
            let text = |name| brought.get(name).map(str::to_owned);
            let (code, error) = (text("code"), text("error"));
            let spoken = Spoken {
                code: brought.get("error"),
                description: brought.get("error_description"),
                address: brought.get("error_uri"),
            };
            let secrets: Vec<_> = [brought.get("code"), brought.get("state")].into_iter().flatten().collect();
            let said = ProviderWords::of_browser(spoken, &secrets);
            let error_description = text("error_description");
            AuthorizationAnswer { code, error, error_description, said, iss: text("iss") }
        };
        provider.check_response_issuer(answer.iss.as_deref()).await.map_err(Unfinished::before_the_exchange)?;
        Ok(answer)
    }
}

//! The provider's answer, as the browser brings it: by the method and in the form that is configured for the provider.
//!
//! Reads, and matches nothing: [`super::callback`] asks for the pending login before anything of this is believed.

use thiserror::Error;

use super::{Login, failure_kind};
use crate::idp::Provider;
use crate::idp::authorization::AuthorizationAnswer;
use crate::idp::provider_words::{ProviderWords, Spoken};
use crate::idp::response_token::peek_state;
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

/// The provider's answers are signed, and this one is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the answer is not signed although the provider's answers are")]
struct Unsigned;

impl Login {
    /// Serves the method that is configured for the provider, and no other (R-B01).
    pub(super) fn refuse_unless_served(&self, idp: &str, carrier: Carrier) -> Result<(), Failure> {
        let by_form = self.provider(idp).is_some_and(Provider::answers_by_form);
        if by_form == (carrier == Carrier::Form) { Ok(()) } else { Err(FailureKind::MethodNotAllowed.into()) }
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
    ) -> Result<AuthorizationAnswer, Failure> {
        let rejected = |error| Failure::caused(failure_kind(&error), error);
        let answer = if provider.answers_signed() {
            let token = brought.get("response").ok_or_else(|| Failure::caused(FailureKind::LoginFailed, Unsigned))?;
            provider.open_answer(token).await.map_err(rejected)?
        } else {
            let text = |name| brought.get(name).map(str::to_owned);
            let (code, error) = (text("code"), text("error"));
            let spoken = Spoken {
                code: brought.get("error"),
                description: brought.get("error_description"),
                address: brought.get("error_uri"),
            };
            let secrets: Vec<_> = [brought.get("code"), brought.get("state")].into_iter().flatten().collect();
            AuthorizationAnswer { code, error, said: ProviderWords::of_browser(spoken, &secrets), iss: text("iss") }
        };
        provider.check_response_issuer(answer.iss.as_deref()).await.map_err(rejected)?;
        Ok(answer)
    }
}

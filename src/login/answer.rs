//! The provider's answer, as the browser brings it: by the method and in the form that is configured for the provider.
//!
//! Reads only: [`super::callback`] matches the answer to a pending login before any of it is used.

use thiserror::Error;

use super::{Login, failure_kind};
use crate::idp::{AuthorizationAnswer, HttpError, IdpError, Provider, ProviderWords, Spoken, peek_state};
use crate::web::failure::{Failure, FailureKind};
use crate::web::query::Parameters;

/// The way an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// It came in the callback address.
    Address,
    /// It came in a form.
    Form,
}

/// A login that was not finished: the failure, and the chance to bring the answer again.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) failure: Failure,
    /// True if the browser may retry with the same answer: its code was not used up.
    pub(super) may_be_repeated: bool,
}

impl Unfinished {
    /// Makes the failure of a provider before it was sent the code: it may be transient.
    pub(super) fn before_the_exchange(error: IdpError) -> Self {
        let may_be_repeated = matches!(error, IdpError::Unusable { .. });
        Self { failure: Failure::caused(failure_kind(&error), error), may_be_repeated }
    }

    /// A signed answer that was not accepted, or cannot be judged yet: keys that were fetched a moment ago do not
    /// verify it. Until it is verified it may come from anybody, so it is no fault of the provider.
    fn with_the_answer_closed(error: IdpError) -> Self {
        let is_unjudged =
            matches!(&error, IdpError::Unusable { cause, .. } if matches!(**cause, HttpError::AskedJustNow { .. }));
        if is_unjudged {
            return Self { failure: Failure::caused(FailureKind::AnswerUnjudged, error), may_be_repeated: true };
        }
        Self::before_the_exchange(error)
    }

    /// A fault after the provider may have been sent the code, which is used up (R-C08).
    pub(super) fn after_the_exchange(failure: Failure) -> Self {
        Self { failure, may_be_repeated: false }
    }
}

impl From<Failure> for Unfinished {
    /// A store outage has used nothing up.
    fn from(failure: Failure) -> Self {
        Self { may_be_repeated: failure.kind.is_store_outage(), failure }
    }
}

/// An answer in another response mode than was asked for: the provider does not know that mode, or leaves it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum OtherManner {
    #[error("the answer is not signed although response_mode asks for it")]
    Unsigned,
    #[error("the answer is signed although response_mode does not ask for it")]
    Signed,
    #[error("the answer came in the address although response_mode asks for a form")]
    ByAddress,
    #[error("the answer came in a form although response_mode does not ask for it")]
    ByForm,
}

impl Login {
    /// Serves the method that is configured for the provider, and no other (R-B01).
    pub(super) fn refuse_unless_served(&self, idp: &str, carrier: Carrier) -> Result<(), Failure> {
        let by_form = self.provider(idp).is_some_and(Provider::answers_by_form);
        match (by_form, carrier) {
            (true, Carrier::Form) | (false, Carrier::Address) => Ok(()),
            (true, Carrier::Address) => Err(self.refuse_method(idp).with_cause(OtherManner::ByAddress)),
            (false, Carrier::Form) => Err(self.refuse_method(idp).with_cause(OtherManner::ByForm)),
        }
    }

    /// Says which method the callback address of a provider serves.
    pub(super) fn refuse_method(&self, idp: &str) -> Failure {
        let by_form = self.provider(idp).is_some_and(Provider::answers_by_form);
        Failure::from(FailureKind::MethodNotAllowed).with_allow(if by_form { "POST" } else { "GET" })
    }

    /// Tells an answer that is signed where that was not asked for, or the other way round, from one that belongs to no
    /// login: only the provider's settings help. A forged address of this kind reveals and changes nothing.
    pub(super) fn refuse_other_manner(&self, idp: &str, brought: &Parameters) -> Result<(), Failure> {
        let Some(provider) = self.provider(idp) else { return Ok(()) };
        let has = |name: &str| brought.get(name).is_some_and(|value| !value.is_empty());
        let (is_signed, is_plain) = (has("response"), has("code") || has("error"));
        match (provider.answers_signed(), is_signed, is_plain) {
            (true, false, true) => Err(Failure::caused(FailureKind::LoginOtherResponseMode, OtherManner::Unsigned)),
            (false, true, false) => Err(Failure::caused(FailureKind::LoginOtherResponseMode, OtherManner::Signed)),
            _ => Ok(()),
        }
    }

    /// The `state` of an answer; of a signed one, what it claims to be. Empty if there is none.
    pub(super) fn state_of(&self, idp: &str, brought: &Parameters) -> String {
        if self.provider(idp).is_some_and(Provider::answers_signed) {
            brought.get("response").and_then(peek_state).unwrap_or_default()
        } else {
            brought.get("state").unwrap_or_default().to_owned()
        }
    }

    /// The provider's answer, verified if its answers are signed; then nothing outside the signed part counts.
    pub(super) async fn answer_of(
        &self,
        provider: &Provider,
        brought: &Parameters,
    ) -> Result<AuthorizationAnswer, Unfinished> {
        let answer = if provider.answers_signed() {
            let token = brought
                .get("response")
                .ok_or_else(|| Failure::caused(FailureKind::LoginOtherResponseMode, OtherManner::Unsigned))?;
            provider.open_answer(token).await.map_err(Unfinished::with_the_answer_closed)?
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

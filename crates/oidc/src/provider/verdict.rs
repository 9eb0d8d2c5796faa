//! Classifies the outcome of a renewal: denied, indeterminate or unavailable. Pure.
//!
//! A refusal ends the session. An outage, a fault of our credentials or a wrong clock ends nothing (R-C12). Every other
//! answer is indeterminate: it neither confirms nor denies the person, so the session stays but is rejected until the
//! provider confirms them again (R-I08).

use counterfoil_core::secret::Secret;
use thiserror::Error;

use crate::claims::userinfo::UserinfoError;
use crate::client::http_error::HttpError;
use crate::error::{ErrorClass, IdpError};
use crate::providers::api::ProfileApiError;
use crate::tokens::exchange_error::TokenExchangeError;
use crate::verification::fault::JwtFault;

/// The provider's verdict on the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The provider denies the person, or its answer is about another one.
    Denied,
    /// The provider's answer was indeterminate. That may be transient; until then only a login can confirm the person.
    Indeterminate,
    /// The provider is unreachable, fails, or refuses our requests.
    Unavailable,
}

/// The reason why a session was not renewed.
#[derive(Debug, Error)]
#[error("{}{cause}", .verdict.preamble())]
pub struct RenewalError {
    /// The consequence for the session.
    pub verdict: Verdict,
    /// The failure itself.
    #[source]
    pub cause: IdpError,
    /// The refresh token that takes the place of the one just used, if the answer got that far.
    pub rotated: Option<Secret<String>>,
}

impl Verdict {
    fn preamble(self) -> &'static str {
        match self {
            Self::Denied => "the provider refused: ",
            Self::Indeterminate => "the provider answered and confirms nobody: ",
            Self::Unavailable => "",
        }
    }
}

impl RenewalError {
    /// Makes the error that a cause comes to. `is_proven` is true if this process has completed an exchange or a
    /// renewal with the provider, so that a refusal now is not caused by our configuration.
    pub(crate) fn of(cause: IdpError, is_proven: bool) -> Self {
        Self { verdict: verdict(&cause, is_proven), cause, rotated: None }
    }

    /// Is true if the provider does not know us, or not by these credentials: a fault of the configuration.
    pub fn is_about_the_client(&self) -> bool {
        self.cause.is_about_the_client()
    }

    /// Is true if no key that is published now signed the ID token. Right after a rotation that is transient.
    pub fn is_about_keys(&self) -> bool {
        matches!(self.cause, IdpError::IdToken(JwtFault::UnknownKey | JwtFault::Signature))
    }

    /// Is true if the next attempt for anybody is bound to fail as well: the provider is away, or does not know us.
    /// Its answer to one person's access token concerns that person alone; that it does not answer at all does not.
    pub fn affects_all_sessions(&self) -> bool {
        // Not 500: one person's data can do that.
        let away = |error: &HttpError| {
            matches!(error, HttpError::Unreachable(_) | HttpError::Timeout | HttpError::Status(429 | 502..=504, _))
        };
        let is_silent = |error: &HttpError| matches!(error, HttpError::Unreachable(_) | HttpError::Timeout);
        match &self.cause {
            IdpError::Userinfo(UserinfoError::Http(error))
            | IdpError::ProfileEndpoint(error)
            | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }) => is_silent(error),
            IdpError::TokenExchange(TokenExchangeError::Http(error)) => away(error) || self.is_about_the_client(),
            IdpError::Unusable { cause, .. } => away(cause),
            // Until the provider has accepted a request of ours, it may refuse everybody.
            IdpError::TokenExchange(TokenExchangeError::Refused { code: "unauthorized_client", .. }) => true,
            _ => self.is_about_the_client(),
        }
    }
}

/// Returns the verdict that a class of failures comes to.
fn verdict(error: &IdpError, is_proven: bool) -> Verdict {
    match error.class() {
        ErrorClass::Denied | ErrorClass::Spent => Verdict::Denied,
        // From a provider that has accepted the same request before, the refusal is about the person.
        ErrorClass::RequestOrPerson if is_proven => Verdict::Denied,
        ErrorClass::RequestOrPerson
        | ErrorClass::Unavailable
        | ErrorClass::Ours
        | ErrorClass::Clock
        | ErrorClass::LateAnswer
        | ErrorClass::UnprovenAnswer => Verdict::Unavailable,
        ErrorClass::Indeterminate | ErrorClass::NotAdmitted | ErrorClass::NotFresh => Verdict::Indeterminate,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::answer::provider_words::ProviderWords;
    use crate::claims::mapping::ProfileFault;

    fn refused(code: &'static str) -> IdpError {
        IdpError::TokenExchange(TokenExchangeError::Refused { code, said: ProviderWords::default(), key: None })
    }

    fn token(error: HttpError) -> IdpError {
        IdpError::TokenExchange(TokenExchangeError::Http(error))
    }

    fn userinfo(error: HttpError) -> IdpError {
        IdpError::Userinfo(UserinfoError::Http(error))
    }

    /// R-C12, R-E05: one line a case.
    #[test]
    fn only_a_denial_of_the_person_is_a_refusal() {
        let away = || Arc::new(HttpError::Timeout);
        for (error, is_one) in [
            (refused("invalid_grant"), true),
            (refused("another error"), true),
            (refused("invalid_client"), false),
            (refused("unsupported_grant_type"), false),
            (refused("use_dpop_nonce"), false),
            (token(HttpError::status(401)), false),
            (userinfo(HttpError::status(401)), true),
            (userinfo(HttpError::Proof), false),
            (IdpError::Userinfo(UserinfoError::Subject), true),
            (IdpError::ProfileEndpoint(HttpError::status(401)), true),
            (IdpError::Profile(ProfileFault::AnotherSubject), true),
            (IdpError::IdToken(JwtFault::Claim("sub")), true),
            (IdpError::IdToken(JwtFault::Claim("iss")), true),
            (IdpError::IdToken(JwtFault::issuer("https://other.test", "https://idp.test")), true),
            (IdpError::IdToken(JwtFault::Claim("nonce")), true),
            (IdpError::IdToken(JwtFault::Claim("session_expiry")), true),
            (IdpError::IdToken(JwtFault::Clock("iat")), false),
            (IdpError::IdToken(JwtFault::UnknownKey), false),
            (IdpError::IdToken(JwtFault::Signature), false),
            (IdpError::Unusable { what: "the provider's keys", cause: away() }, false),
        ] {
            for is_proven in [false, true] {
                let expected = if is_one { Verdict::Denied } else { Verdict::Unavailable };
                assert_eq!(verdict(&error, is_proven), expected, "{error}, {is_proven}");
            }
        }
    }

    /// R-C12: one line a case. What the standard has for faults of ours is about the person only if the provider has
    /// taken what is ours before. The first four are the standard's (Dex, Gitea, league/oauth2-server, Authlib and
    /// better-auth answered so when a refresh token was gone), the next three older versions of Ory Hydra.
    #[test]
    fn a_fault_of_the_request_is_about_the_person_once_the_provider_has_taken_such_a_request() {
        for error in [
            refused("invalid_request"),
            refused("unauthorized_client"),
            refused("invalid_scope"),
            refused("access_denied"),
            refused("token_inactive"),
            refused("token_expired"),
            refused("request_unauthorized"),
        ] {
            assert_eq!(verdict(&error, false), Verdict::Unavailable, "{error}");
            assert_eq!(verdict(&error, true), Verdict::Denied, "{error}");
        }
    }

    /// R-I08, R-C12: one line a case: whether it was an answer.
    #[test]
    fn indeterminate_userinfo_is_not_an_outage() {
        for (error, answered) in [
            (token(HttpError::status(400)), true),
            (token(HttpError::status(404)), true),
            (token(HttpError::status(408)), false),
            (token(HttpError::status(429)), false),
            (token(HttpError::status(503)), false),
            (token(HttpError::Timeout), false),
            (IdpError::TokenExchange(TokenExchangeError::Malformed), true),
            (userinfo(HttpError::status(403)), true),
            (userinfo(HttpError::status(404)), true),
            (userinfo(HttpError::status(302)), true),
            (userinfo(HttpError::status(408)), false),
            (userinfo(HttpError::status(429)), false),
            (userinfo(HttpError::status(500)), false),
            (userinfo(HttpError::Request), false),
            (userinfo(HttpError::NotAnObject), true),
            (userinfo(HttpError::ContentType), true),
            (userinfo(HttpError::TooLarge), true),
            (IdpError::Userinfo(UserinfoError::Nobody), true),
            (IdpError::Userinfo(UserinfoError::Token(JwtFault::Claim("aud"))), true),
            (IdpError::IdToken(JwtFault::ClaimType("auth_time")), true),
            (IdpError::IdToken(JwtFault::Missing("exp")), true),
            (IdpError::IdToken(JwtFault::MalformedClaims), true),
            (IdpError::IdToken(JwtFault::Absent), true),
            (IdpError::IdToken(JwtFault::Malformed), true),
            (IdpError::IdToken(JwtFault::Algorithm), true),
            (IdpError::IdToken(JwtFault::Type), true),
            (IdpError::IdToken(JwtFault::Critical), true),
            (IdpError::IdToken(JwtFault::Claim("aud")), true),
            (IdpError::IdToken(JwtFault::Claim("azp")), true),
            (IdpError::IdToken(JwtFault::Claim("sid")), true),
            (IdpError::IdToken(JwtFault::Claim("at_hash")), true),
            (IdpError::ProfileEndpoint(HttpError::status(403)), true),
            (IdpError::ProfileEndpoint(HttpError::status(502)), false),
            (IdpError::Profile(ProfileFault::Subject), true),
            (IdpError::Profile(ProfileFault::Groups), true),
            (IdpError::Profile(ProfileFault::RequiredClaim("ok".into())), true),
            (IdpError::ProfileApi(ProfileApiError::TooMany("teams")), true),
            (IdpError::ProfileApi(ProfileApiError::Malformed("teams")), true),
        ] {
            assert_eq!(
                verdict(&error, true),
                if answered { Verdict::Indeterminate } else { Verdict::Unavailable },
                "{error}"
            );
        }
    }

    /// R-C12: a failure for one person does not affect the others. One line a case.
    #[test]
    fn an_answer_about_one_person_affects_no_other() {
        for (cause, everybody) in [
            (token(HttpError::Timeout), true),
            (token(HttpError::status(503)), true),
            (token(HttpError::status(500)), false),
            (token(HttpError::status(429)), true),
            (token(HttpError::status(403)), false),
            (token(HttpError::status(401)), true),
            (refused("incorrect_client_credentials"), true),
            (refused("invalid_client"), true),
            (refused("unauthorized_client"), true),
            (refused("invalid_request"), false),
            (refused("invalid_scope"), false),
            (userinfo(HttpError::Timeout), true),
            (IdpError::ProfileEndpoint(HttpError::Timeout), true),
            (userinfo(HttpError::status(429)), false),
            (userinfo(HttpError::status(503)), false),
            (IdpError::ProfileEndpoint(HttpError::status(503)), false),
        ] {
            let failed = RenewalError::of(cause, true);
            assert_eq!(failed.affects_all_sessions(), everybody, "{failed}");
        }
    }
}

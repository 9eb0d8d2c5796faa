//! What an answer of the provider, or its silence, says of the person whose session is to be renewed. Pure.
//!
//! A refusal ends the session. What may be an outage, our own credentials or a clock ends nothing (R-C12). In between
//! lies every other answer: it is no word against the person and none for them, so the session is not over and counts
//! for nothing until the provider stands by them again (R-I08).

use thiserror::Error;

use crate::idp::IdpError;
use crate::idp::http::HttpError;
use crate::idp::jwt::JwtFault;
use crate::idp::presets::ProfileApiError;
use crate::idp::profile::ProfileFault;
use crate::idp::token_exchange::TokenExchangeError;
use crate::idp::userinfo::UserinfoError;
use crate::secret::Secret;

/// What the provider says of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It no longer stands by them, or speaks of somebody else.
    Refused,
    /// It answered, and stands by nobody. That may pass; until then only a login can tell.
    Unconfirmed,
    /// Nothing: it is away, or does not take our requests.
    Unheard,
}

/// Why a session was not renewed.
#[derive(Debug, Error)]
#[error("{}{cause}", .word.preamble())]
pub struct RenewalError {
    /// What follows from it.
    pub word: Word,
    /// What happened.
    #[source]
    pub cause: IdpError,
    /// The refresh token that takes the place of the one just used, if the answer got that far.
    pub rotated: Option<Secret<String>>,
}

impl Word {
    fn preamble(self) -> &'static str {
        match self {
            Self::Refused => "the provider refused: ",
            Self::Unconfirmed => "the provider answered and stands by nobody: ",
            Self::Unheard => "",
        }
    }
}

impl RenewalError {
    pub(super) fn of(cause: IdpError) -> Self {
        Self { word: word(&cause), cause, rotated: None }
    }

    /// Whether the next attempt for anybody is bound to fail as well: the provider is away, or does not know us. What
    /// it answers to one person's access token concerns that person alone; that it does not answer at all does not.
    pub fn concerns_everybody(&self) -> bool {
        // Not 500: one person's data can do that.
        let away = |error: &HttpError| {
            matches!(error, HttpError::Unreachable(_) | HttpError::Timeout | HttpError::Status(429 | 502..=504))
        };
        let is_silent = |error: &HttpError| matches!(error, HttpError::Unreachable(_) | HttpError::Timeout);
        match &self.cause {
            IdpError::Userinfo(UserinfoError::Http(error))
            | IdpError::ProfileEndpoint(error)
            | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }) => is_silent(error),
            IdpError::TokenExchange(TokenExchangeError::Http(error)) => away(error),
            IdpError::Unusable { cause, .. } => away(cause),
            IdpError::TokenExchange(TokenExchangeError::Refused { code }) => {
                ["invalid_client", "unauthorized_client", "incorrect_client_credentials"].contains(code)
            }
            _ => false,
        }
    }
}

/// Whether a refusal speaks of the client or its request, and not of the person.
fn is_our_fault(code: &str) -> bool {
    let ours = ["invalid_client", "unauthorized_client", "invalid_request", "invalid_scope", "unsupported_grant_type"];
    let ours_elsewhere = ["incorrect_client_credentials", "use_dpop_nonce", "invalid_dpop_proof"];
    ours.contains(&code) || ours_elsewhere.contains(&code)
}

fn word(error: &IdpError) -> Word {
    match error {
        IdpError::TokenExchange(TokenExchangeError::Refused { code }) if is_our_fault(code) => Word::Unheard,
        // At the token endpoint a 401 is about the client (RFC 6749 5.2).
        IdpError::TokenExchange(TokenExchangeError::Http(HttpError::Status(401)))
        | IdpError::IdToken(JwtFault::Clock(_) | JwtFault::NoKeys | JwtFault::UnknownKey)
        | IdpError::PushedRequest(_)
        | IdpError::RequestObject(_)
        | IdpError::Unusable { .. }
        | IdpError::Answer(_)
        | IdpError::Issuer(_) => Word::Unheard,
        IdpError::TokenExchange(TokenExchangeError::Refused { .. })
        | IdpError::Userinfo(UserinfoError::Http(HttpError::Status(401)) | UserinfoError::Subject)
        | IdpError::ProfileEndpoint(HttpError::Status(401))
        | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: HttpError::Status(401), .. })
        | IdpError::Profile(ProfileFault::AnotherSubject)
        | IdpError::IdToken(_) => Word::Refused,
        IdpError::TokenExchange(TokenExchangeError::Http(error))
        | IdpError::Userinfo(UserinfoError::Http(error))
        | IdpError::ProfileEndpoint(error)
        | IdpError::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }) => word_of(error),
        IdpError::TokenExchange(TokenExchangeError::Malformed | TokenExchangeError::TokenType)
        | IdpError::Userinfo(UserinfoError::Nobody | UserinfoError::Claim(_))
        | IdpError::ProfileApi(ProfileApiError::Malformed(_) | ProfileApiError::TooMany(_))
        // With too many groups nobody could sign in, and whoever stayed would keep those they had, for good.
        | IdpError::Profile(ProfileFault::Subject | ProfileFault::RequiredClaim(_) | ProfileFault::Groups) => {
            Word::Unconfirmed
        }
    }
}

/// Of an answer that is no clear word, or no answer.
fn word_of(error: &HttpError) -> Word {
    match error {
        outage if outage.is_outage() => Word::Unheard,
        // The last three are ours.
        HttpError::Unreachable(_)
        | HttpError::Timeout
        | HttpError::Client(_)
        | HttpError::Request
        | HttpError::Proof => Word::Unheard,
        HttpError::Status(_)
        | HttpError::TooLarge
        | HttpError::ContentType
        | HttpError::NotAnObject
        | HttpError::Unacceptable(_) => Word::Unconfirmed,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn refused(code: &'static str) -> IdpError {
        IdpError::TokenExchange(TokenExchangeError::Refused { code })
    }

    fn token(error: HttpError) -> IdpError {
        IdpError::TokenExchange(TokenExchangeError::Http(error))
    }

    fn userinfo(error: HttpError) -> IdpError {
        IdpError::Userinfo(UserinfoError::Http(error))
    }

    /// R-C12, R-E05: one line a case.
    #[test]
    fn only_a_word_about_the_person_is_a_refusal() {
        let away = || Arc::new(HttpError::Timeout);
        for (error, is_one) in [
            (refused("invalid_grant"), true),
            (refused("another error"), true),
            (refused("invalid_client"), false),
            (refused("unauthorized_client"), false),
            (refused("invalid_scope"), false),
            (refused("use_dpop_nonce"), false),
            (token(HttpError::Status(401)), false),
            (userinfo(HttpError::Status(401)), true),
            (userinfo(HttpError::Proof), false),
            (IdpError::Userinfo(UserinfoError::Subject), true),
            (IdpError::ProfileEndpoint(HttpError::Status(401)), true),
            (IdpError::Profile(ProfileFault::AnotherSubject), true),
            (IdpError::IdToken(JwtFault::Claim("sub")), true),
            (IdpError::IdToken(JwtFault::Signature), true),
            (IdpError::IdToken(JwtFault::Clock("iat")), false),
            (IdpError::IdToken(JwtFault::UnknownKey), false),
            (IdpError::Unusable { what: "the provider's keys", cause: away() }, false),
        ] {
            assert_eq!(word(&error), if is_one { Word::Refused } else { Word::Unheard }, "{error}");
        }
    }

    /// R-I08, R-C12: one line a case: whether it was an answer.
    #[test]
    fn an_answer_that_stands_by_nobody_is_no_outage() {
        for (error, answered) in [
            (token(HttpError::Status(400)), true),
            (token(HttpError::Status(404)), true),
            (token(HttpError::Status(408)), false),
            (token(HttpError::Status(429)), false),
            (token(HttpError::Status(503)), false),
            (token(HttpError::Timeout), false),
            (IdpError::TokenExchange(TokenExchangeError::Malformed), true),
            (userinfo(HttpError::Status(403)), true),
            (userinfo(HttpError::Status(404)), true),
            (userinfo(HttpError::Status(302)), true),
            (userinfo(HttpError::Status(408)), false),
            (userinfo(HttpError::Status(429)), false),
            (userinfo(HttpError::Status(500)), false),
            (userinfo(HttpError::Request), false),
            (userinfo(HttpError::NotAnObject), true),
            (userinfo(HttpError::ContentType), true),
            (userinfo(HttpError::TooLarge), true),
            (IdpError::Userinfo(UserinfoError::Nobody), true),
            (IdpError::Userinfo(UserinfoError::Claim("aud")), true),
            (IdpError::ProfileEndpoint(HttpError::Status(403)), true),
            (IdpError::ProfileEndpoint(HttpError::Status(502)), false),
            (IdpError::Profile(ProfileFault::Subject), true),
            (IdpError::Profile(ProfileFault::Groups), true),
            (IdpError::Profile(ProfileFault::RequiredClaim("ok".into())), true),
            (IdpError::ProfileApi(ProfileApiError::TooMany("teams")), true),
            (IdpError::ProfileApi(ProfileApiError::Malformed("teams")), true),
        ] {
            assert_eq!(word(&error), if answered { Word::Unconfirmed } else { Word::Unheard }, "{error}");
        }
    }

    /// R-C12: one person's trouble is not everybody's. One line a case.
    #[test]
    fn what_a_provider_answers_to_one_person_concerns_nobody_else() {
        for (cause, everybody) in [
            (token(HttpError::Timeout), true),
            (token(HttpError::Status(503)), true),
            (token(HttpError::Status(500)), false),
            (token(HttpError::Status(429)), true),
            (token(HttpError::Status(403)), false),
            (refused("invalid_client"), true),
            (refused("unauthorized_client"), true),
            (refused("invalid_request"), false),
            (refused("invalid_scope"), false),
            (userinfo(HttpError::Timeout), true),
            (IdpError::ProfileEndpoint(HttpError::Timeout), true),
            (userinfo(HttpError::Status(429)), false),
            (userinfo(HttpError::Status(503)), false),
            (IdpError::ProfileEndpoint(HttpError::Status(503)), false),
        ] {
            let failed = RenewalError::of(cause);
            assert_eq!(failed.concerns_everybody(), everybody, "{failed}");
        }
    }
}

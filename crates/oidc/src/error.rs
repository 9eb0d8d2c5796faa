//! The errors of this crate's conversations with a provider, gathered from those of their steps.

use std::sync::Arc;

use thiserror::Error;

use crate::claims::mapping::ProfileFault;
use crate::claims::userinfo::UserinfoError;
use crate::client::http_error::HttpError;
use crate::client::signing_key::SigningKeyError;
use crate::discovery::keys::{KeysUnavailable, SignatureError};
use crate::login::authorization::IssuerMismatch;
use crate::login::pushed_request::PushedRequestError;
use crate::providers::api::ProfileApiError;
use crate::tokens::exchange_error::TokenExchangeError;
use crate::verification::fault::JwtFault;

/// The reason why a login with a provider cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdpError {
    /// Its metadata or keys cannot be had.
    #[error("{what} cannot be had: {cause}")]
    Unusable {
        /// Metadata or keys.
        what: &'static str,
        /// Shared: one failed fetch answers every login that waited for it.
        cause: Arc<HttpError>,
    },
    /// It did not take the authorization request.
    #[error(transparent)]
    PushedRequest(#[from] PushedRequestError),
    /// Signing the authorization request with our own key failed.
    #[error("the authorization request could not be signed: the key {0}")]
    RequestObject(#[from] SigningKeyError),
    /// Its answer to the browser names another issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerMismatch),
    /// It did not exchange the code.
    #[error(transparent)]
    TokenExchange(#[from] TokenExchangeError),
    /// Its signed answer to the browser was not accepted.
    #[error("the signed answer was not accepted: {0}")]
    Answer(#[source] JwtFault),
    /// Its ID token was not accepted.
    #[error("the ID token was not accepted: {0}")]
    IdToken(#[from] JwtFault),
    /// Its userinfo was not accepted.
    #[error(transparent)]
    Userinfo(#[from] UserinfoError),
    /// Its profile endpoint failed.
    #[error("the profile endpoint failed: {0}")]
    ProfileEndpoint(#[source] HttpError),
    /// Its API gave no usable answer about attributes that the claims or the profile lack.
    #[error(transparent)]
    ProfileApi(#[from] ProfileApiError),
    /// Its claims or profile lack what is needed.
    #[error(transparent)]
    Profile(#[from] ProfileFault),
}

/// The class of a failure: its meaning for the person and for the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The provider cannot be reached, is busy or fails itself: transient.
    Unavailable,
    /// A matter between the provider and us: configuration, credentials, keys, metadata. Says nothing of the person.
    Ours,
    /// The provider refused either the request or the person, depending on the product.
    RequestOrPerson,
    /// The code or the refresh token is used up, too old or revoked.
    Spent,
    /// The provider refused the person, or its answer is about another one.
    Denied,
    /// The person is not one whom the configuration admits (`required_claims`).
    NotAdmitted,
    /// The provider answered, and its answer is indeterminate.
    Indeterminate,
    /// The person did not authenticate as recently as was asked for, or `auth_time` is missing.
    NotFresh,
    /// The provider's clock and ours disagree.
    Clock,
    /// The signed answer to the browser came too late.
    LateAnswer,
    /// The answer that the browser brought could not be verified.
    UnprovenAnswer,
}

impl IdpError {
    /// Returns the class of the failure.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unusable { cause, .. } => unavailable_or_ours(cause),
            Self::PushedRequest(PushedRequestError::Http(error)) => unavailable_or_ours(error),
            Self::PushedRequest(PushedRequestError::TooMany) => ErrorClass::Unavailable,
            Self::PushedRequest(
                PushedRequestError::Demanded
                | PushedRequestError::NotOffered
                | PushedRequestError::Refused { .. }
                | PushedRequestError::Malformed,
            )
            | Self::RequestObject(_) => ErrorClass::Ours,
            // Signed by the provider and brought too late.
            Self::Answer(JwtFault::Clock("exp")) => ErrorClass::LateAnswer,
            Self::Answer(JwtFault::Clock(_)) => ErrorClass::Clock,
            Self::Issuer(_) | Self::Answer(_) => ErrorClass::UnprovenAnswer,
            Self::TokenExchange(error) => class_of_exchange(error),
            Self::IdToken(fault) => class_of_id_token(fault),
            Self::Userinfo(UserinfoError::Http(error))
            | Self::ProfileEndpoint(error)
            | Self::ProfileApi(ProfileApiError::Unanswered { cause: error, .. }) => match error {
                // The person's access token is no longer taken.
                HttpError::Status(401, _) => ErrorClass::Denied,
                error => class_of_answer(error),
            },
            Self::Userinfo(UserinfoError::Subject | UserinfoError::Refused(_))
            | Self::Profile(ProfileFault::AnotherSubject) => ErrorClass::Denied,
            Self::Profile(ProfileFault::RequiredClaim(_)) => ErrorClass::NotAdmitted,
            Self::Userinfo(UserinfoError::Nobody | UserinfoError::Token(_))
            | Self::ProfileApi(ProfileApiError::Malformed(_) | ProfileApiError::TooMany(_))
            // With too many groups no login would succeed, and a session that stayed would keep its old groups.
            | Self::Profile(ProfileFault::Subject | ProfileFault::Groups) => ErrorClass::Indeterminate,
        }
    }

    /// Is true if the provider does not know us, or not by these credentials: a fault of the configuration.
    pub fn is_about_the_client(&self) -> bool {
        match self {
            Self::TokenExchange(TokenExchangeError::Refused { code, .. }) => ABOUT_THE_CLIENT.contains(code),
            // At the token endpoint a 401 is about the client (RFC 6749 5.2).
            Self::TokenExchange(TokenExchangeError::Http(HttpError::Status(401, _))) => true,
            _ => false,
        }
    }

    /// Is true if the provider was not sent the code, since it could not be reached: the code is not used up.
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::TokenExchange(TokenExchangeError::Http(error)) if error.was_not_sent())
    }
}

/// Error codes about the client's name and credentials, the same for every session.
const ABOUT_THE_CLIENT: [&str; 2] = ["invalid_client", "incorrect_client_credentials"];

/// Error codes about our configuration, which say nothing of the person.
const FOR_US_TO_MEND: [&str; 3] = ["unsupported_grant_type", "use_dpop_nonce", "invalid_dpop_proof"];

/// Refusals that the standard has for faults of the request or the client's registration (RFC 6749 5.2), and that
/// products answer when a refresh token or its person is gone: Dex, Gitea, Ory's older versions. From a provider that
/// has accepted the same request before, they are about the person.
const ABOUT_THE_REQUEST_OR_THE_PERSON: [&str; 7] = [
    "invalid_request",
    "unauthorized_client",
    "invalid_scope",
    "access_denied",
    "token_inactive",
    "token_expired",
    "request_unauthorized",
];

/// Claims of an ID token that name the person and the login, or that end the login.
const ABOUT_THE_PERSON: [&str; 4] = ["iss", "sub", "nonce", "session_expiry"];

/// Classes an outage apart from everything else, which is between the provider and us.
fn unavailable_or_ours(error: &HttpError) -> ErrorClass {
    if error.is_outage() { ErrorClass::Unavailable } else { ErrorClass::Ours }
}

/// Classes an answer that neither confirms nor denies a person, or the lack of one.
fn class_of_answer(error: &HttpError) -> ErrorClass {
    match error {
        outage if outage.is_outage() => ErrorClass::Unavailable,
        HttpError::Unreachable(_) | HttpError::Timeout | HttpError::AskedJustNow { .. } => ErrorClass::Unavailable,
        HttpError::Client(_) | HttpError::NoAuthorities | HttpError::Request | HttpError::Proof => ErrorClass::Ours,
        HttpError::Status(..)
        | HttpError::TooLarge
        | HttpError::ContentType
        | HttpError::NotAnObject
        | HttpError::Issuer { .. }
        | HttpError::Unacceptable(_) => ErrorClass::Indeterminate,
    }
}

fn class_of_exchange(error: &TokenExchangeError) -> ErrorClass {
    match error {
        // The code was used, or has expired: routine.
        error if error.is_about_the_code() => ErrorClass::Spent,
        TokenExchangeError::Refused { code, .. } => match code {
            code if ABOUT_THE_CLIENT.contains(code) || FOR_US_TO_MEND.contains(code) => ErrorClass::Ours,
            code if ABOUT_THE_REQUEST_OR_THE_PERSON.contains(code) => ErrorClass::RequestOrPerson,
            _ => ErrorClass::Denied,
        },
        // At the token endpoint a 401 is about the client (RFC 6749 5.2).
        TokenExchangeError::Http(HttpError::Status(401, _)) => ErrorClass::Ours,
        TokenExchangeError::Http(error) => class_of_answer(error),
        TokenExchangeError::Malformed | TokenExchangeError::TokenType => ErrorClass::Indeterminate,
    }
}

fn class_of_id_token(fault: &JwtFault) -> ErrorClass {
    match fault {
        JwtFault::Clock(_) => ErrorClass::Clock,
        JwtFault::Missing("auth_time") | JwtFault::ClaimType("auth_time") | JwtFault::Claim("auth_time") => {
            ErrorClass::NotFresh
        }
        // The keys were fetched for this token, perhaps from a cache that is older than it: it counts only if that
        // persists.
        JwtFault::NoKeys | JwtFault::UnknownKey | JwtFault::Signature => ErrorClass::Ours,
        JwtFault::Issuer(_) => ErrorClass::Denied,
        JwtFault::Claim(claim) if ABOUT_THE_PERSON.contains(claim) => ErrorClass::Denied,
        // The form of a token and its further audiences say nothing of the person: a setting at the provider changes
        // them for everybody.
        JwtFault::Absent
        | JwtFault::Malformed
        | JwtFault::Algorithm
        | JwtFault::Type
        | JwtFault::Critical
        | JwtFault::MalformedClaims
        | JwtFault::Missing(_)
        | JwtFault::ClaimType(_)
        | JwtFault::Claim(_) => ErrorClass::Indeterminate,
    }
}

impl From<KeysUnavailable> for IdpError {
    fn from(KeysUnavailable(cause): KeysUnavailable) -> Self {
        Self::Unusable { what: "the provider's keys", cause }
    }
}

/// Any other token is an ID token.
impl From<SignatureError> for IdpError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Token(fault) => Self::IdToken(fault),
            SignatureError::Keys(unavailable) => unavailable.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::answer::provider_words::ProviderWords;

    fn refused(code: &'static str) -> IdpError {
        IdpError::TokenExchange(TokenExchangeError::Refused { code, said: ProviderWords::default(), key: None })
    }

    fn pushed(error: PushedRequestError) -> IdpError {
        IdpError::PushedRequest(error)
    }

    /// Numbers the variants, those of the errors inside as well: a new one has to be given a number here.
    fn number(error: &IdpError) -> usize {
        let fault = |fault: &JwtFault| match fault {
            JwtFault::Absent => 0,
            JwtFault::Malformed => 1,
            JwtFault::Algorithm => 2,
            JwtFault::Type => 3,
            JwtFault::Critical => 4,
            JwtFault::NoKeys => 5,
            JwtFault::UnknownKey => 6,
            JwtFault::Signature => 7,
            JwtFault::MalformedClaims => 8,
            JwtFault::Missing(_) => 9,
            JwtFault::ClaimType(_) => 10,
            JwtFault::Claim(_) => 11,
            JwtFault::Issuer(_) => 12,
            JwtFault::Clock(_) => 13,
        };
        match error {
            IdpError::Unusable { .. } => 0,
            IdpError::RequestObject(_) => 1,
            IdpError::Issuer(_) => 2,
            IdpError::ProfileEndpoint(_) => 3,
            IdpError::PushedRequest(PushedRequestError::Demanded) => 4,
            IdpError::PushedRequest(PushedRequestError::NotOffered) => 5,
            IdpError::PushedRequest(PushedRequestError::Refused { .. }) => 6,
            IdpError::PushedRequest(PushedRequestError::Http(_)) => 7,
            IdpError::PushedRequest(PushedRequestError::TooMany) => 8,
            IdpError::PushedRequest(PushedRequestError::Malformed) => 9,
            IdpError::TokenExchange(TokenExchangeError::Refused { .. }) => 10,
            IdpError::TokenExchange(TokenExchangeError::Http(_)) => 11,
            IdpError::TokenExchange(TokenExchangeError::Malformed) => 12,
            IdpError::TokenExchange(TokenExchangeError::TokenType) => 13,
            IdpError::Userinfo(UserinfoError::Http(_)) => 14,
            IdpError::Userinfo(UserinfoError::Subject) => 15,
            IdpError::Userinfo(UserinfoError::Refused(_)) => 16,
            IdpError::Userinfo(UserinfoError::Nobody) => 17,
            IdpError::Userinfo(UserinfoError::Token(_)) => 18,
            IdpError::ProfileApi(ProfileApiError::Unanswered { .. }) => 19,
            IdpError::ProfileApi(ProfileApiError::Malformed(_)) => 20,
            IdpError::ProfileApi(ProfileApiError::TooMany(_)) => 21,
            IdpError::Profile(ProfileFault::Subject) => 22,
            IdpError::Profile(ProfileFault::AnotherSubject) => 23,
            IdpError::Profile(ProfileFault::RequiredClaim(_)) => 24,
            IdpError::Profile(ProfileFault::Groups) => 25,
            IdpError::Answer(inside) => 26 + fault(inside),
            IdpError::IdToken(inside) => 40 + fault(inside),
        }
    }

    /// R-C12: one line a failure.
    #[test]
    fn every_failure_has_its_class() {
        use ErrorClass::{
            Clock, Denied, Indeterminate, LateAnswer, NotAdmitted, NotFresh, Ours, RequestOrPerson, Spent, Unavailable,
            UnprovenAnswer,
        };
        use JwtFault::{
            Absent, Algorithm, Claim, ClaimType, Critical, Malformed, MalformedClaims, Missing, NoKeys, Signature,
            Type, UnknownKey,
        };
        let (status, answer, id_token) = (HttpError::status, IdpError::Answer, IdpError::IdToken);
        let (exchange, userinfo) = (IdpError::TokenExchange, IdpError::Userinfo);
        let unusable = |error| IdpError::Unusable { what: "the provider's metadata", cause: Arc::new(error) };
        let unanswered = |cause| IdpError::ProfileApi(ProfileApiError::Unanswered { what: "teams", cause });
        let push_refused = || PushedRequestError::Refused { code: "x", said: ProviderWords::default(), key: None };
        let cases = [
            (unusable(HttpError::Timeout), Unavailable),
            (unusable(HttpError::AskedJustNow { again_in: 10 }), Unavailable),
            (unusable(HttpError::NotAnObject), Ours),
            (IdpError::RequestObject(SigningKeyError::Sign), Ours),
            (IdpError::Issuer(IssuerMismatch::Missing), UnprovenAnswer),
            (IdpError::ProfileEndpoint(status(401)), Denied),
            (IdpError::ProfileEndpoint(status(403)), Indeterminate),
            (IdpError::ProfileEndpoint(status(502)), Unavailable),
            (pushed(PushedRequestError::Demanded), Ours),
            (pushed(PushedRequestError::NotOffered), Ours),
            (pushed(push_refused()), Ours),
            (pushed(PushedRequestError::Http(status(404))), Ours),
            (pushed(PushedRequestError::Http(status(503))), Unavailable),
            (pushed(PushedRequestError::TooMany), Unavailable),
            (pushed(PushedRequestError::Malformed), Ours),
            (refused("invalid_grant"), Spent),
            (refused("bad_verification_code"), Spent),
            (refused("invalid_client"), Ours),
            (refused("use_dpop_nonce"), Ours),
            (refused("invalid_request"), RequestOrPerson),
            (refused("another error"), Denied),
            (exchange(TokenExchangeError::Http(status(401))), Ours),
            (exchange(TokenExchangeError::Http(status(429))), Unavailable),
            (exchange(TokenExchangeError::Http(status(400))), Indeterminate),
            (exchange(TokenExchangeError::Http(HttpError::Request)), Ours),
            (exchange(TokenExchangeError::Malformed), Indeterminate),
            (exchange(TokenExchangeError::TokenType), Indeterminate),
            (userinfo(UserinfoError::Http(status(401))), Denied),
            (userinfo(UserinfoError::Http(HttpError::Proof)), Ours),
            (userinfo(UserinfoError::Http(HttpError::TooLarge)), Indeterminate),
            (userinfo(UserinfoError::Subject), Denied),
            (userinfo(UserinfoError::Refused(ProviderWords::default())), Denied),
            (userinfo(UserinfoError::Nobody), Indeterminate),
            (userinfo(UserinfoError::Token(JwtFault::Clock("exp"))), Indeterminate),
            (unanswered(status(401)), Denied),
            (unanswered(HttpError::Timeout), Unavailable),
            (IdpError::ProfileApi(ProfileApiError::Malformed("teams")), Indeterminate),
            (IdpError::ProfileApi(ProfileApiError::TooMany("teams")), Indeterminate),
            (IdpError::Profile(ProfileFault::Subject), Indeterminate),
            (IdpError::Profile(ProfileFault::AnotherSubject), Denied),
            (IdpError::Profile(ProfileFault::RequiredClaim("hd".into())), NotAdmitted),
            (IdpError::Profile(ProfileFault::Groups), Indeterminate),
            (answer(JwtFault::Clock("exp")), LateAnswer),
            (answer(JwtFault::Clock("iat")), Clock),
            (id_token(JwtFault::Clock("exp")), Clock),
            (id_token(JwtFault::issuer("https://other.test", "https://idp.test")), Denied),
            (id_token(Claim("sub")), Denied),
            (id_token(Claim("nonce")), Denied),
            (id_token(Claim("session_expiry")), Denied),
            (id_token(Claim("aud")), Indeterminate),
            (id_token(Claim("auth_time")), NotFresh),
            (id_token(Missing("auth_time")), NotFresh),
            (id_token(ClaimType("auth_time")), NotFresh),
            (id_token(NoKeys), Ours),
            (id_token(UnknownKey), Ours),
            (id_token(Signature), Ours),
        ];
        let form = || {
            [
                Absent,
                Malformed,
                Algorithm,
                Type,
                Critical,
                MalformedClaims,
                Missing("exp"),
                ClaimType("exp"),
                Claim("azp"),
            ]
        };
        let others = [NoKeys, UnknownKey, Signature, JwtFault::issuer("https://other.test", "https://idp.test")];
        let forms = form().into_iter().map(|fault| (id_token(fault), Indeterminate));
        let answers = form().into_iter().chain(others).map(|fault| (answer(fault), UnprovenAnswer));
        let mut seen = BTreeSet::new();
        for (error, class) in cases.into_iter().chain(forms).chain(answers) {
            assert_eq!(error.class(), class, "{error:?}");
            seen.insert(number(&error));
        }
        assert!(seen.into_iter().eq(0..54), "every variant has a line");
    }
}

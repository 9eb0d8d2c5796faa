//! Reading an authorization request.
//!
//! Owns what a request must and must not say (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core
//! 1.0 section 3.1.2), and whether a session is enough to answer it. Where the answer goes is `address`. Pure: no
//! HTTP, no state. Called by `authorize`.

use time::OffsetDateTime;

use super::address::{Address, AddressError};
use super::parameters::Parameters;
use super::scopes::Scopes;
use super::sessions::Session;
use super::{Protocol, RegisteredClient};

/// The reason why the client gets an error instead of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    #[error("a parameter appears more than once")]
    RepeatedParameter,
    #[error("response_type is missing")]
    NoResponseType,
    #[error("only response_type=code is supported")]
    OtherResponseType,
    #[error("only response_mode=query is supported")]
    OtherResponseMode,
    #[error("request objects are not supported")]
    RequestObject,
    #[error("request_uri is not supported")]
    RequestUri,
    #[error("the registration parameter is not supported")]
    Registration,
    #[error("the scope has to contain openid")]
    NoOpenidScope,
    #[error("a code_challenge of 43 base64url characters is required")]
    NoChallenge,
    #[error("only code_challenge_method=S256 is supported, and it has to be named")]
    OtherChallengeMethod,
    #[error("prompt is unknown, or none together with another value")]
    BadPrompt,
    #[error("max_age is not a number of seconds")]
    BadMaxAge,
    #[error("id_token_hint is not an ID token of this issuer for this client")]
    BadHint,
    #[error("nobody who fits the request is signed in")]
    LoginRequired,
    #[error("the sign-in was cancelled")]
    Cancelled,
}

/// A refusal, and whom it is told to.
#[derive(Debug)]
pub(super) enum Refusal {
    ToPerson(AddressError),
    ToClient(Address, RequestError),
}

/// The request's wish about asking the person (`prompt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    Unspecified,
    None,
    Page,
}

/// A request that may be answered.
#[derive(Debug)]
pub(super) struct AuthorizationRequest {
    pub protocol: Protocol,
    pub client_id: String,
    pub address: Address,
    pub scopes: Scopes,
    pub nonce: Option<String>,
    pub challenge: String,
    pub prompt: Prompt,
    pub max_age: Option<u32>,
    pub login_hint: Option<String>,
    pub id_token_hint: Option<String>,
}

impl RequestError {
    /// Returns the `error` parameter.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::OtherResponseType => "unsupported_response_type",
            Self::RequestObject => "request_not_supported",
            Self::RequestUri => "request_uri_not_supported",
            Self::Registration => "registration_not_supported",
            Self::NoOpenidScope => "invalid_scope",
            Self::LoginRequired => "login_required",
            Self::Cancelled => "access_denied",
            _ => "invalid_request",
        }
    }
}

impl AuthorizationRequest {
    /// Reads and checks a request.
    pub(super) fn read(
        protocol: Protocol,
        parameters: &Parameters,
        issuer: &str,
        known: &[RegisteredClient],
    ) -> Result<Self, Refusal> {
        let (client_id, address) = Address::read(protocol, parameters, issuer, known).map_err(Refusal::ToPerson)?;
        match Self::read_rest(protocol, parameters) {
            Ok(rest) => Ok(rest(client_id, address)),
            Err(error) => Err(Refusal::ToClient(address, error)),
        }
    }

    fn read_rest(
        protocol: Protocol,
        parameters: &Parameters,
    ) -> Result<impl FnOnce(String, Address) -> Self, RequestError> {
        check_shape(parameters)?;
        let scopes = read_scopes(protocol, parameters.get("scope").unwrap_or_default())?;
        let challenge = read_challenge(parameters)?;
        let prompt = read_prompt(parameters.get("prompt"))?;
        let max_age = match parameters.get("max_age") {
            Some(text) => Some(text.parse().map_err(|_| RequestError::BadMaxAge)?),
            None => None,
        };
        let owned = |name| parameters.get(name).map(str::to_owned);
        let (nonce, login_hint, id_token_hint) = (owned("nonce"), owned("login_hint"), owned("id_token_hint"));
        Ok(move |client_id, address| Self {
            protocol,
            client_id,
            address,
            scopes,
            nonce,
            challenge,
            prompt,
            max_age,
            login_hint,
            id_token_hint,
        })
    }

    /// Is true if this session answers the request without asking. `hinted` is the subject of an `id_token_hint`.
    pub(super) fn is_satisfied_by(&self, session: &Session, hinted: Option<&str>, now: OffsetDateTime) -> bool {
        let age = (now - session.signed_in_at).whole_seconds();
        // max_age=0 means the same as prompt=login.
        let is_recent = self.max_age.is_none_or(|limit| limit > 0 && age <= i64::from(limit));
        is_recent && self.prompt != Prompt::Page && hinted.is_none_or(|subject| subject == session.account.id)
    }
}

fn check_shape(parameters: &Parameters) -> Result<(), RequestError> {
    if parameters.has_repetition() {
        return Err(RequestError::RepeatedParameter);
    }
    match parameters.get("response_type") {
        Some("code") => {}
        Some(_) => return Err(RequestError::OtherResponseType),
        None => return Err(RequestError::NoResponseType),
    }
    if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(RequestError::OtherResponseMode);
    }
    let unsupported = [
        ("request", RequestError::RequestObject),
        ("request_uri", RequestError::RequestUri),
        ("registration", RequestError::Registration),
    ];
    match unsupported.into_iter().find(|(name, _)| parameters.get(name).is_some()) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

fn read_scopes(protocol: Protocol, requested: &str) -> Result<Scopes, RequestError> {
    let scopes = Scopes::granted(requested);
    match protocol {
        Protocol::OpenidConnect if !scopes.contains("openid") => Err(RequestError::NoOpenidScope),
        Protocol::OpenidConnect => Ok(scopes),
        Protocol::PlainOauth => Ok(scopes.without_openid()),
    }
}

fn read_challenge(parameters: &Parameters) -> Result<String, RequestError> {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let challenge = parameters
        .get("code_challenge")
        .filter(|challenge| challenge.len() == 43 && challenge.bytes().all(is_base64url))
        .ok_or(RequestError::NoChallenge)?;
    // An absent method means plain, RFC 7636 section 4.3.
    match parameters.get("code_challenge_method") {
        Some("S256") => Ok(challenge.to_owned()),
        _ => Err(RequestError::OtherChallengeMethod),
    }
}

fn read_prompt(prompt: Option<&str>) -> Result<Prompt, RequestError> {
    let values: Vec<_> = prompt.unwrap_or_default().split(' ').filter(|value| !value.is_empty()).collect();
    match values.as_slice() {
        [] => Ok(Prompt::Unspecified),
        ["none"] => Ok(Prompt::None),
        // The page is where one signs in, chooses an account and agrees, all at once.
        values if values.iter().all(|value| ["login", "consent", "select_account"].contains(value)) => Ok(Prompt::Page),
        _ => Err(RequestError::BadPrompt),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CALLBACK, authorize_query, settings};
    use super::*;

    fn outcome(query: &str) -> Result<AuthorizationRequest, Refusal> {
        let settings = settings("https://i.example");
        let parameters = Parameters::parse(query.as_bytes());
        AuthorizationRequest::read(Protocol::OpenidConnect, &parameters, &settings.issuer, &settings.clients)
    }

    fn error(query: &str) -> RequestError {
        match outcome(query) {
            Err(Refusal::ToClient(_, error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_without_a_known_client_or_an_exact_redirect_uri_has_no_address() {
        let good = authorize_query("");
        let encoded = url::form_urlencoded::byte_serialize(CALLBACK.as_bytes()).collect::<String>();
        for bad in [
            good.replace("client_id=broker", "client_id=other"),
            good.replace(&encoded, &format!("{encoded}%2F")),
            good.replace(&encoded, &encoded.to_uppercase()),
            format!("{good}&redirect_uri={encoded}"),
            format!("{good}&client_id=broker"),
        ] {
            assert!(matches!(outcome(&bad), Err(Refusal::ToPerson(_))), "{bad}");
        }
        assert!(outcome(&good).is_ok());
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        let good = authorize_query("");
        for (removed, inserted, expected) in [
            ("response_type=code", "", RequestError::NoResponseType),
            ("response_type=code", "response_type=token", RequestError::OtherResponseType),
            ("scope=openid", "scope=email", RequestError::NoOpenidScope),
            ("code_challenge=", "ignored=", RequestError::NoChallenge),
            ("_method=S256", "_method=plain", RequestError::OtherChallengeMethod),
            ("code_challenge_method=S256", "", RequestError::OtherChallengeMethod),
            ("nonce=", "state=", RequestError::RepeatedParameter),
            ("nonce=", "request_uri=", RequestError::RequestUri),
            ("nonce=", "prompt=none+login&x=", RequestError::BadPrompt),
            ("nonce=", "max_age=-1&x=", RequestError::BadMaxAge),
            ("nonce=", "response_mode=fragment&x=", RequestError::OtherResponseMode),
        ] {
            let bad = good.replacen(removed, inserted, 1);
            assert_ne!(bad, good);
            assert_eq!(error(&bad), expected, "{bad}");
        }
    }

    #[test]
    fn an_answer_carries_state_and_issuer() {
        let address = outcome(&authorize_query("")).unwrap().address;
        let expected = format!("{CALLBACK}?code=c&state=st+1&iss=https%3A%2F%2Fi.example");
        assert_eq!(address.with_code("c"), expected);
        assert!(address.with_error(RequestError::Cancelled).contains("error=access_denied"));
    }
}

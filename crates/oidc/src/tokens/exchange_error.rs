//! The reasons why the token endpoint gives no tokens.

use oauth2::RequestTokenError;
use oauth2::basic::BasicErrorResponse;
use thiserror::Error;

use crate::answer::error_codes::KNOWN_REFUSALS;
use crate::answer::provider_words::ProviderWords;
use crate::answer::reason::Spoken;
use crate::client::client_authentication::{ClientAuthentication, advice};
use crate::client::http_error::HttpError;

/// Error codes about the code alone: it is expired, or was used. GitHub and Slack have codes of their own.
const ABOUT_THE_CODE: [&str; 4] = ["invalid_grant", "bad_verification_code", "invalid_code", "code_already_used"];

/// The reason why the code was not exchanged, or no new tokens came. Names no token, code or secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenExchangeError {
    /// The token endpoint refused: `invalid_client` means our credentials, `invalid_grant` the code.
    #[error("the token endpoint refused the exchange: {code}{}{said}", advice(*.key))]
    Refused {
        /// One of the registered error codes, or `another error`.
        code: &'static str,
        /// The reason that it gave.
        said: ProviderWords,
        /// The configuration's keys that it may be about.
        key: Option<&'static str>,
    },
    /// No usable answer; the code may be used up, so it is not sent again (R-C08).
    #[error("the token endpoint failed: {0}")]
    Http(#[source] HttpError),
    /// An answer that is no token answer.
    #[error("the token endpoint's answer is not a token answer")]
    Malformed,
    /// Tokens of a type we cannot use; without DPoP though we asked for it, say (R-C04, RFC 9449 5).
    #[error("the token type is not the one that was asked for")]
    TokenType,
}

impl TokenExchangeError {
    /// Is true if the only fault is that the code was used or has expired.
    pub fn is_about_the_code(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if ABOUT_THE_CODE.contains(code))
    }
}

/// Makes an error of a failed token request.
pub(crate) fn failure(
    error: RequestTokenError<HttpError, BasicErrorResponse>,
    client: &ClientAuthentication,
) -> TokenExchangeError {
    match error {
        RequestTokenError::ServerResponse(response) => {
            let said = response.error().as_ref();
            let code = KNOWN_REFUSALS.into_iter().find(|code| *code == said).unwrap_or("another error");
            let spoken = Spoken {
                // A code that is known stands there already.
                code: (code != said).then_some(said),
                description: response.error_description().map(String::as_str),
                address: response.error_uri().map(String::as_str),
            };
            let key = client.key_behind(code);
            // The secrets that were sent have been taken out of the rest before.
            TokenExchangeError::Refused { code, said: ProviderWords::of_provider(spoken, &[]), key }
        }
        RequestTokenError::Request(error) => TokenExchangeError::Http(error),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => TokenExchangeError::Malformed,
    }
}

//! Tests our credentials without a login, for `counterfoil check`.

use http::Response;
use serde_json::Value;

use crate::client::client_authentication::ClientAuthentication;
use crate::client::http_error::HttpError;
use crate::client::json::json_object;
use crate::error::IdpError;
use crate::login::attempt::LoginOptions;
use crate::login::pushed_request::{self, PushedRequestError};
use crate::provider::Provider;
use crate::provider::misfits::{Misfit, Needs, misfits};
use crate::tokens::as_specified::as_specified;
use crate::tokens::exchange_error::TokenExchangeError;

/// A code that no provider ever issued.
const NO_CODE: &str = "counterfoil-check-this-code-was-never-issued";

/// A provider's answer to our credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// It knows us by them.
    Accepted,
    /// It does not.
    Refused,
    /// It knows the client, and allows it nothing that is needed.
    NotAllowed,
    /// It knows the client, and refuses the request by this error code.
    RequestRefused(&'static str),
    /// There was nothing to try: a public client.
    NothingToTry,
    /// It cannot be told.
    Unclear(String),
}

impl Provider {
    /// Returns the parts of this provider's section that do not fit its metadata.
    ///
    /// # Errors
    /// [`IdpError::Unusable`] if they cannot be had.
    pub async fn misfits(&self, needs: &Needs) -> Result<Vec<Misfit>, IdpError> {
        Ok(misfits(&self.0.settings, &*self.metadata().await?, needs))
    }

    /// Shows our credentials: with a pushed request where those are used, else with a code that cannot exist.
    ///
    /// # Errors
    /// [`IdpError::Unusable`] if the provider's metadata cannot be had.
    pub async fn try_credentials(&self) -> Result<Trial, IdpError> {
        if matches!(self.0.settings.client.authentication, ClientAuthentication::None) {
            return Ok(Trial::NothingToTry);
        }
        let metadata = self.metadata().await?;
        if matches!(pushed_request::endpoint(self.0.settings.login.pushed_requests, &metadata), Ok(Some(_))) {
            return Ok(match self.start(&LoginOptions::default()).await {
                Ok(_) => Trial::Accepted,
                Err(IdpError::PushedRequest(PushedRequestError::Refused { code, .. })) => verdict_on_push(code),
                Err(error) => Trial::Unclear(error.to_string()),
            });
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", NO_CODE),
            ("redirect_uri", self.0.redirect_uri.as_str()),
            // RFC 7636 4.1: of a length that is allowed.
            ("code_verifier", "counterfoil-check-no-login-was-begun-with-this-verifier"),
        ];
        let form: Vec<_> = form.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let answer = self.back_channel(&metadata).post(&metadata.token_endpoint, &form).await;
        Ok(match answer {
            Ok(answer) => verdict(&as_specified(answer, self.0.settings.is_plain_oauth2())),
            Err(error) => Trial::Unclear(TokenExchangeError::Http(error).to_string()),
        })
    }
}

fn verdict_on_push(code: &'static str) -> Trial {
    match code {
        "invalid_client" => Trial::Refused,
        "unauthorized_client" => Trial::NotAllowed,
        code => Trial::RequestRefused(code),
    }
}

/// Classifies by RFC 6749 5.2, and by the codes of GitHub, Slack and others.
fn verdict(answer: &Response<Vec<u8>>) -> Trial {
    let document = json_object(answer.body()).unwrap_or_default();
    let status = answer.status().as_u16();
    match document.get("error").and_then(Value::as_str) {
        Some("invalid_client" | "incorrect_client_credentials" | "bad_client_secret" | "invalid_client_id") => {
            Trial::Refused
        }
        Some("invalid_grant" | "bad_verification_code" | "invalid_code") => Trial::Accepted,
        Some("unauthorized_client" | "unsupported_grant_type") => Trial::NotAllowed,
        _ if status == 401 => Trial::Refused,
        _ if HttpError::of(answer).is_outage() => Trial::Unclear(HttpError::of(answer).to_string()),
        Some(_) => Trial::Unclear(format!("it answered {status} with an error that says neither")),
        None => Trial::Unclear(format!("it answered {status} without an error that is known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line an answer, as providers write them.
    #[test]
    fn a_wrong_secret_is_told_from_a_wrong_code() {
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant"}"#, Trial::Accepted),
            (401, r#"{"error":"invalid_client","error_description":"x"}"#, Trial::Refused),
            (400, r#"{"error":"invalid_client"}"#, Trial::Refused),
            (401, "", Trial::Refused),
            (401, "<html>", Trial::Refused),
            (400, r#"{"error":"unauthorized_client"}"#, Trial::NotAllowed),
            (400, r#"{"error":"incorrect_client_credentials"}"#, Trial::Refused),
            (400, r#"{"error":"bad_verification_code"}"#, Trial::Accepted),
            (400, r#"{"ok":false,"error":"bad_client_secret"}"#, Trial::Refused),
        ] {
            let answer = Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
            assert_eq!(verdict(&answer), expected, "{status} {body}");
        }
        for (status, body) in [(503, ""), (400, r#"{"error":"invalid_request"}"#), (200, "{}"), (404, "x")] {
            let answer = Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
            assert!(matches!(verdict(&answer), Trial::Unclear(_)), "{status} {body}");
        }
    }
}

//! The token endpoint of both protocols.
//!
//! Owns the two grant types, the answer with tokens, and the errors of RFC 6749 section 5.2. What a code or a
//! refresh token is worth is decided in `grants`. Called by the router; `revoke` shares the errors.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::clients::{self, ClientError};
use super::grants::{ACCESS_TOKEN_LIFETIME, GrantError, Issued, PresentedCode, PresentedRefreshToken};
use super::keys::ID_TOKEN_TYPE;
use super::parameters::{Parameters, declares_form};
use super::sessions::Participant;
use super::{IdentityProvider, Protocol, RegisteredClient, id_token};

/// The reason why the token or the revocation endpoint refuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the body has to be application/x-www-form-urlencoded")]
    NotAForm,
    #[error("a parameter appears more than once")]
    RepeatedParameter,
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    #[error("grant_type has to be authorization_code or refresh_token")]
    OtherGrantType,
    #[error("code_verifier has to be 43 to 128 unreserved characters")]
    MalformedVerifier,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("the ID token could not be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// Answers `POST /token`.
pub(super) async fn exchange(
    State(provider): State<IdentityProvider>,
    Extension(protocol): Extension<Protocol>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, TokenError> {
    let parameters = read_form(&headers, &body)?;
    let client = clients::authenticate(provider.clients(), &headers, &parameters)?;
    let (issued, nonce) = match required(&parameters, "grant_type")? {
        "authorization_code" => redeem(&provider, protocol, client, &parameters)?,
        "refresh_token" => (refresh(&provider, protocol, client, &parameters)?, None),
        _ => return Err(TokenError::OtherGrantType),
    };
    let answer = answer(&provider, &issued, nonce.as_deref())?;
    Ok((uncacheable(), Json(answer)).into_response())
}

/// Reads the parameters of a body that has to be a form.
pub(super) fn read_form(headers: &HeaderMap, body: &[u8]) -> Result<Parameters, TokenError> {
    if !declares_form(headers) {
        return Err(TokenError::NotAForm);
    }
    let parameters = Parameters::parse(body);
    if parameters.has_repetition() { Err(TokenError::RepeatedParameter) } else { Ok(parameters) }
}

/// Returns a parameter that has to be there.
pub(super) fn required<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a str, TokenError> {
    parameters.get(name).ok_or(TokenError::Missing(name))
}

fn redeem(
    provider: &IdentityProvider,
    protocol: Protocol,
    client: &RegisteredClient,
    parameters: &Parameters,
) -> Result<(Issued, Option<String>), TokenError> {
    let verifier = required(parameters, "code_verifier")?;
    if !is_verifier(verifier) {
        return Err(TokenError::MalformedVerifier);
    }
    let presented = PresentedCode {
        protocol,
        client_id: &client.client_id,
        code: required(parameters, "code")?,
        redirect_uri: required(parameters, "redirect_uri")?,
        verifier,
    };
    let mut state = provider.state();
    let issued = state.grants.redeem(&presented, provider.now())?;
    let grant = &issued.grant;
    // Only an OpenID Connect client knows a `sid` and a `sub` that a logout token could name.
    if protocol == Protocol::OpenidConnect {
        let participant =
            Participant { client_id: grant.client_id.clone(), subject: grant.account.id, sid: grant.sid.clone() };
        state.sessions.join(&grant.session_key, participant);
    }
    let nonce = grant.nonce.clone();
    Ok((issued, nonce))
}

fn refresh(
    provider: &IdentityProvider,
    protocol: Protocol,
    client: &RegisteredClient,
    parameters: &Parameters,
) -> Result<Issued, TokenError> {
    let presented = PresentedRefreshToken {
        protocol,
        client_id: &client.client_id,
        refresh_token: required(parameters, "refresh_token")?,
        scope: parameters.get("scope"),
    };
    Ok(provider.state().grants.refresh(&presented, provider.now())?)
}

/// Returns the answer of RFC 6749 section 5.1 and OpenID Connect Core 1.0 section 3.1.3.3.
fn answer(provider: &IdentityProvider, issued: &Issued, nonce: Option<&str>) -> Result<Value, TokenError> {
    let mut answer = Map::new();
    answer.insert("access_token".into(), json!(issued.access_token));
    answer.insert("token_type".into(), json!("Bearer"));
    answer.insert("expires_in".into(), json!(ACCESS_TOKEN_LIFETIME.whole_seconds()));
    answer.insert("scope".into(), json!(issued.scopes.to_parameter()));
    if let Some(refresh_token) = &issued.refresh_token {
        answer.insert("refresh_token".into(), json!(refresh_token));
    }
    if issued.scopes.contains("openid") {
        let claims = id_token::claims(provider.issuer(), issued, nonce, provider.now());
        answer.insert("id_token".into(), json!(provider.key().sign(ID_TOKEN_TYPE, &claims)?));
    }
    Ok(Value::Object(answer))
}

/// Is true if a text is a code verifier, RFC 7636 section 4.1.
fn is_verifier(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

/// Returns the headers that keep an answer out of caches, RFC 6749 section 5.1.
fn uncacheable() -> [(header::HeaderName, &'static str); 2] {
    [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")]
}

impl TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::OtherGrantType => "unsupported_grant_type",
            Self::NotAForm
            | Self::RepeatedParameter
            | Self::Missing(_)
            | Self::MalformedVerifier
            | Self::Client(ClientError::SeveralMethods) => "invalid_request",
            Self::Client(_) => "invalid_client",
            Self::Grant(GrantError::WiderScope) => "invalid_scope",
            Self::Grant(_) => "invalid_grant",
            Self::Signing(_) => "server_error",
        }
    }

    fn status(&self) -> StatusCode {
        match self.code() {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Json(json!({ "error": self.code(), "error_description": self.to_string() }));
        let mut response = (status, uncacheable(), body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"demo\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::super::testing::{Bench, ISSUER, VERIFIER, code_form, refresh_form};
    use super::*;

    #[tokio::test]
    async fn the_full_flow_ends_with_a_signed_id_token_and_the_userinfo() {
        let mut bench = Bench::new();
        let code = bench.code("/authorize").await;
        let answer = bench.call("/token", &code_form(&code, VERIFIER)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        let tokens = answer.json();
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(300)));
        let (header, claims) = bench.claims(&tokens["id_token"]);
        assert_eq!(header.kid, bench.provider.key().published().keys[0].common.key_id);
        let expected = json!({ "iss": ISSUER, "sub": "alice", "aud": "broker", "nonce": "n-1", "name": "Alice Kim",
            "email": "alice@example.com", "groups": ["staff"], "preferred_username": "alice" });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&claims[name], value, "{name}");
        }
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert!(claims["sid"].is_string() && claims["auth_time"].is_i64() && claims["at_hash"].is_string());
        let userinfo = bench.with_token("/userinfo", &tokens["access_token"]).await.json();
        assert_eq!((&userinfo["sub"], &userinfo["email_verified"]), (&json!("alice"), &json!(true)));
        bench.clock.advance(Duration::minutes(5));
        let expired = bench.with_token("/userinfo", &tokens["access_token"]).await;
        assert_eq!(expired.status, StatusCode::UNAUTHORIZED);
        assert!(expired.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    }

    #[tokio::test]
    async fn a_wrong_verifier_and_a_malformed_one_are_refused() {
        let mut bench = Bench::new();
        let code = bench.code("/authorize").await;
        let malformed = bench.call("/token", &code_form(&code, "short")).await;
        assert_eq!(malformed.json()["error"], "invalid_request");
        let wrong = bench.call("/token", &code_form(&code, &"x".repeat(43))).await;
        assert_eq!((wrong.status, &wrong.json()["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    }

    #[tokio::test]
    async fn a_code_used_twice_revokes_what_it_gave() {
        let mut bench = Bench::new();
        let code = bench.code("/authorize").await;
        let tokens = bench.call("/token", &code_form(&code, VERIFIER)).await.json();
        assert_eq!(bench.call("/token", &code_form(&code, VERIFIER)).await.json()["error"], "invalid_grant");
        let userinfo = bench.with_token("/userinfo", &tokens["access_token"]).await;
        assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
        let refresh_token = tokens["refresh_token"].as_str().unwrap();
        assert_eq!(bench.call("/token", &refresh_form(refresh_token)).await.status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn refresh_tokens_rotate_and_a_reused_one_revokes_its_family() {
        let mut bench = Bench::new();
        let first = bench.tokens().await;
        let first_token = first["refresh_token"].as_str().unwrap();
        let second = bench.call("/token", &refresh_form(first_token)).await.json();
        let (_, claims) = bench.claims(&second["id_token"]);
        assert!(claims.get("nonce").is_none() && claims["sub"] == "alice");
        assert_ne!(second["refresh_token"], first["refresh_token"]);
        assert_eq!(bench.call("/token", &refresh_form(first_token)).await.json()["error"], "invalid_grant");
        let second_token = second["refresh_token"].as_str().unwrap();
        assert_eq!(bench.call("/token", &refresh_form(second_token)).await.json()["error"], "invalid_grant");
        let userinfo = bench.with_token("/userinfo", &second["access_token"]).await;
        assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_revoked_refresh_token_takes_its_access_tokens_with_it() {
        let mut bench = Bench::new();
        let tokens = bench.tokens().await;
        let form = [("token", tokens["refresh_token"].as_str().unwrap())];
        assert_eq!(bench.call("/revoke", &form).await.status, StatusCode::OK);
        assert_eq!(bench.call("/revoke", &[("token", "unknown")]).await.status, StatusCode::OK);
        let userinfo = bench.with_token("/userinfo", &tokens["access_token"]).await;
        assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn plain_oauth_gives_no_id_token_and_its_tokens_work_there_only() {
        let mut bench = Bench::new();
        let code = bench.code("/oauth2/authorize").await;
        let tokens = bench.call("/oauth2/token", &code_form(&code, VERIFIER)).await.json();
        assert!(tokens.get("id_token").is_none());
        let me = bench.with_token("/oauth2/api/me", &tokens["access_token"]).await.json();
        let employee = json!({ "id": "E-1001", "name": "Alice Kim", "email": "alice@example.com",
            "departments": ["staff"] });
        assert_eq!(me, json!({ "employee": employee }));
        let elsewhere = bench.with_token("/userinfo", &tokens["access_token"]).await;
        assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
        let code = bench.code("/oauth2/authorize").await;
        assert_eq!(bench.call("/token", &code_form(&code, VERIFIER)).await.json()["error"], "invalid_grant");
        let code = bench.code("/oauth2/authorize").await;
        let wrong = bench.call("/oauth2/token", &code_form(&code, &"x".repeat(43))).await;
        assert_eq!(wrong.json()["error"], "invalid_grant");
    }

    #[tokio::test]
    async fn each_malformed_request_has_its_error() {
        let bench = Bench::new();
        for (form, error) in [
            (vec![("grant_type", "password")], "unsupported_grant_type"),
            (vec![("code", "x")], "invalid_request"),
            (vec![("grant_type", "refresh_token"), ("grant_type", "refresh_token")], "invalid_request"),
            (vec![("client_secret", "s3cret")], "invalid_request"),
        ] {
            assert_eq!(bench.call("/token", &form).await.json()["error"], error, "{form:?}");
        }
        let unauthenticated = TokenError::from(ClientError::WrongCredentials).into_response();
        assert_eq!(unauthenticated.status(), StatusCode::UNAUTHORIZED);
        assert!(unauthenticated.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}

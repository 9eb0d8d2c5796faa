//! A provider, a browser's cookie and a client for the tests of this folder.
//!
//! Owns no assertions about behaviour. Called by the tests of each endpoint.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::Value;
use time::OffsetDateTime;
use tower::ServiceExt;
use url::{Url, form_urlencoded};

use counterfoil_core::clock::ManualClock;

use super::{IdentityProvider, RegisteredClient, Settings};

pub(super) const ISSUER: &str = "http://127.0.0.1:8081";
pub(super) const CALLBACK: &str = "http://127.0.0.1:8080/sso/callback";
pub(super) const GOODBYE: &str = "http://127.0.0.1:8080/goodbye";
/// The pair of RFC 7636 appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) struct Bench {
    pub provider: IdentityProvider,
    pub clock: Arc<ManualClock>,
    router: Router,
    cookie: Option<String>,
}

pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

pub(super) fn settings(issuer: &str) -> Settings {
    let client = RegisteredClient {
        client_id: "broker".into(),
        client_secret: "s3cret".into(),
        redirect_uris: vec![CALLBACK.into()],
        post_logout_redirect_uris: vec![GOODBYE.into()],
        backchannel_logout_uri: None,
    };
    Settings { issuer: issuer.into(), clients: vec![client] }
}

/// Returns a good authorization request; what is given is appended.
pub(super) fn authorize_query(more: &str) -> String {
    let callback: String = form_urlencoded::byte_serialize(CALLBACK.as_bytes()).collect();
    format!(
        "response_type=code&client_id=broker&redirect_uri={callback}&scope=openid+profile+email+offline_access\
         &state=st+1&nonce=n-1&code_challenge={CHALLENGE}&code_challenge_method=S256{more}"
    )
}

/// Returns the form that redeems a code.
pub(super) fn code_form<'a>(code: &'a str, verifier: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK), ("code_verifier", verifier)]
}

/// Returns the form that uses a refresh token.
pub(super) fn refresh_form(refresh_token: &str) -> Vec<(&str, &str)> {
    vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(settings(ISSUER))
    }

    pub(super) fn with(settings: Settings) -> Self {
        let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let provider = IdentityProvider::new(settings, clock.clone());
        Self { router: provider.router(), provider, clock, cookie: None }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), String::new()).await
    }

    pub(super) async fn press(&mut self, path: &str, form: &'static str) -> Answer {
        let kind = "application/x-www-form-urlencoded";
        self.send(Request::post(path).header(header::CONTENT_TYPE, kind), form.into()).await
    }

    /// Sends a request of the client itself, which has no cookies.
    pub(super) async fn call(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode("broker:s3cret"));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(path).header(header::CONTENT_TYPE, kind).header(header::AUTHORIZATION, basic);
        self.answer(request, body).await
    }

    pub(super) async fn with_token(&self, path: &str, token: &Value) -> Answer {
        let bearer = format!("Bearer {}", token.as_str().unwrap());
        self.answer(Request::get(path).header(header::AUTHORIZATION, bearer), String::new()).await
    }

    /// Signs alice in by the form and returns the code.
    pub(super) async fn code(&mut self, path: &str) -> String {
        let answer = self.press(&format!("{path}?{}", authorize_query("")), "account=alice").await;
        answer.parameter("code").unwrap()
    }

    /// Signs alice in and returns the token endpoint's answer.
    pub(super) async fn tokens(&mut self) -> Value {
        let code = self.code("/authorize").await;
        self.call("/token", &code_form(&code, VERIFIER)).await.json()
    }

    /// Returns a token's claims, its signature verified with the published key.
    pub(super) fn claims(&self, token: &Value) -> (jsonwebtoken::Header, Value) {
        let published = self.provider.key().published();
        let key = jsonwebtoken::DecodingKey::from_jwk(&published.keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.set_audience(&["broker"]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode(token.as_str().unwrap(), &key, &validation).unwrap();
        (decoded.header, decoded.claims)
    }

    /// Sends a browser's request: with the cookie, and keeping a new one.
    async fn send(&mut self, request: http::request::Builder, body: String) -> Answer {
        let cookie = self.cookie.clone().unwrap_or_default();
        let answer = self.answer(request.header(header::COOKIE, cookie), body).await;
        if let Some(set) = answer.headers.get(header::SET_COOKIE) {
            self.cookie = set.to_str().unwrap().split(';').next().map(str::to_owned);
        }
        answer
    }

    async fn answer(&self, request: http::request::Builder, body: String) -> Answer {
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn location(&self) -> Option<Url> {
        self.headers.get(header::LOCATION).and_then(|url| Url::parse(url.to_str().unwrap()).ok())
    }

    /// Returns a parameter of the redirect.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let url = self.location()?;
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

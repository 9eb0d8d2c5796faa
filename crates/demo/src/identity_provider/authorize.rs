//! The authorization endpoint of both protocols, and the sign-in page on it.
//!
//! Owns when to ask, when to answer at once, and the press of an account's button. The rules of the request are
//! in `authorization_request`. Called by the router.
//!
//! The sign-in form is posted to the very URL it was shown at, so that two curl commands sign somebody in.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::accounts::{self, Account};
use super::authorization_request::{AuthorizationRequest, Prompt, Refusal, RequestError};
use super::grants::{Binding, Grant};
use super::pages::{self, SignInPage};
use super::parameters::Parameters;
use super::sessions::{self, Session};
use super::{IdentityProvider, Protocol, same_origin};

/// Answers a `GET` from the session, or shows the sign-in page.
pub(super) async fn show(
    State(provider): State<IdentityProvider>,
    Extension(protocol): Extension<Protocol>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let request = match read(&provider, protocol, &query) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    let hinted = match hinted_subject(&provider, &request) {
        Ok(hinted) => hinted,
        Err(error) => return refuse(&request, error),
    };
    let session = provider.session(&headers);
    let is_enough = |session: &&Session| request.is_satisfied_by(session, hinted.as_deref(), provider.now());
    match (session.as_ref().filter(is_enough), request.prompt) {
        (Some(session), _) => answer(&provider, request, session),
        (None, Prompt::None) => refuse(&request, RequestError::LoginRequired),
        (None, _) => ask(&request, &query, session.map(|session| session.account), false),
    }
}

/// Takes a `POST`: a press of a button, or a request in the body. The latter goes on as a `GET`, because a cookie with
/// `SameSite=Lax` does not come with another site's `POST`.
pub(super) async fn submit(
    State(provider): State<IdentityProvider>,
    Extension(protocol): Extension<Protocol>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    let press = Parameters::parse(&body);
    if !press.mentions("account") && !press.mentions("cancel") {
        let whole = Parameters::parse(query.as_bytes()).encoded_with(&press);
        return pages::redirect(&format!("{}?{whole}", protocol.authorize_path()));
    }
    if !same_origin::allows(&headers, provider.issuer()) {
        return pages::problem("This form was refused", &same_origin::FOREIGN_FORM);
    }
    let request = match read(&provider, protocol, &query) {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    if press.mentions("cancel") {
        return refuse(&request, RequestError::Cancelled);
    }
    match press.get("account").and_then(accounts::find) {
        Some(account) => sign_in(&provider, request, account, &headers),
        None => ask(&request, &query, None, true),
    }
}

fn read(provider: &IdentityProvider, protocol: Protocol, query: &str) -> Result<AuthorizationRequest, Refusal> {
    let parameters = Parameters::parse(query.as_bytes());
    AuthorizationRequest::read(protocol, &parameters, provider.issuer(), provider.clients())
}

/// Returns the subject of the request's `id_token_hint`, OpenID Connect Core 1.0 section 3.1.2.1.
fn hinted_subject(provider: &IdentityProvider, request: &AuthorizationRequest) -> Result<Option<String>, RequestError> {
    let Some(token) = request.id_token_hint.as_deref() else { return Ok(None) };
    let hint = provider.key().read_hint(token, provider.issuer()).ok_or(RequestError::BadHint)?;
    if hint.aud == request.client_id { Ok(Some(hint.sub)) } else { Err(RequestError::BadHint) }
}

fn sign_in(
    provider: &IdentityProvider,
    request: AuthorizationRequest,
    account: &'static Account,
    headers: &HeaderMap,
) -> Response {
    match hinted_subject(provider, &request) {
        Err(error) => return refuse(&request, error),
        Ok(Some(subject)) if subject != account.id => return refuse(&request, RequestError::LoginRequired),
        Ok(_) => {}
    }
    let former = sessions::cookie_in(headers);
    let (cookie, session) = provider.state().sessions.sign_in(account, former, provider.now());
    let cookie = AppendHeaders([(header::SET_COOKIE, sessions::cookie_set(&cookie, provider.issuer()))]);
    (cookie, answer(provider, request, &session)).into_response()
}

/// Returns the redirect that brings a code to the client.
fn answer(provider: &IdentityProvider, request: AuthorizationRequest, session: &Session) -> Response {
    let now = provider.now();
    let grant = Grant {
        protocol: request.protocol,
        client_id: request.client_id,
        account: session.account,
        scopes: request.scopes,
        nonce: request.nonce,
        session_key: session.key.clone(),
        sid: session.sid.clone(),
        signed_in_at: session.signed_in_at,
        granted_at: now,
    };
    let binding = Binding { redirect_uri: request.address.redirect_uri.clone(), challenge: request.challenge };
    let code = provider.state().grants.issue_code(grant, binding, now);
    pages::redirect(&request.address.with_code(&code))
}

fn refuse(request: &AuthorizationRequest, error: RequestError) -> Response {
    pages::redirect(&request.address.with_error(error))
}

fn ask(
    request: &AuthorizationRequest,
    query: &str,
    current: Option<&'static Account>,
    is_unknown_account: bool,
) -> Response {
    let page = SignInPage {
        action: format!("{}?{query}", request.protocol.authorize_path()),
        client_id: &request.client_id,
        wishes: wishes(request),
        accounts: accounts::hinted_first(request.login_hint.as_deref()),
        current: current.map(|account| account.name),
        is_unknown_account,
    };
    let status = if is_unknown_account { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    pages::page(status, &page)
}

/// Lists in words what the client will learn.
fn wishes(request: &AuthorizationRequest) -> String {
    let described = [
        ("profile", "your name and groups"),
        ("email", "your e-mail address"),
        ("groups", "your groups"),
        ("offline_access", "access while you are away"),
    ];
    let is_asked =
        |scope: &str| request.scopes.contains(scope) && !(scope == "groups" && request.scopes.contains("profile"));
    let asked: Vec<_> = described.into_iter().filter(|(scope, _)| is_asked(scope)).map(|(_, words)| words).collect();
    asked.join(", ")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::ToPerson(error) => pages::problem("This sign-in request cannot be answered", &error),
            Self::ToClient(address, error) => pages::redirect(&address.with_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::super::testing::{Bench, CALLBACK, ISSUER, authorize_query};
    use super::*;

    fn path(more: &str) -> String {
        format!("/authorize?{}", authorize_query(more))
    }

    #[tokio::test]
    async fn the_form_is_posted_to_its_own_url_and_answers_with_code_state_and_issuer() {
        let mut bench = Bench::new();
        let page = bench.get(&path("&login_hint=carol")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.find("carol@example.com") < page.body.find("alice@example.com"));
        assert!(page.body.contains("value=\"carol\" autofocus"), "{}", page.body);
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("form-action"));

        let answer = bench.press(&path(""), "account=alice").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert!(answer.location().unwrap().as_str().starts_with(CALLBACK));
        assert_eq!(answer.parameter("state").as_deref(), Some("st 1"));
        assert_eq!(answer.parameter("iss").as_deref(), Some(ISSUER));
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.starts_with("demo_idp_session=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    }

    #[tokio::test]
    async fn a_live_session_answers_at_once_unless_the_client_wants_the_page() {
        let mut bench = Bench::new();
        let strangers = bench.get(&path("&prompt=none")).await;
        assert_eq!(strangers.parameter("error").as_deref(), Some("login_required"));
        assert_eq!(strangers.parameter("iss").as_deref(), Some(ISSUER));
        bench.press(&path(""), "account=alice").await;
        bench.clock.advance(Duration::seconds(30));
        for at_once in ["", "&prompt=none", "&max_age=30"] {
            assert!(bench.get(&path(at_once)).await.parameter("code").is_some(), "{at_once}");
        }
        for asked in ["&prompt=login", "&prompt=select_account+consent", "&max_age=29", "&max_age=0"] {
            assert_eq!(bench.get(&path(asked)).await.status, StatusCode::OK, "{asked}");
        }
        let too_old = bench.get(&path("&prompt=none&max_age=29")).await;
        assert_eq!(too_old.parameter("error").as_deref(), Some("login_required"));
        bench.clock.advance(Duration::hours(8));
        assert_eq!(bench.get(&path("")).await.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn cancel_and_an_unknown_account_and_another_sites_form_sign_nobody_in() {
        let mut bench = Bench::new();
        let cancelled = bench.press(&path(""), "cancel=yes").await;
        assert_eq!(cancelled.parameter("error").as_deref(), Some("access_denied"));
        assert_eq!(bench.press(&path(""), "account=mallory").await.status, StatusCode::BAD_REQUEST);
        let headers = HeaderMap::from_iter([(header::ORIGIN, "https://evil.example".parse().unwrap())]);
        let (provider, protocol) = (State(bench.provider.clone()), Extension(Protocol::OpenidConnect));
        let query = RawQuery(Some(authorize_query("")));
        let forged = submit(provider, protocol, headers, query, Bytes::from_static(b"account=alice")).await;
        assert_eq!(forged.status(), StatusCode::BAD_REQUEST);
        assert!(!forged.headers().contains_key(header::SET_COOKIE));
        assert_eq!(bench.get(&path("")).await.status, StatusCode::OK);
    }

    #[tokio::test]
    async fn errors_go_to_a_registered_redirect_uri_only() {
        let mut bench = Bench::new();
        let told = bench.get(&path("&prompt=dance")).await;
        assert_eq!(told.parameter("error").as_deref(), Some("invalid_request"));
        let shown = bench.get(&path("").replace("callback", "callbacks")).await;
        assert_eq!((shown.status, shown.location()), (StatusCode::BAD_REQUEST, None));
    }

    #[tokio::test]
    async fn a_request_in_a_body_goes_on_as_a_get() {
        let mut bench = Bench::new();
        let answer = bench.press("/authorize", "client_id=broker&state=a+b").await;
        assert_eq!(answer.headers[header::LOCATION], "/authorize?client_id=broker&state=a+b");
    }

    #[tokio::test]
    async fn a_hint_of_another_person_is_not_answered_from_the_session() {
        let mut bench = Bench::new();
        let tokens = bench.tokens().await;
        let hint = format!("&id_token_hint={}", tokens["id_token"].as_str().unwrap());
        assert!(bench.get(&path(&format!("{hint}&prompt=none"))).await.parameter("code").is_some());
        bench.press(&path("&prompt=login"), "account=bob").await;
        let other = bench.get(&path(&format!("{hint}&prompt=none"))).await;
        assert_eq!(other.parameter("error").as_deref(), Some("login_required"));
        let garbage = bench.get(&path("&id_token_hint=x")).await;
        assert_eq!(garbage.parameter("error").as_deref(), Some("invalid_request"));
    }
}

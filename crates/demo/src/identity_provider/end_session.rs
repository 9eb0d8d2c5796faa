//! Signing out on behalf of a client, OpenID Connect RP-Initiated Logout 1.0.
//!
//! Owns when to ask before signing out and where to go afterwards. Telling the other clients is
//! `backchannel_logout`. Called by the router.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::keys::{Hint, SigningKey};
use super::pages::{self, SignOutPage, SignedOutPage};
use super::parameters::{Parameters, extended};
use super::sessions::{self, Session};
use super::{IdentityProvider, RegisteredClient, Settings, backchannel_logout, clients, same_origin};

/// The reason why nobody is signed out and nobody is sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum EndSessionError {
    #[error("A parameter appears more than once.")]
    RepeatedParameter,
    #[error("The request names a client that is not registered here (client_id).")]
    UnknownClient,
    #[error("The id_token_hint was issued to another client than the one that client_id names.")]
    ForeignHint,
    #[error("The post_logout_redirect_uri needs a valid id_token_hint or a client_id next to it.")]
    UnidentifiedClient,
    #[error("The post_logout_redirect_uri is not exactly one that is registered for this client.")]
    UnregisteredRedirectUri,
}

/// A request that may be followed.
struct EndSessionRequest {
    hint: Option<Hint>,
    /// Address to go to afterwards, with the state.
    return_to: Option<String>,
}

/// Answers `GET /end-session`: signs out, or asks first if no ID token shows that the client belongs to this session.
pub(super) async fn show(
    State(provider): State<IdentityProvider>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let request = match EndSessionRequest::read(&query, &provider.inner.settings, provider.key()) {
        Ok(request) => request,
        Err(error) => return refuse(error),
    };
    match provider.session(&headers) {
        Some(session) if !request.belongs_to(&session) => {
            let page = SignOutPage { action: format!("/end-session?{query}"), name: session.account.name };
            pages::page(StatusCode::OK, &page)
        }
        _ => end(&provider, &headers, request.return_to).await,
    }
}

/// Takes `POST /end-session`: a press of a button, or a request in the body, which goes on as a `GET` because the
/// cookie does not come with another site's `POST`.
pub(super) async fn submit(
    State(provider): State<IdentityProvider>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let query = query.unwrap_or_default();
    let press = Parameters::parse(&body);
    if !press.mentions("confirm") && !press.mentions("stay") {
        let whole = Parameters::parse(query.as_bytes()).encoded_with(&press);
        return pages::redirect(&format!("/end-session?{whole}"));
    }
    if !same_origin::allows(&headers, provider.issuer()) {
        return pages::problem("This form was refused", &same_origin::FOREIGN_FORM);
    }
    match EndSessionRequest::read(&query, &provider.inner.settings, provider.key()) {
        Err(error) => refuse(error),
        Ok(_) if press.mentions("stay") => pages::page(StatusCode::OK, &SignedOutPage { is_signed_out: false }),
        Ok(request) => end(&provider, &headers, request.return_to).await,
    }
}

async fn end(provider: &IdentityProvider, headers: &HeaderMap, return_to: Option<String>) -> Response {
    if let Some(session) = forget(provider, headers) {
        backchannel_logout::notify(provider, &session).await;
    }
    let cookie = AppendHeaders([(header::SET_COOKIE, sessions::cookie_cleared(provider.issuer()))]);
    let response = match return_to {
        Some(url) => pages::redirect(&url),
        None => pages::page(StatusCode::OK, &SignedOutPage { is_signed_out: true }),
    };
    (cookie, response).into_response()
}

fn forget(provider: &IdentityProvider, headers: &HeaderMap) -> Option<Session> {
    let cookie = sessions::cookie_in(headers)?;
    let mut state = provider.state();
    let session = state.sessions.end(cookie, provider.now())?;
    state.grants.end_session(&session.key);
    Some(session)
}

fn refuse(error: EndSessionError) -> Response {
    pages::problem("This sign-out request cannot be followed", &error)
}

impl EndSessionRequest {
    fn read(query: &str, settings: &Settings, key: &SigningKey) -> Result<Self, EndSessionError> {
        let parameters = Parameters::parse(query.as_bytes());
        if parameters.has_repetition() {
            return Err(EndSessionError::RepeatedParameter);
        }
        // A hint that cannot be verified proves nothing and is left out; then the person is asked.
        let hint = parameters.get("id_token_hint").and_then(|token| key.read_hint(token, &settings.issuer));
        let client = identify(&parameters, hint.as_ref(), &settings.clients)?;
        let return_to = match parameters.get("post_logout_redirect_uri") {
            Some(uri) => Some(address(uri, client, parameters.get("state"))?),
            None => None,
        };
        Ok(Self { hint, return_to })
    }

    /// Is true if the hint is from this very session, so that nobody has to be asked.
    fn belongs_to(&self, session: &Session) -> bool {
        self.hint.as_ref().is_some_and(|hint| {
            hint.sid == session.sid || session.participants.iter().any(|participant| participant.sid == hint.sid)
        })
    }
}

fn identify<'a>(
    parameters: &Parameters,
    hint: Option<&Hint>,
    known: &'a [RegisteredClient],
) -> Result<Option<&'a RegisteredClient>, EndSessionError> {
    let named = parameters.get("client_id");
    if let (Some(named), Some(hint)) = (named, hint)
        && hint.aud != named
    {
        return Err(EndSessionError::ForeignHint);
    }
    match named.or(hint.map(|hint| hint.aud.as_str())) {
        Some(client_id) => clients::find(known, client_id).map(Some).ok_or(EndSessionError::UnknownClient),
        None => Ok(None),
    }
}

fn address(uri: &str, client: Option<&RegisteredClient>, state: Option<&str>) -> Result<String, EndSessionError> {
    let client = client.ok_or(EndSessionError::UnidentifiedClient)?;
    if !client.post_logout_redirect_uris.iter().any(|registered| registered == uri) {
        return Err(EndSessionError::UnregisteredRedirectUri);
    }
    let state: Vec<_> = state.map(|state| ("state", state)).into_iter().collect();
    Ok(extended(uri, &state))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::post;
    use serde_json::json;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::super::testing::{Bench, GOODBYE, ISSUER, authorize_query, settings};
    use super::*;

    /// Starts a client that passes the bodies of its logout requests on.
    async fn listening_client() -> (String, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/logout", listener.local_addr().unwrap());
        let receive = move |body: String| async move { drop(sender.send(body)) };
        let router = Router::new().route("/logout", post(receive));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (uri, receiver)
    }

    async fn is_signed_in(bench: &mut Bench) -> bool {
        let path = format!("/authorize?{}", authorize_query("&prompt=none"));
        bench.get(&path).await.parameter("code").is_some()
    }

    #[tokio::test]
    async fn a_hint_of_this_session_signs_out_and_the_client_gets_a_logout_token() {
        let (uri, mut received) = listening_client().await;
        let mut settings = settings(ISSUER);
        settings.clients[0].backchannel_logout_uri = Some(uri);
        let mut bench = Bench::with(settings);
        let tokens = bench.tokens().await;
        let hint = tokens["id_token"].as_str().unwrap();
        let path = format!("/end-session?id_token_hint={hint}&post_logout_redirect_uri={GOODBYE}&state=x+y");
        let answer = bench.get(&path).await;
        assert_eq!(answer.headers[header::LOCATION], format!("{GOODBYE}?state=x+y"));
        let body = received.try_recv().unwrap();
        let parameters = Parameters::parse(body.as_bytes());
        let (header, claims) = bench.claims(&json!(parameters.get("logout_token")));
        let (_, id_claims) = bench.claims(&tokens["id_token"]);
        assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
        assert_eq!((&claims["sid"], &claims["sub"]), (&id_claims["sid"], &id_claims["sub"]));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
        assert_eq!(claims["events"], json!({ "http://schemas.openid.net/event/backchannel-logout": {} }));
        assert!(claims["jti"].is_string() && claims.get("nonce").is_none());
        assert!(!is_signed_in(&mut bench).await);
    }

    #[tokio::test]
    async fn without_a_hint_the_person_is_asked_first() {
        let mut bench = Bench::new();
        bench.code("/authorize").await;
        let path = format!("/end-session?client_id=broker&post_logout_redirect_uri={GOODBYE}");
        assert_eq!(bench.get(&path).await.status, StatusCode::OK);
        assert_eq!(bench.press(&path, "stay=yes").await.status, StatusCode::OK);
        assert!(is_signed_in(&mut bench).await);
        assert_eq!(bench.press(&path, "confirm=yes").await.headers[header::LOCATION], GOODBYE);
        assert!(!is_signed_in(&mut bench).await);
        assert_eq!(bench.get(&path).await.headers[header::LOCATION], GOODBYE);
    }

    #[tokio::test]
    async fn nobody_is_sent_to_an_address_that_is_not_registered_exactly() {
        let mut bench = Bench::new();
        bench.code("/authorize").await;
        for query in [
            format!("client_id=broker&post_logout_redirect_uri={GOODBYE}/"),
            format!("post_logout_redirect_uri={GOODBYE}"),
            format!("client_id=other&post_logout_redirect_uri={GOODBYE}"),
            "client_id=broker&client_id=broker".to_owned(),
        ] {
            let answer = bench.get(&format!("/end-session?{query}")).await;
            assert_eq!((answer.status, answer.location()), (StatusCode::BAD_REQUEST, None), "{query}");
        }
        assert!(is_signed_in(&mut bench).await);
    }
}

//! How the scripted provider behaves: honest by default, and in every other way by order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Received;

/// What one endpoint does instead of answering honestly.
#[derive(Clone, Default)]
pub enum Misbehaviour {
    #[default]
    None,
    /// Status and body of this content type.
    Answer(u16, &'static str, &'static str),
    /// Status and headers.
    Refuse(u16, &'static [(&'static str, &'static str)]),
    /// The same with one header, where `{name}` in its value or in the body is what the request said under that name.
    Repeat(u16, (&'static str, &'static str), &'static str),
    /// 503, and when to ask again.
    Busy(&'static str),
    /// A redirect elsewhere.
    Redirect(String),
    /// An endless body.
    Endless,
    /// No answer for this long, then an honest one.
    Slow(Duration),
    /// No answer until the test opens the gate, then an honest one.
    Held(Gate),
    /// The connection is dropped after the request was read.
    Drop,
}

/// What holds answers back: closed until it is opened, for whoever waits and whoever comes later.
#[derive(Clone, Default)]
pub struct Gate(Arc<watch::Sender<Opened>>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Opened {
    #[default]
    No,
    ToAnswer,
    ToHangUp,
}

impl Gate {
    /// Honest answers from now on.
    pub fn open(&self) {
        self.0.send_replace(Opened::ToAnswer);
    }

    /// No answer, ever: connections are dropped from now on.
    pub fn hang_up(&self) {
        self.0.send_replace(Opened::ToHangUp);
    }

    async fn pass(&self) -> Opened {
        *self.0.subscribe().wait_for(|opened| *opened != Opened::No).await.unwrap()
    }
}

/// What a provider's own logout does with a request that has no `id_token_hint`, as found in products.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum LogoutManner {
    /// Sends the browser back all the same.
    #[default]
    Lenient,
    /// Keycloak: asks the person.
    Asks,
    /// Hydra: fails if there is a `state` or a way back; and whenever tokens of the session were given back before.
    Fails,
    /// Dex: forgets the way back.
    ForgetsTheWay,
    /// Casdoor: shows JSON.
    ShowsJson,
}

pub type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;
type ChangeOfParameters = Arc<dyn Fn(&mut Vec<(String, String)>) + Send + Sync>;
type ChangeOfToken = Arc<dyn Fn(String) -> String + Send + Sync>;

/// How the provider behaves. Changes get the honest document and may do anything with it.
#[derive(Clone)]
pub struct Script {
    /// What everything is signed with; the key is published.
    pub signing: Algorithm,
    pub metadata: Option<Change>,
    pub jwks: Option<Change>,
    pub id_token_header: Option<Change>,
    pub id_token_claims: Option<Change>,
    /// The finished ID token.
    pub id_token: Option<ChangeOfToken>,
    pub token_answer: Option<Change>,
    /// Access tokens are JWTs, with these claims changed and this header.
    pub access_token_claims: Option<Change>,
    pub access_token_header: Option<Change>,
    /// Claims of the ID token of a refresh, and the whole answer to one.
    pub refresh_claims: Option<Change>,
    pub refresh_answer: Option<Change>,
    pub userinfo: Option<Change>,
    /// Signs userinfo, whose claims besides are `iss`, `aud`, `iat` and `exp` before this change.
    pub signed_userinfo: Option<Change>,
    /// Parameters of the answer to the browser.
    pub authorization_answer: Option<ChangeOfParameters>,
    /// Claims of the answer to the browser, if it is a JWT.
    pub response_claims: Option<Change>,
    pub response_header: Option<Change>,
    /// Members that stand twice in it, the second time with this value.
    pub response_repeats: Vec<(&'static str, Value)>,
    /// The answer to a pushed authorization request.
    pub pushed_answer: Option<Change>,
    /// DPoP proofs have to carry this nonce.
    pub dpop_nonce: Option<&'static str>,
    /// Where alone they have to; everywhere if none is named.
    pub dpop_nonce_at: Option<&'static str>,
    /// Signs with a key that was never published.
    pub foreign_key: bool,
    pub logout: LogoutManner,
    /// Headers of the metadata and the keys.
    pub document_headers: &'static [(&'static str, &'static str)],
    pub at_metadata: Misbehaviour,
    pub at_jwks: Misbehaviour,
    pub at_token: Misbehaviour,
    pub at_refresh: Misbehaviour,
    pub at_userinfo: Misbehaviour,
    pub at_pushed: Misbehaviour,
    pub at_revoke: Misbehaviour,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            signing: Algorithm::RS256,
            metadata: None,
            jwks: None,
            id_token_header: None,
            id_token_claims: None,
            id_token: None,
            token_answer: None,
            access_token_claims: None,
            access_token_header: None,
            refresh_claims: None,
            refresh_answer: None,
            userinfo: None,
            signed_userinfo: None,
            authorization_answer: None,
            response_claims: None,
            response_header: None,
            response_repeats: vec![],
            pushed_answer: None,
            dpop_nonce: None,
            dpop_nonce_at: None,
            foreign_key: false,
            logout: LogoutManner::Lenient,
            document_headers: &[],
            at_metadata: Misbehaviour::None,
            at_jwks: Misbehaviour::None,
            at_token: Misbehaviour::None,
            at_refresh: Misbehaviour::None,
            at_userinfo: Misbehaviour::None,
            at_pushed: Misbehaviour::None,
            at_revoke: Misbehaviour::None,
        }
    }
}

impl Script {
    /// Sets claims of the ID token.
    pub fn claims(members: Value) -> Self {
        Self { id_token_claims: set(members), ..Self::default() }
    }

    /// Sets members of the ID token's header.
    pub fn header(members: Value) -> Self {
        Self { id_token_header: set(members), ..Self::default() }
    }

    /// Sets members of the metadata.
    pub fn metadata(members: Value) -> Self {
        Self { metadata: set(members), ..Self::default() }
    }

    /// Speaks of somebody of these groups, who proved at a moment (Unix time, seconds) who they are. Everything is in the
    /// ID token.
    pub fn person(subject: &str, groups: &[&str], auth_time: i64) -> Self {
        let claims = json!({
            "sub": subject, "groups": groups, "preferred_username": subject, "sid": format!("sid-{subject}"),
            "email": format!("{subject}@example.com"), "auth_time": auth_time,
        });
        let nothing_else = json!({ "sub": subject, "email": null, "groups": null, "preferred_username": null });
        Self { userinfo: set(nothing_else), ..Self::claims(claims) }
    }

    /// Authelia 4.39, whose userinfo is signed and says neither who made it nor for whom.
    pub fn authelia() -> Self {
        let bare = json!({ "iss": null, "aud": null, "exp": null });
        Self { signed_userinfo: set(bare), ..Self::default() }
    }

    /// The same for an account that was deleted: userinfo is `sub` and nothing else.
    pub fn authelia_without_the_account() -> Self {
        let sub_alone = change(|claims| claims.as_object_mut().unwrap().retain(|name, _| name == "sub"));
        Self { userinfo: sub_alone.clone(), signed_userinfo: sub_alone, ..Self::default() }
    }

    /// Keycloak 26.7, whose signed answers to the browser name their issuer twice.
    pub fn keycloak(issuer: &str) -> Self {
        Self { response_repeats: vec![("iss", issuer.into())], ..Self::default() }
    }
}

/// A change of a JSON document, as a script takes it.
#[expect(clippy::unnecessary_wraps, reason = "a script's fields are optional")]
pub fn change(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Option<Change> {
    Some(Arc::new(change))
}

/// A change that sets members, or removes those that are null.
pub fn set(members: Value) -> Option<Change> {
    change(move |document| set_members(document, &members))
}

/// Sets members, or removes those that are null.
pub fn set_members(document: &mut Value, members: &Value) {
    for (name, value) in members.as_object().unwrap() {
        match value {
            Value::Null => document.as_object_mut().unwrap().remove(name),
            value => document.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
}

pub fn apply(change: Option<&Change>, document: &mut Value) {
    if let Some(change) = change {
        change(document);
    }
}

/// The answer that is no honest one, if there is to be one.
pub async fn misbehave(misbehaviour: Misbehaviour, asked: &Received) -> Option<Response> {
    match misbehaviour {
        Misbehaviour::None => None,
        Misbehaviour::Answer(status, kind, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            Some((status, [("content-type", kind)], body).into_response())
        }
        Misbehaviour::Refuse(status, headers) => {
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            response.headers_mut().extend(headers.collect::<http::HeaderMap>());
            Some(response)
        }
        Misbehaviour::Repeat(status, (name, value), body) => {
            let (value, body) = (asked.repeated_in(value), asked.repeated_in(body));
            let headers = [(name, value), ("cache-control", "no-store".to_owned())];
            Some((StatusCode::from_u16(status).unwrap(), headers, body).into_response())
        }
        Misbehaviour::Busy(pause) => Some((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", pause)]).into_response()),
        Misbehaviour::Redirect(location) => Some(Redirect::temporary(&location).into_response()),
        Misbehaviour::Endless => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            let chunks = std::iter::repeat_with(move || Ok::<_, Infallible>(chunk.clone())).take(3_200);
            let body = Body::from_stream(futures_util::stream::iter(chunks));
            Some(([("content-type", "application/json")], body).into_response())
        }
        Misbehaviour::Slow(delay) => {
            tokio::time::sleep(delay).await;
            None
        }
        Misbehaviour::Held(gate) => match gate.pass().await {
            Opened::ToHangUp => drop_connection(),
            _ => None,
        },
        Misbehaviour::Drop => drop_connection(),
    }
}

fn drop_connection() -> ! {
    panic!("the scripted provider drops this connection")
}

//! What is fuzzed: for everything that comes from outside, one function from bytes.
//!
//! Each panics if a promise is broken that holds for every input whatever; that readers themselves never panic is one.
//! `tests/broker/fuzz_corpus.rs` holds this file too, and runs it over the corpus and its mutations.

use std::sync::LazyLock;

use ::http::Response;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::address::is_safe_address;
use counterfoil::config::Source;
use counterfoil::idp::parsers::document::{self, DocumentSource};
use counterfoil::idp::parsers::header::{JwtUse, read_header};
use counterfoil::idp::parsers::id_token::{self, ExpectedNonce};
use counterfoil::idp::parsers::jwks::{self, KeySet};
use counterfoil::idp::parsers::{json_object, jwt, logout_token, profile, response_token, security_event, userinfo};
use counterfoil::idp::{
    Algorithm, GivenEndpoints, IssuerPattern, JwtFault, Meant, Metadata, ProfileMapping, ProviderSettings, peek_state,
};
use counterfoil::web::query::Parameters;
use serde_json::{Map, Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// A reader of what comes from outside.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("callback_query", callback_query),
    ("discovery", discovery),
    ("id_token", id_token),
    ("jwks", jwks),
    ("logout_token", logout_token),
    ("profile", profile),
    ("response_token", response_token),
    ("security_event", security_event),
    ("userinfo", userinfo),
];

const ISSUER: &str = "https://idp.example.test";
const CLIENT: &str = "backoffice";
const NONCE: &str = "n-1";
/// 1769850000 seconds after 1970: what the corpus calls now.
const NOW: OffsetDateTime = datetime!(2026-01-31 09:00 UTC);
const SKEW: Duration = Duration::minutes(1);
/// Longest subject of an ID token.
const LONGEST_SUBJECT: usize = 255;
/// Longest attribute of a profile.
const LONGEST_ATTRIBUTE: usize = 512;

/// The provider's key: its seed is known, so that whatever a fuzzer writes can be signed.
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.public_key());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
    jwks::read(keys.as_object().unwrap()).unwrap()
});
static ISSUERS: LazyLock<IssuerPattern> = LazyLock::new(|| IssuerPattern::One(ISSUER.to_owned()));
static PLAIN: LazyLock<ProviderSettings> = LazyLock::new(|| {
    let file = "public_url = \"https://app.example.test\"\n[store]\nurl = \"memory:\"\n\
        [secrets]\nkeys = [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]\n[[route]]\npath = \"/\"\n\
        upstream = \"http://127.0.0.1:1\"\n[idp.plain]\nkind = \"oauth2\"\nclient_id = \"x\"\nclient_secret = \"y\"\n\
        authorization_endpoint = \"https://idp.example.test/a\"\ntoken_endpoint = \"https://idp.example.test/t\"\n\
        profile_endpoint = \"https://idp.example.test/p\"\n\
        profile = { subject = \"id\", name = \"name\", email = \"account.email\", groups = \"teams\" }\n";
    let source = Source { file: Some(file.to_owned()), ..Source::default() };
    source.settings().unwrap_or_else(|faults| panic!("{faults}")).idps.remove(0)
});

/// The query of a callback, or a form that was posted to it.
pub fn callback_query(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let Ok(parameters) = Parameters::read(query) else { return };
    for name in ["code", "state", "iss", "error", "response"] {
        let given: Vec<_> = url::form_urlencoded::parse(bytes).filter(|(given, _)| given == name).collect();
        assert!(given.len() < 2, "what stands twice is refused");
        assert_eq!(parameters.get(name), given.first().map(|(_, value)| value.as_ref()));
    }
    if let Some(state) = parameters.get("response").and_then(peek_state) {
        assert!(state.len() < query.len());
    }
}

/// A metadata document.
pub fn discovery(bytes: &[u8]) {
    let Ok(document) = json_object(bytes) else { return };
    for mutual_tls in [false, true] {
        let source =
            DocumentSource { issuer: IssuerPattern::One(ISSUER.into()), given: GivenEndpoints::default(), mutual_tls };
        if let Ok(metadata) = document::read(&source, document.clone()) {
            assert_eq!(document["issuer"], ISSUER);
            check_endpoints(&metadata);
        }
    }
}

fn check_endpoints(metadata: &Metadata) {
    let optional = [
        &metadata.userinfo_endpoint,
        &metadata.jwks_uri,
        &metadata.end_session_endpoint,
        &metadata.revocation_endpoint,
        &metadata.pushed_authorization_request_endpoint,
    ];
    let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint];
    for endpoint in endpoints.into_iter().chain(optional.into_iter().flatten()) {
        assert!(is_safe_address(endpoint) && endpoint.fragment().is_none(), "{endpoint}");
    }
    let mut ours = metadata.authorization_endpoint.query_pairs();
    assert!(!ours.any(|(name, _)| name == "state" || name == "client_id" || name == "redirect_uri"));
}

/// A key set. No key that it may hold has signed this token.
pub fn jwks(bytes: &[u8]) {
    let Ok(document) = json_object(bytes) else { return };
    let Ok(keys) = jwks::read(&document) else { return };
    for algorithm in Algorithm::ALL {
        let header = json!({ "alg": algorithm.name() }).to_string();
        let token = format!("{}.e30.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode([1; 64]));
        let header = read_header(&token, algorithm, JwtUse::Claims).unwrap();
        assert!(jwt::verify_signature(&token, &header, &keys, &ISSUERS).is_err());
    }
}

/// An ID token: what begins with `{` is its claims and gets an honest signature; all else is a whole token.
pub fn id_token(bytes: &[u8]) {
    let Some(payload) = payload(bytes, JwtUse::Claims, None) else { return };
    let expected = id_token::Expectation {
        issuer: ISSUER,
        client_id: CLIENT,
        additional_audiences: &[],
        nonce: ExpectedNonce::Exactly(NONCE),
        access_token: "access",
        max_age: Some(600),
        auth_time_required: true,
        clock_skew: SKEW,
        algorithm: Algorithm::EdDSA,
    };
    let Ok(claims) = id_token::check(payload, &expected, NOW) else { return };
    let all = claims.all();
    assert!(all["iss"] == ISSUER && all["nonce"] == NONCE && all["sub"] == claims.subject());
    assert!((1..=LONGEST_SUBJECT).contains(&claims.subject().len()));
    assert!(
        all["aud"] == CLIENT || all["aud"].as_array().is_some_and(|several| several.iter().all(|one| one == CLIENT))
    );
    assert!(all["exp"].is_number() && all["iat"].is_number() && !all.contains_key("events"));
    assert!(claims.auth_time().is_some_and(|at| NOW - at <= Duration::minutes(10) + SKEW), "as fresh as was asked for");
}

/// A logout token, in the same two ways.
pub fn logout_token(bytes: &[u8]) {
    let wanted = JwtUse::LogoutToken { typ_required: false };
    let Some(payload) = payload(bytes, wanted, Some("logout+jwt")) else { return };
    let expected = logout_token::Expectation { issuers: &ISSUERS, client_id: CLIENT, clock_skew: SKEW };
    let Ok(notice) = logout_token::check(&payload, expected, NOW) else { return };
    assert!(
        payload["iss"] == ISSUER && payload["jti"] == notice.id() && payload.get("nonce").is_none_or(Value::is_null)
    );
    assert!(payload["events"].is_object() && payload["iat"].is_number());
    assert!(notice.counts_until() > NOW, "it still counts");
    match notice.meant() {
        Meant::Person(subject) => assert!(payload["sub"] == *subject && !payload.contains_key("sid")),
        Meant::ProviderSession { sid, subject } => {
            assert!(payload["sid"] == *sid && payload.get("sub").and_then(Value::as_str) == subject.as_deref());
        }
    }
}

/// The profile of a plain OAuth 2.0 provider.
pub fn profile(bytes: &[u8]) {
    let Ok(document) = json_object(bytes) else { return };
    let Ok(person) = profile::identity_from_profile(&PLAIN.name, &PLAIN.claims, ISSUER, &document) else { return };
    assert!((1..=LONGEST_ATTRIBUTE).contains(&person.subject.len()));
    assert!(person.email.is_none_or(|email| email.matches('@').count() == 1));
    assert!(person.groups.len() <= 1_000);
    for text in person.groups.iter().chain(&person.name).chain(&person.preferred_username) {
        assert!(!text.is_empty() && text.len() <= LONGEST_ATTRIBUTE && !text.chars().any(char::is_control));
    }
}

/// A signed answer to the browser, in the same two ways as an ID token.
pub fn response_token(bytes: &[u8]) {
    let Some(payload) = payload(bytes, JwtUse::AuthorizationAnswer, None) else { return };
    let expected = response_token::Expectation {
        issuers: &ISSUERS,
        client_id: CLIENT,
        additional_audiences: &[],
        clock_skew: SKEW,
    };
    let Ok(answer) = response_token::check(&payload, &expected, NOW) else { return };
    assert!(payload["iss"] == ISSUER && payload["exp"].is_number());
    assert!(
        payload["aud"] == CLIENT || payload["aud"].as_array().is_some_and(|all| all.iter().all(|one| one == CLIENT))
    );
    for (name, value) in [("code", &answer.code), ("error", &answer.error), ("iss", &answer.iss)] {
        assert_eq!(payload.get(name).and_then(Value::as_str), value.as_deref(), "nothing is made up");
    }
}

/// A security event token, in the same two ways as an ID token.
pub fn security_event(bytes: &[u8]) {
    let Some(payload) = payload(bytes, JwtUse::SecurityEvent, Some("secevent+jwt")) else { return };
    let expected =
        security_event::Expectation { issuers: &ISSUERS, audience: CLIENT, of_persons: &ISSUERS, clock_skew: SKEW };
    let Ok(token) = security_event::check(&payload, expected, NOW) else { return };
    assert!(payload["iss"] == ISSUER && payload["jti"] == token.id() && payload["iat"].is_number());
    let events = payload["events"].as_object().unwrap();
    assert!(token.events().len() <= events.len() && token.counts_until() > NOW);
}

/// An answer of the userinfo endpoint: the first line is its content type.
pub fn userinfo(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (kind, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(answer) = Response::builder().header("content-type", kind).body(body.to_vec()) else { return };
    let payload = match userinfo::read(&answer) {
        Ok(userinfo::Answer::Plain(payload)) => payload,
        Ok(userinfo::Answer::Signed(token)) => {
            let Ok(payload) = verified(token.expose(), JwtUse::Claims) else { return };
            let expected = userinfo::Expectation { issuer: ISSUER, client_id: CLIENT, clock_skew: SKEW };
            if userinfo::check_signed(&payload, &expected, NOW).is_ok() {
                assert!(payload.get("iss").is_none_or(|issuer| issuer.is_null() || issuer == ISSUER));
            }
            payload
        }
        Err(_) => return,
    };
    if userinfo::check_subject(&payload, "1", "").is_ok() {
        assert_eq!(payload["sub"], "1");
    }
    let proven = json!({ "iss": ISSUER, "sub": "1", "acr": "2", "sid": "s" });
    let mut claims = proven.as_object().unwrap().clone();
    userinfo::merge(&mut claims, payload, &ProfileMapping::default());
    for (name, value) in proven.as_object().unwrap() {
        assert_eq!(&claims[name], value, "what the ID token proved stays");
    }
}

/// The claims in these bytes: signed honestly here if they are claims, verified if they are a token.
fn payload(bytes: &[u8], wanted: JwtUse, kind: Option<&str>) -> Option<Map<String, Value>> {
    if bytes.first() == Some(&b'{') {
        let header = kind.map_or_else(|| json!({ "alg": "EdDSA" }), |kind| json!({ "alg": "EdDSA", "typ": kind }));
        return verified(&signed(&header.to_string(), bytes), wanted).ok();
    }
    let token = std::str::from_utf8(bytes).ok()?;
    // One header names one algorithm: it must never pass for two.
    let passes = Algorithm::ALL.into_iter().filter(|algorithm| read_header(token, *algorithm, wanted).is_ok());
    assert!(passes.count() < 2);
    verified(token, wanted).ok()
}

fn verified(token: &str, wanted: JwtUse) -> Result<Map<String, Value>, JwtFault> {
    let header = read_header(token, Algorithm::EdDSA, wanted)?;
    jwt::verify_signature(token, &header, &KEYS, &ISSUERS)
}

fn signed(header: &str, payload: &[u8]) -> String {
    let content = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(content.as_bytes()));
    format!("{content}.{signature}")
}

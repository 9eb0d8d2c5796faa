//! The configuration that is measured, and sessions under it that needed no identity provider.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use counterfoil::clock::{Clock, SharedClock, SystemClock};
use counterfoil::config::{Settings, Source};
use counterfoil::identity::Identity;
use counterfoil::secret::{Secret, random_bytes};
use counterfoil::session::Sessions;
use counterfoil::session::establish::{Freshness, NewSession};
use counterfoil::session::key::SessionKey;
use counterfoil::session::record::{ClientTraits, Tokens};
use futures_util::{StreamExt, TryStreamExt, stream};
use time::OffsetDateTime;

/// What browsers call the broker; the port does not matter to it.
pub(crate) const HOST: &str = "localhost:8080";
/// The session cookie over plain http.
pub(crate) const COOKIE: &str = "session";
/// A current browser: 111 characters.
const USER_AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
/// Sessions that are made at the same time.
const AT_A_TIME: usize = 128;

/// A whole configuration: `store` goes on in `[store]`, `more` holds sections of its own.
pub(crate) fn configuration(redis: &str, key: &str, store: &str, more: &str) -> String {
    format!(
        r#"
        public_url = "http://{HOST}"
        [secrets]
        keys = ["{key}"]
        [idp.company]
        kind = "oauth2"
        issuer = "https://idp.example.com"
        authorization_endpoint = "https://idp.example.com/authorize"
        token_endpoint = "https://idp.example.com/token"
        profile_endpoint = "https://idp.example.com/me"
        client_id = "backoffice"
        client_secret = "never sent anywhere"
        profile.subject = "sub"
        [log]
        level = "warn"
        [store]
        url = "{redis}"
        {store}
        {more}
        "#
    )
}

/// A fresh server key, as configurations spell it.
pub(crate) fn random_key() -> String {
    STANDARD.encode(random_bytes::<32>())
}

/// Reads a configuration.
///
/// # Panics
/// If it has faults.
pub(crate) fn settings(configuration: String) -> Settings {
    let source = Source { file: Some(configuration), ..Source::default() };
    source.settings().unwrap_or_else(|faults| panic!("{faults}"))
}

/// The sessions of a configuration, as the broker opens them.
///
/// # Panics
/// If the store cannot be used.
pub(crate) fn open(settings: &Settings) -> Sessions {
    let clock: SharedClock = Arc::new(SystemClock);
    let store = settings.store.open(clock.clone()).unwrap_or_else(|error| panic!("{error}"));
    Sessions::new(store, &settings.keyring, settings.rules.clone(), settings.near_cache, clock)
}

/// Signs these people in.
///
/// # Panics
/// If a session cannot be made.
pub(crate) async fn establish(sessions: &Sessions, people: Range<usize>, groups: usize) -> Vec<SessionKey> {
    let made = stream::iter(people).map(|index| sessions.establish(login(index, groups))).buffer_unordered(AT_A_TIME);
    made.try_collect().await.unwrap_or_else(|error| panic!("{error}"))
}

/// The line that a browser sends.
pub(crate) fn cookie(value: &str) -> String {
    format!("{COOKIE}={value}")
}

/// The present moment.
pub(crate) fn now() -> OffsetDateTime {
    SystemClock.now()
}

/// Somebody with so many groups.
pub(crate) fn identity(index: usize, groups: usize) -> Identity {
    Identity {
        idp: "company".into(),
        issuer: "https://idp.example.com".into(),
        subject: format!("24828976-1001-4b6e-9c1f-{index:012}"),
        name: Some(format!("Alexandra Employee {index}")),
        preferred_username: Some(format!("alexandra.employee.{index}")),
        email: Some(format!("alexandra.employee.{index}@example.com")),
        email_verified: true,
        groups: (0..groups).map(|group| format!("backoffice-department-{group:02}")).collect(),
    }
}

/// What is known of their browser.
pub(crate) fn client(index: usize) -> ClientTraits {
    let [.., high, middle, low] = index.to_be_bytes();
    ClientTraits::new(Ipv4Addr::new(10, high, middle, low).into(), Some(USER_AGENT))
}

/// A login of theirs that begins and ends now.
pub(crate) fn login(index: usize, groups: usize) -> NewSession {
    let tokens = Tokens {
        access_token: Secret::new(String::new()),
        access_token_expires_at: None,
        issued_at: now(),
        refresh_token: None,
        id_token: None,
        nonce: None,
    };
    NewSession {
        identity: identity(index, groups),
        begun: None,
        auth_time: Some(now()),
        acr: None,
        ends_by: None,
        freshness: Freshness::CannotBeTold,
        provider_session: None,
        tokens,
        client: client(index),
    }
}

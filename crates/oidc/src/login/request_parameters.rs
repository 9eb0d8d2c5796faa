//! The content of an authorization request: one list of parameters, however it travels.
//!
//! Owns which parameters there are, what the configuration may add, and how it goes together with what one login asks
//! for. Does not own how they reach the provider (in the address, pushed, in a request object): that is
//! [`crate::login::authorization`]. RFC 6749 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1. Pure.

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

use crate::login::authorization::{Attempt, LoginOptions};
use crate::provider::settings::IdpKind;
use crate::provider::settings::IdpSettings;

/// Parameters that the broker says itself, or must never say: no configuration adds them as extra ones (R-A08).
const RESERVED: [&str; 22] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "prompt",
    "max_age",
    "acr_values",
    "ui_locales",
    "login_hint",
    "id_token_hint",
    "request",
    "request_uri",
    "dpop_jkt",
    "code",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
];

/// Longest `login_hint` that is sent on, in characters.
const LONGEST_HINT: usize = 254;

/// The configuration of one provider's authorization requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestSettings {
    /// Parameters that only this provider knows; none of them is [`is_reserved`].
    pub extra: Vec<(String, String)>,
    /// Steps that the provider is to ask of the person (Core 3.1.2.1); never `none`.
    pub prompt: Vec<Prompt>,
    /// The oldest authentication that is accepted at any login with this provider, in seconds.
    pub max_age: Option<u64>,
    /// Ways to authenticate (`acr`), any of which is accepted; empty: all.
    pub acr_values: Vec<String>,
    /// True if the provider is told which language our pages would have.
    pub ui_locales: bool,
    /// Way back of the answer, if the provider is to be told.
    pub response_mode: Option<ResponseMode>,
}

/// A step that a provider is to ask of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// A new login, whatever session lives there.
    Login,
    /// Their agreement.
    Consent,
    /// A choice among their accounts.
    SelectAccount,
}

impl Prompt {
    /// Every prompt.
    pub const ALL: [Self; 3] = [Self::Login, Self::Consent, Self::SelectAccount];

    /// Returns its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }
}

/// The way back of the provider's answer: OAuth 2.0 Multiple Response Types 2.1, Form Post Response Mode, JARM 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the address.
    Query,
    /// In a form that the browser posts.
    FormPost,
    /// Signed, in the way that is usual for codes: in the address.
    Jwt,
    /// Signed, in the address.
    QueryJwt,
    /// Signed, in a form that the browser posts.
    FormPostJwt,
}

impl ResponseMode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::Query, Self::FormPost, Self::Jwt, Self::QueryJwt, Self::FormPostJwt];

    /// Returns its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
            Self::Jwt => "jwt",
            Self::QueryJwt => "query.jwt",
            Self::FormPostJwt => "form_post.jwt",
        }
    }

    /// Is true if the browser brings the answer by POST.
    pub fn is_posted(self) -> bool {
        matches!(self, Self::FormPost | Self::FormPostJwt)
    }

    /// Is true if the answer is a signed token (JARM).
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Jwt | Self::QueryJwt | Self::FormPostJwt)
    }
}

/// Is true if a parameter is the broker's own, so that the configuration must not add it.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Returns the part of a `login_hint` that somebody wrote into an address that may be sent on: all of it or nothing.
pub fn acceptable_hint(hint: &str) -> Option<String> {
    let fits = !hint.is_empty() && hint.chars().count() <= LONGEST_HINT && !hint.chars().any(char::is_control);
    fits.then(|| hint.to_owned())
}

impl RequestSettings {
    /// Returns a login's demands on the authentication's age and class (`acr`): the stricter of what is configured for the
    /// provider and what is wanted for this login.
    pub(crate) fn demands(&self, options: &LoginOptions) -> (Option<u64>, Vec<String>) {
        let max_age = match (self.max_age, options.max_age) {
            _ if options.fresh => Some(0),
            (Some(always), Some(now)) => Some(always.min(now)),
            (always, now) => always.or(now),
        };
        let both: Vec<_> = options.acr_values.iter().filter(|acr| self.accepts(acr)).cloned().collect();
        // Where nothing is common to both, the provider's own demand stays; the page will not be passed.
        (max_age, if both.is_empty() { self.acr_values.clone() } else { both })
    }

    /// Is true if one of these ways to authenticate is accepted from this provider.
    pub fn accepts_any(&self, wanted: &[String]) -> bool {
        wanted.iter().any(|acr| self.accepts(acr))
    }

    fn accepts(&self, acr: &String) -> bool {
        self.acr_values.is_empty() || self.acr_values.contains(acr)
    }
}

/// Returns everything an authorization request says. It comes from the configuration, the random generator and what
/// this login is for; of the browser's words only the language and a hint (R-A02, R-A03, R-A08). No name stands twice.
pub(crate) fn parameters(
    settings: &IdpSettings,
    redirect_uri: &Url,
    options: &LoginOptions,
    attempt: &Attempt,
) -> Vec<(String, String)> {
    let verifier = PkceCodeVerifier::new(attempt.verifier.expose().clone());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let mut list = List(Vec::new());
    list.add("response_type", "code");
    list.add("client_id", &settings.client_id);
    list.add("redirect_uri", redirect_uri.as_str());
    list.add_unless_empty("scope", &settings.scopes.join(settings.scope_separator()));
    list.add("state", &attempt.state);
    list.add("code_challenge", challenge.as_str());
    list.add("code_challenge_method", challenge.method().as_str());
    let request = &settings.request;
    if let Some(mode) = request.response_mode {
        list.add("response_mode", mode.name());
    }
    let mut prompt = request.prompt.clone();
    if matches!(settings.kind, IdpKind::Oidc(_)) {
        list.add("nonce", &attempt.nonce);
        if let Some(max_age) = attempt.max_age {
            list.add("max_age", &max_age.to_string());
        }
        list.add_unless_empty("acr_values", &attempt.acr_values.join(" "));
        if attempt.fresh && !prompt.contains(&Prompt::Login) {
            prompt.insert(0, Prompt::Login);
        }
    }
    list.add_unless_empty("prompt", &prompt.iter().map(|prompt| prompt.name()).collect::<Vec<_>>().join(" "));
    if let Some(language) = options.language.filter(|_| request.ui_locales) {
        list.add("ui_locales", language);
    }
    list.add_unless_empty("login_hint", options.login_hint.as_deref().unwrap_or_default());
    list.0.extend(request.extra.iter().cloned());
    list.0
}

struct List(Vec<(String, String)>);

impl List {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    fn add_unless_empty(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.add(name, value);
        }
    }
}

//! The content of an authorization request: one list of parameters, whatever the transport.
//!
//! Owns which parameters there are, what the configuration may add, and how it goes together with what one login asks
//! for. Does not own how they reach the provider (in the address, pushed, in a request object): that is
//! [`crate::login::authorization`]. RFC 6749 4.1.1, RFC 7636, OpenID Connect Core 3.1.2.1. Pure.

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

use crate::login::attempt::{Attempt, LoginOptions};
use crate::login::request_settings::Prompt;
use crate::login::settings::LoginSettings;

/// Longest `login_hint` that is sent on, in characters.
const LONGEST_HINT: usize = 254;

/// Returns a `login_hint` from an address if it may be sent on.
pub fn acceptable_hint(hint: &str) -> Option<String> {
    let fits = !hint.is_empty() && hint.chars().count() <= LONGEST_HINT && !hint.chars().any(char::is_control);
    fits.then(|| hint.to_owned())
}

/// The party that authorization requests of one provider are for, and its settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requester<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a Url,
    pub(crate) settings: &'a LoginSettings,
    /// Separator of scopes.
    pub(crate) scope_separator: &'a str,
    /// True if the provider speaks OpenID Connect, and so knows `nonce`, `max_age` and `acr_values`.
    pub(crate) is_oidc: bool,
}

/// Returns the parameters of an authorization request. Their sources are the configuration, the random generator and
/// the purpose of this login; from the browser only the language and a hint (R-A02, R-A03, R-A08). No name occurs
/// twice.
pub(crate) fn parameters(requester: Requester<'_>, options: &LoginOptions, attempt: &Attempt) -> Vec<(String, String)> {
    let verifier = PkceCodeVerifier::new(attempt.verifier.expose().clone());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    let mut list = List(Vec::new());
    list.add("response_type", "code");
    list.add("client_id", requester.client_id);
    list.add("redirect_uri", requester.redirect_uri.as_str());
    list.add_unless_empty("scope", &requester.settings.scopes.join(requester.scope_separator));
    list.add("state", &attempt.state);
    list.add("code_challenge", challenge.as_str());
    list.add("code_challenge_method", challenge.method().as_str());
    let request = &requester.settings.request;
    if let Some(mode) = request.response_mode {
        list.add("response_mode", mode.name());
    }
    let mut prompt = request.prompt.clone();
    if requester.is_oidc {
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

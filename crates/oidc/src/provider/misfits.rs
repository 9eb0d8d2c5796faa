//! The parts of the configuration that do not fit what the provider's metadata offer.
//!
//! A value that a list lacks is [`Weight::Certain`] to fail only where the provider has to name all it takes. Pure.

use crate::client::client_authentication::ClientAuthentication;
use crate::discovery::metadata::Metadata;
use crate::discovery::offers::{AUTH_ALGORITHMS, Offers};
use crate::login::request_settings::{Prompt, ResponseMode};
use crate::provider::settings::{IdpKind, ProviderSettings};
use crate::verification::algorithm::Algorithm;

/// The certainty that something does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// No login can succeed.
    Certain,
    /// No login can succeed, unless the credentials are accepted all the same when they are tried.
    UnlessAccepted,
    /// It may work: the provider need not name everything.
    Possible,
}

/// One thing that does not fit, and the key to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The key below `idp.<name>`, or a whole key if it has a dot.
    pub key: String,
    /// The fault, and the setting that mends it.
    pub problem: String,
    /// The certainty of that.
    pub weight: Weight,
}

/// The facts about a person that the rest of the configuration expects.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The key that asks for groups, if one does.
    pub groups: Option<String>,
    /// The key that asks for addresses, if one does.
    pub emails: Option<String>,
    /// Ways to authenticate that a route demands, and its key.
    pub acr: Vec<(String, Vec<String>)>,
}

/// Returns everything of a provider's section that does not fit what its metadata offer.
pub(crate) fn misfits(settings: &ProviderSettings, metadata: &Metadata, needs: &Needs) -> Vec<Misfit> {
    let mut found = Found { offers: &metadata.offers, misfits: Vec::new() };
    found.protocol(settings);
    found.client(settings);
    found.request(settings, metadata);
    found.scopes(settings);
    found.claims(settings);
    found.needs(settings, needs);
    found.misfits
}

struct Found<'a> {
    offers: &'a Offers,
    misfits: Vec<Misfit>,
}

impl Found<'_> {
    fn note(&mut self, weight: Weight, key: &str, problem: String) {
        self.misfits.push(Misfit { key: key.to_owned(), problem, weight });
    }

    fn protocol(&mut self, settings: &ProviderSettings) {
        if let Some(offered) = self.offers.without("response_types_supported", "code") {
            let problem = format!(
                "the provider offers no authorization codes, only {}: is this the right issuer?",
                said(offered)
            );
            self.note(Weight::Certain, "issuer", problem);
        }
        let IdpKind::Oidc(oidc) = &settings.kind else { return };
        let algorithm = oidc.algorithm.name();
        if let Some(offered) = self.offers.without("id_token_signing_alg_values_supported", algorithm) {
            let problem = format!(
                "the provider signs ID tokens by {}, not by {algorithm}: {}",
                said(offered),
                set_one_of(offered, known_algorithm)
            );
            self.note(Weight::Certain, "id_token_signed_response_alg", problem);
        }
        if let Some(offered) = self.offers.without("code_challenge_methods_supported", "S256") {
            let problem = format!("the provider offers PKCE by {} alone; S256 is always sent", said(offered));
            self.note(Weight::Possible, "issuer", problem);
        }
        if settings.refresh.interval.is_some()
            && self.offers.without("grant_types_supported", "refresh_token").is_some()
        {
            let problem =
                "the provider offers no refresh tokens: it can be asked by userinfo only, while an access token lasts";
            self.note(Weight::Possible, "refresh", problem.to_owned());
        }
    }

    fn client(&mut self, settings: &ProviderSettings) {
        let authentication = &settings.client.authentication;
        let (method, signed_by) = match authentication {
            ClientAuthentication::Basic(_) => ("client_secret_basic", None),
            // To the provider, a signed secret looks like any other in the body.
            ClientAuthentication::Post(_) | ClientAuthentication::SignedSecret { .. } => ("client_secret_post", None),
            ClientAuthentication::None => ("none", None),
            ClientAuthentication::PrivateKeyJwt { key, .. } => ("private_key_jwt", Some(key.algorithm().name())),
            ClientAuthentication::MutualTls => ("tls_client_auth", None),
        };
        let is_offered = |offers: &Offers| {
            let also = (method == "tls_client_auth").then_some("self_signed_tls_client_auth");
            [Some(method), also]
                .into_iter()
                .flatten()
                .any(|method| offers.has("token_endpoint_auth_methods_supported", method))
        };
        if let Some(offered) = self.offers.list("token_endpoint_auth_methods_supported")
            && !is_offered(self.offers)
        {
            let problem = format!(
                "the provider takes {}, not {method}: {}",
                said(offered),
                set_one_of(offered, |method| {
                    [
                        "client_secret_basic",
                        "client_secret_post",
                        "private_key_jwt",
                        "tls_client_auth",
                        "self_signed_tls_client_auth",
                        "none",
                    ]
                    .contains(&method)
                })
            );
            // Providers often leave `none` out of the list.
            let weight = if method == "none" { Weight::Possible } else { Weight::UnlessAccepted };
            self.note(weight, "token_endpoint_auth_method", problem);
        }
        if let Some(algorithm) = signed_by
            && let Some(offered) = self.offers.without(AUTH_ALGORITHMS, algorithm)
        {
            let problem = format!(
                "the provider takes assertions signed by {}, not by {algorithm}: another key is needed, or client_key_alg",
                said(offered)
            );
            self.note(Weight::UnlessAccepted, "client_key_file", problem);
        }
        if settings.client.dpop.is_some() {
            match self.offers.list("dpop_signing_alg_values_supported") {
                Some(offered) if !offered.iter().any(|offered| offered == "ES256") => {
                    let problem = format!(
                        "the provider takes proofs signed by {}, ours are by ES256: set it to false",
                        said(offered)
                    );
                    self.note(Weight::Certain, "dpop", problem);
                }
                None if self.offers.is_published => {
                    let problem = "the provider offers no DPoP (dpop_signing_alg_values_supported): tokens that it does not bind are refused";
                    self.note(Weight::Possible, "dpop", problem.to_owned());
                }
                Some(_) | None => {}
            }
        }
    }

    fn request(&mut self, settings: &ProviderSettings, metadata: &Metadata) {
        if let Some(mode) = settings.login.request.response_mode
            && let Some(offered) = self.offers.without("response_modes_supported", mode.name())
        {
            let problem = format!(
                "the provider offers {}, not {}: {}",
                said(offered),
                mode.name(),
                set_one_of(offered, |offered| { ResponseMode::ALL.iter().any(|mode| mode.name() == offered) })
            );
            self.note(Weight::Certain, "response_mode", problem);
        }
        if settings.login.request.response_mode.is_some_and(ResponseMode::is_signed)
            && let IdpKind::Oidc(oidc) = &settings.kind
            && let algorithm = oidc.answer_algorithm.name()
            && let Some(offered) = self.offers.without("authorization_signing_alg_values_supported", algorithm)
        {
            let problem = format!(
                "the provider signs answers by {}, not by {algorithm}: {}",
                said(offered),
                set_one_of(offered, known_algorithm)
            );
            self.note(Weight::Certain, "authorization_signed_response_alg", problem);
        }
        for prompt in settings.login.request.prompt.iter().copied().map(Prompt::name) {
            if let Some(offered) = self.offers.without("prompt_values_supported", prompt) {
                let problem = format!("the provider offers {}, not {prompt}", said(offered));
                self.note(Weight::Possible, "prompt", problem);
            }
        }
        self.acr("acr_values", &settings.login.request.acr_values);
        let Some(key) = &settings.login.request_object_key else {
            if self.offers.signed_requests_demanded {
                let problem = "the provider takes signed requests alone: set it to true, with a client_key_file";
                self.note(Weight::Certain, "request_object", problem.to_owned());
            }
            return;
        };
        let algorithm = key.algorithm().name();
        if let Some(offered) = self.offers.without("request_object_signing_alg_values_supported", algorithm) {
            let problem = format!(
                "the provider takes requests signed by {}, not by {algorithm}: another key is needed, or client_key_alg",
                said(offered)
            );
            self.note(Weight::Certain, "client_key_file", problem);
        }
        let is_pushed = metadata.pushed_authorization_request_endpoint.is_some();
        if self.offers.request_parameter == Some(false) && !is_pushed {
            let problem = "the provider takes no signed requests: set it to false";
            self.note(Weight::Certain, "request_object", problem.to_owned());
        }
    }

    fn acr(&mut self, key: &str, wanted: &[String]) {
        let Some(offered) = self.offers.list("acr_values_supported") else { return };
        if !wanted.is_empty() && !wanted.iter().any(|wanted| offered.contains(wanted)) {
            let problem = format!("the provider offers {}, none of them {}", said(offered), said(wanted));
            self.note(Weight::Possible, key, problem);
        }
    }

    fn scopes(&mut self, settings: &ProviderSettings) {
        for scope in &settings.login.scopes {
            if let Some(offered) = self.offers.without("scopes_supported", scope) {
                let problem = format!("the provider offers {}, not {scope}", said(offered));
                self.note(Weight::Possible, "scopes", problem);
            }
        }
        let asks_to_stay = settings.login.scopes.iter().any(|scope| scope == "offline_access");
        if settings.refresh.interval.is_some() && !asks_to_stay && self.offers.has("scopes_supported", "offline_access")
        {
            let problem = "has no \"offline_access\", which this provider offers: without it, refresh has nothing to ask with once the access token ends";
            self.note(Weight::Possible, "scopes", problem.to_owned());
        }
    }

    fn claims(&mut self, settings: &ProviderSettings) {
        for claim in &settings.claims.required {
            let name = claim.path.split('.').next().unwrap_or_default();
            if let Some(offered) = self.offers.without("claims_supported", name) {
                let problem = format!("nobody is signed in without it, and the provider offers only {}", said(offered));
                self.note(Weight::Possible, &format!("required_claims.{name}"), problem);
            }
        }
        if let IdpKind::Oidc(_) = &settings.kind {
            for (key, path) in [
                ("email", &settings.claims.mapping.email),
                ("preferred_username", &settings.claims.mapping.preferred_username),
            ] {
                let name = path.split('.').next().unwrap_or_default();
                // Claims of the default mapping are often missing, and nobody depends on them.
                if name != key && self.offers.without("claims_supported", name).is_some() {
                    let problem = format!("the provider offers no claim {name}: it stays empty");
                    self.note(Weight::Possible, &format!("profile.{key}"), problem);
                }
            }
        }
    }

    /// Notes the facts that others expect and nothing asks for.
    fn needs(&mut self, settings: &ProviderSettings, needs: &Needs) {
        for (key, wanted) in &needs.acr {
            self.acr(key, wanted);
        }
        let IdpKind::Oidc(_) = &settings.kind else {
            if let Some(key) = needs
                .groups
                .as_ref()
                .filter(|_| settings.claims.mapping.groups.is_empty() && settings.claims.provider_api.is_none())
            {
                let problem = format!("is missing, and {key} asks for groups: nobody has any");
                self.note(Weight::Possible, "profile.groups", problem);
            }
            return;
        };
        let asks_for = |word: &str| settings.login.scopes.iter().any(|scope| scope.contains(word));
        let asks_by_parameter = settings.login.request.extra.iter().any(|(name, _)| name == "claims");
        if let Some(key) = needs.emails.as_ref().filter(|_| !asks_for("email") && !asks_by_parameter) {
            let problem = format!("has no \"email\", and {key} asks for addresses: nobody may have one");
            self.note(Weight::Possible, "scopes", problem);
        }
        let Some(key) = &needs.groups else { return };
        let is_custom_scope = |scope: &String| {
            !["openid", "profile", "email", "address", "phone", "offline_access"].contains(&scope.as_str())
        };
        let names: Vec<_> =
            settings.claims.mapping.groups.iter().map(|path| path.split('.').next().unwrap_or_default()).collect();
        let is_asked_for = settings.login.scopes.iter().any(is_custom_scope)
            || asks_by_parameter
            || settings.claims.provider_api.is_some();
        let missing = self
            .offers
            .list("claims_supported")
            .filter(|offered| !names.iter().any(|name| offered.iter().any(|offered| offered == name)));
        let has_scope = self.offers.has("scopes_supported", "groups");
        let is_told = self.offers.list("claims_supported").is_some() && missing.is_none() && !has_scope;
        let names = names.join(", ");
        if !is_asked_for && !is_told && names == "groups" {
            let how = if has_scope {
                "add \"groups\", which this provider offers"
            } else {
                "add what this provider calls it (often \"groups\"), or let it put the claim into every ID token"
            };
            let problem = format!("has nothing that asks for groups, and {key} needs them: {how}");
            self.note(Weight::Possible, "scopes", problem);
        } else if let Some(offered) = missing {
            let problem =
                format!("{key} needs groups, and the provider offers no claim {names}, only {}", said(offered));
            self.note(Weight::Possible, "profile.groups", problem);
        }
    }
}

fn known_algorithm(name: &str) -> bool {
    Algorithm::named(name).is_some()
}

/// Writes a list as people read it; providers write long ones.
fn said(values: &[String]) -> String {
    const MOST: usize = 12;
    let more = if values.len() > MOST { ", …" } else { "" };
    values.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

/// Advises what to write instead.
fn set_one_of(offered: &[String], is_known: impl Fn(&str) -> bool) -> String {
    match offered.iter().find(|offered| is_known(offered)) {
        Some(first) => format!("set it to \"{first}\""),
        None => "none of these is known here".to_owned(),
    }
}

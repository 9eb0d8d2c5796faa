//! The settings of one provider's authorization requests, and how they go together with what one login asks for. Pure.

use crate::login::attempt::LoginOptions;

/// The configuration of one provider's authorization requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestSettings {
    /// Parameters specific to this provider; none of them is reserved for the broker.
    pub extra: Vec<(String, String)>,
    /// Steps that the provider is to ask of the person (Core 3.1.2.1); never `none`.
    pub prompt: Vec<Prompt>,
    /// The oldest authentication that is accepted at any login with this provider, in seconds.
    pub max_age: Option<u64>,
    /// Ways to authenticate (`acr`), any of which is accepted; empty: all.
    pub acr_values: Vec<String>,
    /// True if the provider is told the language of our pages (`ui_locales`).
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
        // Without a common value the provider's own demand stays; the page will refuse the session.
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

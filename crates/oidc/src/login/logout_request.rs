//! The logout request, which the browser brings to the provider (OpenID Connect RP-Initiated Logout 1.0 2).

use counterfoil_core::secret::{Secret, random_token};
use url::Url;

/// The HTTP method that brings a logout to the provider (RP-Initiated Logout 2: both have to be supported there).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogoutMethod {
    /// An address to go to. The provider's cookies come along even if they are `SameSite=Lax`.
    #[default]
    Get,
    /// A form, which the person sends: pages of ours run no script.
    Post,
}

/// A logout at the provider, for the browser to bring there.
#[derive(Debug, Clone)]
pub enum LogoutRequest {
    /// An address to go to.
    Address(Url),
    /// A form to send.
    Form {
        /// The address to send it to.
        endpoint: Url,
        /// The names and values of its fields.
        fields: Vec<(String, String)>,
    },
}

/// Makes the request's parameters (R-J03). `state` marks the return of the browser and has no other meaning; some
/// providers refuse it without `id_token_hint`.
pub(crate) fn fields(
    client_id: &str,
    (parameter, back_to): (&str, &Url),
    hint: Option<&Secret<String>>,
) -> Vec<(String, String)> {
    let mut fields = vec![("client_id".to_owned(), client_id.to_owned()), (parameter.to_owned(), back_to.to_string())];
    if let Some(hint) = hint {
        fields.push(("id_token_hint".to_owned(), hint.expose().clone()));
        fields.push(("state".to_owned(), random_token::<16>()));
    }
    fields
}

//! A provider's own API, called with one person's access token.

use counterfoil_core::secret::Secret;
use http::header::{ACCEPT, AUTHORIZATION};
use serde_json::{Map, Value};
use thiserror::Error;
use url::Url;

use crate::client::back_channel::credentials;
use crate::client::http::ProviderHttp;
use crate::client::http_error::HttpError;

/// Most groups of a person: with more the login fails, rather than succeed with some of them.
pub(crate) const MOST_GROUPS: usize = 1_000;

/// A provider's own API that knows more than its profile says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileApi {
    /// The provider whose API it is.
    pub kind: ProfileApiKind,
    /// Address of the API; paths are appended.
    pub base_url: Url,
}

/// The APIs that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileApiKind {
    /// Verified addresses, organisations and teams.
    GitHub,
    /// Confirmed addresses and workspaces.
    Bitbucket,
    /// Groups that were too many for the ID token.
    MicrosoftGraph,
}

/// The reason why a provider's API gave no usable answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProfileApiError {
    /// No usable answer.
    #[error("{what} cannot be had: {cause}")]
    Unanswered {
        /// The data that were asked for.
        what: &'static str,
        /// The failure.
        #[source]
        cause: HttpError,
    },
    /// An answer of another form than the provider documents.
    #[error("{0} are not of the documented form")]
    Malformed(&'static str),
    /// The list is incomplete, which is as wrong as an empty one.
    #[error("{0} are more than {MOST_GROUPS}, or stand on too many pages")]
    TooMany(&'static str),
}

/// One person's view of an API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api<'a> {
    pub(crate) http: &'a ProviderHttp,
    pub(crate) base_url: &'a Url,
    pub(crate) access_token: &'a Secret<String>,
    /// Scopes of the authorization request: the API is asked only for data that they cover.
    pub(crate) scopes: &'a [String],
}

impl Api<'_> {
    /// Is true if the person was asked for one of these scopes.
    pub(crate) fn was_asked_for(&self, scopes: &[&str]) -> bool {
        self.scopes.iter().any(|scope| scopes.contains(&scope.as_str()))
    }

    /// Fetches one JSON document.
    pub(crate) async fn get(
        &self,
        what: &'static str,
        path_and_query: &str,
    ) -> Result<http::Response<Value>, ProfileApiError> {
        let answer = self.fetch(path_and_query).await;
        let (head, body) = answer.map_err(|cause| ProfileApiError::Unanswered { what, cause })?.into_parts();
        let document = serde_json::from_slice(&body).map_err(|_| ProfileApiError::Malformed(what))?;
        Ok(http::Response::from_parts(head, document))
    }

    async fn fetch(&self, path_and_query: &str) -> Result<http::Response<Vec<u8>>, HttpError> {
        let url = format!("{}/{path_and_query}", self.base_url.as_str().trim_end_matches('/'));
        let bearer = credentials("Bearer", self.access_token)?;
        let request = || {
            let request = http::Request::get(&url).header(ACCEPT, "application/json");
            request.header(AUTHORIZATION, &bearer).body(Vec::new()).map_err(|_| HttpError::Request)
        };
        let answer = self.http.ask(request).await?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            _ => Err(HttpError::of(&answer)),
        }
    }
}

/// Returns a text somewhere in an answer that must be there.
pub(crate) fn text<'a>(what: &'static str, value: &'a Value, pointer: &str) -> Result<&'a str, ProfileApiError> {
    let text = value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or(ProfileApiError::Malformed(what))
}

/// Replaces the address of a profile by one the provider says is its owner's: the chosen one, if it is verified too.
pub(crate) fn set_address(
    what: &'static str,
    profile: &mut Map<String, Value>,
    addresses: &[Value],
    [chosen, verified]: [&str; 2],
) -> Result<(), ProfileApiError> {
    profile.remove("email");
    let says = |address: &Value, name: &str| address.get(name) == Some(&Value::Bool(true));
    let best = addresses.iter().find(|address| says(address, chosen) && says(address, verified));
    profile.insert("email_verified".into(), Value::Bool(best.is_some()));
    if let Some(address) = best {
        profile.insert("email".into(), text(what, address, "/email")?.into());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod recorded {
    //! The documented answers, as the tests at the network serve them too.

    use serde_json::{Map, Value};

    /// Returns one answer of a provider.
    pub(crate) fn answer(file: &str, path: &str) -> Value {
        serde_json::from_str::<Value>(file).unwrap()[path].clone()
    }

    /// Returns one answer that is an object.
    pub(crate) fn object(file: &str, path: &str) -> Map<String, Value> {
        answer(file, path).as_object().unwrap().clone()
    }
}

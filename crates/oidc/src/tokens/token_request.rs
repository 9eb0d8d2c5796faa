//! Requests to the token endpoint: the form comes from the `oauth2` crate, the client authentication from `client`.

use std::pin::Pin;

use http::{Request, Response};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{AuthType, ClientId, EndpointNotSet, EndpointSet, RedirectUrl, StandardRevocableToken, TokenUrl};
use url::{Url, form_urlencoded};

use crate::client::back_channel::BackChannel;
use crate::client::http_error::HttpError;
use crate::tokens::answer::TokenAnswer;
use crate::tokens::as_specified::{as_specified, refuses_in_other_words, with_harmless_words};

/// The `oauth2` crate's client with the endpoints we use.
pub(crate) type OAuthClient = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The way to a token endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenRequests<'a> {
    pub(crate) channel: BackChannel<'a>,
    /// True if the provider speaks plain OAuth 2.0, whose answers may be forms.
    pub(crate) is_plain: bool,
}

impl TokenRequests<'_> {
    /// Makes the crate's client.
    pub(crate) fn client(&self, redirect_uri: &Url) -> OAuthClient {
        // The back channel adds the client authentication: the crate supports two methods of the five that are needed.
        oauth2::Client::new(ClientId::new(self.channel.client.id.clone()))
            .set_token_uri(TokenUrl::from_url(self.channel.token_endpoint.clone()))
            .set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()))
            .set_auth_type(AuthType::RequestBody)
    }
}

/// The `oauth2` crate's requests: its form, our proof. The crate has no secret and so names the client in the form;
/// whether that belongs there is for the way we authenticate to say.
impl<'client> oauth2::AsyncHttpClient<'client> for TokenRequests<'_> {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'client>>;

    fn call(&'client self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move {
            let endpoint = Url::parse(&request.uri().to_string()).map_err(|_| HttpError::Request)?;
            let form = form_urlencoded::parse(request.body()).into_owned();
            let form: Vec<_> = form.filter(|(name, _)| name != "client_id").collect();
            let answer = as_specified(self.channel.post(&endpoint, &form).await?, self.is_plain);
            // The crate reads every other status as an error document, which neither an outage sends nor a page that is
            // no token endpoint.
            let is_outage = HttpError::status(answer.status().as_u16()).is_outage();
            if is_outage || refuses_in_other_words(&answer) {
                return Err(HttpError::of(&answer));
            }
            Ok(with_harmless_words(answer))
        })
    }
}

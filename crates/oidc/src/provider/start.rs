//! Begins a login: makes the authorization request and chooses its transport.
//!
//! As parameters in the address, as a signed object, or pushed beforehand.

use url::Url;

use crate::client::dpop::Dpop;
use crate::discovery::metadata::Metadata;
use crate::error::IdpError;
use crate::login::attempt::{Attempt, LoginOptions};
use crate::login::authorization::with_parameters;
use crate::login::request_parameters::{Requester, parameters};
use crate::login::{pushed_request, request_object};
use crate::provider::Provider;

impl Provider {
    /// Begins a login: returns the address for the browser, and the attempt to keep until it returns.
    ///
    /// # Errors
    /// [`IdpError::Unusable`] if the provider's metadata cannot be had, [`IdpError::PushedRequest`] if it does not take
    /// the request.
    pub async fn start(&self, options: &LoginOptions) -> Result<(Url, Attempt), IdpError> {
        let metadata = self.metadata().await?;
        let settings = &self.0.settings;
        let attempt = Attempt::new(options, settings.login.request.demands(options));
        let requester = Requester {
            client_id: &settings.client.id,
            redirect_uri: &self.0.redirect_uri,
            settings: &settings.login,
            scope_separator: settings.scope_separator(),
            is_oidc: !settings.is_plain_oauth2(),
        };
        let mut parameters = parameters(requester, options, &attempt);
        if let Some(thumbprint) = self.0.dpop.as_ref().and_then(Dpop::code_binding) {
            parameters.push(("dpop_jkt".to_owned(), thumbprint));
        }
        let said: Vec<_> = parameters.iter().map(|(name, _)| name.clone()).collect();
        let parameters = self.for_the_browser(&metadata, parameters).await?;
        Ok((with_parameters(&metadata.authorization_endpoint, &parameters, &said), attempt))
    }

    /// Returns the part of a request that the browser takes along: the parameters, or an object or a reference in their
    /// place.
    async fn for_the_browser(
        &self,
        metadata: &Metadata,
        mut parameters: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>, IdpError> {
        let settings = &self.0.settings;
        let push_to = pushed_request::endpoint(settings.login.pushed_requests, metadata)?;
        if let Some(key) = &settings.login.request_object_key {
            let beside = if push_to.is_some() { request_object::BESIDE_PUSHED } else { request_object::BESIDE };
            let (client_id, now) = (&settings.client.id, self.0.clock.now());
            let audience = settings.declared_issuer().unwrap_or(metadata.token_endpoint.as_str());
            parameters = request_object::wrap(parameters, beside, key, client_id, audience, now)?;
        }
        match push_to {
            Some(endpoint) => {
                Ok(pushed_request::push(self.back_channel(metadata), endpoint, &parameters, &self.0.pushes).await?)
            }
            None => Ok(parameters),
        }
    }
}
